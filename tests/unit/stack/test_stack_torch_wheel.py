import pytest

from tidemill.stack import torch_wheel


def test_links_of_the_environment_come_first_and_once():
    configuration = ["[global]\nfind-links = /wheels /more\n", "[install]\nfind-links =\n  /wheels\n  https://x/%20y\n"]
    links = torch_wheel.wheel_links({"PIP_FIND_LINKS": "/own /more"}, configuration)
    assert links == ["/own", "/more", "/wheels", "https://x/%20y"]


@pytest.mark.parametrize("text", ["", "find-links = /no-section", "[global]\nindex-url = x", "[global\n"])
def test_a_configuration_without_links_gives_none(text):
    assert torch_wheel.wheel_links({}, [text]) == []


def test_configuration_files_are_found(tmp_path):
    own = tmp_path / "conf" / "pip" / "pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[global]\n")
    assert torch_wheel.pip_configuration({"XDG_CONFIG_HOME": str(tmp_path / "conf")}, tmp_path)[0] == "[global]\n"


@pytest.mark.parametrize(
    ("gpu", "reachable", "expected"),
    [
        (False, True, ["--torch-backend", "cpu"]),
        (True, True, ["--torch-backend", "auto"]),
        (False, False, []),
        (True, False, []),
    ],
)
def test_the_build_follows_the_machine(gpu, reachable, expected):
    assert torch_wheel.backend(has_gpu=gpu, index_reachable=reachable) == expected


def test_it_can_be_left_out(monkeypatch):
    monkeypatch.setenv("TIDEMILL_TORCH", "skip")
    monkeypatch.setattr(torch_wheel, "_installs", lambda *_, **__: pytest.fail("installed"))
    assert torch_wheel.main() == 0
