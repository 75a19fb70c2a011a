"""Deployments: create, list, get, update, delete, and predictions through them. An account sees only its own."""

from typing import Literal, Protocol

from aiohttp import web
from msgspec import UNSET, UnsetType

from tidemill.contracts.access import Scope
from tidemill.contracts.api.accounts import Account
from tidemill.contracts.api.deployments import Configuration, CreateDeployment, Deployment, Release, UpdateDeployment
from tidemill.contracts.api.pages import Page
from tidemill.contracts.api.predictions import CreatePrediction, Prediction
from tidemill.contracts.errors import conflict, not_found, unprocessable
from tidemill.contracts.hardware import HARDWARE, unknown_hardware
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway import stores
from tidemill.gateway.call import Call, decode, json_response, operation
from tidemill.gateway.handlers.predictions import RUNNING
from tidemill.gateway.listing import queries
from tidemill.gateway.listing.cursors import Cursor
from tidemill.gateway.predictions.creation import CreationParts
from tidemill.gateway.predictions.creation import create as create_one
from tidemill.gateway.predictions.versions import HasVersions
from tidemill.gateway.releases import rollout
from tidemill.gateway.releases.deployments import DeploymentResolver
from tidemill.gateway.responses.pages import page
from tidemill.gateway.stores.deployments import DeploymentName, ReleaseSettings
from tidemill.runtime.clock import rfc3339
from tidemill.runtime.db import Row


class DeploymentParts(CreationParts, HasVersions, Protocol):
    @property
    def deployments(self) -> DeploymentResolver: ...


@operation("deployments.list", Scope.DEPLOYMENTS_READ, query=queries.PageQuery, response=Page[Deployment])
async def list_(call: Call[DeploymentParts]) -> web.Response:
    """List deployments, newest first, each with its current release."""

    async def fetch(cursor: Cursor | None, limit: int) -> list[Row]:
        return await stores.deployments.page(call.parts.database, call.account.id, cursor, limit)

    return json_response(await page(call, "/deployments", fetch, _deployment))


@operation("deployments.create", Scope.DEPLOYMENTS_WRITE, body=CreateDeployment, response=Deployment, errors=(409,))
async def create(call: Call[DeploymentParts]) -> web.Response:
    """Create a deployment: a version under a name of the account's own, with instances of its own.

    The version may be of any model that the account can see. Names are taken once per account: a second deployment of
    the same name is a 409.
    """
    body = await call.body(CreateDeployment)
    if body.hardware not in HARDWARE:
        raise unknown_hardware()
    runnable = await call.parts.versions.resolve(call.account.id, f"{body.model}:{body.version}")
    settings = rollout.checked(
        ReleaseSettings(
            version_queue=runnable.queue,
            hardware=body.hardware,
            min_instances=body.min_instances,
            max_instances=body.max_instances,
        )
    )
    place = DeploymentName(call.account.id, call.account.username, body.name)
    if not await stores.deployments.create(call.parts.database, place, settings):
        if await stores.deployments.find(call.parts.database, place):
            raise conflict(f"A deployment named {place.owner}/{place.name} exists already.")
        raise unprocessable(f"An account may have at most {stores.deployments.DEPLOYMENTS_LIMIT} deployments.")
    return json_response(_deployment(await _find_own(call, place)))


@operation("deployments.get", Scope.DEPLOYMENTS_READ, response=Deployment)
async def get(call: Call[DeploymentParts]) -> web.Response:
    """Get a deployment with its current release."""
    return json_response(_deployment(await _find_own(call, _place(call))))


@operation("deployments.update", Scope.DEPLOYMENTS_WRITE, body=UpdateDeployment, response=Deployment)
async def update(call: Call[DeploymentParts]) -> web.Response:
    """Update a deployment: make its next release.

    It can have another version of the same model, other hardware, another number of instances. A change of that number
    keeps the instances that run. Otherwise the new release has instances of its own; where it keeps some running
    (`min_instances`), the old release goes on taking predictions until the first of them is ready, so that nobody waits
    for a boot. Predictions that the old release has accepted run there to their end.

    `max_instances` 0 disables the deployment: new predictions are refused, and those under way are canceled. A body
    that changes nothing makes no release.
    """
    body, place = await call.body(UpdateDeployment), _place(call)
    if body.hardware is not UNSET and body.hardware not in HARDWARE:
        raise unknown_hardware()
    version_queue: str | UnsetType = UNSET
    if body.version is not UNSET:
        model = (await _find_own(call, place))["model"]
        version_queue = (await call.parts.versions.resolve(call.account.id, f"{model}:{body.version}")).queue
    if not await stores.deployments.update(
        call.parts.database, place, lambda now: rollout.changed(now, body, version_queue)
    ):
        raise not_found()
    call.parts.deployments.invalidate(place)
    return json_response(_deployment(await _find_own(call, place)))


@operation("deployments.delete", Scope.DEPLOYMENTS_WRITE, status=204, errors=(409,))
async def delete(call: Call[DeploymentParts]) -> web.Response:
    """Delete a deployment that is offline and has been unused for 15 minutes.

    Any other answers a 409. Offline means that it keeps no instances (`min_instances` is 0) and none is up. Its
    predictions stay.
    """
    place, rest_s = _place(call), call.parts.config.deployment_rest_s
    deleted = await stores.deployments.delete(call.parts.database, place, rest_s, call.parts.acceptor.is_warm)
    if deleted is None:
        raise not_found()
    if not deleted:
        raise rollout.in_use(rest_s)
    call.parts.deployments.invalidate(place)
    return web.Response(status=204)


@operation(
    "deployments.predictions.create",
    Scope.PREDICTIONS_WRITE,
    body=CreatePrediction,
    headers=RUNNING,
    response=Prediction,
    status=201,
    rate_kind="creates",
)
async def predict(call: Call[DeploymentParts]) -> web.Response:
    """Create a prediction with a deployment.

    A `version` in the body is ignored. The prediction is as any other, and its `deployment` names the deployment. A
    disabled deployment answers a 422.
    """
    body = decode(await call.read(BODY_LIMIT_BYTES), CreatePrediction)
    runnable = await call.parts.deployments.resolve(call.account.id, call.path("owner"), call.path("name"))
    return await create_one(call, runnable, body)


def _place(call: Call[DeploymentParts]) -> DeploymentName:
    return DeploymentName(call.account.id, call.path("owner"), call.path("name"))


async def _find_own(call: Call[DeploymentParts], place: DeploymentName) -> Row:
    row = await stores.deployments.find(call.parts.database, place)
    if row is None:
        raise not_found()
    return row


def _deployment(row: Row) -> Deployment:
    kind: Literal["user", "organization"] = "organization" if row["type"] == "organization" else "user"
    return Deployment(
        owner=row["owner"],
        name=row["name"],
        current_release=Release(
            number=row["number"],
            model=row["model"],
            version=row["version"],
            created_at=rfc3339(row["released_at"].timestamp()),
            created_by=Account(
                type=kind,
                username=row["username"],
                name=row["account_name"],
                github_url=row["github_url"] or UNSET,
                avatar_url=row["avatar_url"] or UNSET,
            ),
            configuration=Configuration(
                hardware=row["hardware"], min_instances=row["min_instances"], max_instances=row["max_instances"]
            ),
        ),
    )
