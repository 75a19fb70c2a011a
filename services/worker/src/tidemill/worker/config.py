"""The worker's settings, each from the environment variable TIDEMILL_<NAME>."""

from typing import Literal

from tidemill.hosting.child.inspection import IMPORT_LIMIT_S
from tidemill.hosting.wheels.limits import ENVIRONMENT_LIMIT_BYTES
from tidemill.runtime.config import ObjectStoreConfig


class Config(ObjectStoreConfig, frozen=True, kw_only=True):
    worker_home: str  # the cache of model files and environments, and the instances' private folders
    lease_s: float = 10.0  # how long a silent worker keeps its predictions
    instances: int = 4  # how many models may be loaded at once
    time_limit_s: float = 1800.0  # of one prediction's run; Replicate's default
    kill_after_s: float = 5.0  # how long a run may take to stop after a cancel
    boot_timeout_s: float = 600.0  # fetch, environment and set-up together
    environment_limit_bytes: int = ENVIRONMENT_LIMIT_BYTES  # what the packages that one model requires may unpack to
    builds: int = 4  # pushes that are built at once, one of each account
    import_limit_s: float = IMPORT_LIMIT_S  # how long the import of a pushed model may take
    health_every_s: float = 30.0  # how often idle models are asked through their own healthcheck()
    instance_disk_bytes: int = 50 * 1024**3  # what one instance may write; models fetch weights when they start
    save_every_s: float = 0.5  # how often the progress of long runs is saved
    egress_allow: str = ""  # hosts and networks that input URLs may reach besides the public internet
    cache_limit_bytes: int = 50 * 1024**3  # model files kept on disk
    # The layers without which an untrusted model does not run: "required" (those that root and ordinary users can both
    # have), "all", "available" (no layer is required), or their names with commas between.
    sandbox: str = "required"
    model_network: Literal["deny", "declared"] = "deny"  # "declared": models that ask for the internet get it
    model_network_allow: str = ""  # more hosts and networks that these models may reach
    drain_s: float = 30.0
