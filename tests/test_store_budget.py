"""What each call may ask of the store is checked in: a change that asks for more, or for less, has to say so."""

import json

from bench.store_budget import FILE, HEADROOM, measure
from devhost.host import Host
from functions import ENDPOINTS
from functions.timers import TIMERS

BUDGET = json.loads(FILE.read_text(encoding="utf-8"))
WITHOUT_STORE = {"v1/health/live", "v1/openapi.json"}


async def test_every_call_keeps_to_its_budget(host: Host) -> None:
    found = await measure(host)
    assert {name: each["calls"] for name, each in found.items()} == {n: e["calls"] for n, e in BUDGET.items()}, (
        "run `python -m bench.store_budget --write` and say why in the commit"
    )
    for name, each in found.items():
        assert BUDGET[name]["ru"] / HEADROOM <= each["ru"] <= BUDGET[name]["ru"] * HEADROOM, name


def test_every_endpoint_and_timer_has_a_budget() -> None:
    for endpoint in ENDPOINTS:
        if endpoint.route not in WITHOUT_STORE:
            name = f"{endpoint.method} {endpoint.route.removeprefix('v1/').replace(':guid', '')}"
            assert any(each.startswith(name) for each in BUDGET), name
    for timer in TIMERS:
        assert any(each.startswith(f"timer {timer},") for each in BUDGET), timer
