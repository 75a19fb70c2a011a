"""`tidemill webhooks`: forwards webhooks to this machine, and shows deliveries, endpoints and the secret."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer

from tidemill.cli.api.client import Api, decode_response, paginate
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import (
    DEFAULT_LIMIT,
    AllOrLimitOption,
    JsonObject,
    JsonOption,
    LimitOption,
    format_time,
    print_json,
    print_list,
)
from tidemill.contracts.api.webhooks import MirroredWebhook

webhooks = typer.Typer(help="Webhooks: listen to them, show deliveries, deliver again.", no_args_is_help=True)

SILENCE_LIMIT_S: Final = 30.0  # the server sends a comment or an event every 10 s
FORWARD_TIMEOUT_S: Final = 15.0  # the timeout of real deliveries
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LIMIT_S: Final = 15.0
FATAL: Final = frozenset({400, 401, 403, 404, 409, 422})  # statuses for which a retry would not help


class ServerSentEvent(msgspec.Struct):
    """One server-sent event. `id` is empty if it had none."""

    name: str = ""
    id: str = ""
    data: str = ""


def split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield lines that end with a line feed. (str.splitlines would also split at other characters inside texts.)"""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode()


def parse_events(lines: Iterable[str]) -> Iterator[ServerSentEvent]:
    """Yield the events of a server-sent event stream. Comments are skipped."""
    event = ServerSentEvent()
    for line in lines:
        if not line:
            if event.data:
                yield event
            event = ServerSentEvent()
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            event.data += value
        elif field == "event":
            event.name = value
        elif field == "id":
            event.id = value


@webhooks.command("listen")
def listen(
    forward: Annotated[str | None, typer.Option("--forward", metavar="URL", help="POST each to this URL.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Predictions without a webhook too.")] = False,
) -> None:
    """Print each webhook as it is made, and forward it.

    Forwarded it is signed like the real one.

    The real deliveries go on as ever. Reconnects by itself; stop it with Ctrl-C.
    """
    if forward is not None and not forward.startswith(("http://", "https://")):
        raise CommandError(f"{forward!r} is no http or https URL")
    try:
        _WebhookListener(Api(), forward, every).run()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


class _WebhookListener:
    """Prints webhooks as they come and forwards them. Reconnects with backoff, after the last event seen."""

    def __init__(self, api: Api, forward: str | None, every: bool) -> None:
        self._api = api
        self._forward = forward
        self._every = every
        self._last_id = ""
        self._waited_s = BACKOFF_FIRST_S
        # Not the API's client, which would send the API token to this URL.
        self._local = httpx.Client(timeout=FORWARD_TIMEOUT_S, follow_redirects=False, trust_env=False)

    def run(self) -> None:
        while True:
            try:
                self._connect()
                reason = "the connection was closed"
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            typer.echo(f"{reason}; again in {self._waited_s:.1f} s", err=True)
            time.sleep(self._waited_s)
            self._waited_s = min(2 * self._waited_s, BACKOFF_LIMIT_S)

    def _connect(self) -> None:
        headers = {
            "Accept": "text/event-stream",
            **({"Last-Event-ID": self._last_id} if self._last_id else {}),
        }
        query = {"all": "true"} if self._every else {}
        timeout = httpx.Timeout(SILENCE_LIMIT_S, connect=5.0)
        with self._api.http.stream(
            "GET", "webhooks/listen", headers=headers, params=query, timeout=timeout
        ) as response:
            if not response.is_success:
                response.read()
                if response.status_code in FATAL:
                    decode_response(response)
                raise httpx.RemoteProtocolError(f"the API answered {response.status_code}")
            self._waited_s = BACKOFF_FIRST_S
            typer.echo(f"listening{f', forwarding to {self._forward}' if self._forward else ''}", err=True)
            for event in parse_events(split_lines(response.iter_bytes())):
                if event.name == "webhook":
                    self._show(msgspec.json.decode(event.data, type=MirroredWebhook))
                    self._last_id = event.id or self._last_id

    def _show(self, webhook: MirroredWebhook) -> None:
        moment = datetime.now().astimezone().strftime("%H:%M:%S")
        status = msgspec.json.decode(webhook.body)["status"]
        result = "" if self._forward is None else f" → {self._forward_to(self._forward, webhook)}"
        typer.echo(f"{moment} {webhook.event:9} {webhook.prediction} {status}{result}")

    def _forward_to(self, url: str, webhook: MirroredWebhook) -> str:
        """Send the webhook to `url` and return the result in words."""
        try:
            response = self._local.post(url, content=webhook.body.encode(), headers=webhook.headers)
        except httpx.HTTPError as error:
            return f"no answer: {str(error) or type(error).__name__}"
        return f"{response.status_code} {response.reason_phrase}"


@webhooks.command("deliveries")
def deliveries(
    prediction: Annotated[str | None, typer.Option(help="Of this prediction.")] = None,
    status: Annotated[str | None, typer.Option(help="pending, delivered, failed or skipped.")] = None,
    limit: LimitOption = DEFAULT_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """The newest deliveries and what became of them."""
    query = {name: value for name, value in (("prediction", prediction), ("status", status)) if value}
    print_list(paginate(Api(), "webhooks/deliveries", query), _delivery, limit=limit, as_json=as_json)


def _delivery(each: JsonObject) -> list[str]:
    tries = f"{each['tries']} tries"
    url = f"{each['url']}{_in_parentheses(each['last_error'])}"
    return [format_time(each["created_at"]), each["id"], each["event"], each["status"], tries, url]


@webhooks.command("redeliver")
def redeliver(delivery: Annotated[str, typer.Argument(help="Its id: msg_…")]) -> None:
    """Try a delivery once more, now."""
    typer.echo(Api().call("POST", f"webhooks/deliveries/{delivery}/redeliver")["id"])


@webhooks.command("endpoints")
def endpoints(limit: AllOrLimitOption = None, as_json: JsonOption = False) -> None:
    """The hosts that webhooks go to, and how they fare."""
    print_list(paginate(Api(), "webhooks/endpoints"), _endpoint, limit=limit, as_json=as_json)


def _endpoint(each: JsonObject) -> list[str]:
    return [each["id"], each["status"], f"{each['host']}{each['path'] or ''}{_in_parentheses(each['disabled_reason'])}"]


@webhooks.command("enable")
def enable(endpoint: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Try an endpoint again that was disabled or paused."""
    typer.echo(Api().call("POST", f"webhooks/endpoints/{endpoint}/enable")["status"])


@webhooks.command("secret")
def secret(
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one; the old one signs too for a day.")] = False,
    overlap_s: Annotated[int | None, typer.Option(help="With --rotate: for how many seconds instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the secret that signs webhooks."""
    query = {} if overlap_s is None else {"overlap_s": overlap_s}
    api = Api()
    answer: dict[str, Any] = (
        api.call("POST", "webhooks/default/secret/rotate", params=query)
        if rotate
        else api.call("GET", "webhooks/default/secret")
    )
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["key"])


def _in_parentheses(reason: str | None) -> str:
    return "" if reason is None else f" ({reason})"
