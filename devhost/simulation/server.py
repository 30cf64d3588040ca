"""The server that a simulation works on: how it has to be set, what time it is there, and whether it is done."""

import asyncio
from datetime import datetime
from time import monotonic
from typing import Any

import httpx

from devhost.simulation.requests import SimulationError
from shared.core.clock import parse_rfc3339

SETTINGS = {
    # Two entries of X-Forwarded-For are trusted: devhost's own, and ours, which says where a call comes from.
    "TRUSTED_PROXY_HOPS": "2",
    "COSMOS_DB_ENDPOINT": "",
    "COSMOS_DB_EMULATOR": "",
    "KEY_VAULT_URI": "",
}
"""Of a server of one's own, whatever the environment holds: nothing is left in anybody else's store or vault."""
LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=16)
_CATCH_UP_SECONDS = 120.0


async def simulated_now(root: httpx.AsyncClient) -> datetime | None:
    """The server's simulated time; None where time is real. SimulationError for what is no such server."""
    answer = await root.get("admin/clock")
    if answer.status_code != 200:
        return None
    now = str(_field(answer, "now"))
    try:
        return parse_rfc3339(now)
    except ValueError as error:
        raise SimulationError(f"GET {answer.request.url.path}: {error}") from None


async def caught_up(http: httpx.AsyncClient, seconds: float = _CATCH_UP_SECONDS) -> None:
    """Wait until detection has seen everything. SimulationError when it does not get there, or cannot."""
    patience = monotonic() + seconds
    while True:
        answer = await http.get("v1/health/ready")
        feed = _field(answer, "checks", "feed")
        if feed["status"] != "failed" and not feed["lag_seconds"]:  # None: a store that does not tell
            return
        if monotonic() > patience:
            what = "failed" if feed["status"] == "failed" else "is still behind"
            raise SimulationError(f"the change feed {what} after {seconds:.0f} s")
        await asyncio.sleep(0.2)


def _field(answer: httpx.Response, *names: str) -> Any:
    try:
        found = answer.json()
        for name in names:
            found = found[name]
    except (ValueError, LookupError, TypeError):
        path = answer.request.url.path
        raise SimulationError(f"GET {path} was answered {answer.status_code} without {'.'.join(names)}") from None
    return found
