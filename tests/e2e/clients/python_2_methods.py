"""Every public method of `replicate` 2.x for Python, called once with either client: `python_2_methods.py every JSON`
prints what they have and what was called.

Runs in an environment of its own, with nothing of Tidemill in it.
"""

import asyncio
import contextlib
import inspect
import json
import sys

import replicate

# Of the client as a tool of its own: they make no request of the API.
OWN = {"copy", "with_options", "close", "is_closed", "get", "post", "put", "patch", "delete", "request", "get_api_list"}


def is_resource(value):
    return any(kind.__name__ in {"SyncAPIResource", "AsyncAPIResource"} for kind in type(value).__mro__)


def resources(owner):
    return [
        name
        for name, value in vars(type(owner)).items()
        if not name.startswith(("_", "with_")) and not inspect.isfunction(value) and is_resource(getattr(owner, name))
    ]


def methods(owner, prefix=""):
    """Names of all public methods, such as `deployments.predictions.create`."""
    for name, value in vars(type(owner)).items():
        if inspect.isfunction(value) and not name.startswith("_") and not (not prefix and name in OWN):
            yield prefix + name
    for name in resources(owner):
        yield from methods(getattr(owner, name), f"{prefix}{name}.")


class Watched:
    """A client or a resource of one; notes what is called."""

    def __init__(self, inner, called, prefix=""):
        self._inner, self._called, self._prefix = inner, called, prefix

    def note(self, name):
        self._called.add(name)

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if is_resource(value):
            return Watched(value, self._called, f"{self._prefix}{name}.")
        self._called.add(self._prefix + name)
        return value


async def got(result):
    """What a method of either client answers."""
    return await result if inspect.isawaitable(result) else result


async def all_of(result):
    while inspect.iscoroutine(result):  # the asynchronous `stream` answers a coroutine that answers an iterator
        result = await result
    return [item async for item in result] if hasattr(result, "__aiter__") else list(result)


async def things(client, shop, kind):
    owner, mark = shop["owner"], f"{kind}-{shop['mark']}"
    text_owner, text = shop["text"].split("/")
    of_text = {"model_owner": text_owner, "model_name": text}
    await got(client.account.get())
    await got(client.hardware.list())
    await got(client.collections.list())
    await got(client.collections.get(collection_slug=shop["collection"]))
    await got(client.search(query="text", limit=3))
    await got(client.models.create(owner=owner, name=mark, visibility="private", hardware="cpu"))
    of_made = {"model_owner": owner, "model_name": mark}
    await got(client.models.get(**of_made))
    updated = await got(client.models.update(**of_made, description="Changed", readme="# Read me"))
    assert updated.description == "Changed"
    assert "# Read me" in await got(client.models.readme.get(**of_made))
    await got(client.models.examples.list(**of_made))
    await got(client.models.delete(**of_made))
    await got(client.models.list())
    await got(client.models.search(body="text"))
    await got(client.models.versions.list(**of_text))
    await got(client.models.versions.get(**of_text, version_id=shop["text_version"]))
    spare_owner, spare = shop["spares"][0 if kind == "sync" else 1].split("/")
    of_spare = {"model_owner": spare_owner, "model_name": spare}
    version = (await got(client.models.get(**of_spare))).latest_version
    version_id = version["id"] if isinstance(version, dict) else version.id
    await got(client.models.versions.delete(**of_spare, version_id=version_id))
    await got(client.webhooks.default.secret.get())
    file = await got(client.files.create(content=b"hello"))
    await got(client.files.get(file_id=file.id))
    await got(client.files.list())
    with contextlib.suppress(replicate.NotFoundError):  # whoever knows the secret can sign; a client does not
        await got(client.files.download(file_id=file.id, owner=owner, expiry=1, signature="forged"))
    await got(client.files.delete(file_id=file.id))


async def runs(client, shop, kind):
    owner, mark = shop["owner"], f"{kind}-{shop['mark']}"
    text_owner, text = shop["text"].split("/")
    prediction = await got(client.predictions.create(version=shop["text_version"], input={"text": "x"}))
    await got(client.predictions.wait(prediction.id))
    await got(client.predictions.get(prediction_id=prediction.id))
    await got(client.predictions.list())
    await got(client.predictions.cancel(prediction_id=prediction.id))
    await got(client.models.predictions.create(model_owner=text_owner, model_name=text, input={"text": "x"}))
    assert await got(client.run(shop["text"], input={"text": "x"})) == "[x]"
    # The client's own `use` asks issubclass of an instance and never works; the module's does.
    client.note("use")
    function = replicate.use(shop["text"], use_async=kind == "async")
    assert await got(function(text="x")) == "[x]"
    assert await all_of(client.stream(shop["tokens"], input={"text": "one two"})) == ["one ", "two"]
    made = {
        "model": shop["text"], "version": shop["text_version"], "hardware": "cpu", "min_instances": 0,
        "max_instances": 1,
    }  # fmt: skip
    await got(client.deployments.create(name=f"used-{mark}", **made))
    place = {"deployment_owner": owner, "deployment_name": f"used-{mark}"}
    await got(client.deployments.get(**place))
    await got(client.deployments.list())
    await got(client.deployments.update(**place, max_instances=2))
    deployed = await got(client.deployments.predictions.create(**place, input={"text": "x"}))
    await got(client.predictions.cancel(prediction_id=deployed.id))
    await got(client.deployments.create(name=f"gone-{mark}", **made))
    await got(client.deployments.delete(deployment_owner=owner, deployment_name=f"gone-{mark}"))
    train_owner, train = shop["train"].split("/")
    trained = await got(
        client.trainings.create(
            model_owner=train_owner, model_name=train, version_id=shop["train_version"],
            destination=shop["trained"], input={"greeting": "hello"},
        )
    )  # fmt: skip
    await got(client.trainings.get(training_id=trained.id))
    await got(client.trainings.list())
    await got(client.trainings.cancel(training_id=trained.id))


async def calls(client, shop, kind):
    called = set()
    watched = Watched(client, called)
    await things(watched, shop, kind)
    await runs(watched, shop, kind)
    return {f"{kind}:{name}" for name in methods(client)}, {f"{kind}:{name}" for name in called}


def every(**shop):
    sync, sync_called = asyncio.run(calls(replicate.Replicate(), shop, "sync"))
    asynchronous, async_called = asyncio.run(calls(replicate.AsyncReplicate(), shop, "async"))
    return {"methods": sorted(sync | asynchronous), "called": sorted(sync_called | async_called)}


if __name__ == "__main__":
    print(json.dumps(every(**json.loads(sys.argv[2]))))
