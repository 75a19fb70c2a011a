"""Run-time secrets of models: set, list, delete. An extension. No response ever contains a value."""

from typing import Protocol

from aiohttp import web
from asyncpg import ForeignKeyViolationError

from tidemill.contracts.access import Scope
from tidemill.contracts.api.model_secrets import SECRET_NAME_LIMIT_CHARS, SECRETS_LIMIT, Secret, SetSecret
from tidemill.contracts.errors import not_found, unprocessable
from tidemill.contracts.variables import is_reserved, is_variable_name
from tidemill.gateway import stores
from tidemill.gateway.call import Call, json_response, operation
from tidemill.gateway.handlers.model_lookup import find_own_id
from tidemill.gateway.protocols import HasDatabase, HasSigningKey
from tidemill.runtime.clock import rfc3339
from tidemill.runtime.db import Row
from tidemill.security import secret_encryption


class SecretParts(HasDatabase, HasSigningKey, Protocol): ...


@operation("models.secrets.list", Scope.MODELS_READ, response=list[Secret])
async def list_(call: Call[SecretParts]) -> web.Response:
    """The names of a model's run-time secrets, of a model of your own. Nobody is ever told a value."""
    rows = await stores.secrets.list_all(call.parts.database, await find_own_id(call))
    return json_response([_serialize(row) for row in rows])


@operation("models.secrets.get", Scope.MODELS_READ, response=Secret)
async def get(call: Call[SecretParts]) -> web.Response:
    """Whether a model of your own has a secret of this name, and since when."""
    row = await stores.secrets.find(call.parts.database, await find_own_id(call), call.path("secret"))
    if row is None:
        raise not_found()
    return json_response(_serialize(row))


@operation("models.secrets.set", Scope.MODELS_WRITE, body=SetSecret, response=Secret)
async def set_(call: Call[SecretParts]) -> web.Response:
    """Set a run-time secret of a model of your own: an environment variable that its code finds when it boots.

    It is kept encrypted, given to all versions of the model at their next boot (instances that are up already keep
    what they were given), and replaced by `[secret]` in logs and errors. A model may have 64 of them.
    """
    model_id, name = await find_own_id(call), call.path("secret")
    if not is_variable_name(name) or len(name) > SECRET_NAME_LIMIT_CHARS:
        raise unprocessable(
            "The name of a secret must be that of an environment variable: letters, digits and _, at most "
            f"{SECRET_NAME_LIMIT_CHARS}, and no digit first."
        )
    if is_reserved(name):
        raise unprocessable(f"{name} is set by the platform itself.")
    value = (await call.body(SetSecret)).value
    if "\0" in value:
        raise unprocessable("A secret may not contain the character U+0000: no environment variable can.")
    kept = secret_encryption.encrypt(call.parts.signing_key, secret_encryption.associated_data(model_id, name), value)
    try:
        row = await stores.secrets.save(call.parts.database, model_id, name, kept)
    except ForeignKeyViolationError:
        raise not_found() from None
    if row is None:
        raise unprocessable(f"A model may have at most {SECRETS_LIMIT} secrets.")
    return json_response(_serialize(row))


@operation("models.secrets.delete", Scope.MODELS_WRITE, status=204)
async def delete(call: Call[SecretParts]) -> web.Response:
    """Delete a run-time secret of a model of your own. Instances that are up keep it until they end."""
    if not await stores.secrets.delete(call.parts.database, await find_own_id(call), call.path("secret")):
        raise not_found()
    return web.Response(status=204)


def _serialize(row: Row) -> Secret:
    return Secret(
        name=row["name"],
        created_at=rfc3339(row["created_at"].timestamp()),
        updated_at=rfc3339(row["updated_at"].timestamp()),
    )
