"""What the documentation and the runbooks name exists: metrics, settings, tables, commands, recipes, pages."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from tidemill.cli.lazy_commands import LazyCommand
from tidemill.cli.main import app

ROOT = Path(__file__).parents[2]
PYTHON = sorted([*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/*/src/**/*.py")])
RUNBOOKS = ROOT / "deploy" / "runbooks"
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *ROOT.glob("services/*/README.md"),
        *ROOT.glob("libs/*/README.md"),
    ]
)
CODE = re.compile(r"^ *```[^\n`]*\n(.*?)^ *```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
METRIC = re.compile(r"\btidemill_\w+")
SETTING = re.compile(r"\bTIDEMILL_[A-Z0-9_]*[A-Z0-9]\b")
TABLE = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO) ([a-z_]+)\b(?!\()")
SERVERS_OWN = re.compile(r"pg_\w+|unnest")
ENDPOINT = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)`")
RECIPE = re.compile(r"\./just ([a-z][a-z-]*)")


def code_of(page):
    """The blocks and the spans of code in a page of Markdown."""
    return [block or span for block, span in CODE.findall(page.read_text())]


def calls_of(tree, *names):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


@pytest.fixture(scope="module")
def metrics():
    trees = [ast.parse(path.read_text()) for path in PYTHON]
    made = [call for tree in trees for call in calls_of(tree, "Counter", "Gauge", "Histogram", "Metric") if call.args]
    return {call.args[0].value for call in made if isinstance(call.args[0], ast.Constant)}


@pytest.fixture(scope="module")
def settings():
    """The fields of every config, and the variables that scripts, the stack and the commands read by their names."""
    fields = {
        f"TIDEMILL_{node.target.id.upper()}"
        for path in PYTHON
        if path.name == "config.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    spelled = [*PYTHON, *(ROOT / "deploy").glob("*.sh"), ROOT / "just", ROOT / "justfile"]
    return fields.union(*(SETTING.findall(path.read_text()) for path in spelled))


@pytest.fixture(scope="module")
def tables():
    runtime = ROOT / "libs" / "runtime" / "src" / "tidemill" / "runtime"
    texts = [path.read_text() for path in [*runtime.glob("migrations/*.sql"), runtime / "migrate.py"]]
    made = re.compile(r"CREATE (?:UNLOGGED )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?(\w+)")
    return {name for text in texts for name in made.findall(text)}


def test_metrics_exist(metrics):
    named = {(page.name, name) for page in PAGES for name in METRIC.findall(page.read_text())}
    assert len(named) > 20
    assert not {(page, name) for page, name in named if name not in metrics}


def test_metrics_are_told_of(metrics):
    text = "".join(page.read_text() for page in PAGES)
    assert not {name for name in metrics if name not in text}


def test_settings_exist(settings):
    named = {(page.name, name) for page in PAGES for name in SETTING.findall(page.read_text())}
    assert len(named) > 100
    assert not {(page, name) for page, name in named if name not in settings}


def test_tables_exist(tables):
    named = {
        (page.name, name)
        for page in PAGES
        for code in code_of(page)
        for name in TABLE.findall(code)
        if not SERVERS_OWN.fullmatch(name)
    }
    assert len(named) > 20
    assert not {(page, name) for page, name in named if name not in tables}


def test_recipes_exist():
    recipes = set(re.findall(r"^@?([a-z][a-z-]*)[ A-Z*]*:(?!=)", (ROOT / "justfile").read_text(), re.MULTILINE))
    named = {(page.name, name) for page in PAGES for name in RECIPE.findall(page.read_text())}
    assert len(named) > 10
    assert not {(page, name) for page, name in named if name not in recipes}


def commands_in(page):
    """Each `tidemill …` of a page's code, as words; what a shell would not read is no command."""
    for code in code_of(page):
        for line in code.replace("\\\n", " ").splitlines():
            words = re.match(r"\s*(?:\$ )?tidemill ([a-z].*)", line)
            if words:
                try:
                    yield shlex.split(words[1], comments=True)
                except ValueError:
                    yield words[1].split()


def fault_of(words):
    """What of a command line does not exist; None when all does."""
    command, said = typer.main.get_command(app), []
    for word in words:
        if not hasattr(command, "commands") or word.startswith("-"):
            break
        found = command.get_command(None, word)
        if found is None:
            return f"tidemill {' '.join([*said, word])}"
        command, said = found, [*said, word]
        if isinstance(command, LazyCommand):
            command = command.loaded()
    known = {option for each in command.params for option in [*each.opts, *each.secondary_opts]} | {"--help"}
    wrong = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"tidemill {' '.join([*said, *wrong])}" if wrong else None


def test_commands_exist():
    named = [(page.name, words) for page in PAGES for words in commands_in(page)]
    assert len(named) > 50
    assert not {(page, fault) for page, words in named if (fault := fault_of(words))}


def test_endpoints_exist():
    documented = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    known = {(verb.upper(), without_names(path)) for path, verbs in documented.items() for verb in verbs}
    known |= {("GET", path) for path in ("/live", "/ready", "/metrics")}
    pages = "".join(page.read_text() for page in RUNBOOKS.glob("*.md"))
    named = {(verb, without_names(path)) for verb, path in ENDPOINT.findall(pages)}
    assert len(named) > 5
    assert not named - known


def without_names(path):
    """Paths differ by what stands between their parameters, whatever those are called."""
    return re.sub(r"{\w+}", "{}", path)


def test_what_runbooks_quote_of_logs_is_said_somewhere():
    said = "".join(path.read_text() for path in PYTHON)
    quoted = {
        (page.name, span)
        for page in RUNBOOKS.glob("*.md")
        for span in code_of(page)
        if re.fullmatch(r"[a-z]+(?: [a-z]+)+", span) and not span.startswith("tidemill ")
    }
    assert len(quoted) > 10
    assert not {(page, span) for page, span in quoted if f'"{span}' not in said}


@pytest.mark.parametrize(
    "page", sorted(set(RUNBOOKS.glob("*.md")) - {RUNBOOKS / "README.md"}), ids=lambda page: page.stem
)
def test_a_runbook_is_in_the_index_and_has_the_parts(page):
    text = page.read_text()
    assert f"]({page.name})" in (RUNBOOKS / "README.md").read_text()
    titles = " ".join(re.findall(r"^## (.*)$", text, re.MULTILINE)).lower()
    for part in ("what you see", "what it means", "to do", "how to tell that it is over"):
        assert part in titles, part


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(RUNBOOKS.glob("*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]
