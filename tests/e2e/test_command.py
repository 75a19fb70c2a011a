"""The `tidemill` command against a running stack: pushes that succeed and fail, and predictions in a terminal."""

import shutil

import pytest

PREDICT = """from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        return text
"""
COG_YAML = 'predict: "predict.py:Predictor"\n'
SYSTEM_PACKAGES = f"build:\n  system_packages:\n    - ffmpeg\n{COG_YAML}"
IMPORT_ERROR = f"import a_module_that_is_not_there\n{PREDICT}"


def directory(at, **files):
    at.mkdir()
    for name, content in files.items():
        (at / name.replace("_", ".")).write_text(content)
    return at


async def versions(stack, model):
    async with stack.session() as session, session.get(f"/v1/models/{model}/versions") as response:
        return [version["id"] for version in (await response.json()).get("results", [])]


async def test_a_push_makes_a_version_and_the_same_again_makes_none(stack, command, tmp_path):
    model = directory(tmp_path / "model", cog_yaml=COG_YAML, predict_py=PREDICT)
    first = command("push", "local/e2e-pushed", model)
    assert first.returncode == 0, first.stderr
    (made,) = await versions(stack, "local/e2e-pushed")
    assert f"Version local/e2e-pushed:{made}" in first.stdout

    again = command("push", "--if-changed", "local/e2e-pushed", model)
    assert (again.returncode, again.stdout) == (0, "local/e2e-pushed is up to date.\n")
    assert await versions(stack, "local/e2e-pushed") == [made]

    (model / "predict.py").write_text(PREDICT.replace("return text", "return text.upper()"))
    changed = command("push", "--if-changed", "local/e2e-pushed", model)
    assert changed.returncode == 0, changed.stderr
    newest, oldest = await versions(stack, "local/e2e-pushed")
    assert oldest == made
    assert f"Version local/e2e-pushed:{newest}" in changed.stdout
    assert command("run", "local/e2e-pushed", "-i", "text=loud").stdout == "LOUD\n"
    assert command("run", f"local/e2e-pushed:{made}", "-i", "text=loud").stdout == "loud\n"


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("no-cog-yaml", {"predict_py": PREDICT}, "cog.yaml"),
        ("broken-cog-yaml", {"cog_yaml": "predict: [", "predict_py": PREDICT}, "cog.yaml"),
        ("import-error", {"cog_yaml": COG_YAML, "predict_py": IMPORT_ERROR}, "a_module_that_is_not_there"),
        ("system-packages", {"cog_yaml": SYSTEM_PACKAGES, "predict_py": PREDICT}, "system_packages"),
        ("no-predictor", {"cog_yaml": COG_YAML, "predict_py": "answer = 42\n"}, "Predictor"),
    ],
)
async def test_a_broken_push_fails_with_the_reason_and_makes_no_version(stack, command, tmp_path, name, files, reason):
    done = command("push", f"local/e2e-{name}", directory(tmp_path / "model", **files))
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.startswith("tidemill: ")
    assert await versions(stack, f"local/e2e-{name}") == []


def test_run_prints_text(command, stack):
    done = command("run", "local/e2e_text", "-i", "text=hello there", "-i", "times=2")
    assert (done.returncode, done.stdout) == (0, "[hello there][hello there]\n")


def test_run_sends_a_file_and_saves_a_file(command, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(bytes(range(256)))
    done = command("run", "local/e2e_file", "-i", f"image=@{image}", "-o", tmp_path / "out")
    saved = tmp_path / "out" / "reversed.bin"
    assert (done.returncode, done.stdout) == (0, f"{saved}\n"), done.stderr
    assert saved.read_bytes() == bytes(range(256))[::-1]


def test_run_prints_streamed_text_as_one(command):
    done = command("run", "local/e2e_tokens", "-i", "text=one  two three", "-i", "delay_s=0.1")
    assert (done.returncode, done.stdout) == (0, "one  two three\n"), done.stderr


def test_run_says_why_an_input_is_refused(command):
    done = command("run", "local/e2e_text", "-i", "times=0")
    assert done.returncode == 1
    assert "text is required" in done.stderr
    assert "input.times: Must be greater than or equal to 1" in done.stderr


def test_a_text_stays_a_text_and_what_the_model_does_not_know_is_refused(command):
    assert command("run", "local/e2e_text", "-i", "text=12", "-i", "times=2").stdout.count("12") == 2
    done = command("run", "local/e2e_text", "-i", "text=x", "-i", "time=2")
    assert done.returncode == 1
    assert "the model has no input 'time'; it has text, times" in done.stderr


def test_run_of_a_missing_model_says_so(command):
    done = command("run", "local/e2e-nowhere", "-i", "text=x")
    assert done.returncode == 1
    assert "could not be found" in done.stderr


def test_links_are_refused_before_anything_is_sent(command, tmp_path):
    model = directory(tmp_path / "model", cog_yaml=COG_YAML, predict_py=PREDICT)
    (model / "secrets").symlink_to("/etc/passwd")
    done = command("push", "local/e2e-linked", model)
    assert done.returncode == 1
    assert "secrets" in done.stderr
    shutil.rmtree(model)
