"""Store calls and reckoned request units per endpoint: `python -m bench.store_budget` (a few seconds).

Each call is made once, in the real app on the embedded store, in a steady state (a tenant with one account and a
little history). The calls are those that Cosmos DB would get; their cost is a model (`_metered.py`). `--write` puts
what was found into `store_budget.json`, which a test holds the app to: a change that costs more has to say so.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pyotp import TOTP

from bench._figures import figure, table
from bench._metered import Meter, MeteredStore
from bench._report_calls import framework_report, sign_off
from bench._servers import ROOT
from devhost.host import Host
from shared.core.settings import Settings
from shared.detection.patterns import brute_force
from shared.ledger.checkpoints import SIGN_EVERY
from shared.wiring import build_services

FILE = Path(__file__).with_name("store_budget.json")
HEADROOM = 1.05
"""A budget's request units: sizes of items differ a little between runs (ids, times, tokens)."""
EMAIL, PASSWORD, LATER = "someone@example.com", "a long enough password", "and quite a different one"
JOINER = "joiner@example.com"
_START = datetime(2026, 3, 15, 12, tzinfo=UTC)
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"

_ADMIN_LISTS = ("admin/users", "admin/invitations", "admin/api-keys", "admin/settings")

type Send = Callable[..., Awaitable[Any]]
type Budget = dict[str, dict[str, Any]]
"""By name of what is done: `calls` (how often each call of the store) and `ru`."""


class _Noon:
    """A clock that moves a millisecond each time it is asked, from noon: no minute and no day ends in between."""

    def __init__(self) -> None:
        self._asked = 0
        self._later = timedelta()

    def now(self) -> datetime:
        """A moment that is later than the one before."""
        self._asked += 1
        return _START + self._later + timedelta(milliseconds=self._asked)

    def later(self, time: timedelta) -> None:
        """Let some time go by."""
        self._later += time


class Walk:
    """One app under measurement."""

    def __init__(self, host: Host, client: httpx.AsyncClient, meter: Meter, clock: _Noon) -> None:
        self.host = host
        self.clock = clock
        self.client = client
        self.meter = meter
        self.found: Budget = {}
        self.done: dict[str, frozenset[tuple[str, str]]] = {}
        """By name of what is done: what that does to items of which container."""

    async def call(
        self,
        name: str,
        method: str,
        path: str,
        status: int,
        *,
        token: str | None = None,
        body: Any = None,
        read: bool = True,
    ) -> Any:
        """Make one call and book what it cost; its answer, if it is to be read. RuntimeError for another status."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.meter.reset()
        answer = await self.client.request(method, path, headers=headers, json=body)
        if answer.status_code != status:
            raise RuntimeError(f"{name}: {answer.status_code} instead of {status}")
        self._book(name)
        return answer.json() if answer.content and read else None

    async def run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Let a trigger run and book what it cost."""
        self.meter.reset()
        await work()
        self._book(name)

    def _book(self, name: str) -> None:
        calls = dict(sorted(Counter(self.meter.calls).items()))
        self.found[name] = {"calls": calls, "ru": round(self.meter.ru, 1)}
        self.done[name] = frozenset(self.meter.done)


async def _nowhere(_host: str, _port: int) -> list[str]:
    """No name leads anywhere: what is measured is the store."""
    raise OSError


