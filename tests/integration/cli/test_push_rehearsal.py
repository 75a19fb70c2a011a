"""`tidemill push --lint` and `--dry-run`: without token and server, with the messages of a push."""

PREDICT = """from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        raise RuntimeError("a push does not set a model up")

    def predict(self, text: str = Input(description="What to say")) -> str:
        return text
"""


def test_a_dry_run_imports_and_sends_nothing(tidemill, model):
    done = tidemill("push", "ada/mill", model(PREDICT), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "input text: What to say" in done.stdout
    assert "2 files" in done.stdout
    assert "Nothing was sent." in done.stdout


def test_a_dry_run_fails_as_the_push_would(tidemill, model):
    done = tidemill("push", "ada/mill", model(PREDICT.replace("import", "import nothing_here\nimport", 1)), "--dry-run")
    assert done.returncode == 1
    unannotated = tidemill("push", "ada/mill", model(PREDICT.replace(" -> str", "")), "--dry-run")
    assert unannotated.returncode == 1
    assert "the return annotation is missing" in unannotated.stderr


def test_a_dry_run_warns_of_what_a_push_would_warn_of(tidemill, model):
    wants_a_gpu = model("raise RuntimeError('Found no NVIDIA driver')\n" + PREDICT)
    (wants_a_gpu / "cog.yaml").write_text("build: {python_version: '3.9'}\npredict: 'predict.py:Predictor'\n")
    done = tidemill("push", "ada/mill", wants_a_gpu, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "3.9 is too old" in done.stderr
    assert "its schema was made of its source alone" in done.stderr
    assert "input text: What to say" in done.stdout


def test_a_dry_run_warns_of_a_default_that_callers_could_not_send(tidemill, model):
    directory = model(PREDICT.replace("Input(", "Input(default='', min_length=1, "))
    done = tidemill("push", "ada/mill", directory, "--dry-run")
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "the default of 'text' is not what the input takes (must have a length of at least 1)" in warning


def test_a_lint_names_errors_and_warnings_and_runs_nothing(tidemill, model):
    directory = model("raise SystemExit('it was run')", **{".env": "KEY=1"})
    warned = tidemill("push", "ada/mill", directory, "--lint")
    assert (warned.returncode, warned.stdout) == (0, "")
    assert "warning: .env: such files hold secrets" in warned.stderr
    (directory / "cog.yaml").write_text("build:\n  system_packages: [ffmpeg]\npredict: 'predict.py:Predictor'\n")
    refused = tidemill("push", "ada/mill", directory, "--lint")
    assert refused.returncode == 1
    assert "error: cog.yaml: build.system_packages needs a container" in refused.stderr
    assert "a push would fail: 1 error" in refused.stderr
