"""Serves the app from a temporary store, drives it over HTTP as clients and attackers would, and reads what is left."""

import asyncio
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import httpx

from devhost.demo.reports import make_reports
from devhost.demo.seen import Answered, Json, Seen
from devhost.launch import served
from devhost.simulation.driver import Driver, RealTime
from devhost.simulation.people import Person
from devhost.simulation.plan import Options, Plan, make_plan
from devhost.simulation.requests import Known
from devhost.simulation.server import LIMITS, SETTINGS, caught_up
from devhost.simulation.truth import ground_truth
from shared.audit.search import EventFilter
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.wiring import build_services

ATTACKS = (
    *("guessing", "list_of_passwords", "guessed", "own_role"),
    *("cross_tenant", "documents", "reading", "stolen_session"),
)
"""One of each pattern."""
TENANTS, USERS = 3, 12
PATIENCE_SECONDS = 15.0
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


class DemoError(Exception):
    """The demo cannot go on."""


def run(app: Path, reports: Path) -> Seen:
    """Serve, drive, look, stop, read, and report into the directory `reports`. DemoError, SimulationError, HostError or
    httpx.HTTPError when that fails."""
    plan = make_plan(
        Options(tenants=TENANTS, users=USERS, days=1, attacks=ATTACKS, start=SystemClock().now(), live=True)
    )
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="kraftd-demo-") as data:
        with served(app, data, settings=SETTINGS) as url:
            asyncio.run(_drive(plan, url, seen))
        seen.trails, seen.alerts = asyncio.run(read_stored(data, seen.tenants))
        tenant_id = seen.truth["tenants"][0]["id"]
        seen.made = asyncio.run(make_reports(data, tenant_id, seen.trails[tenant_id], reports))
    return seen


async def _drive(plan: Plan, url: str, seen: Seen) -> None:
    prefix = f"{httpx.URL(url).path}/"

    async def note(answer: httpx.Response) -> None:
        if answer.status_code != 503:  # it did nothing, and is asked again
            request = answer.request
            route = _ID.sub("{id}", request.url.path.removeprefix(prefix))
            seen.calls.append(Answered(request.method, route, answer.status_code, answer.headers["x-request-id"]))

    hooks = {"response": [note]}
    async with (
        httpx.AsyncClient(base_url=httpx.URL(url).copy_with(path="/"), timeout=60) as host,
        httpx.AsyncClient(base_url=url, timeout=60, limits=LIMITS, event_hooks=hooks) as http,
    ):
        driver = Driver(http, plan, RealTime(SystemClock()), lambda _: None)
        await driver.run()
        await caught_up(http)
        looks = _Looks(http, driver.known, seen)
        await looks.at_alerts(plan)
        await _build_reports(host)
        await looks.at_reports(plan)
        await looks.at_logs(plan)
        await looks.with_an_ended_session(plan)
        await caught_up(http)
    seen.truth = ground_truth(plan, driver.known, driver.traces, clock="real", calls=driver.calls, events=driver.events)


async def _build_reports(host: httpx.AsyncClient) -> None:
    answer = await host.post("admin/functions/daily_reports", json={})
    if answer.status_code != 202:
        raise DemoError(f"the timer daily_reports answered {answer.status_code}, not 202")


class _Looks:
    """What the founders of the organizations, their administrators, get to see."""

    def __init__(self, http: httpx.AsyncClient, known: Known, seen: Seen) -> None:
        self._http = http
        self._known = known
        self._seen = seen

    async def at_alerts(self, plan: Plan) -> None:
        """Everybody's own."""
        for founder in _founders(plan):
            self._seen.shown[self._tenant(founder)] = (await self._got("alerts?limit=200", founder))["items"]

    async def at_reports(self, plan: Plan) -> None:
        """Everybody's own, once they are there; and one of the first organization, which another may not see."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        for founder in _founders(plan):
            while not (found := (await self._got("reports", founder))["items"]):
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(0.1)
            self._seen.reports[self._tenant(founder)] = found
        first, *_, last = _founders(plan)
        for report in self._seen.reports[self._tenant(first)][:1]:
            await self._got(f"reports/{report['id']}", first)
            await self._got(f"reports/{report['id']}", last, expected=404)

    async def at_logs(self, plan: Plan) -> None:
        """Everybody's own, the newest events."""
        for founder in _founders(plan):
            found = await self._got("admin/logs/authorization?limit=200", founder)
            self._seen.logs[self._tenant(founder)] = found["items"]

    async def with_an_ended_session(self, plan: Plan) -> None:
        """Sign the first founder out; the token is refused from then on."""
        founder = plan.tenants[0].founder
        await self._asked("POST", "logout", founder, 204)
        await self._got("profile", founder, expected=401)

    async def _got(self, path: str, who: Person, *, expected: int = 200) -> Json:
        found: Json = (await self._asked("GET", path, who, expected)).json()
        return found

    async def _asked(self, method: str, path: str, who: Person, expected: int) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._known.sessions[who, 'own'].access}"}
        answer = await self._http.request(method, f"v1/{path}", headers=headers)
        if answer.status_code != expected:
            raise DemoError(f"{method} /v1/{path} answered {answer.status_code}, not {expected}: {answer.text[:300]}")
        return answer

    def _tenant(self, who: Person) -> str:
        return self._known.tenant_ids[who.tenant]


def _founders(plan: Plan) -> list[Person]:
    return [tenant.founder for tenant in plan.tenants]


async def read_stored(data: str, tenants: Iterable[str]) -> tuple[dict[str, list[Json]], dict[str, list[Json]]]:
    """By tenant all stored events, oldest first, and alerts, as the app reads them. Nobody else may serve the store."""
    services = await build_services(Settings(kraftd_data=data))
    trails: dict[str, list[Json]] = {}
    alerts: dict[str, list[Json]] = {}
    try:
        for tenant_id in tenants:
            found: list[Json] = []
            after = None
            while True:
                page = await services.search.page(tenant_id, EventFilter(), limit=200, after=after)
                found += [await services.search.shown(event) for event in page.items]
                after = page.next
                if after is None:
                    break
            trails[tenant_id] = found[::-1]
            alerts[tenant_id] = list((await services.alerts.list(tenant_id, limit=200)).items)
    finally:
        await services.close()
    return trails, alerts
