"""The mark and the warning of a guessed schema come and go together."""

from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.worker.versions.guessed_schemas import mark_guessed, mark_known


def test_a_guess_is_marked_and_warned_of_until_it_is_known():
    config = ModelConfig(entry="predict.py:Predictor", warnings=("build.cuda in cog.yaml is ignored.",))
    guess = mark_guessed(config, "RuntimeError: no CUDA {0}")
    assert guess.guessed
    assert guess.warnings[0] == config.warnings[0]
    assert "RuntimeError: no CUDA {0}" in guess.warnings[1]
    assert mark_known(guess) == config
    assert mark_known(config) == config


def test_what_the_loaded_model_warns_of_is_told_once():
    config = mark_guessed(ModelConfig(entry="predict.py:Predictor", warnings=("old",)), "no GPU")
    fresh = mark_known(mark_known(config, ("new", "newer")), ("new",))
    assert fresh.warnings == ("old", "new", "newer")
