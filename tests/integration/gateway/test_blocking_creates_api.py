"""Blocking creates (Prefer: wait) answer with all of the outcome, whatever the event that wakes them leaves out."""

import asyncio

import pytest

from tidemill.contracts.limits import INLINE_OUTPUT_LIMIT_BYTES
from tidemill.contracts.prediction import Status
from tidemill.runtime.clock import now
from tidemill.runtime.predictions import announcements, ending
from tidemill.runtime.predictions.outcome import Outcome

PAST_INLINE = "x" * (INLINE_OUTPUT_LIMIT_BYTES + 1)
SAVED = "UPDATE prediction SET output = '[\"first\"]', logs = 'saved\n' WHERE id = $1"


@pytest.fixture
def waiting_create(gateway, alice, echo):
    """Send a blocking create; return its task and, once the row is there, the prediction's id."""

    async def create():
        body, headers = {"version": echo, "input": {"text": "x"}}, {"Prefer": "wait=60"}
        task = asyncio.create_task(gateway.ask("POST", "/v1/predictions", alice, json=body, headers=headers))
        statement = "SELECT id FROM prediction WHERE account_id = $1 AND status = 'starting'"
        while not (rows := await gateway.parts.database.fetch(statement, alice.id)):
            await asyncio.sleep(0.02)
        return task, rows[0]["id"]

    return create


async def test_an_output_too_large_for_the_event_is_in_the_answer(waiting_create, finish):
    task, prediction = await waiting_create()
    await finish(prediction, PAST_INLINE)
    status, answer = await task
    assert (status, answer["status"]) == (201, "succeeded")
    assert answer["output"] == PAST_INLINE


async def test_an_end_without_output_and_logs_answers_with_those_that_the_row_kept(gateway, waiting_create):
    """As of one that is canceled from outside, or that the scheduler ends."""
    task, prediction = await waiting_create()
    await gateway.parts.database.execute(SAVED, prediction)
    end = Outcome(id=prediction, attempt=1, status=Status.CANCELED, completed_at=now())
    ended = await ending.end(gateway.parts.ending_connection, [end])
    await announcements.announce(gateway.parts.bus, [(ended[prediction], end)])
    _, answer = await task
    assert (answer["status"], answer["output"], answer["logs"]) == ("canceled", ["first"], "saved\n")
