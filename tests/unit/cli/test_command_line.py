"""The command line: names, help, completion, exit statuses."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.lazy_commands import LazyCommand
from tidemill.cli.main import ALIASES, COMMANDS, app

PROGRAM = Path(sys.executable).with_name("tidemill")
GROUP = typer.main.get_command(app)
LISTING = {"list", "get", "versions", "deliveries", "endpoints", "status", "search", "hardware", "account", "limit"}
WITHOUT_PAGES = {"settings", "secret", "collection"}  # as many as fit in one answer


def ran(*arguments, **variables):
    environment = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "HOME": "/nowhere", **variables}
    return subprocess.run([PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=60)


def commands(command=GROUP, path=(), parent=None):
    """Return each command with its words and its context; lazy commands are loaded."""
    if isinstance(command, LazyCommand):
        command = command.loaded()
    context = typer.Context(command, info_name=path[-1] if path else "tidemill", parent=parent)
    yield path, command, context
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name), context)


EVERY = list(commands())


def options(command):
    return {option for each in command.params for option in each.opts}


def test_the_version_is_that_of_the_package():
    assert ran("--version").stdout == f"tidemill {version('tidemill-cli')}\n"


def test_everything_that_lists_or_shows_can_print_json():
    shown = [(path, command) for path, command, _ in EVERY if path and path[-1] in LISTING]
    assert len(shown) >= 24
    assert not [path for path, command in shown if "--json" not in options(command)]


def test_every_list_of_the_api_has_a_limit():
    listed = [(path, command) for path, command, _ in EVERY if path[-1:] == ("list",) and path[0] not in WITHOUT_PAGES]
    assert len(listed) > 8
    assert not [path for path, command in listed if "--limit" not in options(command)]


@pytest.mark.parametrize(("path", "command", "context"), EVERY, ids=[" ".join(path) or "all" for path, _, _ in EVERY])
def test_help_says_what_a_command_does_in_whole_sentences(path, command, context, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = command.get_help(context)
    assert not [line for line in text.splitlines() if line.endswith("...") and "Usage:" not in line]
    assert command.help
    assert not [
        each.name
        for each in command.params
        if not each.hidden
        and each.opts[-1:] != ["--help"]
        and not (getattr(each, "help", None) or each.param_type_name == "argument")
    ]


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("predctions", "'predictions'"),
        ("depl", "'deployments'"),
        ("model", None),
        ("organizations", None),
        ("pus", "'push'"),
    ],
)
def test_an_unknown_command_gets_suggestions(typed, near):
    done = ran(typed)
    assert done.returncode == 2
    if near is None:  # another name of one that is there: its help
        assert "No such command" not in done.stderr
    else:
        assert f"No such command {typed!r}. Did you mean {near}" in done.stderr


def test_aliases_name_commands_and_hide_none():
    assert set(ALIASES.values()) <= set(COMMANDS)
    assert not set(ALIASES) & set(COMMANDS)
    assert {"deployment", "model", "organizations"} <= set(ALIASES)


def test_exit_statuses():
    assert ran("init", "--template", "none").returncode == 2
    missing = ran("predictions", "list")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("tidemill: REPLICATE_API_TOKEN is not set")
    assert CommandError.exit_status == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predictions", "list", "--limit", "many"], "Invalid value for '-n' / '--limit': it must be a whole number"),
        (["predictions", "list", "--limit", "0"], "Invalid value for '-n' / '--limit': it must be at least 1"),
        (["search", "x", "--limit", "51"], "Invalid value for '-n' / '--limit': it must be at most 50"),
        (["init", "--template", "none"], "'none' is not one of 'text', 'image', 'llm', 'async', 'train'."),
        (["dev", "--port", "x"], "Invalid value for '--port': it must be a whole number"),
        (["predictions", "list", "--limt", "3"], "No such option: --limt (Possible options: --limit)"),
    ],
)
def test_a_wrong_value_is_explained_in_words(words, said):
    done = ran(*words)
    assert done.returncode == 2
    assert f"Error: {said}" in done.stderr or done.stderr.rstrip().endswith(said)
    assert "Input should" not in done.stderr
    assert "Value error" not in done.stderr


def test_help_names_values_without_type_names():
    for _, command, context in EVERY:
        options = command.get_help(context).partition("\nOptions:")[2]
        assert not re.search(r"<(str|int|float|file|path|int range)>", options), options


def test_an_unreachable_api_is_named():
    done = ran("predictions", "list", REPLICATE_BASE_URL="http://127.0.0.1:9", REPLICATE_API_TOKEN="x")
    assert (done.returncode, done.stderr) == (
        1,
        "tidemill: cannot reach the API at http://127.0.0.1:9: Connection refused\n",
    )


def test_ctrl_c_ends_a_run_with_130(monkeypatch, capsys):
    from tidemill.cli import main
    from tidemill.cli.errors import Canceled
    from tidemill.cli.run import command as run

    monkeypatch.setattr(main, "app", lambda: (_ for _ in ()).throw(Canceled("canceled")))
    monkeypatch.setattr(main.terminal, "install", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.cli()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "tidemill: canceled\n"
    assert run.Canceled is Canceled


def completed(*words):
    """Return what bash offers for the last word, by the function that `tidemill completion bash` prints."""
    script = f"""
    eval "$(tidemill completion bash)"
    COMP_WORDS=({" ".join(words)!s}) COMP_CWORD={len(words) - 1}
    _tidemill_completion tidemill
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": "/nowhere"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_their_commands_and_options():
    assert completed("tidemill", "pred") == ["predict", "predictions"]
    assert completed("tidemill", "predictions", "c") == ["cancel"]
    assert completed("tidemill", "deployment", "up") == ["update"]  # by its other name
    assert completed("tidemill", "models", "list", "--ow") == ["--owner"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_what_completion_prints(shell):
    done = ran("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_TIDEMILL_COMPLETE" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True, timeout=60)
    assert ran("completion", "csh").returncode == 2


def test_completion_runs_nothing_of_a_command():
    """Completion calls no API and writes nothing: there is no token and no server here."""
    done = ran(_TIDEMILL_COMPLETE="complete_bash", COMP_WORDS="tidemill push a/b --", COMP_CWORD="3")
    assert "--dry-run" in done.stdout.split()
    assert not done.stderr


def test_json_of_a_list_is_one_array(monkeypatch, capsys):
    from tidemill.cli.output.printing import print_list

    print_list(iter([{"id": "a"}, {"id": "b"}, {"id": "c"}]), lambda each: [each["id"]], limit=2, as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == [{"id": "a"}, {"id": "b"}]
    assert printed.err == "There are more; --limit 4 shows twice as many.\n"
    print_list(iter([]), lambda each: [each["id"]], limit=None, as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_list_is_read_no_further_than_its_limit(capsys):
    from tidemill.cli.output.printing import print_list

    read = []
    found = (read.append(number) or {"id": str(number)} for number in range(1000))
    print_list(found, lambda each: [each["id"]], limit=3, as_json=False)
    assert capsys.readouterr().out == "0\n1\n2\n"
    assert len(read) == 4  # one more says that there are more


def test_columns_are_aligned():
    from tidemill.cli.output.printing import align, one_line

    assert align([["a", "longer", "x"], ["bcd", "e", ""]]) == ["a    longer  x", "bcd  e"]
    assert align([]) == []
    assert one_line({"a": "ü\n"}) == '{"a": "ü\\n"}'
    assert len(one_line("x" * 1000)) == 201
    assert len(one_line(f"https://example.com/{'x' * 1000}")) == 1020


def test_no_word_is_spelt_two_ways():
    """`organization` is what the API's paths say."""
    root = Path(__file__).parents[3]
    texts = [
        *root.glob("README.md"),
        *root.glob("docs/**/*"),
        *root.glob("libs/**/*.py"),
        *root.glob("services/**/*.py"),
    ]
    wrong = re.compile(r"organi[s]", re.IGNORECASE)
    assert len(texts) > 300
    assert not [path for path in texts if path.is_file() and wrong.search(path.read_text(errors="ignore"))]
