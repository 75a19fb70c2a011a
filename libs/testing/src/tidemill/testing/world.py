"""One real thing of every kind, made over the HTTP API, so that any route can be asked for something that exists.

A route's parameters are known by the words before them: `/models/{owner}/{name}/versions/{id}` has the things `models`
and `models/versions`. Whoever adds a route with parameters adds how to make its thing here.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp

from tidemill.testing.running import until

PARAMETER: Final = re.compile(r"{(\w+)(?::[^}]*)?}")
ENDED: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
Values = dict[str, str]


class World:
    """What there is: `token` is its owner's. `things` are looked at, `victims` are there to be deleted."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url
        self.token = token
        self.username = ""
        self.things: dict[str, Values] = {}
        self.victims: dict[str, Values] = {}
        self.queries: dict[str, Values] = {}

    def values(self, method: str, path: str) -> Values:
        """Real values for a route's parameters. KeyError names a kind of thing that nobody makes."""
        kinds = self.victims if method == "DELETE" else {}
        out: Values = {}
        for kind, name in parameters(path):
            out[name] = (kinds.get(kind) or self.things[kind])[name]
        return out


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
    """Makes a World: `text`, `file` and `tokens` are models that can be run (owner/name)."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self._world = world
        self._http = http
        self._unique = secrets.token_hex(4)

    async def make(self, *, text: str, file: str, tokens: str) -> None:
        world = self._world
        world.username = (await self.call("GET", "account"))["username"]
        await self._predictions(text, file, tokens)
        await self._models(text)
        await self._files()
        await self._pushes()
        await self._deployments(text)
        await self._accounts()
        await self._webhooks(text)
        world.things["docs"] = {"page": "api"}
        world.things["docs/reference"] = {"page": "predictions"}

    async def call(self, method: str, path: str, *, status: int | None = None, **rest: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._world.token}", **rest.pop("headers", {})}
        url = f"{self._world.base_url}/v1/{path}"
        async with self._http.request(method, url, headers=headers, **rest) as response:
            text = await response.text()
            wanted = response.ok if status is None else response.status == status
            assert wanted, f"{method} /{path}: {response.status} {text[:500]}"
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

    async def _predictions(self, text: str, file: str, tokens: str) -> None:
        things, victims = self._world.things, self._world.victims
        things["predictions"] = {"id": (await self.run(text, {"text": "seen"}))["id"]}
        victims["predictions"] = {"id": (await self.run(text, {"text": "deleted"}))["id"]}
        uri = (await self.run(file, {"image": "data:text/plain;base64,aGVsbG8="}))["output"]
        token, name = urlsplit(uri).path.split("/")[-2:]
        things["delivery"] = {"token": token, "name": name}
        stream = (await self.run(tokens, {"text": "one two"}))["urls"]["stream"]
        things["streams"] = {"token": urlsplit(stream).path.rpartition("/")[2]}

    async def _models(self, text: str) -> None:
        things, victims = self._world.things, self._world.victims
        owner, name = text.split("/")
        version = (await self.call("GET", f"models/{text}"))["latest_version"]["id"]
        things["models"] = {"owner": owner, "name": name}
        things["models/versions"] = {"id": version}
        things["models/examples"] = things["predictions"]
        things["collections"] = {"slug": "first"}  # only operators make them
        for kind, description in (("mine", "kept"), ("gone", "deleted")):
            body = {
                "owner": self._world.username,
                "name": f"{kind}-{self._unique}",
                "visibility": "private",
                "hardware": "cpu",
                "description": description,
            }
            made = await self.call("POST", "models", json=body)
            if kind == "gone":
                victims["models"] = {"owner": made["owner"], "name": made["name"]}

    async def _files(self) -> None:
        for kinds in (self._world.things, self._world.victims):
            form = aiohttp.FormData({"filename": "hello.txt"})
            form.add_field("content", b"hello", filename="hello.txt", content_type="text/plain")
            made = await self.call("POST", "files", data=form)
            kinds["files"] = {"id": made["id"]}
        signed = await self.call("GET", f"files/{self._world.things['files']['id']}")
        query = parse_qs(urlsplit(signed["urls"]["get"]).query)
        self._world.queries["/files/{id}/download"] = {name: values[0] for name, values in query.items()}

    async def _pushes(self) -> None:
        content = f"# {self._unique}".encode()
        digest = hashlib.sha256(content).hexdigest()
        model = f"{self._world.username}/mine-{self._unique}"
        files = [{"path": "cog.yaml", "sha256": digest, "size": len(content)}]
        made = await self.call("POST", f"models/{model}/pushes", json={"files": files})
        self._world.things["pushes"] = {"id": made["id"]}
        self._world.things["blobs"] = {"sha256": digest}

    async def _deployments(self, text: str) -> None:
        version = self._world.things["models/versions"]["id"]
        for kinds, name in ((self._world.things, "used"), (self._world.victims, "unused")):
            body = {
                "name": f"{name}-{self._unique}",
                "model": text,
                "version": version,
                "hardware": "cpu",
                "min_instances": 0,
                "max_instances": 1,
            }
            made = await self.call("POST", "deployments", json=body)
            kinds["deployments"] = {"owner": made["owner"], "name": made["name"]}

    async def _accounts(self) -> None:
        for kinds, name in ((self._world.things, "kept"), (self._world.victims, "revoked")):
            made = await self.call("POST", "tokens", json={"name": name})
            kinds["tokens"] = {"id": made["id"]}
            organization = f"{name}-{self._unique}"
            await self.call("POST", "organizations", json={"username": organization, "name": name})
            kinds["organizations"] = {"name": organization}
            kinds["organizations/members"] = {"username": self._world.username}
            consumer = await self.call("POST", "event-consumers", json={"name": f"{name}-{self._unique}"})
            kinds["event-consumers"] = {"id": consumer["id"]}

    async def _webhooks(self, text: str) -> None:
        """A receiver that nobody listens at: its deliveries fail, which is all that looking at them needs."""
        await self.run(text, {"text": "ring"}, webhook=f"http://127.0.0.1:9/{self._unique}")
        self._world.things["webhooks/deliveries"] = {"id": await self._first("webhooks/deliveries")}
        self._world.things["webhooks/endpoints"] = {"id": await self._first("webhooks/endpoints")}

    async def _first(self, path: str) -> str:
        async def listed() -> Any:
            return (await self.call("GET", path))["results"]

        return str((await until(f"something in /{path}", listed))[0]["id"])


async def world(base_url: str, token: str, *, text: str, file: str, tokens: str) -> World:
    made = World(base_url, token)
    async with aiohttp.ClientSession() as http:
        await Maker(made, http).make(text=text, file=file, tokens=tokens)
    return made
