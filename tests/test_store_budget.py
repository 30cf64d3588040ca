"""What each call may ask of the store is checked in: a change that asks for more, or for less, has to say so."""

import json

import pytest

from bench.store_budget import FILE, HEADROOM, Walk, measure
from devhost.host import Host
from functions import ENDPOINTS
from functions.timers import OF_ERASURE, TIMERS
from tests.infra.grants import refused

BUDGET = json.loads(FILE.read_text(encoding="utf-8"))
WITHOUT_STORE = {"v1/health/live", "v1/openapi.json"}


@pytest.fixture(scope="module")
async def walk(host: Host) -> Walk:
    return await measure(host)


async def test_every_call_keeps_to_its_budget(walk: Walk) -> None:
    found = walk.found
    assert {name: each["calls"] for name, each in found.items()} == {n: e["calls"] for n, e in BUDGET.items()}, (
        "run `python -m bench.store_budget --write` and say why in the commit"
    )
    for name, each in found.items():
        assert BUDGET[name]["ru"] / HEADROOM <= each["ru"] <= BUDGET[name]["ru"] * HEADROOM, name


async def test_every_call_does_what_its_identity_may(walk: Walk) -> None:
    """In Azure the roles of infra/roles.json refuse the rest: only the erasure's identity replaces events."""
    rewriting = set()
    for name, done in walk.done.items():
        of_erasure = any(name.startswith(f"timer {timer},") for timer in OF_ERASURE)
        assert not refused("erasure" if of_erasure else "app", done), name
        rewriting |= {name} if refused("app", done) else set()
    assert rewriting == {"timer run_erasures, one person"}


def test_every_endpoint_and_timer_has_a_budget() -> None:
    for endpoint in ENDPOINTS:
        if endpoint.route not in WITHOUT_STORE:
            name = f"{endpoint.method} {endpoint.route.removeprefix('v1/').replace(':guid', '')}"
            assert any(each.startswith(name) for each in BUDGET), name
    for timer in TIMERS:
        assert any(each.startswith(f"timer {timer},") for each in BUDGET), timer
