"""Scenarios with `replicate` 2.x for Python: `python_2.py SCENARIO JSON` prints one JSON result.

Runs in an environment of its own, with nothing of Tidemill in it. This client has no function to validate webhooks:
`standardwebhooks`, which its documentation's scheme belongs to, stands in.
"""

import base64
import time
from pathlib import Path

import python_both
import replicate
import standardwebhooks

WITHIN_S = 300.0


def use(model, given):
    return replicate.use(model)(**given)


def use_file(model, path):
    with Path(path).open("rb") as image:
        output = replicate.use(model)(image=image)
    return {"type": type(output).__name__, "content": base64.b64encode(Path(output).read_bytes()).decode()}


def stream(model, given):
    chunks, seen = [], None
    for chunk in replicate.use(model, streaming=True)(**given):
        chunks.append(chunk)
        seen = seen or replicate.predictions.list().results[0].status
    return {"chunks": chunks, "status_at_first": seen}


def _create(model, **rest):
    owner, name = model.split("/")
    return replicate.models.predictions.create(model_owner=owner, model_name=name, **rest)


def poll(model, given):
    prediction = _create(model, input=given)
    first = prediction.status
    prediction = replicate.predictions.wait(prediction.id)
    metrics = prediction.metrics.model_dump() if prediction.metrics else None
    return {"first": first, "status": prediction.status, "output": prediction.output, "metrics": metrics}


def cancel(model, given):
    prediction = _create(model, input=given)
    deadline = time.monotonic() + WITHIN_S
    while prediction.status == "starting" and time.monotonic() < deadline:
        time.sleep(0.1)
        prediction = replicate.predictions.get(prediction_id=prediction.id)
    canceled = replicate.predictions.cancel(prediction_id=prediction.id)
    later = replicate.predictions.get(prediction_id=prediction.id)
    return {"before": prediction.status, "after": canceled.status, "later": later.status}


def pages():
    page = replicate.predictions.list()
    ids = [[prediction.id for prediction in page.results]]
    while page.has_next_page():
        page = page.get_next_page()
        ids.append([prediction.id for prediction in page.results])
    return ids


def webhook(model, given, url):
    return _create(model, input=given, webhook=url, webhook_events_filter=["completed"]).id


def validate(headers, body):
    secret = replicate.webhooks.default.secret.get().key
    try:
        standardwebhooks.Webhook(secret).verify(body, headers)
    except standardwebhooks.WebhookVerificationError as error:
        return type(error).__name__
    return "valid"


def error(model, given):
    try:
        replicate.run(model, input=given)
    except replicate.APIStatusError as error:
        return {"type": type(error).__name__, "status": error.status_code, "title": error.body["title"]}
    return None


def impatient(model, given):
    """A client that gives up reading after a second and sends its create again, as it does by itself."""
    client = replicate.Replicate(timeout=1.0, max_retries=6)
    owner, name = model.split("/")
    made = client.models.predictions.create(model_owner=owner, model_name=name, input=given, prefer="wait")
    return {"id": made.id, "output": made.output, "all": [each.id for each in client.predictions.list().results]}


def train(model, path, given, destination, then):
    owner, name = destination.split("/")
    replicate.models.create(owner=owner, name=name, visibility="private", hardware="cpu")
    model_owner, model_name = model.split("/")
    version = replicate.models.get(model_owner=model_owner, model_name=model_name).latest_version.id
    text = replicate.files.create(content=Path(path)).urls.get
    sent = {"text": text, **given}
    where = {"model_owner": model_owner, "model_name": model_name, "version_id": version}
    training = replicate.trainings.create(**where, destination=destination, input=sent)
    while training.status not in {"succeeded", "failed", "canceled"}:
        time.sleep(0.2)
        training = replicate.trainings.get(training_id=training.id)
    output = replicate.run(destination, input=then) if training.status == "succeeded" else None
    latest = replicate.models.get(model_owner=owner, model_name=name).latest_version
    made = {"weights": training.output.weights, "version": training.output.version} if training.output else None
    ended = {"status": training.status, "output": made, "logs": training.logs, "error": training.error}
    return {**ended, "latest": latest and latest.id, "then": output}


if __name__ == "__main__":
    python_both.main(globals())
