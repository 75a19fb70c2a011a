"""Names of models that users type, and how they are looked up."""

import pytest

from tidemill.cli.api import model_lookup
from tidemill.cli.api.model_lookup import ModelReference, parse_new_model, parse_reference
from tidemill.cli.errors import CommandError
from tidemill.cli.output.paths import OutputPaths
from tidemill.cli.run.command import _with_local_paths

LATEST, OLDER = ({"id": version, "openapi_schema": {"of": version}} for version in ("a" * 64, "b" * 64))


class Server:
    """A fake API: objects by path."""

    def __init__(self, latest=LATEST):
        self.there = {"models/ada/mill": {"latest_version": latest}, f"models/ada/mill/versions/{OLDER['id']}": OLDER}

    def find(self, path):
        return self.there.get(path)


def test_names():
    assert parse_reference("ada/mill") == ModelReference("ada/mill")
    assert parse_reference("ada/mill:abc") == ModelReference("ada/mill", "abc")
    assert parse_new_model("ada/my-mill_2.0") == ModelReference("ada/my-mill_2.0")


@pytest.mark.parametrize("text", ["mill", "", "/mill", "ada/", "ada/mill/x", ":abc"])
def test_malformed_references(text):
    with pytest.raises(CommandError, match="OWNER/NAME"):
        parse_reference(text)


@pytest.mark.parametrize("text", ["ada/Mill", "ada/-mill", "ada/mill ", "ada/mill.", "ada/mill:abc"])
def test_invalid_new_models(text):
    with pytest.raises(CommandError, match=r"lower-case letters|gets its id by itself"):
        parse_new_model(text)


@pytest.mark.parametrize(("text", "version"), [("ada/mill", LATEST), (f"ada/mill:{OLDER['id']}", OLDER)])
def test_a_version_is_found_with_its_schema(text, version):
    found = model_lookup.find_version(Server(), parse_reference(text))
    assert (found.version, found.schema) == (version["id"], version["openapi_schema"])


@pytest.mark.parametrize(
    ("server", "text", "reason"),
    [
        (Server(), "ada/sail", "ada/sail could not be found"),
        (Server(), "ada/mill:abc", "ada/mill has no version abc"),
        (Server(latest=None), "ada/mill", "`tidemill push ada/mill` makes one"),
    ],
)
def test_missing_models_and_versions_are_reported(server, text, reason):
    with pytest.raises(CommandError, match=reason):
        model_lookup.find_version(server, parse_reference(text))


def test_output_paths_are_unique_in_a_prediction_and_overwrite_earlier_files(tmp_path):
    (tmp_path / "a.png").touch()
    places = OutputPaths(tmp_path)
    assert [places.reserve("a.png").name for _ in range(3)] == ["a.png", "a-1.png", "a-2.png"]
    assert OutputPaths(tmp_path).reserve("a.png").name == "a.png"


def test_files_are_saved_wherever_they_are_in_an_output(tmp_path, monkeypatch):
    monkeypatch.setattr("tidemill.cli.run.command._download", lambda url, paths: f"saved {url[-1]}")
    output = {"text": "see https://t/1", "files": ["https://t/2", {"deep": "https://t/3"}], "else": "https://e/4"}
    assert _with_local_paths(output, OutputPaths(tmp_path), "https://t") == {
        "text": "see https://t/1",
        "files": ["saved 2", {"deep": "saved 3"}],
        "else": "https://e/4",
    }
