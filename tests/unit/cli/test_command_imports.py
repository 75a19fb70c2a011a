"""Commands import what they need and not what others need; help imports next to nothing."""

import json
import subprocess
import sys

import pytest
import typer

from tidemill.cli.main import COMMANDS, app

# Packages that run models, use the bus or the database, or serve: they take longer to import than most commands run.
HEAVY = {
    *("aiohttp", "asyncpg", "mcp", "minio", "nats", "opentelemetry", "prometheus_client", "structlog", "torch"),
    *("uvicorn", "uvloop"),
}
CALLS = """
import contextlib, io, json, sys
from tidemill.cli.main import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["tidemill", *arguments]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        cli()
print(json.dumps(sorted(sys.modules)))
"""
GROUP = typer.main.get_command(app)


def imported(tmp_path, *calls):
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(calls)],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("call", [["--help"], [], ["nonsense"]], ids=["help", "nothing", "nonsense"])
def test_calls_without_a_command_import_no_command(tmp_path, call):
    modules = imported(tmp_path, call)
    ours = {name for name in modules if name.startswith("tidemill.")}
    assert ours == {
        "tidemill.cli",
        *(f"tidemill.cli.{name}" for name in ("errors", "lazy_commands", "main", "output", "output.terminal")),
    }
    assert not modules & {*HEAVY, "httpx", "msgspec", "rich"}


def test_help_imports_nothing_heavy(tmp_path):
    assert not imported(tmp_path, *([name, "--help"] for name in COMMANDS)) & HEAVY


def test_light_commands_import_nothing_heavy(tmp_path):
    """They start, and fail at once: most for lack of a token."""
    (tmp_path / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    calls = (
        ["init", "made"],
        *(["run", "a/b"], ["logs", "x"], ["train", "a/b", "a/c"], ["push", "a/b"], ["push", "a/b", "--lint"]),
        *(["token", "list"], ["token", "create"], ["org", "list"], ["webhooks", "deliveries"], ["deployment", "list"]),
        *(["predictions", "list"], ["predictions", "cancel", "x"], ["trainings", "list"], ["models", "list"]),
        *(["models", "get", "a/b"], ["files", "list"], ["search", "x"], ["hardware"], ["account"]),
        *(["example", "list", "a/b"], ["secret", "list", "a/b"], ["account", "limit", "a"], ["worker", "status"]),
    )
    assert not imported(tmp_path, *calls) & HEAVY


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    line = COMMANDS[name][1]
    assert GROUP.commands[name].get_short_help_str() == line
    assert GROUP.commands[name].loaded().help.replace("\n", " ").startswith(line)
