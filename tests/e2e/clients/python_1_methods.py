"""Every public method of `replicate` 1.x for Python, called once: `python_1_methods.py every JSON` prints what it has
and what was called.

Runs in an environment of its own, with nothing of Tidemill in it.
"""

import asyncio
import base64
import functools
import hmac
import importlib
import inspect
import io
import json
import sys
import time

import replicate

MODULES = (
    "account", "client", "collection", "deployment", "file", "hardware", "helpers", "model", "prediction", "training",
    "version", "webhook",
)  # fmt: skip
INSIDE = {"RetryTransport"}  # of the client, not for its users
CALLED = set()


def methods_of(owner, prefix=""):
    """(class, name, function) of every public method that the classes of a module or class define."""
    for name, kind in list(vars(owner).items()):
        own = inspect.isclass(kind) and getattr(kind, "__module__", "").startswith("replicate.")
        here = not inspect.ismodule(owner) or getattr(kind, "__module__", None) == owner.__name__
        if not own or not here or name in INSIDE or name.startswith("_"):
            continue
        for method, function in list(vars(kind).items()):
            if method.startswith("_"):
                continue
            if isinstance(function, staticmethod) or inspect.isfunction(function):
                yield kind, f"{prefix}{name}.{method}", method, function
        if not inspect.ismodule(owner) or "Namespace" in [base.__name__ for base in kind.__mro__]:
            yield from methods_of(kind, f"{prefix}{name}.")


def watch():
    """Notes each method when it is called; all their names."""
    names = []
    for module in MODULES:
        for kind, full, method, function in methods_of(importlib.import_module(f"replicate.{module}")):
            names.append(full)
            setattr(kind, method, noting(full, function))
    return sorted(set(names))


def noting(full, function):
    static = isinstance(function, staticmethod)
    inner = function.__func__ if static else function

    @functools.wraps(inner)
    def noted(*args, **kwargs):
        CALLED.add(full)
        return inner(*args, **kwargs)

    return staticmethod(noted) if static else noted


def signed(secret, body):
    """A webhook's headers, as its receiver gets them."""
    at = str(int(time.time()))
    key = base64.b64decode(secret.key.split("_", 1)[1])
    digest = hmac.digest(key, f"msg_1.{at}.{body}".encode(), "sha256")
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def deployment(shop, name):
    return {
        "name": name, "model": shop["text"], "version": shop["text_version"], "hardware": "cpu", "min_instances": 0,
        "max_instances": 1,
    }  # fmt: skip


def training(shop):
    return {
        "model": tuple(shop["train"].split("/")), "version": shop["train_version"], "input": {"greeting": "hello"},
        "destination": shop["trained"],
    }  # fmt: skip


def things(client, shop):
    owner, mark = shop["owner"], shop["mark"]
    client.accounts.current()
    client.hardware.list()
    client.collections.list()
    client.collections.get(shop["collection"])
    name = f"made-{mark}"
    model = client.models.create(owner=owner, name=name, visibility="private", hardware="cpu")
    model.reload()
    client.models.get(owner, name)
    client.models.list()
    client.models.search("text")
    assert client.models.delete(owner, name)
    try:
        model.predict()
    except replicate.exceptions.ReplicateException:
        CALLED.add("Model.predict")  # it refuses by itself
    versions = client.models.get(shop["text"]).versions
    versions.list()
    versions.get(shop["text_version"])
    spare = client.models.get(shop["spares"][0])
    spare.versions.delete(spare.latest_version.id)
    file = client.files.create(io.BytesIO(b"hello"), filename="hello.txt")
    client.files.get(file.id)
    client.files.list()
    client.files.delete(file.id)
    client.webhooks.validate(
        headers=signed(client.webhooks.default.secret(), "{}"), body="{}", secret=client.webhooks.default.secret()
    )


