"""One home for each life: who writes a table, who spells a prediction's status, and where SQL is put together."""

import ast
import re
from pathlib import Path

import pytest

from tidemill.contracts.prediction import Status

ROOT = Path(__file__).parents[2]
RUNTIME = "libs/runtime/src/tidemill/runtime/"
# Who may write a table. What is not listed is written where its service needs it.
OWNERS = {
    "account": RUNTIME + "accounts/",
    "token": RUNTIME + "accounts/",
    "prediction": RUNTIME + "predictions/",
    "webhook_delivery": RUNTIME + "deliveries/",
    "walk": RUNTIME + "scan.py",
}
# Writes that stand elsewhere, each with its reason.
WRITTEN_ELSEWHERE = {
    "libs/testing/": "tests make rows of every kind",
}
WRITE = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE)\s+(?:ONLY\s+)?([a-z_]+)", re.IGNORECASE
)

# Who spells a word that is also a prediction's status, and what it means there.
SPELLED = {
    "libs/contracts/": "the enum, and the schemas of the API",
    "libs/cli/": "a client reads the JSON of the API",
    "libs/hosting/src/tidemill/hosting/child/frames.py": "how a child's frame says that a run ended",
    "libs/hosting/src/tidemill/hosting/local/": "how a local run ended, by its child's frames",
    "libs/model/": "imports no contracts: its frames, and the schema that it shows",
    "libs/runtime/src/tidemill/runtime/deliveries/removal.py": "a delivery's status",
    "libs/runtime/src/tidemill/runtime/service.py": "a log message",
    "libs/security/src/tidemill/security/egress/proxy.py": "how a connection ended",
    "libs/stack/": "a phase of the stack",
    "libs/testing/": "tests read the JSON of the API and the rows",
    "services/gateway/src/tidemill/gateway/handlers/versions.py": "a boot's status",
    "services/gateway/src/tidemill/gateway/live/sse.py": "the reason in a stream's last event",
    "services/scheduler/src/tidemill/scheduler/fleet.py": "an instance's state",
    "services/storage-janitor/src/tidemill/storage_janitor/store_uploads.py": "a push's status",
    "services/webhook-dispatcher/": "a delivery's status",
    "services/worker/src/tidemill/worker/cache/prefetch.py": "how a fetch ended",
    "services/worker/src/tidemill/worker/instances/": "an instance's state",
    "services/worker/src/tidemill/worker/runs/instance.py": "an instance's state",
    "services/worker/src/tidemill/worker/runs/run": "run.py and run_table.py: the status in a child's frame",
    "services/worker/src/tidemill/worker/versions/push_store.py": "a push's status",
}
WORDS = "|".join(Status)
LITERAL = re.compile(rf"^(?:{WORDS})$|'(?:{WORDS})'")

# Whose functions put SQL together for a call, and from what. Values are parameters everywhere.
SQL = re.compile(r"\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM)\s")
BUILT_FOR_A_CALL = {
    "libs/runtime/src/tidemill/runtime/accounts/life.py": "columns of SETTINGS",
    "libs/runtime/src/tidemill/runtime/predictions/fences.py": "conditions, called at import",
    "libs/testing/": "tests name columns",
    "services/gateway/src/tidemill/gateway/stores/": "conditions and orders of lists, and columns, all of ours",
}


def sources():
    for folder in ("libs", "services"):
        for path in sorted((ROOT / folder).glob("*/src/**/*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def texts(tree):
    """Yield (line, text) of each string but the docstrings; what an f-string inserts is a `?` in its text."""
    skipped = {id(node) for node in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            parts = (part.value if isinstance(part, ast.Constant) else "?" for part in node.values)
            yield node.lineno, "".join(parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def foreign_writes(name, tree):
    """Yield (line, table) of each write of a table that the module does not own."""
    for line, text in texts(tree):
        for table in WRITE.findall(text):
            if table in OWNERS and not name.startswith(OWNERS[table]):
                yield line, table


def spelled_statuses(tree):
    """Yield the lines that spell a status, as a string or in SQL."""
    return sorted({line for line, text in texts(tree) if LITERAL.search(text)})


def built_in_functions(tree):
    """Yield the lines in functions that put SQL together with an f-string; at import there is no input to inject."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for line, text in texts(function):
                if SQL.search(text) and "?" in text:
                    yield line


def test_tables_are_written_by_their_owners_alone():
    wrong = [
        f"{name}:{line} writes {table}"
        for name, tree in sources()
        if not name.startswith(tuple(WRITTEN_ELSEWHERE))
        for line, table in foreign_writes(name, tree)
    ]
    assert not wrong


def test_statuses_are_spelled_in_the_contracts_alone():
    found = {name: lines for name, tree in sources() if (lines := spelled_statuses(tree))}
    wrong = {name: lines for name, lines in found.items() if not name.startswith(tuple(SPELLED))}
    assert not wrong, "use contracts.prediction.Status, or say in SPELLED what the word means there"
    idle = [each for each in SPELLED if not any(name.startswith(each) for name in found)]
    assert not idle, "these spell no such word any more"


def test_sql_is_put_together_at_import():
    """So nothing that a user sent can be in its text: values are parameters."""
    found = {name: lines for name, tree in sources() if (lines := sorted(set(built_in_functions(tree))))}
    wrong = {name: lines for name, lines in found.items() if not name.startswith(tuple(BUILT_FOR_A_CALL))}
    assert not wrong, "build it at import, or say in BUILT_FOR_A_CALL what it is built from"
    idle = [each for each in BUILT_FOR_A_CALL if not any(name.startswith(each) for name in found)]
    assert not idle, "these build no SQL for a call any more"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('SQL = "UPDATE prediction SET x = 1"', [(1, "prediction")]),
        ('SQL = f"""\nINSERT INTO webhook_delivery ({COLUMNS}) SELECT 1"""', [(1, "webhook_delivery")]),
        ('SQL = "WITH a AS (delete from walk) SELECT 1"', [(1, "walk")]),
        ('SQL = "UPDATE model SET x = 1"', []),
        ('def f():\n    """UPDATE prediction: who calls it."""', []),
    ],
)
def test_a_write_elsewhere_is_found(source, found):
    assert list(foreign_writes("services/gateway/store.py", ast.parse(source))) == found
    assert list(foreign_writes(OWNERS["prediction"] + "x.py", ast.parse('SQL = "UPDATE prediction SET x = 1"'))) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('if status == "processing":\n    pass', [1]),
        ("SQL = f\"SELECT {COLUMNS} FROM prediction WHERE status = 'starting'\"", [1]),
        ('text = "the run failed"', []),
        ('status = f"{Status.FAILED}"', []),
    ],
)
def test_a_spelled_status_is_found(source, lines):
    assert spelled_statuses(ast.parse(source)) == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('def f(name):\n    return f"SELECT {name} FROM prediction"', [2]),
        ('SQL = f"SELECT {COLUMNS} FROM prediction"', []),
        ('def f():\n    return "SELECT 1"', []),
    ],
)
def test_sql_that_a_function_builds_is_found(source, lines):
    assert list(built_in_functions(ast.parse(source))) == lines
