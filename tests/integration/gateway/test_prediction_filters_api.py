"""The list of predictions, narrowed, and bounded in what one page reads."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.contracts.ids import id_at
from tidemill.testing import rows

DAY = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SUCCEEDED, FAILED = "succeeded", "failed"


@pytest.fixture
async def listed(gateway, alice):
    """Every page that the query leads to: ids of results by page."""

    async def pages(query="", direction="next", path=None):
        path, found = path or f"/predictions?{query}", []
        while path:
            async with gateway.http.get(f"{gateway.url}/v1{path}", headers=alice.headers) as response:
                body = await response.json()
                assert response.status == 200, body
            found.append([each["id"] for each in body["results"]])
            path = body[direction] and body[direction].partition("/v1")[2]
        return found

    return pages


@pytest.fixture(name="rows")
async def made_rows(gateway, alice, mallory):
    """A hundred predictions, a minute apart, the newest first."""
    ids = []
    for n in range(100):
        at = DAY + timedelta(minutes=n)
        identifier = id_at(int(at.timestamp() * 1000), int(alice.id.encode().hex(), 16) % 2**79 + n)
        await rows.prediction(
            gateway.parts.database,
            id=identifier,
            account_id=alice.id,
            model=f"o/m{n % 4}",
            version=f"{n % 4:064x}",
            source="web" if n % 10 == 0 else "api",
            status=(SUCCEEDED, FAILED, "canceled", "processing", "starting")[n % 5],
            created_at=at,
            deployment="o/d" if n % 25 == 0 else None,
            kind="training" if n == 98 else "prediction",
            deleted_at=at if n == 97 else None,
        )
        ids.append(identifier)
    return ids


def wanted(rows, check):
    return [rows[n] for n in reversed(range(100)) if check(n) and n not in {97, 98}]


def at(minutes):
    return (DAY + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


CASES = [
    ("", lambda n: True),
    ("model=o/m1", lambda n: n % 4 == 1),
    ("model=o/none", lambda n: False),
    (f"version={2:064x}", lambda n: n % 4 == 2),
    ("status=failed", lambda n: n % 5 == 1),
    ("status=failed,canceled", lambda n: n % 5 in {1, 2}),
    ("source=web", lambda n: n % 10 == 0),
    ("source=api", lambda n: n % 10 != 0),
    ("deployment=o/d", lambda n: n % 25 == 0),
    (f"created_after={at(10)}&created_before={at(20)}", lambda n: 10 <= n < 20),
    (f"created_after={at(10).removesuffix('Z')}", lambda n: n >= 10),  # UTC
    (f"created_after={at(130).replace('Z', '+02:00')}", lambda n: n >= 10),  # with the + as it is
    (f"created_after={at(-110).replace('Z', '-02:00').replace('T', '%20')}", lambda n: n >= 10),
    (f"created_after={DAY.date()}&created_before={at(5)}", lambda n: n < 5),
    (f"created_before={DAY.date()}", lambda n: False),
    (
        f"created_after={at(50)}&model=o/m3&status=succeeded,starting",
        lambda n: n >= 50 and n % 4 == 3 and n % 5 in {0, 4},
    ),
]


@pytest.mark.parametrize(("query", "check"), CASES)
@pytest.mark.parametrize("scan", [20_000, 7])
async def test_filters(rows, listed, monkeypatch, query, check, scan):
    monkeypatch.setattr("tidemill.gateway.stores.predictions.SCAN_LIMIT", scan)
    found = await listed(query)
    assert [each for page in found for each in page] == wanted(rows, check)
    if scan == 20_000:
        assert len(found) == 1


async def test_pages_of_a_narrow_filter_lead_there_and_back(gateway, alice, rows, listed, monkeypatch):
    monkeypatch.setattr("tidemill.gateway.handlers.predictions.PAGE_SIZE", 3, raising=False)
    monkeypatch.setattr("tidemill.gateway.stores.predictions.SCAN_LIMIT", 10)
    query = "/predictions?model=o/m1"
    seen, path, previous = [], query, None
    while path:
        async with gateway.http.get(f"{gateway.url}/v1{path}", headers=alice.headers) as response:
            body = json.loads(await response.read())
        seen += [each["id"] for each in body["results"]]
        path, previous = body["next"] and body["next"].partition("/v1")[2], body["previous"] or previous
        assert "model=o%2Fm1" in (path or query.replace("/m", "%2Fm"))
    assert seen == wanted(rows, lambda n: n % 4 == 1)
    back = await listed(direction="previous", path=previous.partition("/v1")[2])
    assert set(seen) >= {each for page in back for each in page}


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "status=",
        "status=failed,,canceled",
        "model=nobody",
        "version=1",
        "source=cli",
        "created_after=x",
        "created_after=2026-13-01",
        "created_after=2026-01-01T25:00:00Z",
        "created_before=2026-01-01T00:00:00 02",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-12:00",
    ],
)
async def test_filters_that_say_nothing_are_refused(gateway, alice, query):
    async with gateway.http.get(f"{gateway.url}/v1/predictions?{query}", headers=alice.headers) as response:
        assert response.status == 400


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_moments_far_away(listed, rows, moment):
    for query in (f"created_after={moment}", f"created_before={moment}"):
        found = await listed(query)
        everything = (moment < "1") == query.startswith("created_after")
        assert [each for page in found for each in page] == (wanted(rows, lambda n: True) if everything else [])
