"""`python -m devhost.demo`: the app at its main job, on real traffic.

It serves the app from a temporary store with `python -m devhost`, drives it over HTTP as clients would (two tenants,
their users, someone who guesses passwords), stops it, and prints what the store then holds: the trail, the alert that
rose and the report that the timer built. Exit code 1, with what is wrong, when one of the three is missing, a call has
no event, or one tenant sees something of the other.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from devhost.errors import HostError
from devhost.launch import served
from shared.audit.model import PLATFORM_TENANT
from shared.audit.search import EventFilter
from shared.core.settings import Settings
from shared.wiring import build_services

ALERTS = 2
"""Guessing, and a sign-in after it."""
ATTEMPTS = 6
PATIENCE_SECONDS = 12.0
_WIDTH = 100
_PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts that live for some seconds

type Json = dict[str, Any]


class DemoError(Exception):
    """The demo cannot go on."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was answered, and the event types that it has to leave in a tenant's trail."""

    what: str
    status: int
    request_id: str
    tenant_id: str | None
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A registered user."""

    id: str
    tenant_id: str
    email: str
    token: str = field(repr=False)


@dataclass(slots=True)
class Seen:
    """What the demo did, and what the API and the store showed of it. Trails by tenant, oldest event first."""

    first: str = ""
    second: str = ""
    names: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    alerts: dict[str, list[Json]] = field(default_factory=dict)
    reports: dict[str, list[Json]] = field(default_factory=dict)
    logs: dict[str, list[Json]] = field(default_factory=dict)
    trails: dict[str, list[Json]] = field(default_factory=dict)


class Client:
    """Calls the API and notes what each call has to leave behind."""

    def __init__(self, http: httpx.Client, seen: Seen) -> None:
        self._http = http
        self._seen = seen

    def call(
        self,
        method: str,
        path: str,
        expected: int,
        *events: str,
        user: User | None = None,
        tenant_id: str | None = None,
        body: Json | None = None,
    ) -> Json:
        """One call. DemoError when its status is not `expected`. `events`: the types that it leaves, in `tenant_id`."""
        headers = {"Authorization": f"Bearer {user.token}"} if user else {}
        answer = self._http.request(method, f"v1/{path}", json=body, headers=headers)
        if answer.status_code != expected:
            raise DemoError(f"{method} /v1/{path} answered {answer.status_code}, not {expected}: {answer.text[:300]}")
        found: Json = answer.json() if answer.content else {}
        if tenant_id is None:
            tenant_id = user.tenant_id if user else found.get("user", {}).get("tenant_id")
        request_id = answer.headers["x-request-id"]
        self._seen.calls.append(Call(f"{method} /v1/{path}", expected, request_id, tenant_id, events))
        return found

    def register(self, email: str, organization: str) -> User:
        """Open an account with an organization of its own."""
        body: Json = {
            "email": email,
            "password": _PASSWORD,
            "first_name": "Demo",
            "last_name": "User",
            "organization": organization,
            "accept_terms": True,
            "accept_privacy": True,
        }
        events = ("auth.register", "consent.grant", "consent.grant")
        answer = self.call("POST", "register", 201, *events, body=body)
        return User(answer["user"]["id"], answer["user"]["tenant_id"], email, answer["access_token"])

    def login(self, user: User) -> User:
        """A new session of a user."""
        body = {"email": user.email, "password": _PASSWORD}
        answer = self.call("POST", "login", 200, "auth.login", tenant_id=user.tenant_id, body=body)
        return User(user.id, user.tenant_id, user.email, answer["access_token"])

    def poll(self, path: str, user: User, enough: Callable[[list[Json]], bool], seconds: float) -> list[Json]:
        """Ask a list, which leaves no event, until it holds enough or the time is over; what it held last."""
        deadline = time.monotonic() + seconds
        while True:
            items: list[Json] = self.call("GET", path, 200, user=user)["items"]
            if enough(items) or time.monotonic() > deadline:
                return items
            time.sleep(0.1)


def drive(client: Client, seen: Seen) -> tuple[User, User]:
    """The traffic: two tenants at work, a refused token, a look across tenants, an attack. The two administrators."""
    one = client.register("admin@example.com", "First organization")
    two = client.register("admin@example.org", "Second organization")
    seen.first, seen.second = one.tenant_id, two.tenant_id
    seen.names = {one.id: one.email, two.id: two.email}
    for user in (one, two):
        client.call("GET", "profile", 200, "profile.view", user=user)
    earlier = client.login(one)
    client.call("GET", "profile", 200, "profile.view", user=earlier)
    client.call("POST", "logout", 204, "auth.logout", user=earlier)
    client.call("GET", "profile", 401, "auth.token_rejected", user=earlier, tenant_id=PLATFORM_TENANT)
    for attempt in range(ATTEMPTS):
        guess = {"email": one.email, "password": f"guess number {attempt}"}
        client.call("POST", "login", 401, "auth.login", tenant_id=one.tenant_id, body=guess)
    client.call("POST", "login", 401, "auth.login", tenant_id=PLATFORM_TENANT, body=guess | {"email": "no@example.net"})
    return client.login(one), two


def look(client: Client, http: httpx.Client, seen: Seen, one: User, two: User, patience_seconds: float) -> None:
    """What the administrators get to see: log, alerts, and the report once the timer was told to build it."""
    raised = client.poll("alerts", one, lambda i: len(i) >= ALERTS and _count(i) >= ATTEMPTS, patience_seconds)
    seen.alerts[one.tenant_id] = raised
    answer = http.post("/admin/functions/daily_reports", content="{}", headers={"Content-Type": "application/json"})
    if answer.status_code != 202:
        raise DemoError(f"the timer daily_reports answered {answer.status_code}, not 202")
    for user in (one, two):
        seen.reports[user.tenant_id] = client.poll("reports", user, bool, patience_seconds)
    for report in seen.reports[one.tenant_id][:1]:
        client.call("GET", f"reports/{report['id']}", 200, "report.read", user=one)
        client.call("GET", f"reports/{report['id']}", 404, "access.denied", user=two)
    seen.alerts[two.tenant_id] = client.poll("alerts", two, lambda _: True, 0)
    for user in (one, two):
        found = client.call("GET", "admin/logs/authorization?limit=200", 200, "audit.search", user=user)
        seen.logs[user.tenant_id] = found["items"]


def _count(alerts: Sequence[Json]) -> int:
    return max((alert["count"] for alert in alerts), default=0)


async def read_trails(data: str, tenants: Sequence[str]) -> dict[str, list[Json]]:
    """All stored events of some tenants, oldest first, read as the app reads them. Nobody else may serve the store."""
    services = await build_services(Settings(kraftd_data=data))
    try:
        trails: dict[str, list[Json]] = {}
        for tenant_id in tenants:
            page = await services.search.page(tenant_id, EventFilter(), limit=1000)
            trails[tenant_id] = [await services.search.shown(event) for event in reversed(page.items)]
        return trails
    finally:
        await services.close()


def faults(seen: Seen) -> list[str]:
    """Everything that is not as it has to be, one line each; empty when all is well."""
    return [*_missing(seen), *_unaudited(seen), *_leaks(seen)]


def _missing(seen: Seen) -> list[str]:
    found: list[str] = []
    if not seen.trails.get(seen.first):
        found.append("the trail is missing")
    if _count(seen.alerts.get(seen.first, ())) < ATTEMPTS:
        found.append(f"the alert is missing: no episode of {ATTEMPTS} failed sign-ins")
    if not seen.reports.get(seen.first):
        found.append("the report is missing")
    return found


def _unaudited(seen: Seen) -> list[str]:
    """Calls whose events are not in the trail of their tenant, and events that stem from no call or function."""
    found: list[str] = []
    by_request: dict[tuple[str | None, str], Counter[str]] = {}
    for tenant_id, trail in seen.trails.items():
        for event in trail:
            kinds = by_request.setdefault((tenant_id, event["context"]["request_id"]), Counter())
            kinds[event["type"]] += 1
    for call in seen.calls:
        held = by_request.pop((call.tenant_id, call.request_id), Counter())
        if held != Counter(call.events):
            wanted = ", ".join(call.events) or "no event"
            found.append(f"{call.what} ({call.status}) left {', '.join(held.elements()) or 'no event'}, not {wanted}")
    for kinds in by_request.values():
        if any(not kind.startswith(("alert.", "report.generate")) for kind in kinds):
            found.append(f"no call left {', '.join(kinds)}")
    return found


def _leaks(seen: Seen) -> list[str]:
    """What one tenant sees of the other."""
    found: list[str] = []
    if seen.alerts.get(seen.second):
        found.append("the other tenant has an alert")
    for own, other in ((seen.first, seen.second), (seen.second, seen.first)):
        foreign = {event["id"] for event in seen.trails.get(other, ())}
        shown = seen.logs.get(own, [])
        if any(event["id"] in foreign or event["tenant_id"] != own for event in shown):
            found.append("a tenant sees the other's events")
        if not shown:
            found.append("an administrator's log is empty")
    return found


def page_of(seen: Seen, style: Callable[[str], str]) -> str:
    """Trail, alert and report, laid out for a terminal. `style` marks a heading."""
    lines: list[str] = []
    whose = ((seen.first, "the first tenant"), (seen.second, "the second tenant"), (PLATFORM_TENANT, "nobody's tenant"))
    for tenant_id, name in whose:
        trail = seen.trails.get(tenant_id, ())
        lines += [style(f"Trail of {name}: {len(trail)} events")]
        lines += [*_columns([("time (UTC)", "type", "outcome", "reason", "who"), *map(_row, trail)]), ""]
    lines += [style("Alert")]
    for alert in seen.alerts.get(seen.first, ()):
        lines += _alert_lines(alert, seen.names)
    lines += ["", style("Report")]
    for report in seen.reports.get(seen.first, ())[:1]:
        lines += _report_lines(report)
    return "\n".join(lines)


def _row(event: Json) -> tuple[str, ...]:
    actor = event["actor"]
    mails = [held["email"] for held in event["personal"].values() if "email" in held]
    who = mails[0] if mails else actor["id"] or actor["kind"]
    if actor["kind"] == "anonymous" and mails:
        who = f"someone, as {mails[0]}"
    return event["recorded_at"][11:23], event["type"], event["outcome"], event["reason"] or "-", who


def _alert_lines(alert: Json, names: Mapping[str, str]) -> list[str]:
    return [
        *_columns(
            [
                ("pattern", f"{alert['pattern']}: {alert['title']}"),
                ("severity", alert["severity"]),
                ("ATT&CK", ", ".join(alert["attack"])),
                ("account", names.get(alert["key"], alert["key"])),
                ("events", str(alert["count"])),
                ("first seen", alert["first_seen"]),
                ("last seen", alert["last_seen"]),
            ]
        ),
        *textwrap.wrap(f"first step  {alert['runbook'][0]}", _WIDTH, initial_indent="  ", subsequent_indent=" " * 14),
    ]


def _report_lines(report: Json) -> list[str]:
    counts = [
        (kind, ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
        for kind, outcomes in sorted(report["by_type"].items())
    ]
    raised, denied = report["alerts_raised"], report["access_denied"]
    return _columns(
        [
            ("period", f"{report['from']} to {report['to']}"),
            ("status", f"{report['status']}, generated {report['generated_at']}"),
            ("events", str(report["events_in_period"])),
            ("alerts raised", ", ".join(f"{n} {p}" for p, n in raised["by_pattern"].items()) or "0"),
            ("access denied", str(denied["total"])),
            *counts,
        ]
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"{text}\n{'-' * len(text)}"


def run(app: Path, patience_seconds: float) -> Seen:
    """Serve, drive, stop, read. DemoError when a call is not answered as it has to be."""
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="kraftd-demo-") as data:
        with served(app, data) as url, httpx.Client(base_url=url, timeout=20) as http:
            root = httpx.URL(url).copy_with(path="/")
            with httpx.Client(base_url=root, timeout=20) as host:
                client = Client(http, seen)
                one, two = drive(client, seen)
                look(client, host, seen, one, two, patience_seconds)
        seen.trails = asyncio.run(read_trails(data, (seen.first, seen.second, PLATFORM_TENANT)))
    return seen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. Exit code 0 when all is there, else 1."""
    parser = argparse.ArgumentParser(prog="python -m devhost.demo", description="The app at its main job.")
    parser.add_argument("--app", type=Path, default=Path(), help="directory of function_app.py (default: this one)")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds to wait for alert and report")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended then, too
    for name in ("COSMOS_DB_ENDPOINT", "COSMOS_DB_EMULATOR", "KEY_VAULT_URI"):
        os.environ[name] = ""  # it shows its own store and secrets, and leaves nothing in anybody else's
    start = time.monotonic()
    try:
        seen = run(options.app, options.patience)
    except (DemoError, HostError, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(page_of(seen, _bold))
    wrong = faults(seen)
    for fault in wrong:
        print(f"demo: {fault}", file=sys.stderr)
    calls = sum(1 for call in seen.calls if call.events)
    if not wrong:
        print(
            f"\n{calls} audited calls in {time.monotonic() - start:.1f} s: each left its events; no tenant saw another."
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
