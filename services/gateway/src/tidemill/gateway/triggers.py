"""All HTTP routes of the gateway on one screen, and the application made from them.

Bus subscriptions and timers are in `main`.
"""

from typing import Final

from aiohttp import web

from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway.access import cors
from tidemill.gateway.call import Route
from tidemill.gateway.handlers import (
    account,
    asyncapi,
    collections,
    delivery,
    deployments,
    docs,
    event_consumers,
    examples,
    files,
    listening,
    models,
    organizations,
    pages,
    predictions,
    pushes,
    search,
    secrets,
    streams,
    tokens,
    trainings,
    versions,
    webhooks,
)
from tidemill.gateway.http import bind, unmatched
from tidemill.gateway.live import feeds
from tidemill.gateway.live.listening import install as install_listeners
from tidemill.gateway.parts import Parts
from tidemill.gateway.reference.documentation import DOCUMENTATION, Documentation, written_pages
from tidemill.gateway.reference.openapi import document

# Official clients disagree on whether the base URL contains /v1; one configured value must work for all of them.
PREFIXES: Final = ("/v1", "", "/v1/v1")

MODEL: Final = "/models/{owner}/{name}"
DEPLOYMENT: Final = "/deployments/{owner}/{name}"

# The operations of Replicate's API.
REPLICATE: Final[tuple[Route[Parts], ...]] = (
    Route("GET", "/account", account.get),
    Route("GET", "/hardware", models.hardware),
    Route("GET", "/webhooks/default/secret", webhooks.secret),
    Route("POST", "/predictions", predictions.create),
    Route("GET", "/predictions", predictions.list_),
    Route("GET", "/predictions/{id}", predictions.get),
    Route("POST", "/predictions/{id}/cancel", predictions.cancel),
    Route("GET", "/models", models.list_),
    Route("POST", "/models", models.create),
    Route("QUERY", "/models", search.models),
    Route("GET", MODEL, models.get),
    Route("PATCH", MODEL, models.update),
    Route("DELETE", MODEL, models.delete),
    Route("GET", f"{MODEL}/readme", models.readme),
    Route("GET", f"{MODEL}/examples", examples.list_),
    Route("POST", f"{MODEL}/predictions", predictions.create_for_model),
    Route("GET", f"{MODEL}/versions", versions.list_),
    Route("GET", f"{MODEL}/versions/{{id}}", versions.get),
    Route("DELETE", f"{MODEL}/versions/{{id}}", versions.delete),
    Route("GET", "/search", search.everything),
    Route("GET", "/collections", collections.list_),
    Route("GET", "/collections/{slug}", collections.get),
    Route("POST", f"{MODEL}/versions/{{id}}/trainings", trainings.create),
    Route("GET", "/trainings", trainings.list_),
    Route("GET", "/trainings/{id}", trainings.get),
    Route("POST", "/trainings/{id}/cancel", trainings.cancel),
    Route("GET", "/deployments", deployments.list_),
    Route("POST", "/deployments", deployments.create),
    Route("GET", DEPLOYMENT, deployments.get),
    Route("PATCH", DEPLOYMENT, deployments.update),
    Route("DELETE", DEPLOYMENT, deployments.delete),
    Route("POST", f"{DEPLOYMENT}/predictions", deployments.predict),
    Route("POST", "/files", files.create),
    Route("GET", "/files", files.list_),
    Route("GET", "/files/{id}", files.get),
    Route("DELETE", "/files/{id}", files.delete),
    Route("GET", "/files/{id}/download", files.download),
)
# Extensions of ours; Replicate's clients do not use them.
EXTENSIONS: Final[tuple[Route[Parts], ...]] = (
    Route("POST", "/predictions/batch", predictions.create_batch),
    Route("DELETE", "/predictions/{id}", predictions.delete),
    Route("POST", "/predictions/{id}/share", predictions.share),
    Route("DELETE", "/predictions/{id}/share", predictions.unshare),
    Route("PATCH", "/account", account.update),
    Route("GET", "/tokens", tokens.list_),
    Route("POST", "/tokens", tokens.create),
    Route("GET", "/tokens/{id}", tokens.get),
    Route("DELETE", "/tokens/{id}", tokens.revoke),
    Route("GET", "/organizations", organizations.list_),
    Route("POST", "/organizations", organizations.create),
    Route("GET", "/organizations/{name}", organizations.get),
    Route("PATCH", "/organizations/{name}", organizations.update),
    Route("DELETE", "/organizations/{name}", organizations.delete),
    Route("GET", "/organizations/{name}/members", organizations.members),
    Route("PUT", "/organizations/{name}/members/{username}", organizations.set_member),
    Route("DELETE", "/organizations/{name}/members/{username}", organizations.remove_member),
    Route("POST", f"{MODEL}/examples", examples.create),
    Route("DELETE", f"{MODEL}/examples/{{id}}", examples.delete),
    Route("GET", f"{MODEL}/versions/{{id}}/boots", versions.boots),
    Route("GET", f"{MODEL}/secrets", secrets.list_),
    Route("GET", f"{MODEL}/secrets/{{secret}}", secrets.get),
    Route("PUT", f"{MODEL}/secrets/{{secret}}", secrets.set_),
    Route("DELETE", f"{MODEL}/secrets/{{secret}}", secrets.delete),
    Route("GET", "/event-consumers", event_consumers.list_),
    Route("POST", "/event-consumers", event_consumers.create),
    Route("GET", "/event-consumers/{id}", event_consumers.get),
    Route("DELETE", "/event-consumers/{id}", event_consumers.delete),
    Route("POST", "/webhooks/default/secret/rotate", webhooks.rotate_secret),
    Route("GET", "/webhooks/deliveries", webhooks.deliveries),
    Route("GET", "/webhooks/deliveries/{id}", webhooks.delivery),
    Route("POST", "/webhooks/deliveries/{id}/redeliver", webhooks.redeliver),
    Route("GET", "/webhooks/endpoints", webhooks.endpoints),
    Route("POST", "/webhooks/endpoints/{id}/enable", webhooks.enable_endpoint),
    Route("GET", "/webhooks/listen", listening.listen),
    Route("POST", f"{MODEL}/pushes", pushes.create),
    Route("GET", "/pushes/{id}", pushes.get),
    Route("POST", "/pushes/{id}/start", pushes.start),
    Route("PUT", "/blobs/{sha256}", pushes.put_blob),
    Route("GET", "/delivery/{token}/{name}", delivery.get),
    Route("GET", "/streams/{token}", streams.get),
    Route("GET", "/files/streams/{token}", streams.get_files),
    Route("GET", "/p/{id}", pages.prediction),
    Route("GET", "/openapi.json", docs.openapi),
    Route("GET", "/asyncapi.json", asyncapi.get),
    Route("GET", "/docs", docs.index),
    Route("GET", "/docs/{page}", docs.page),
    Route("GET", "/docs/reference/{page}", docs.reference_page),
)
ROUTES: Final = (*REPLICATE, *EXTENSIONS)
# A page for browsers only; programs get a 404, so it is not an operation of the API.
START: Final[Route[Parts]] = Route("GET", "/", pages.start)


def application(parts: Parts) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[unmatched])
    for route in ROUTES:
        handler = bind(parts, route)
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        for path in (f"{prefix}{route.path}{slash}" for prefix in PREFIXES for slash in ("", "/")):
            for method in methods:
                app.router.add_route(method, path, handler)
    app.router.add_get(START.path, bind(parts, START))  # with HEAD
    feeds.install(app, parts.feeds)
    install_listeners(app, parts.bus)
    app[DOCUMENTATION] = Documentation(document(REPLICATE, EXTENSIONS, parts.api_url), written_pages())
    if parts.config.cors_origins:
        cors.install(app, parts.config.cors_origins)
    return app
