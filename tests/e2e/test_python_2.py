"""`replicate` 2.0.0b4 for Python, unmodified."""

import base64
import json

from tidemill.testing.running import until

TEXT = "one  two\nthree four\n five"
WORDS = ["one  ", "two\n", "three ", "four\n ", "five"]


async def test_run_gives_text(python_2):
    assert await python_2("text", model="local/e2e_text", given={"text": "grüß Gott", "times": 2}) == (
        "[grüß Gott][grüß Gott]"
    )


async def test_run_takes_a_file_and_gives_a_file_output(python_2, tmp_path):
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(range(256)) * 300)
    result = await python_2("file", model="local/e2e_file", path=str(image))
    assert result["type"] == "FileOutput"
    assert base64.b64decode(result["content"]) == image.read_bytes()[::-1]


async def test_use_takes_a_file_and_gives_a_path_that_is_downloaded_when_read(python_2, tmp_path):
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(range(256)) * 300)
    result = await python_2("use_file", model="local/e2e_file", path=str(image))
    assert result["type"] == "URLPath"
    assert base64.b64decode(result["content"]) == image.read_bytes()[::-1]


async def test_use_streams_each_chunk_while_the_model_runs(python_2):
    result = await python_2("stream", model="local/e2e_tokens", given={"text": TEXT, "delay_s": 0.5})
    assert result["chunks"] == WORDS
    assert result["status_at_first"] == "processing"


async def test_use_joins_what_a_model_yields(python_2):
    assert await python_2("use", model="local/e2e_tokens", given={"text": TEXT}) == TEXT


async def test_created_predictions_are_polled_to_the_end(python_2):
    result = await python_2("poll", model="local/e2e_sleep", given={"seconds": 1})
    assert (result["first"], result["status"], result["output"]) == ("starting", "succeeded", "slept 1 s")
    assert 1 <= result["metrics"]["predict_time"] <= result["metrics"]["total_time"]


async def test_a_running_prediction_is_canceled(python_2):
    result = await python_2("cancel", model="local/e2e_sleep", given={"seconds": 600})
    assert result == {"before": "processing", "after": "canceled", "later": "canceled"}


async def test_pages_hold_every_prediction_once_newest_first(python_2, listing):
    pages = await python_2("pages", token=listing.token)
    assert pages == [listing.ids[:100], listing.ids[100:]]


async def test_a_webhook_is_validated_as_its_scheme_says(python_2, receiver):
    made = await python_2("webhook", model="local/e2e_text", given={"text": "ring"}, url=receiver.url)
    await until("a delivery", lambda: receiver.deliveries)
    (delivery,) = receiver.deliveries
    sent = json.loads(delivery.body)
    assert (sent["id"], sent["status"], sent["output"]) == (made, "succeeded", "[ring]")
    forged = delivery.body.replace("[ring]", "[rung]")
    assert await python_2("validate", headers=delivery.headers, body=delivery.body) == "valid"
    assert await python_2("validate", headers=delivery.headers, body=forged) == "WebhookVerificationError"


async def test_a_refused_input_raises_with_the_reason(python_2):
    result = await python_2("error", model="local/e2e_text", given={"text": "x", "times": 10})
    assert result == {"type": "UnprocessableEntityError", "status": 422, "title": "Input validation failed"}


async def test_a_create_that_the_client_sends_again_and_again_is_one_prediction(python_2, new_token):
    result = await python_2("impatient", model="local/e2e_sleep", given={"seconds": 2.5}, token=new_token("impatient"))
    assert result["output"] == "slept 2.5 s"
    assert result["all"] == [result["id"]]
