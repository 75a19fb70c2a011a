"""Who decides what of a sandbox: the operator's policy, the model's declaration, the operator's trust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.hosting.model_config.cog_yaml import ConfigRefused, ModelConfig, parse_config
from tidemill.model.sandbox.settings import LAYERS, REQUIRED
from tidemill.worker.instances.confinement import NETWORK_DENIED, Confinement, Policy, confine, required_layers

NO_OPTIONS = ModelConfig(entry="predict.py:Predictor")
NETWORKED = ModelConfig(entry="predict.py:Predictor", network=True)
LISTED = ModelConfig(entry="predict.py:Predictor", network=True, network_hosts=("hf.co",))
OPEN = Policy(network="declared")


@pytest.mark.parametrize(
    ("policy", "config", "trusted", "confined"),
    [
        (Policy(), NO_OPTIONS, False, Confinement(required=REQUIRED)),
        (Policy(), NO_OPTIONS, True, Confinement(required=())),
        (Policy(), NETWORKED, False, Confinement(required=REQUIRED, note=NETWORK_DENIED)),
        (Policy(), NETWORKED, True, Confinement(required=(), note=NETWORK_DENIED)),
        (OPEN, NO_OPTIONS, True, Confinement(required=())),
        (OPEN, NETWORKED, False, Confinement(required=REQUIRED, way_out=True)),
        (OPEN, LISTED, True, Confinement(required=(), way_out=True, hosts=("hf.co",))),
        (Policy(required=LAYERS), NO_OPTIONS, False, Confinement(required=LAYERS)),
    ],
)
def test_confine(policy, config, trusted, confined):
    assert confine(policy, config, trusted=trusted) == confined


@pytest.mark.parametrize(
    ("setting", "layers"),
    [("required", REQUIRED), ("all", LAYERS), ("available", ()), ("syscalls, network", ("network", "syscalls"))],
)
def test_layers_by_name(setting, layers):
    assert required_layers(setting) == layers


@pytest.mark.parametrize("setting", ["", "none", "network,filse", ",", "Required"])
def test_no_layers_by_name(setting):
    with pytest.raises(ValueError, match="is none of: required, all, available, network"):
        required_layers(setting)


@given(st.lists(st.sampled_from(LAYERS), min_size=1))
def test_any_choice_of_layers_can_be_named(chosen):
    assert set(required_layers(",".join(chosen))) == set(chosen)


def declared(network):
    raw = f'predict: "predict.py:Predictor"\ntidemill:\n  network: {network}\n'.encode()
    return parse_config(raw, lambda _: b"").config


@pytest.mark.parametrize(
    ("network", "asks", "hosts"),
    [
        ("true", True, ()),
        ("false", False, ()),
        ("[]", False, ()),
        ('["HF.co", "*.hf.co", "hf.co"]', True, ("*.hf.co", "hf.co")),
    ],
)
def test_what_cog_yaml_declares(network, asks, hosts):
    config = declared(network)
    assert (config.network, config.network_hosts) == (asks, hosts)


@pytest.mark.parametrize(
    "network", ['"yes"', '["*"]', '["hf"]', '["https://hf.co"]', '["hf.co:443"]', "[1]", '["a*.co"]']
)
def test_what_it_cannot_declare(network):
    with pytest.raises(ConfigRefused):
        declared(network)
