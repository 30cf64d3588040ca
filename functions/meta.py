"""About the app itself: health, the OpenAPI document, and the answer for what is not there."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import azure.functions as func

from functions._api import Answer, Api, Call, Endpoint, Nothing, Shape
from functions._http import problem
from functions.change_feed import CONSUMERS
from shared.core.errors import KraftdError, NotFoundError
from shared.core.version import VERSION
from shared.storage.containers import LEASES, Container
from shared.storage.errors import NotFound, StoreError, UnknownPosition
from shared.wiring import LazyServices, Services

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import ChangeFeed

api = Api("meta")
BEHIND_SECONDS = 300
"""Of a feed that keeps up a change waits for a second or two; five minutes are five of the longest pauses between
retries."""


class MethodNotAllowed(KraftdError):
    """The path is known, the method is not."""

    status = 405
    title = "Method not allowed"


class Check(Shape):
    """One part of readiness."""

    status: Literal["ok", "behind", "failed", "unknown"]
    lag_seconds: float | None = None


class Checks(Shape):
    """The parts of readiness. `keys`: what persons' data is sealed under.

    `feed`: age of the oldest change that a trigger has not handled; unknown on Cosmos DB. More than five minutes are
    `behind`: a trigger is stuck, or has a lot to do. Requests are served all the same, so that this alone is no 503.
    """

    store: Check
    secrets: Check
    keys: Check
    feed: Check


class HealthShape(Shape):
    """Whether the app can serve."""

    status: Literal["ok", "failed"]
    version: str
    checks: Checks | None = None


@api.endpoint("GET", "v1/health/live", who=None, response=HealthShape, bare=True)
async def health_live(call: Call[Nothing, Nothing]) -> Answer:
    """Whether the process answers."""
    return Answer({"status": "ok", "version": VERSION})


@api.endpoint("GET", "v1/health/ready", who=None, response=HealthShape, also={503: HealthShape})
async def health_ready(call: Call[Nothing, Nothing]) -> Answer:
    """Whether store, secrets, persons' keys and change feed do their work; 503 when one does not."""
    services = call.services
    checks = {
        "store": {"status": await _store(services)},
        "secrets": {"status": await _secrets(services)},
        "keys": {"status": await _keys(services)},
        "feed": await _feed(services),
    }
    failed = any(check["status"] == "failed" for check in checks.values())
    body = {"status": "failed" if failed else "ok", "version": VERSION, "checks": checks}
    return Answer(body, status=503 if failed else 200, headers={"Retry-After": "5"} if failed else {})


async def _store(services: Services) -> str:
    try:
        await services.store.ping()
    except StoreError:
        return "failed"
    return "ok"


async def _secrets(services: Services) -> str:
    from shared.privacy.secrets import ROOTS, SecretsError

    try:
        for name in ROOTS:
            await services.secrets.versions(name)
        await services.index.check()  # which holds to versions of its own
    except SecretsError:
        return "failed"
    return "ok"


async def _keys(services: Services) -> str:
    from shared.privacy.secrets import SecretsError

    try:
        await services.key_probe.check()
    except SecretsError:
        return "failed"
    return "ok"


async def _feed(services: Services) -> dict[str, Any]:
    """The longest that a change has been waiting for its trigger.

    Only an embedded store is asked. Cosmos DB's feed costs request units at each look, and in Azure it is the Functions
    host that knows how far it is.
    """
    from shared.storage.documents import ChangeFeed

    store = services.store
    if not isinstance(store, ChangeFeed):
        return {"status": "unknown", "lag_seconds": None}
    try:
        waiting = [await _oldest(services, store, name, container) for name, (container, _) in CONSUMERS.items()]
    except (StoreError, UnknownPosition):
        return {"status": "failed", "lag_seconds": None}
    oldest = [moment for moment in waiting if moment is not None]
    lag = max(0.0, services.clock.now().timestamp() - min(oldest)) if oldest else 0.0
    return {"status": "behind" if lag > BEHIND_SECONDS else "ok", "lag_seconds": round(lag, 3)}


async def _oldest(services: Services, store: "ChangeFeed", name: str, container: Container) -> int | None:
    from shared.storage.documents import FEED_START

    lease_id = f"{name}|{name}"
    try:
        position = (await services.store.read(LEASES, (lease_id,), lease_id))["position"]
    except NotFound:
        position = FEED_START
    changes = await store.changes(container, position, 1)
    return int(changes[0].item["_ts"]) if changes else None


@api.endpoint("GET", "v1/openapi.json", who=None, response=None, bare=True)
async def get_openapi(call: Call[Nothing, Nothing]) -> Answer:
    """This interface as an OpenAPI 3.1 document, generated from the models that validate."""
    from functions import ENDPOINTS
    from functions._openapi import document

    return Answer(document(ENDPOINTS))


def blueprint(services: LazyServices) -> func.Blueprint:
    """The functions of this module; last by name, the one that answers for every path that nothing else takes."""
    made = api.blueprint(services)

    async def zz_not_found(req: func.HttpRequest) -> func.HttpResponse:
        from functions import ENDPOINTS

        allowed = allowed_methods(ENDPOINTS, req.route_params.get("path") or "")
        if allowed and req.method.upper() not in allowed:
            error: KraftdError = MethodNotAllowed("method_not_allowed", "This path does not take that method.")
            return problem(error, services.ids.new(), {"Allow": ", ".join(allowed)})
        return problem(NotFoundError("not_found", "There is nothing at this path."), services.ids.new())

    route = made.route("{*path}", auth_level=func.AuthLevel.ANONYMOUS)  # every method: one is as unknown as another
    made.function_name("zz_not_found")(route(zz_not_found))
    return made


def allowed_methods(endpoints: Sequence[Endpoint], path: str) -> list[str]:
    """The methods that a path takes, sorted; none for an unknown path."""
    return sorted({e.method for e in endpoints if _pattern(e.route).fullmatch(path.removesuffix("/"))})


@lru_cache(maxsize=256)
def _pattern(route: str) -> re.Pattern[str]:
    return re.compile("/".join(map(_part, route.split("/"))), re.IGNORECASE)


def _part(part: str) -> str:
    """What a part of a route matches: a literal, a parameter, an id, the rest of the path."""
    if not part.startswith("{"):
        return re.escape(part)
    if part.endswith(":guid}"):
        return r"\{?\(?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\)?\}?"
    return ".*" if part.startswith("{*") else "[^/]+"
