"""Decides one instance's sandbox from the operator's policy and the model's declaration. Pure.

The operator sets which layers are required and whether models may have a network; the model declares whether it needs
one. For a trusted model no layer is required, but the network policy still holds.
"""

from typing import Final, Literal

import msgspec

from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.model.sandbox.settings import LAYERS, REQUIRED

NAMED_SETS: Final = {"required": REQUIRED, "all": LAYERS, "available": ()}
NETWORK_DENIED: Final = "The model asks for the network; this worker's operator gives models none.\n"

Network = Literal["deny", "declared"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """`required`: the layers without which an untrusted model does not run."""

    required: tuple[str, ...] = REQUIRED
    network: Network = "deny"


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """For one instance. `way_out`: it gets a proxy to `hosts`, or to the whole public internet if that is None."""

    required: tuple[str, ...]
    way_out: bool = False
    hosts: tuple[str, ...] | None = None
    note: str = ""  # for the boot's log


def required_layers(setting: str) -> tuple[str, ...]:
    """Read `required`, `all`, `available`, or names of layers with commas between. Raise ValueError for others."""
    if setting in NAMED_SETS:
        return NAMED_SETS[setting]
    names = [each.strip() for each in setting.split(",") if each.strip()]
    unknown = [name for name in names if name not in LAYERS]
    if unknown or not names:
        known = ", ".join((*NAMED_SETS, *LAYERS))
        raise ValueError(f"{', '.join(unknown) or 'nothing'} is none of: {known}")
    return tuple(name for name in LAYERS if name in names)


def confine(policy: Policy, config: ModelConfig, *, trusted: bool) -> Confinement:
    required = () if trusted else policy.required
    if not config.network:
        return Confinement(required=required)
    if policy.network == "deny":
        return Confinement(required=required, note=NETWORK_DENIED)
    return Confinement(required=required, way_out=True, hosts=config.network_hosts or None)
