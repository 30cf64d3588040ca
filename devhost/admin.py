"""`POST /admin/functions/{name}`: run a timer or feed function by hand, as the real host's admin API does."""

import json
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import Response

type RunByHand = Callable[[str, str | None], Awaitable[bool]]


class AdminApi:
    """The endpoint. `run` starts the function of a name with an input text and is False for an unknown name."""

    def __init__(self, run: RunByHand) -> None:
        self._run = run

    async def run_function(self, request: Request) -> Response:
        """202 when started; 403 from another machine, 415 or 400 for a wrong body, 404 without such a function."""
        if request.client is None or not _is_loopback(request.client.host):
            return Response(status_code=403)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            return Response(status_code=415)  # also keeps pages of other origins out: they cannot send this type
        try:
            body = json.loads(await request.body())
        except ValueError:
            return Response(status_code=400)
        if not isinstance(body, dict) or not isinstance(body.get("input"), str | None):
            return Response(status_code=400)
        started = await self._run(request.path_params["name"], body.get("input"))
        return Response(status_code=202 if started else 404)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
