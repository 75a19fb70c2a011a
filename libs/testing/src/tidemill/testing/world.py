"""One real thing of every kind, made over the HTTP API, so that any route can be asked for something that exists.

A route's parameters are known by the words before them: `/models/{owner}/{name}/versions/{id}` has the things `models`
and `models/versions`. Whoever adds a route with parameters adds how to make its thing here.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from tidemill.testing.running import RunningStack, until

PARAMETER: Final = re.compile(r"{(\w+)(?::[^}]*)?}")
MODELS: Final = Path(__file__).parents[5] / "tests" / "models"  # of the checkout: this library is not for elsewhere
ENDED: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
Values = dict[str, str]


class Models(NamedTuple):
    """Models of the world's owner, as owner/name, each with a version: `spare`'s is there to be deleted."""

    text: str
    file: str
    tokens: str
    train: str
    spare: str


class World:
    """What there is: `token` is its owner's. Some routes have a thing of their own, such as one to be deleted."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url
        self.token = token
        self.things: dict[str, Values] = {}
        self.own: dict[str, Values] = {}  # by method and path
        self.queries: dict[str, Values] = {}  # by path: what a request cannot do without
        self.bodies: dict[str, Any] = {}  # by method and path: bodies that are accepted

    def values(self, method: str, path: str) -> Values:
        """Real values for a route's parameters. KeyError names a kind of thing that nobody makes."""
        own = self.own.get(f"{method} {path}", {})
        return {name: own[name] if name in own else self.things[kind][name] for kind, name in parameters(path)}


def parameters(path: str) -> list[tuple[str, str]]:
    """(kind of thing, parameter) for each parameter of a route."""
    words: list[str] = []
    found = []
    for segment in path.strip("/").split("/"):
        match = PARAMETER.fullmatch(segment)
        if match:
            found.append(("/".join(words), match[1]))
        else:
            words.append(segment)
    return found


