"""What ends a try of a delivery is fenced by the number of tries, and the first body stays."""

import pytest

from tidemill.testing import rows as tables
from tidemill.webhook_dispatcher import store
from tidemill.webhook_dispatcher.sender import TryResult

FAILED = TryResult(status=500, error="status 500", at=1.0, duration_s=1.0)


@pytest.fixture
async def delivery(database):
    """A delivery that has been tried once."""
    await tables.account(database, "a")
    prediction = await tables.prediction(database, status="succeeded", output='"x"')
    await tables.delivery(database, "a", prediction, id="msg_1", tries=1, body="first")
    return "msg_1"


async def row(database, delivery):
    return await database.row("SELECT * FROM webhook_delivery WHERE id = $1", delivery)


async def test_a_retry_keeps_the_body_of_the_first_try(database, delivery):
    """Whatever the prediction says meanwhile, the receiver gets the same bytes under the same id."""
    await store.retry(database, await row(database, delivery), FAILED, "second", 60.0)
    after = await row(database, delivery)
    assert (after["tries"], after["body"], after["status"]) == (2, "first", "pending")


@pytest.mark.parametrize("tries", [0, 2])
async def test_a_try_that_outlived_its_lease_changes_nothing(database, delivery, tries):
    before = await row(database, delivery)
    late = {**before, "tries": tries}
    await store.retry(database, late, FAILED, "late", 60.0)
    await store.finish(database, late, "failed", FAILED, "late")
    assert await row(database, delivery) == before


async def test_what_is_finished_is_not_finished_again(database, delivery):
    first = await row(database, delivery)
    await store.finish(database, first, "delivered", FAILED, "body")
    finished = await row(database, delivery)
    await store.finish(database, first, "failed", FAILED, "body")
    await store.retry(database, first, FAILED, "late", 60.0)
    assert await row(database, delivery) == finished
    assert finished["status"] == "delivered"
