"""The account behind the token, and its webhook signing secret."""

from typing import Literal

from aiohttp import web

from tidemill.contracts import api
from tidemill.contracts.access import Scope
from tidemill.contracts.errors import not_found
from tidemill.gateway.http import Call, json_response, operation

WEBHOOK_SECRET = "SELECT webhook_secret FROM account WHERE id = $1"  # noqa: S105 - a statement, not a secret


@operation("account.get", Scope.ACCOUNT_READ, answer=api.Account)
async def get(call: Call) -> web.Response:
    account = call.account
    kind: Literal["user", "organization"] = "organization" if account.type == "organization" else "user"
    return json_response(api.Account(type=kind, username=account.username, name=account.name))


@operation("webhooks.default.secret.get", Scope.WEBHOOKS_READ, answer=api.WebhookSecret)
async def webhook_secret(call: Call) -> web.Response:
    """GET /webhooks/default/secret: what receivers verify signatures with."""
    secret = await call.parts.database.value(WEBHOOK_SECRET, call.account.id)
    if secret is None:
        raise not_found()
    return json_response(api.WebhookSecret(secret), headers={"Cache-Control": "no-store"})