class Maker:
    """Makes a World. `friend` is the name of another account, `collection` that of a collection."""

    def __init__(self, world: World, http: aiohttp.ClientSession, models: Models, friend: str, collection: str) -> None:
        self._world = world
        self._http = http
        self._models = models
        self._friend = friend
        self._unique = secrets.token_hex(4)
        self._own = models.text.partition("/")[0]
        things = world.things
        things["docs"] = {"page": "api"}
        things["docs/reference"] = {"page": "predictions"}
        things["collections"] = {"slug": collection}
        world.queries["/search"] = {"query": "text"}

    async def make(self) -> None:
        await self._predictions()
        await self._own_models()
        await self._trainings()
        await self._files()
        await self._pushes()
        await self._deployments()
        await self._accounts()
        await self._webhooks()

    async def call(self, method: str, path: str, **rest: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._world.token}", **rest.pop("headers", {})}
        url = f"{self._world.base_url}/v1/{path}"
        async with self._http.request(method, url, headers=headers, **rest) as response:
            text = await response.text()
            assert response.ok, f"{method} /{path}: {response.status} {text[:500]}"
            return await response.json() if response.content_type == "application/json" else None

    async def run(self, model: str, values: Mapping[str, Any], **rest: Any) -> Any:
        """A prediction that has succeeded."""
        body = {"input": dict(values), **rest}
        made = await self.call("POST", f"models/{model}/predictions", json=body, headers={"Prefer": "wait=30"})

        async def ended() -> Any:
            now = await self.call("GET", f"predictions/{made['id']}")
            return now if now["status"] in ENDED else None

        succeeded = await until("the end of a prediction", ended)
        assert succeeded["status"] == "succeeded", succeeded
        return succeeded

    async def _predictions(self) -> None:
        world, models = self._world, self._models
        world.things["predictions"] = {"id": (await self.run(models.text, {"text": "seen"}))["id"]}
        world.things["p"] = world.things["predictions"]
        world.own["DELETE /predictions/{id}"] = {"id": (await self.run(models.text, {"text": "deleted"}))["id"]}
        uri = (await self.run(models.file, {"image": "data:text/plain;base64,aGVsbG8="}))["output"]
        token, name = urlsplit(uri).path.split("/")[-2:]
        world.things["delivery"] = {"token": token, "name": name}
        stream = (await self.run(models.tokens, {"text": "one two"}))["urls"]["stream"]
        world.things["streams"] = {"token": urlsplit(stream).path.rpartition("/")[2]}
        world.things["files/streams"] = world.things["streams"]
        plain = {"input": {"text": "plain"}}
        world.bodies["POST /predictions"] = {"version": models.text, **plain}
        world.bodies["POST /models/{owner}/{name}/predictions"] = plain
        world.bodies["POST /deployments/{owner}/{name}/predictions"] = plain
        world.bodies["POST /predictions/batch"] = {"predictions": [{"version": models.text, **plain}]}

    async def _own_models(self) -> None:
        world, model = self._world, "/models/{owner}/{name}"
        owner, name = self._models.text.split("/")
        world.things["models"] = {"owner": owner, "name": name}
        world.things["models/versions"] = {"id": await self._latest(self._models.text)}
        world.things["models/examples"] = world.things["predictions"]
        world.bodies[f"PATCH {model}"] = {"readme": "# Read me"}
        world.bodies[f"POST {model}/examples"] = {"prediction": world.things["predictions"]["id"]}
        world.bodies["QUERY /models"] = "text"
        world.bodies["POST /models"] = self._new_model("made")
        await self.call("POST", "models", json=self._new_model("gone"))
        world.own[f"DELETE {model}"] = {"owner": owner, "name": f"gone-{self._unique}"}
        for secret in ("KEPT", "GONE"):
            await self.call("PUT", f"models/{self._models.text}/secrets/{secret}", json={"value": "hidden well"})
        world.things["models/secrets"] = {"secret": "KEPT"}
        world.own[f"DELETE {model}/secrets/{{secret}}"] = {"secret": "GONE"}
        world.bodies[f"PUT {model}/secrets/{{secret}}"] = {"value": "hidden well"}
        spare = dict(zip(("owner", "name"), self._models.spare.split("/"), strict=True))
        world.own[f"DELETE {model}/versions/{{id}}"] = {**spare, "id": await self._latest(self._models.spare)}

    async def _latest(self, model: str) -> str:
        return str((await self.call("GET", f"models/{model}"))["latest_version"]["id"])

    def _new_model(self, kind: str) -> dict[str, str]:
        return {"owner": self._own, "name": f"{kind}-{self._unique}", "visibility": "private", "hardware": "cpu"}

    async def _trainings(self) -> None:
        world, route = self._world, "/models/{owner}/{name}/versions/{id}/trainings"
        owner, name = self._models.train.split("/")
        place = {"owner": owner, "name": name, "id": await self._latest(self._models.train)}
        body = {"destination": self._models.spare, "input": {"greeting": "hello"}}
        made = await self.call("POST", route.format(**place).removeprefix("/"), json=body)
        world.own[f"POST {route}"] = place
        world.bodies[f"POST {route}"] = body
        world.things["trainings"] = {"id": made["id"]}
        await self.call("POST", f"trainings/{made['id']}/cancel")

    async def _files(self) -> None:
        for kinds, key in ((self._world.things, "files"), (self._world.own, "DELETE /files/{id}")):
            form = aiohttp.FormData({"filename": "hello.txt"})
            form.add_field("content", b"hello", filename="hello.txt", content_type="text/plain")
            kinds[key] = {"id": (await self.call("POST", "files", data=form))["id"]}
        self._world.bodies["POST /files"] = {"content": b"hello", "filename": "hello.txt", "type": "text/plain"}

    async def _pushes(self) -> None:
        content = f"# {self._unique}".encode()
        digest = hashlib.sha256(content).hexdigest()
        body = {"files": [{"path": "cog.yaml", "sha256": digest, "size": len(content)}]}
        await self.call("POST", "models", json=self._new_model("pushed"))
        made = await self.call("POST", f"models/{self._own}/pushed-{self._unique}/pushes", json=body)
        await self.call("PUT", f"blobs/{digest}", data=content)
        self._world.things["pushes"] = {"id": made["id"]}
        self._world.things["blobs"] = {"sha256": digest}
        self._world.bodies["PUT /blobs/{sha256}"] = content
        self._world.bodies["POST /models/{owner}/{name}/pushes"] = body

    async def _deployments(self) -> None:
        world = self._world
        for kinds, key, name in (
            (world.things, "deployments", "used"),
            (world.own, "DELETE /deployments/{owner}/{name}", "unused"),
        ):
            made = await self.call("POST", "deployments", json=self._deployment(name))
            kinds[key] = {"owner": made["owner"], "name": made["name"]}
        world.bodies["POST /deployments"] = self._deployment("made")
        world.bodies["PATCH /deployments/{owner}/{name}"] = {"max_instances": 2}

    def _deployment(self, name: str) -> dict[str, Any]:
        return {
            "name": f"{name}-{self._unique}",
            "model": self._models.text,
            "version": self._world.things["models/versions"]["id"],
            "hardware": "cpu",
            "min_instances": 0,
            "max_instances": 1,
        }

    async def _accounts(self) -> None:
        world = self._world
        for kinds, shape, name in ((world.things, "{}", "kept"), (world.own, "DELETE /{}/{{id}}", "gone")):
            unique = f"{name}-{self._unique}"
            for kind in ("tokens", "event-consumers"):
                kinds[shape.format(kind)] = {"id": (await self.call("POST", kind, json={"name": unique}))["id"]}
            await self.call("POST", "organizations", json={"username": unique})
        world.things["organizations"] = {"name": f"kept-{self._unique}"}
        world.things["organizations/members"] = {"username": self._friend}
        world.own["DELETE /organizations/{name}"] = {"name": f"gone-{self._unique}"}
        world.bodies["POST /tokens"] = {"name": "made"}
        world.bodies["POST /event-consumers"] = {"name": f"made-{self._unique}"}
        world.bodies["POST /organizations"] = {"username": f"made-{self._unique}"}
        world.bodies["PATCH /organizations/{name}"] = {"name": "Changed"}
        world.bodies["PUT /organizations/{name}/members/{username}"] = {"role": "member"}
        world.bodies["PATCH /account"] = {"name": "Changed"}

    async def _webhooks(self) -> None:
        """A receiver that nobody listens at: its deliveries fail, which is all that looking at them needs."""
        await self.run(self._models.text, {"text": "ring"}, webhook=f"http://127.0.0.1:9/{self._unique}")
        self._world.things["webhooks/deliveries"] = {"id": await self._first("webhooks/deliveries")}
        self._world.things["webhooks/endpoints"] = {"id": await self._first("webhooks/endpoints")}

    async def _first(self, path: str) -> str:
        async def listed() -> Any:
            return (await self.call("GET", path))["results"]

        return str((await until(f"something in /{path}", listed))[0]["id"])


async def world(base_url: str, token: str, models: Models, *, friend: str, collection: str) -> World:
    made = World(base_url, token)
    async with aiohttp.ClientSession() as http:
        await Maker(made, http, models, friend, collection).make()
    return made


DIRECTORIES: Final = {
    "text": "e2e_text",
    "file": "e2e_file",
    "tokens": "e2e_tokens",
    "train": "contract_train",
    "spare": "e2e_sleep",
}


def push_models(stack: RunningStack, owner: str, token: str) -> Models:
    """Pushes what the world runs as models of `owner`."""
    for name, directory in DIRECTORIES.items():
        stack.tidemill("push", "--no-example", f"{owner}/{name}", str(MODELS / directory), token=token)
    return Models(**{name: f"{owner}/{name}" for name in DIRECTORIES})
