"""`POST /admin/functions/{name}`: run a timer or feed function by hand, as the real host's admin API does."""

import json
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import Response

from devhost.http import ClientGone, Refused, read_body, read_host

MAX_BODY_BYTES = 1024 * 1024
# What a browser says of a page of this very origin, and of an address that the user typed.
_OWN_SITES = frozenset({"same-origin", "none"})

type RunByHand = Callable[[str, str | None], Awaitable[bool]]


class AdminApi:
    """The endpoint. `run` starts the function of a name with an input text and is False for an unknown name."""

    def __init__(self, run: RunByHand) -> None:
        self._run = run

    async def run_function(self, request: Request) -> Response:
        """202 when started; 403 from elsewhere, 400, 413 or 415 for a wrong request, 404 without such a function."""
        try:
            return Response(status_code=await self._answer(request))
        except Refused as refused:
            return Response(status_code=refused.status, headers={"Connection": "close"})
        except ClientGone:
            return Response(status_code=400)  # which nobody reads

    async def _answer(self, request: Request) -> int:
        if not _is_local(request):
            return 403
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            return 415  # also keeps pages of other origins out: they cannot send this type
        try:
            body = json.loads(await read_body(request.scope, request.receive, MAX_BODY_BYTES))
        except (ValueError, RecursionError):
            return 400
        if not isinstance(body, dict) or not isinstance(body.get("input"), str | None):
            return 400
        return 202 if await self._run(request.path_params["name"], body.get("input")) else 404


def _is_local(request: Request) -> bool:
    """Whether a program of this machine asks, and not a web page: not even one whose name was bound to this address."""
    if request.client is None or not _is_loopback(request.client.host):
        return False
    host = read_host(request.scope)
    if host != "localhost" and not _is_loopback(host):
        return False
    own = f"{request.scope['scheme']}://{request.headers.get('host', '')}".lower()
    return all(origin.lower() == own for origin in request.headers.getlist("origin")) and all(
        site in _OWN_SITES for site in request.headers.getlist("sec-fetch-site")
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
