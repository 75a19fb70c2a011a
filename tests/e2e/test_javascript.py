"""`replicate` 1.4.0 for JavaScript, unmodified."""

import base64
import json

from tidemill.testing.running import until

TEXT = "one  two\nthree four\n five"
WORDS = ["one  ", "two\n", "three ", "four\n ", "five"]


async def test_run_gives_text(javascript):
    assert await javascript("text", model="local/e2e_text", given={"text": "grüß Gott", "times": 2}) == (
        "[grüß Gott][grüß Gott]"
    )


async def test_run_takes_a_file_and_gives_a_file_output(javascript, tmp_path):
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(range(256)) * 300)
    result = await javascript("file", model="local/e2e_file", path=str(image))
    assert result["type"] == "FileOutput"
    assert base64.b64decode(result["content"]) == image.read_bytes()[::-1]


async def test_stream_gives_each_chunk_while_the_model_runs(javascript):
    result = await javascript("stream", model="local/e2e_tokens", given={"text": TEXT, "delay_s": 0.5})
    assert [data for event, data in result["events"] if event == "output"] == WORDS
    assert result["events"][-1] == ["done", "{}"]
    assert result["status_at_first"] in {"starting", "processing"}


async def test_created_predictions_are_polled_to_the_end(javascript):
    result = await javascript("poll", model="local/e2e_sleep", given={"seconds": 1})
    assert (result["first"], result["status"], result["output"]) == ("starting", "succeeded", "slept 1 s")
    assert 1 <= result["metrics"]["predict_time"] <= result["metrics"]["total_time"]


async def test_a_running_prediction_is_canceled(javascript):
    result = await javascript("cancel", model="local/e2e_sleep", given={"seconds": 600})
    assert result == {"before": "processing", "after": "canceled", "later": "canceled"}


async def test_pages_hold_every_prediction_once_newest_first(javascript, listing):
    pages = await javascript("pages", token=listing.token)
    assert pages == [listing.ids[:100], listing.ids[100:]]


async def test_its_own_function_validates_a_webhook(javascript, receiver):
    made = await javascript("webhook", model="local/e2e_text", given={"text": "ring"}, url=receiver.url)
    await until("a delivery", lambda: receiver.deliveries)
    (delivery,) = receiver.deliveries
    sent = json.loads(delivery.body)
    assert (sent["id"], sent["status"], sent["output"]) == (made, "succeeded", "[ring]")
    forged = delivery.body.replace("[ring]", "[rung]")
    assert await javascript("validate", headers=delivery.headers, body=delivery.body) is True
    assert await javascript("validate", headers=delivery.headers, body=forged) is False


async def test_a_refused_input_raises_with_the_reason(javascript):
    result = await javascript("error", model="local/e2e_text", given={"text": "x", "times": 10})
    assert (result["type"], result["status"]) == ("ApiError", 422)
    assert "input.times: Must be less than or equal to 9" in result["message"]
