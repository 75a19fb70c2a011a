"""nats-py's private methods that DirectClient overrides are those of the version it was written for."""

import importlib.metadata
import inspect

import pytest
from nats.aio.client import Client

from tidemill.runtime.nats_client import DirectClient

OVERRIDDEN = {name for name, it in vars(DirectClient).items() if inspect.isfunction(it) and name in vars(Client)} - {
    "__init__"
}


def test_the_version_is_the_one_that_was_read():
    """A newer one may call its own methods otherwise: read it, measure again (ADR 9), then change this."""
    assert importlib.metadata.version("nats-py").startswith("2.16.")


def test_what_is_overridden_is_known():
    assert {"_remove_sub", "_process_msg", "_send_publish", "_flush_pending"} == OVERRIDDEN


@pytest.mark.parametrize("name", sorted(OVERRIDDEN))
def test_an_override_takes_what_upstream_passes(name):
    ours, theirs = (list(inspect.signature(getattr(each, name)).parameters) for each in (DirectClient, Client))
    assert ours == theirs
