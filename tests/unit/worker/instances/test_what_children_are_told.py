"""The boot that a child is told, and the memory that its process may have."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.hardware import HARDWARE
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.environments.store import Environment
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.worker.gpus.choice import GpuGrant
from tidemill.worker.instances.folders import InstancePaths
from tidemill.worker.instances.forks import ForkMaterials, boot_of
from tidemill.worker.instances.memory_limits import data_limit, memory_limit

PATHS = InstancePaths(Path("/i/tmp"), Path("/i/inputs"), Path("/i/src"))
ENVIRONMENT = Environment("d", "z", Path("/usr/bin/python3"), (), None, ())


def told(*, trains=False, **config):
    given = SimpleNamespace(secrets={"TOKEN": "x"})
    config = ModelConfig(entry="predict.py:P", **config)
    return boot_of(ForkMaterials(config, Path("/versions/v"), ENVIRONMENT, GpuGrant(), given, trains), PATHS)


def test_weights_are_read_where_the_version_lies_and_code_where_the_model_may_write():
    boot = told(weights="w.bin")
    assert (boot.weights, boot.directory) == ("/versions/v/w.bin", "/i/src")
    assert (boot.mode, boot.entry, boot.secrets) == ("predict", "predict.py:P", {"TOKEN": "x"})


def test_a_training_runs_train_one_at_a_time():
    boot = told(trains=True, train_entry="train.py:train", concurrency=4)
    assert (boot.mode, boot.entry, boot.concurrency) == ("train", "train.py:train", None)


def test_a_training_of_a_model_without_train_fails_and_says_so():
    with pytest.raises(BootFailed, match="no train function"):
        told(trains=True)


def test_mapped_weights_count_to_what_the_kernel_allows_and_not_to_what_is_used():
    files = [BundleFile(path="a", sha256="0" * 64, size=3), BundleFile(path="b", sha256="1" * 64, size=4)]
    assert memory_limit("cpu") == HARDWARE["cpu"].memory_bytes
    assert data_limit("cpu", files) == HARDWARE["cpu"].memory_bytes + 7
    assert memory_limit("no such kind") is data_limit("no such kind", files) is None
