"""What a program of this machine may ask of the host: `POST /admin/functions/{name}` runs a timer or feed function by
hand, as the real host's admin API does; `/admin/clock` is there where time is simulated, and moves it."""

import json
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devhost.clock import SimulatedClock
from devhost.http import ClientGone, Refused, read_body, read_host
from shared.core.clock import parse_rfc3339, rfc3339

MAX_BODY_BYTES = 1024 * 1024
# What a browser says of a page of this very origin, and of an address that the user typed.
_OWN_SITES = frozenset({"same-origin", "none"})

type RunByHand = Callable[[str, str | None], Awaitable[bool]]


class AdminApi:
    """The endpoints. `run` starts the function of a name with an input text and is False for an unknown name."""

    def __init__(self, run: RunByHand, clock: SimulatedClock | None = None) -> None:
        self._run = run
        self._clock = clock

    async def run_function(self, request: Request) -> Response:
        """202 when started; 403 from elsewhere, 400, 413 or 415 for a wrong request, 404 without such a function."""
        return await _answered(request, self._started)

    async def clock(self, request: Request) -> Response:
        """200 `{"now": …}`: the simulated time, which `POST {"now": …}` moves forward; 409 for a time that has passed,
        403 from elsewhere, 400, 413 or 415 for a wrong request, 404 where time is not simulated."""
        return await _answered(request, self._told if request.method == "GET" else self._moved)

    async def _started(self, request: Request) -> Response:
        body = await _object(request)
        if not isinstance(body.get("input"), str | None):
            raise Refused(400)
        found = await self._run(request.path_params["name"], body.get("input"))
        return Response(status_code=202 if found else 404)

    async def _told(self, _: Request) -> Response:
        if self._clock is None:
            raise Refused(404)
        return JSONResponse({"now": rfc3339(self._clock.now())})

    async def _moved(self, request: Request) -> Response:
        body = await _object(request)
        text = body.get("now")
        if not isinstance(text, str) or body.keys() != {"now"}:
            raise Refused(400)
        try:
            moment = parse_rfc3339(text)
            moved = self._clock is not None and self._clock.move(moment)
        except ValueError:
            raise Refused(400) from None
        return await self._told(request) if moved else Response(status_code=404 if self._clock is None else 409)


async def _answered(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        return await answer(request) if _is_local(request) else Response(status_code=403)
    except Refused as refused:
        return Response(status_code=refused.status, headers={"Connection": "close"})
    except ClientGone:
        return Response(status_code=400)  # which nobody reads


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings. Refused: 400, 413, 415."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refused(415)  # also keeps pages of other origins out: they cannot send this type
    try:
        body = json.loads(await read_body(request.scope, request.receive, MAX_BODY_BYTES))
    except (ValueError, RecursionError):
        raise Refused(400) from None
    if not isinstance(body, dict):
        raise Refused(400)
    return body


def _is_local(request: Request) -> bool:
    """Whether a program of this machine asks, and not a web page: not even one whose name was bound to this address."""
    if request.client is None or not is_loopback(request.client.host):
        return False
    host = read_host(request.scope)
    if host != "localhost" and not is_loopback(host):
        return False
    own = f"{request.scope['scheme']}://{request.headers.get('host', '')}".lower()
    return all(origin.lower() == own for origin in request.headers.getlist("origin")) and all(
        site in _OWN_SITES for site in request.headers.getlist("sec-fetch-site")
    )


def is_loopback(host: str) -> bool:
    """Whether a host is an address of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
