"""Where the SQL of services stands: `store.py`, `<subject>_store.py` beside its subject, or a folder `stores/`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The first words of a statement, or of a part of one that is put together. `[a-z]` leaves out prose and headings.
STATEMENT = re.compile(
    r"\s*(?:SELECT\b|INSERT INTO [a-z]|UPDATE [a-z]+ |DELETE FROM [a-z]|WITH [a-z_]+ AS|LOCK TABLE |TRUNCATE )"
)


def is_store(path):
    return (
        path.stem == "store" or path.stem.startswith("store_") or path.stem.endswith("_store") or "stores" in path.parts
    )


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def statements(source):
    """The lines of a module where a string begins like an SQL statement."""
    tree = ast.parse(source)
    prose = {id(node) for node in docstrings(tree)}
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        if text and STATEMENT.match(node.value):
            yield node.lineno


def test_sql_of_services_stands_in_stores_only():
    wrong = {}
    for path in sorted((ROOT / "services").glob("*/src/**/*.py")):
        name = str(path.relative_to(ROOT))
        lines = [] if is_store(path) else list(statements(path.read_text()))
        if lines:
            wrong[name] = lines
    assert not wrong, "move these statements into the service's store.py or stores/"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('SQL = "SELECT id FROM version"', [1]),
        ('SQL = f"""\nUPDATE account SET name = {name}"""', [1]),
        ('async def f(db):\n    await db.execute("DELETE FROM file WHERE id = $1", 1)', [2]),
        ('SQL = "WITH due AS (SELECT 1) SELECT * FROM due"', [1]),
        ('def f():\n    """SELECT is a word of SQL."""\n    return "Update the model first."', []),
        ('"""UPDATE of a docstring """', []),
    ],
)
def test_a_statement_is_found(source, lines):
    assert list(statements(source)) == lines


@pytest.mark.parametrize(
    ("path", "store"),
    [
        ("x/store.py", True),
        ("x/store_events.py", True),
        ("x/runs/urgent_store.py", True),
        ("x/stores/files.py", True),
        ("x/handlers/files.py", False),
    ],
)
def test_a_store_is_known_by_its_name(path, store):
    assert is_store(Path(path)) is store
