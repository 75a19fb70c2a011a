"""Scenarios with `replicate` 1.x for Python: `python_1.py SCENARIO JSON` prints one JSON result.

Runs in an environment of its own, with nothing of Tidemill in it.
"""

import time
from pathlib import Path

import python_both
import replicate

WITHIN_S = 300.0


def stream(model, given):
    events, seen = [], None
    for event in replicate.stream(model, input=given):
        events.append([event.event.value, event.data])
        seen = seen or replicate.predictions.list().results[0].status
    return {"events": events, "status_at_first": seen}


def poll(model, given):
    prediction = replicate.models.predictions.create(model=model, input=given)
    first = prediction.status
    prediction.wait()
    return {"first": first, "status": prediction.status, "output": prediction.output, "metrics": prediction.metrics}


def cancel(model, given):
    prediction = replicate.models.predictions.create(model=model, input=given)
    deadline = time.monotonic() + WITHIN_S
    while prediction.status == "starting" and time.monotonic() < deadline:
        time.sleep(0.1)
        prediction.reload()
    before = prediction.status
    prediction.cancel()
    return {"before": before, "after": prediction.status, "later": replicate.predictions.get(prediction.id).status}


def pages():
    page = replicate.predictions.list()
    ids = [[prediction.id for prediction in page.results]]
    while page.next:
        page = replicate.predictions.list(cursor=page.next)
        ids.append([prediction.id for prediction in page.results])
    return ids


def webhook(model, given, url):
    return replicate.models.predictions.create(
        model=model, input=given, webhook=url, webhook_events_filter=["completed"]
    ).id


def validate(headers, body):
    secret = replicate.webhooks.default.secret()
    try:
        replicate.webhooks.validate(headers=headers, body=body, secret=secret)
    except ValueError as error:
        return type(error).__name__
    return "valid"


def error(model, given):
    try:
        replicate.run(model, input=given)
    except replicate.exceptions.ReplicateError as error:
        return {"status": error.status, "title": error.title, "detail": error.detail}
    return None


def train(model, path, given, destination, then):
    owner, name = destination.split("/")
    replicate.models.create(owner=owner, name=name, visibility="private", hardware="cpu")
    version = replicate.models.get(model).latest_version.id
    with Path(path).open("rb") as text:
        sent = {"text": text, **given}
        training = replicate.trainings.create(model=model, version=version, input=sent, destination=destination)
    while training.status not in {"succeeded", "failed", "canceled"}:
        time.sleep(0.2)
        training.reload()
    output = replicate.run(destination, input=then) if training.status == "succeeded" else None
    ended = {name: getattr(training, name) for name in ("status", "output", "logs", "error")}
    latest = replicate.models.get(destination).latest_version
    return {**ended, "latest": latest and latest.id, "then": output}


if __name__ == "__main__":
    python_both.main(globals())
