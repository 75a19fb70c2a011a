"""Every statement of the runbooks is one that the database takes: tables, columns, functions and their types."""

import re
from pathlib import Path

import asyncpg
import pytest

from tidemill.testing.servers import migrated

PAGES = sorted((Path(__file__).parents[3] / "deploy" / "runbooks").glob("*.md"))
BLOCK = re.compile(r"```sql\n(.*?)```", re.DOTALL)
SPAN = re.compile(r"`((?:SELECT|UPDATE|DELETE FROM|INSERT INTO|WITH) [^`]+)`")


def statements(page):
    text = page.read_text()
    found = [each for block in BLOCK.findall(text) for each in block.split(";")]
    found += SPAN.findall(BLOCK.sub("", text))
    return [each.strip() for each in found if each.strip() not in {"", "BEGIN", "COMMIT"}]


@pytest.fixture(scope="module")
async def connection(tmp_path_factory):
    async with migrated(tmp_path_factory.mktemp("runbooks") / "postgres") as server:
        connection = await asyncpg.connect(server.url)
        yield connection
        await connection.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_the_database_takes_the_statements(connection, page):
    for statement in statements(page):
        await connection.prepare(statement)


def test_they_are_found():
    assert sum(len(statements(page)) for page in PAGES) > 30