@asynccontextmanager
async def _app(host: Host) -> AsyncIterator[Walk]:
    clock = _Noon()
    store = await MeteredStore.open(None, clock=clock)
    assert isinstance(store, MeteredStore)  # noqa: S101 - what `open` of a subclass gives
    store.meter = Meter()
    services = await build_services(Settings(kraftd_data=":memory:"), clock=clock, store=store)
    services.streaming.delivery.sender.resolve = _nowhere
    host.module.services.put(services)
    await host.start(background=False)
    try:
        transport = httpx.ASGITransport(app=host.asgi, client=("203.0.113.9", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1", timeout=30) as client:
            yield Walk(host, client, store.meter, clock)
    finally:
        await host.stop()


async def measure(host: Host) -> Walk:
    """What each endpoint, rejection and trigger asks of the store: `found` and `done` of what comes back."""
    async with _app(host) as walk:
        body = {"email": EMAIL, "password": PASSWORD, "first_name": "Some", "last_name": "Body"}
        body |= {"organization": "Example"}
        consents = {"accept_terms": True, "accept_privacy": True}
        right, wrong = {"email": EMAIL, "password": PASSWORD}, {"email": EMAIL, "password": "wrong"}
        await walk.call("POST register", "POST", "/register", 201, body=body | consents)
        await walk.call("POST register, e-mail taken", "POST", "/register", 409, body=body | consents)
        await walk.call("POST login", "POST", "/login", 200, body=right)
        await walk.call("POST login, first failure", "POST", "/login", 401, body=wrong)
        await walk.call("POST login, further failure", "POST", "/login", 401, body=wrong)
        await walk.call("POST login, unknown", "POST", "/login", 401, body=wrong | {"email": "nobody@example.com"})
        token = (await walk.call("POST login after failures", "POST", "/login", 200, body=right))["access_token"]
        await _own_account(walk, token)
        await _second_factor(walk, token, right | {"password": LATER})
        for name in ("profile", "admin/logs/authorization", "events", "alerts", "reports", *_ADMIN_LISTS):
            await walk.call(f"GET {name}", "GET", f"/{name}", 200, token=token)
        await _one_event(walk, token)
        await _webhook(walk, token)
        await walk.call("GET events/export", "GET", "/events/export?format=ocsf", 200, token=token, read=False)
        await walk.call("GET reports/{id}, unknown", "GET", f"/reports/{UNKNOWN_ID}", 404, token=token)
        await sign_off(walk, token)
        await _administration(walk, token)
        producer = await _producer(walk, token)
        await walk.call("GET health/ready", "GET", "/health/ready", 200)
        await walk.call("rejected token, first of its minute", "GET", "/profile", 401, token="x")
        await walk.call("rejected token, counted", "GET", "/profile", 401, token="x")
        await walk.call("POST logout", "POST", "/logout", 204, token=token)
        await host.drain_feed()
        await _triggers(walk, wrong)
        await _ingest(walk, producer)
        return walk


async def _webhook(walk: Walk, token: str) -> None:
    """A webhook that leads nowhere."""
    send = partial(walk.call, token=token)
    body = {"url": "https://receiver.invalid/", "enabled": False}
    await send("PUT webhook", "PUT", "/webhook", 200, body=body)
    await send("GET webhook", "GET", "/webhook", 200)
    await send("GET webhook/deliveries", "GET", "/webhook/deliveries", 200)
    await send("POST webhook/test", "POST", "/webhook/test", 200)
    await send("POST webhook/replay", "POST", "/webhook/replay", 200, body={"from_position": "2026-03/0"})
    await send("DELETE webhook", "DELETE", "/webhook", 204)


async def _one_event(walk: Walk, token: str) -> None:
    """One event that is there, and one that is not."""
    found = await walk.client.get("/events", headers={"Authorization": f"Bearer {token}"})
    newest = found.json()["items"][0]["id"]
    await walk.call("GET events/{id}", "GET", f"/events/{newest}", 200, token=token)
    await walk.call("GET events/{id}, unknown", "GET", f"/events/{UNKNOWN_ID}", 404, token=token)


async def _own_account(walk: Walk, token: str) -> None:
    """What users do to themselves."""
    tokens = (await walk.client.post("/login", json={"email": EMAIL, "password": PASSWORD})).json()
    again = {"refresh_token": tokens["refresh_token"]}
    await walk.call("POST token/refresh", "POST", "/token/refresh", 200, body=again)
    await walk.call("POST token/refresh, used before", "POST", "/token/refresh", 401, body=again)
    await walk.client.post("/login", json={"email": EMAIL, "password": PASSWORD})
    await walk.call("PUT profile", "PUT", "/profile", 200, token=token, body={"bio": "A few words."})
    await walk.call("GET sessions", "GET", "/sessions", 200, token=token)
    found = (await walk.client.get("/sessions", headers={"Authorization": f"Bearer {token}"})).json()["items"]
    other = next(each["id"] for each in found if not each["current"])
    await walk.call("DELETE sessions/{id}", "DELETE", f"/sessions/{other}", 204, token=token)
    change = {"current_password": PASSWORD, "new_password": LATER}
    await walk.call("POST password", "POST", "/password", 204, token=token, body=change)
    back = {"current_password": LATER, "new_password": PASSWORD}
    await walk.call("POST password, one of the last", "POST", "/password", 422, token=token, body=back)


async def _administration(walk: Walk, token: str) -> None:
    """What administrators do to others, and what invitations and API keys are used for."""
    send = partial(walk.call, token=token)
    invitation = {"email": JOINER, "role": "tenant_admin"}
    made = await send("POST admin/invitations", "POST", "/admin/invitations", 201, body=invitation)
    joiner: dict[str, Any] = {"email": JOINER, "password": PASSWORD, "invitation": made["invitation"]}
    joiner |= {"first_name": "Some", "last_name": "Joiner", "accept_terms": True, "accept_privacy": True}
    joined = await walk.call("POST register, by invitation", "POST", "/register", 201, body=joiner)
    await walk.call("POST register, invitation used", "POST", "/register", 422, body=joiner)
    other = await send(
        "POST admin/invitations", "POST", "/admin/invitations", 201, body=invitation | {"email": "x@example.com"}
    )
    gone = f"/admin/invitations/{other['id']}"
    await send("DELETE admin/invitations/{id}", "DELETE", gone, 204)
    user = f"/admin/users/{joined['user']['id']}"
    await send("GET admin/users/{id}", "GET", user, 200)
    await send("PUT admin/users/{id}, profile", "PUT", user, 200, body={"company": "Example"})
    await send("PUT admin/users/{id}, admin demoted", "PUT", user, 200, body={"role": "viewer"})
    own = await _own_id(walk, token)
    await send("PUT admin/users/{id}, refused", "PUT", f"/admin/users/{own}", 403, body={"role": "user"})
    people = [own, joined["user"]["id"]]
    decisions = [{"user_id": each, "decision": "keep", "note": "looked at it"} for each in people]
    review = {"population": people, "decisions": decisions}
    await send("POST admin/access-reviews, two users", "POST", "/admin/access-reviews", 201, body=review)
    await walk.client.post("/login", json={"email": JOINER, "password": "wrong"})
    await send("POST admin/users/{id}/unlock", "POST", f"{user}/unlock", 204)
    await _privacy(walk, send, user, joined["user"]["id"])
    await send("DELETE admin/users/{id}", "DELETE", f"{user}?reason=left", 204)
    await _keys(walk, send)


async def _privacy(walk: Walk, send: Send, user: str, subject: str) -> None:
    """What a person asks for about themselves, and what an administrator does about it."""
    why = {"reason": "wants to be forgotten"}
    asked = await send("POST admin/users/{id}/erasure", "POST", f"{user}/erasure", 202, body=why)
    request = f"/privacy/requests/{asked['request_id']}"
    await send("GET privacy/requests", "GET", "/privacy/requests", 200)
    await send("PATCH privacy/requests/{id}", "PATCH", request, 200, body=why | {"decision": "extended"})
    await send("DELETE privacy/requests/{id}", "DELETE", request, 204)
    signed_in = await walk.client.post("/login", json={"email": JOINER, "password": PASSWORD})
    own, proof = signed_in.json()["access_token"], why | {"password": PASSWORD}
    export = partial(walk.call, token=own, read=False)
    await export("GET privacy/export", "GET", "/privacy/export", 200)
    await send("GET privacy/export, somebody's", "GET", f"/privacy/export?subject={subject}", 200, read=False)
    agreed = {"consents": [{"purpose": "marketing", "granted": True, "version": "1"}]}
    await export("GET privacy/consent", "GET", "/privacy/consent", 200)
    await export("PUT privacy/consent", "PUT", "/privacy/consent", 200, body=agreed)
    await walk.call("POST privacy/erasure", "POST", "/privacy/erasure", 202, token=own, body=proof)


async def _keys(walk: Walk, send: Send) -> None:
    """A program that reads alerts."""
    body = {"name": "reader", "scopes": ["alerts:read"]}
    key = await send("POST admin/api-keys", "POST", "/admin/api-keys", 201, body=body)
    await walk.call("GET alerts, API key, first in an hour", "GET", "/alerts", 200, token=key["key"])
    await walk.call("GET alerts, API key", "GET", "/alerts", 200, token=key["key"])
    await send("DELETE admin/api-keys/{id}", "DELETE", f"/admin/api-keys/{key['id']}", 204)


async def _producer(walk: Walk, token: str) -> str:
    """The API key of another service."""
    key = {"name": "producer", "scopes": ["events:write"]}
    made = await walk.client.post("/admin/api-keys", json=key, headers={"Authorization": f"Bearer {token}"})
    found: str = made.json()["key"]
    return found


async def _ingest(walk: Walk, key: str) -> None:
    """What other services send."""
    send = partial(walk.call, token=key)
    event = {"type": "custom.test", "actor": {"kind": "service", "id": "billing"}}
    await send("POST events, first in an hour", "POST", "/events", 201, body=event)
    await send("POST events", "POST", "/events", 201, body=event)
    await send("POST events, all refused", "POST", "/events", 422, body=event | {"type": "auth.login"})
    named = event | {"producer_id": "p-1"}
    await send("POST events, producer_id", "POST", "/events", 201, body=named)
    await send("POST events, producer_id again", "POST", "/events", 201, body=named)
    await walk.host.drain_feed()
    await send("POST events, 500 of them", "POST", "/events", 201, body={"events": [event] * 500})
    await walk.run("feed: 500 events", walk.host.drain_feed)


async def _own_id(walk: Walk, token: str) -> str:
    answer = await walk.client.get("/profile", headers={"Authorization": f"Bearer {token}"})
    found: str = answer.json()["id"]
    return found


async def _second_factor(walk: Walk, token: str, right: dict[str, str]) -> None:
    """Its life, twice: each code is good once, and no time passes here."""

    def code(steps: int) -> str:
        return TOTP(secret).at(int(_START.timestamp()), counter_offset=steps)

    secret = (await walk.call("POST mfa/enroll", "POST", "/mfa/enroll", 200, token=token))["secret"]
    await walk.call("POST mfa/confirm, wrong", "POST", "/mfa/confirm", 403, token=token, body={"code": code(9)})
    confirmed = await walk.call("POST mfa/confirm", "POST", "/mfa/confirm", 200, token=token, body={"code": code(-1)})
    challenge = (await walk.call("POST login, asks for a factor", "POST", "/login", 200, body=right))["challenge"]
    answer = {"challenge": challenge}
    await walk.call("POST login/mfa, failure", "POST", "/login/mfa", 401, body=answer | {"code": code(9)})
    await walk.call("POST login/mfa", "POST", "/login/mfa", 200, body=answer | {"code": code(0)})
    answer = {"challenge": (await walk.client.post("/login", json=right)).json()["challenge"]}
    answer |= {"recovery_code": confirmed["recovery_codes"][0]}
    await walk.call("POST login/mfa, recovery code", "POST", "/login/mfa", 200, body=answer)
    await walk.call("POST login/mfa, no challenge", "POST", "/login/mfa", 401, body=answer | {"challenge": "x"})
    await walk.call("POST step-up", "POST", "/step-up", 204, token=token, body={"code": code(1)})
    await walk.call("POST step-up, failure", "POST", "/step-up", 403, token=token, body={"code": code(9)})
    secret = (await walk.call("POST mfa/enroll, anew", "POST", "/mfa/enroll", 200, token=token))["secret"]
    await walk.client.post("/mfa/confirm", json={"code": code(-1)}, headers={"Authorization": f"Bearer {token}"})
    both = {"password": LATER, "code": code(0)}
    await walk.call("DELETE mfa", "DELETE", "/mfa", 204, token=token, body=both)


async def _triggers(walk: Walk, wrong: dict[str, str]) -> None:
    """The feed behind calls, and the timers when there is nothing to do."""
    token = (await walk.client.post("/login", json=wrong | {"password": LATER})).json()["access_token"]
    await walk.host.drain_feed()
    await walk.client.get("/profile", headers={"Authorization": f"Bearer {token}"})
    await walk.run("feed: an event that no pattern looks at", walk.host.drain_feed)
    before = 2 + 1  # failures that the walk began with, and the one that raises the alert
    for _ in range(brute_force.PATTERN.parameters.model_validate({}).threshold - before):
        await walk.client.post("/login", json=wrong)
    await walk.host.drain_feed()
    for what in ("raises an alert", "an open alert counts"):
        await walk.client.post("/login", json=wrong)
        await walk.run(f"feed: a failure that {what}", walk.host.drain_feed)
    await _alerts(walk, token)
    await _ledger(walk, token)
    await framework_report(walk, token)
    await walk.run("timer run_erasures, one person", partial(walk.host.run_timer, "run_erasures"))
    for timer in sorted(each.name for each in walk.host.functions if type(each.trigger).__name__ == "TimerTrigger"):
        await walk.run(f"timer {timer}, two tenants", partial(walk.host.run_timer, timer))
    policy = {"require_mfa": "admins"}  # last: from then on the administrator has to enroll a factor
    await walk.call("PUT admin/settings", "PUT", "/admin/settings", 200, token=token, body=policy)


async def _ledger(walk: Walk, token: str) -> None:
    """What auditors ask of a month that is sealed; a first answer signs a checkpoint, later ones find it."""
    send = partial(walk.call, token=token, read=False)
    await walk.host.drain_feed()
    found = await walk.client.get("/events", headers={"Authorization": f"Bearer {token}"})
    sealed = found.json()["items"][-1]["id"]
    await walk.host.drain_feed()
    walk.clock.later(SIGN_EVERY)
    await walk.client.get("/profile", headers={"Authorization": f"Bearer {token}"})
    await walk.run("feed: an event that is signed as it is sealed", walk.host.drain_feed)
    await walk.client.get("/profile", headers={"Authorization": f"Bearer {token}"})
    await walk.host.drain_feed()
    walk.clock.later(SIGN_EVERY)
    await send("GET ledger/checkpoint, to be signed", "GET", "/ledger/checkpoint", 200)
    await send("GET ledger/checkpoint", "GET", "/ledger/checkpoint", 200)
    await send("GET ledger/key", "GET", "/ledger/key", 200)
    await send("GET ledger/shards", "GET", "/ledger/shards", 200)
    await send("GET ledger/proof", "GET", f"/ledger/proof?event_id={sealed}", 200)
    await send("GET events/{id}, with its proof", "GET", f"/events/{sealed}?proof=true", 200)
    await send("GET ledger/consistency", "GET", "/ledger/consistency?from=1", 200)
    await send("GET ledger/{period}/tile/{*path}", "GET", "/ledger/2026-03/tile/0/000.p/1", 200)
    await send("GET ledger/{period}/tile/{*path}, entries", "GET", "/ledger/2026-03/tile/entries/000.p/1", 200)
    await send("GET ledger/bundle, a month", "GET", "/ledger/bundle?from=2026-03-15&to=2026-03-16", 200)


async def _alerts(walk: Walk, token: str) -> None:
    """What administrators do to the alert that was raised."""
    send = partial(walk.call, token=token)
    await send("GET alert-patterns", "GET", "/alert-patterns", 200)
    found = await walk.client.get("/alerts?pattern=brute_force", headers={"Authorization": f"Bearer {token}"})
    url = f"/alerts/{found.json()['items'][0]['id']}"
    await send("GET alerts/{id}", "GET", url, 200)
    await send("PATCH alerts/{id}", "PATCH", url, 200, body={"status": "acknowledged"})
    incident = {"aware_at": "2026-03-15T12:00:00Z", "decision": "not notified", "facts": "A measurement."}
    await send("PUT alerts/{id}/incident", "PUT", f"{url}/incident", 200, body=incident)


def main(arguments: Sequence[str] = ()) -> int:
    """Measure and print; with `--write` the budget file is made anew."""
    found = asyncio.run(_measured())
    table([(name, f"{sum(each['calls'].values()):3d} calls {each['ru']:7.1f} RU") for name, each in found.items()])
    for name, each in found.items():
        figure("store_budget", "calls", sum(each["calls"].values()), "1", of=name)
        figure("store_budget", "request_units", each["ru"], "RU (model)", of=name)
    if "--write" in arguments:
        FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


async def _measured() -> Budget:
    return (await measure(await Host.load(ROOT, data=":memory:"))).found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