def runs(client, shop):
    prediction = client.predictions.create(version=shop["text_version"], input={"text": "x"})
    prediction.wait()
    prediction.reload()
    prediction.cancel()
    client.predictions.get(prediction.id)
    client.predictions.list()
    client.predictions.cancel(prediction.id)
    streamed = client.models.predictions.create(model=shop["tokens"], input={"text": "one two"})
    assert [event.data for event in streamed.stream() if event.event.value == "output"] == ["one ", "two"]
    assert list(client.models.predictions.create(shop["tokens"], {"text": "one two"}).output_iterator()) == [
        "one ",
        "two",
    ]
    assert client.run(shop["text"], input={"text": "x"}) == "[x]"
    assert list(client.stream(shop["tokens"], input={"text": "x"}))
    output = client.run(shop["file"], input={"image": io.BytesIO(b"abc")})
    assert output.read() == b"cba"
    deployed = client.deployments.create(**deployment(shop, f"used-{shop['mark']}"))
    place = f"{deployed.owner}/{deployed.name}"
    client.deployments.get(place)
    client.deployments.list()
    client.deployments.update(deployed.owner, deployed.name, max_instances=2)
    deployed.predictions.create(input={"text": "x"}).cancel()
    client.deployments.predictions.create(place, input={"text": "x"}).cancel()
    gone = client.deployments.create(**deployment(shop, f"gone-{shop['mark']}"))
    client.deployments.delete(gone.owner, gone.name)
    trained = client.trainings.create(**training(shop))
    trained.reload()
    trained.cancel()
    client.trainings.get(trained.id)
    client.trainings.list()
    client.trainings.cancel(trained.id)


async def things_async(client, shop):
    owner, mark = shop["owner"], shop["mark"]
    await client.accounts.async_current()
    await client.hardware.async_list()
    await client.collections.async_list()
    await client.collections.async_get(shop["collection"])
    name = f"async-made-{mark}"
    await client.models.async_create(owner=owner, name=name, visibility="private", hardware="cpu")
    await client.models.async_get(owner, name)
    await client.models.async_list()
    await client.models.async_search("text")
    assert await client.models.async_delete(owner, name)
    versions = (await client.models.async_get(shop["text"])).versions
    await versions.async_list()
    await versions.async_get(shop["text_version"])
    spare = await client.models.async_get(shop["spares"][1])
    await spare.versions.async_delete(spare.latest_version.id)
    file = await client.files.async_create(io.BytesIO(b"hello"), filename="hello.txt")
    await client.files.async_get(file.id)
    await client.files.async_list()
    await client.files.async_delete(file.id)
    await client.webhooks.default.async_secret()


async def runs_async(client, shop):
    prediction = await client.predictions.async_create(version=shop["text_version"], input={"text": "x"})
    await prediction.async_wait()
    await prediction.async_reload()
    await prediction.async_cancel()
    await client.predictions.async_get(prediction.id)
    await client.predictions.async_list()
    await client.predictions.async_cancel(prediction.id)
    streamed = await client.models.predictions.async_create(shop["tokens"], {"text": "one two"})
    assert [event.data async for event in streamed.async_stream() if event.event.value == "output"] == [
        "one ",
        "two",
    ]
    polled = await client.models.predictions.async_create(shop["tokens"], {"text": "one two"})
    assert [item async for item in polled.async_output_iterator()] == ["one ", "two"]
    assert await client.async_run(shop["text"], input={"text": "x"}) == "[x]"
    assert [event async for event in await client.async_stream(shop["tokens"], input={"text": "x"})]
    output = await client.async_run(shop["file"], input={"image": io.BytesIO(b"abc")})
    assert await output.aread() == b"cba"
    deployed = await client.deployments.async_create(**deployment(shop, f"async-used-{shop['mark']}"))
    place = f"{deployed.owner}/{deployed.name}"
    await client.deployments.async_get(place)
    await client.deployments.async_list()
    await client.deployments.async_update(deployed.owner, deployed.name, max_instances=2)
    await (await deployed.predictions.async_create(input={"text": "x"})).async_cancel()
    await (await client.deployments.predictions.async_create(place, input={"text": "x"})).async_cancel()
    gone = await client.deployments.async_create(**deployment(shop, f"async-gone-{shop['mark']}"))
    await client.deployments.async_delete(gone.owner, gone.name)
    trained = await client.trainings.async_create(**training(shop))
    await trained.async_reload()
    await trained.async_cancel()
    await client.trainings.async_get(trained.id)
    await client.trainings.async_list()
    await client.trainings.async_cancel(trained.id)


def every(**shop):
    methods = watch()
    things(replicate.Client(), shop)
    runs(replicate.Client(), shop)

    async def both():
        client = replicate.Client()
        await things_async(client, shop)
        await runs_async(client, shop)

    asyncio.run(both())
    return {"methods": methods, "called": sorted(CALLED)}


if __name__ == "__main__":
    print(json.dumps(every(**json.loads(sys.argv[2]))))
