"""Errors and warnings about a directory before it is pushed."""

import pytest

from tidemill.cli.model_directory.lint import LARGE_FILE_BYTES, check_directory

CLEAN = {"cog.yaml": 'predict: "predict.py:Predictor"\n', "predict.py": "class Predictor: ..."}


def found(tmp_path, **files):
    contents = {**CLEAN, **{name.replace("__", "/"): text for name, text in files.items()}}
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return check_directory(tmp_path, sorted(contents))


def test_a_clean_directory_has_no_findings(tmp_path):
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("cog_yaml", "reason"),
    [
        ("build:\n  system_packages: [ffmpeg]\n", "system_packages needs a container"),
        ("build:\n  run: [make]\n", "build.run needs a container"),
        ("predictt: x\n", "it has the unknown key 'predictt'; did you mean predict?"),
        ("build: {}\n", "does not say what to run"),
    ],
)
def test_what_a_push_refuses_is_an_error(tmp_path, cog_yaml, reason):
    predict = "" if "predictt" in cog_yaml or "{}" in cog_yaml else CLEAN["cog.yaml"]
    (finding,) = found(tmp_path, **{"cog.yaml": cog_yaml + predict})
    assert finding.is_error
    assert reason in finding.text


def test_keys_that_change_nothing_are_named(tmp_path):
    (finding,) = found(tmp_path, **{"cog.yaml": f"build:\n  cuda: '12.4'\n{CLEAN['cog.yaml']}"})
    assert not finding.is_error
    assert "build.cuda in cog.yaml is ignored" in finding.text


@pytest.mark.parametrize(
    ("requirement", "pinned"),
    [
        ("pillow==12.0.0", True),
        ("pillow", False),
        ("pillow>=12", False),
        ("pillow==12.*", False),
        ("pillow>=12; python_version == '3.11'", False),
        ("pillow===12.0.0", True),
    ],
)
def test_requirements_without_an_exact_version_are_named(tmp_path, requirement, pinned):
    cog_yaml = f"build:\n  python_requirements: requirements.txt\n{CLEAN['cog.yaml']}"
    said = found(tmp_path, **{"cog.yaml": cog_yaml, "requirements.txt": f"{requirement}\n"})
    assert [finding.text.partition(":")[2] for finding in said if "no exact version" in finding.text] == (
        [] if pinned else [" no exact version; a later build may get another one and behave differently"]
    )


SECRETS = {
    "-----BEGIN RSA " + "PRIVATE KEY-----": "a private key",
    "TOKEN = 'r8_" + "a" * 37 + "'": "an API token",
    "AKIA" + "A" * 16: "an access key of AWS",
    "ghp_" + "a" * 36: "a token of GitHub",
    "hf_" + "a" * 34: "a token of Hugging Face",
    "sk-" + "ant-" + "a" * 40: "an API key of OpenAI or Anthropic",
    "AIza" + "a" * 35: "an API key of Google",
    "whsec_" + "a" * 32: "a webhook secret",
    "xoxb-" + "1" * 24: "a token of Slack",
}


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_found_and_not_repeated(tmp_path, secret):
    (finding,) = found(tmp_path, **{"settings.py": f"# settings\nx = 1\n{secret}\n"})
    assert finding.text.startswith(f"settings.py:3 looks like {SECRETS[secret]}")
    assert secret[8:] not in finding.text


@pytest.mark.parametrize("text", ["layer8_attention", "risk-management-of-very-long-names-in-kebab-case", "hf_hub_url"])
def test_ordinary_words_are_not_secrets(tmp_path, text):
    assert found(tmp_path, **{"settings.py": text}) == []


@pytest.mark.parametrize("name", [".env", ".env.production", "keys/id_ed25519", "server.pem", "service-account-1.json"])
def test_files_that_hold_secrets_by_their_name(tmp_path, name):
    (finding,) = found(tmp_path, **{name: "x"})
    assert finding.text.startswith(f"{name}: such files hold secrets")


def test_unneeded_files_are_named_once_for_each_pattern(tmp_path):
    (finding,) = found(tmp_path, **{f"tests/test_{n}.py": "x" for n in range(5)})
    assert finding.text == (
        "tests/test_0.py, tests/test_1.py, tests/test_2.py and 2 more: probably not needed to run; "
        "tests/ in .dockerignore leaves it out"
    )


def test_the_advice_is_in_the_spelling_of_dockerignore(tmp_path):
    (finding,) = found(tmp_path, **{"deep/a.log": "x"})
    assert finding.text == "deep/a.log: probably not needed to run; **/*.log in .dockerignore leaves it out"
    assert found(tmp_path, **{"checkpoints/model.bin": "x"}) == []


def test_large_files_and_dockerfiles_are_named(tmp_path):
    (tmp_path / "weights.bin").touch()
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.truncate(2 * LARGE_FILE_BYTES)  # takes no room on the disk
    for name, text in {**CLEAN, "Dockerfile": "FROM scratch"}.items():
        (tmp_path / name).write_text(text)
    texts = [each.text for each in check_directory(tmp_path, [*CLEAN, "Dockerfile", "weights.bin"])]
    assert texts == [
        "weights.bin is 2.0 GiB: the first boot on each worker fetches it",
        "a Dockerfile is not used here: models run without a container",
    ]


def test_errors_come_first(tmp_path):
    said = found(tmp_path, **{".env": "x", "cog.yaml": "predict: ["})
    assert [finding.is_error for finding in said] == [True, False]
