"""Nothing personal is anywhere but where it is declared to be: the hunt for unmistakable values through everything that
the app writes, logs, measures and hands out while a company lives with it.

Only the account, invitations and what people wrote hold them in clear (docs/data-inventory.md); in the trail they are
sealed. What is said in clear to whoever may read it, the trail with personal data, is no place where they are kept.
"""

import io
import json
import logging
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from devhost.host import Host
from shared.core.clock import rfc3339
from shared.identity.model import Role
from shared.storage import _sqlite_operations, cosmos, sqlite
from shared.storage._items import prepare
from shared.storage.containers import AUDIT_EVENTS, GUARDS, IDENTITY, Container
from shared.storage.documents import Item
from shared.storage.sqlite import SqliteStore
from tests.app import PASSWORD, Account, App, acceptance, registration, running
from tests.exporting import walk
from tests.fakes import ManualClock
from tests.hunting import Net, astray, stored
from tests.storage.conftest import open_cosmos

CLEAR = {
    "email": "quirinius.zäppelbaum@example.net",
    "first_name": "Quirínius",
    "last_name": "Zäppelbaum-Ütz",
    "phone": "+49 30 98127734",
    "company": "Zäppelbaum & Daughters",
    "bio": "grows <unmistakable> zucchini",
    "invited": "invited.zappel@example.org",
    "note": "Quirl says that it was not him",
    "allowed": "198.51.100.177",
}
"""What an account, an invitation, a note and the settings hold in clear."""
SEALED = {
    "unknown": "unknown.zappel@example.org",
    "wrong": "wrong.zappel@example.org",
    "address": "198.51.100.213",
    "address_6": "2001:db8:77::4711",
    "user_agent": "ZappelBrowser/77.3 (Zucchini OS)",
    "search": "searched.zappel@example.org",
    "searched_name": "Zappelphilipp",
    "searched_address": "198.51.100.199",
    "reason": "zucchini are nobody's business",
    "left": "left for another vegetable garden",
    "produced": "zäppel-diagnosis-4711",
    "produced_email": "produced.zappel@example.org",
    "produced_address": "198.51.100.144",
    "old_phone": "+49 40 55512345",
    "headers": "header.zappel@example.org",
    "error": "error.zappel@example.org",
    "body": "body.zappel@example.org",
    "denied": "denied.zappel@example.org",
}
"""What is in clear nowhere at all."""
NET, NOWHERE = Net({**CLEAR, **SEALED}), Net(SEALED, plain=True)
_OF_THE_CLIENT = ("httpx", "httpcore", "asyncio")


@pytest.fixture
def adapter() -> str:
    return "none"


@contextmanager
def all_writes() -> Iterator[list[tuple[str, Item]]]:
    """Every item that is written, also what does not stay: outbox entries, leases, challenges."""
    found: list[tuple[str, Item]] = []

    def seen(container: Container, partition: Any, item: Mapping[str, Any], **more: Any) -> Any:
        found.append((container.name, dict(item)))
        return prepare(container, partition, item, **more)

    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite, _sqlite_operations, cosmos):
            patch.setattr(module, "prepare", seen)
        yield found


@asynccontextmanager
async def at_home(app: App, address: str) -> AsyncIterator[App]:
    """The app as somebody at that address with that browser calls it."""
    transport = httpx.ASGITransport(app=app.host.asgi, client=(address, 4711))
    headers = {"User-Agent": SEALED["user_agent"]}
    async with httpx.AsyncClient(transport=transport, base_url=app.client.base_url, headers=headers) as client:
        yield App(app.host, app.services, client, app.clock)


async def come(app: App, own: App, admin: Account) -> Account:
    """Tries before there is an account, an invitation, a registration that fails, one that does not; a profile."""
    await own.login(SEALED["unknown"], "a guess")
    await own.login(CLEAR["email"], "before there is an account")
    for _ in range(2):
        await own.client.post("/v1/register", json=registration(SEALED["wrong"], password="short"))
    invitation = await app.invite(admin, CLEAR["email"], Role.AUDITOR)
    await app.invite(admin, CLEAR["invited"])
    names = {name: CLEAR[name] for name in ("first_name", "last_name")}
    body = acceptance(invitation, CLEAR["email"], **names)
    answer = await own.client.post("/v1/register", json=body)
    assert answer.status_code == 201, answer.text
    user, token = answer.json()["user"], answer.json()["access_token"]
    assert (await own.client.post("/v1/register", json=registration(CLEAR["email"]))).status_code == 409
    bob = Account(user["id"], user["tenant_id"], CLEAR["email"], token, answer.json()["refresh_token"])
    for profile in ({"phone": SEALED["old_phone"]}, {name: CLEAR[name] for name in ("phone", "company", "bio")}):
        assert (await own.client.put("/v1/profile", json=profile, headers=bob.auth)).status_code == 200
    return bob


async def go_about(own: App, bob: Account, admin: Account) -> None:
    """Searches, guesses, refused changes, refused tokens, bodies and headers that nobody should send."""
    searched = {"email": SEALED["search"], "ip": SEALED["searched_address"], "actor": SEALED["error"]}
    for name, value in searched.items():
        await own.client.get("/v1/events", params={name: value}, headers=bob.auth)
    for name in ("q", "search", "name", "email"):
        await own.client.get("/v1/admin/users", params={name: SEALED["searched_name"]}, headers=admin.auth)
    await own.client.get(f"/v1/admin/users/{SEALED['error']}", headers=admin.auth)
    denied = {"role": "viewer", "first_name": SEALED["denied"]}
    await own.client.put(f"/v1/admin/users/{admin.id}", json=denied, headers=bob.auth)
    for _ in range(6):
        await own.login(bob.email, "a guess")
    hostile = {"X-Request-Id": SEALED["headers"], "traceparent": SEALED["headers"], "If-Match": SEALED["headers"]}
    hostile |= {"X-Forwarded-For": SEALED["headers"], "Forwarded": f"for={SEALED['headers']}"}
    await own.client.get("/v1/profile", headers=hostile | {"Authorization": f"Bearer {SEALED['headers']}"})
    await own.client.get("/v1/profile", headers=hostile | bob.auth)
    for content in (f'{{"email": "{SEALED["body"]}"', f'{{"email": "{SEALED["body"]}"}}', f'["{SEALED["body"]}"]'):
        sent = content.encode()
        await own.client.post("/v1/login", content=sent, headers={"Content-Type": "application/json"})
        await own.client.post("/v1/token/refresh", content=sent, headers={"Content-Type": "application/json"})
    change = {"current_password": PASSWORD, "new_password": f"{SEALED['body']} and more"}
    await own.client.post("/v1/password", json=change, headers=bob.auth)


async def produce(app: App, admin: Account, bob: Account) -> str:
    """Another service reports what it knows of persons, under a key that names one."""
    scopes = ["events:write", "events:read"]
    key = (await app.client.post("/v1/admin/api-keys", json={"name": "k", "scopes": scopes}, headers=admin.auth)).json()
    auth = {"Authorization": f"Bearer {key['key']}"}
    known = {"email": SEALED["produced_email"], "ip": SEALED["produced_address"], "diagnosis": SEALED["produced"]}
    event = {"type": "data.read", "data_class": "phi", "actor": {"kind": "user", "id": bob.id}}
    event |= {"personal": {bob.id: known, "p-17": {"old": {"phone": SEALED["old_phone"]}}}}
    events = [event | {"producer_id": "visit-1"}, event]
    for _ in range(2):  # the second time from the guards
        headers = auth | {"Idempotency-Key": SEALED["produced_email"]}
        answer = await app.client.post("/v1/events", json={"events": events}, headers=headers)
        assert answer.status_code in (200, 201), answer.text
    await app.client.post("/v1/events", json=event | {"attributes": {"password": SEALED["produced"]}}, headers=auth)
    return str(key["key"])


async def administer(app: App, admin: Account, bob: Account) -> None:
    """Changes, settings, alerts with notes and an incident."""
    change = {"phone": SEALED["old_phone"]}
    await app.client.put(f"/v1/admin/users/{bob.id}", json=change, headers=admin.auth)
    await app.client.put(f"/v1/admin/users/{bob.id}", json={"phone": CLEAR["phone"]}, headers=admin.auth)
    until = {"reason": "a scanner", "until": "2026-09-01T00:00:00Z"}
    lists = {"addresses": [{"value": CLEAR["allowed"], **until}], "accounts": []}
    answer = await app.client.put("/v1/admin/settings", json={"allow_lists": lists}, headers=admin.auth)
    assert answer.status_code == 200, answer.text
    await app.client.put("/v1/admin/settings", json={"mutes": [{"pattern": SEALED["error"]}]}, headers=admin.auth)
    await app.host.drain_feed()
    alerts = (await app.client.get("/v1/alerts", headers=admin.auth)).json()["items"]
    assert "brute_force" in {each["pattern"] for each in alerts}
    for alert in alerts:
        note = {"status": "acknowledged", "note": CLEAR["note"]}
        await app.client.patch(f"/v1/alerts/{alert['id']}", json=note, headers=admin.auth)
    incident = {"aware_at": rfc3339(app.clock.now()), "decision": "not notified", "facts": CLEAR["note"]}
    answer = await app.client.put(f"/v1/alerts/{alerts[0]['id']}/incident", json=incident, headers=admin.auth)
    assert answer.status_code == 200, answer.text


async def ask_and_leave(app: App, admin: Account) -> None:
    """Somebody is removed for a reason, somebody asks to be erased and takes it back, somebody is erased."""
    for number, what in enumerate(("left", "withdraws", "erased")):
        person = await app.join(admin, f"m{number}@example.com", Role.USER)
        if what == "left":
            where = f"/v1/admin/users/{person.id}"
            await app.client.delete(where, params={"reason": SEALED["left"]}, headers=admin.auth)
            continue
        body = {"reason": SEALED["reason"], "password": PASSWORD}
        asked = (await app.client.post("/v1/privacy/erasure", json=body, headers=person.auth)).json()
        if what == "withdraws":
            where = f"/v1/privacy/requests/{asked['request_id']}"
            refused = {"decision": "refused", "reason": SEALED["reason"]}
            assert (await app.client.patch(where, json=refused, headers=admin.auth)).status_code == 200
    app.clock.advance(seconds=1)
    await app.host.run_timer("run_erasures")


async def break_down(app: App, admin: Account, bob: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers and handlers fail, with what they were at in the text of the error."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"cannot handle {SEALED['error']} of {CLEAR['email']}")

    with monkeypatch.context() as patch:
        patch.setattr("shared.detection.views.Evaluator.crossings", fail)
        await app.login(admin.email, "a guess")
        await app.host.drain_feed()
    with monkeypatch.context() as patch:
        patch.setattr(type(app.services.search), "page", fail)
        assert (await app.client.get("/v1/events", headers=bob.auth)).status_code == 500


async def handed_out(app: App, admin: Account, key: str) -> AsyncIterator[tuple[str, bytes]]:
    """What the app hands out that is to have no personal data: to programs, and where it is asked for without."""
    await app.host.drain_feed()
    app.clock.advance(seconds=1)
    program = {"Authorization": f"Bearer {key}"}
    for form in ("csv", "jsonl", "ocsf"):
        for part in await walk(app, program, format=form):
            yield form, part.content
    yield "events", (await app.client.get("/v1/events?limit=200", headers=program)).content
    where = {"from": "2026-03-01", "to": "2026-04-01", "personal": "false"}
    bundle = await app.client.get("/v1/ledger/bundle", params=where, headers=admin.auth)
    assert bundle.status_code == 200
    with zipfile.ZipFile(io.BytesIO(bundle.content)) as file:
        assert len(file.namelist()) > 3
    yield "bundle", bundle.content
    reports = await app.client.get("/v1/reports", headers=admin.auth)
    yield "reports", reports.content
    for each in reports.json()["items"]:
        yield "report", (await app.client.get(f"/v1/reports/{each['id']}", headers=admin.auth)).content
    for path in ("/v1/ledger/shards", "/v1/privacy/requests", "/v1/health/ready"):
        yield path, (await app.client.get(path, headers=admin.auth)).content


async def live(app: App, monkeypatch: pytest.MonkeyPatch) -> tuple[Account, str]:
    """All of it; the administrator as signed in at the end, and the key of a program."""
    admin = await app.register("ada@example.com")
    async with at_home(app, SEALED["address"]) as own, at_home(app, SEALED["address_6"]) as other:
        bob = await come(app, own, admin)
        await go_about(own, bob, admin)
        await go_about(other, bob, admin)
    key = await produce(app, admin, bob)
    await administer(app, admin, bob)
    await ask_and_leave(app, admin)
    app.clock.advance(minutes=1)
    await break_down(app, admin, bob, monkeypatch)
    app.clock.advance(hours=13)
    for timer in ("flush_rejections", "sweep_outbox", "daily_reports", "verify_ledger", "keep_held"):
        assert await app.host.run_timer(timer)
    token = (await app.login(admin.email)).json()["access_token"]
    return Account(admin.id, admin.tenant_id, admin.email, token), key


@pytest.mark.parametrize("kind", ["sqlite", "cosmos"])
async def test_the_hunt_finds_nothing(
    host: Host,
    clock: ManualClock,
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    reader, path = InMemoryMetricReader(), tmp_path / "kraftd.sqlite"
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader]).get_meter)
    if kind == "cosmos":
        store: Any = await open_cosmos(request.getfixturevalue("emulator"), clock)
    else:
        store = await SqliteStore.open(path, clock=clock)
    async with running(host, clock, store) as app:
        with all_writes() as written:
            admin, key = await live(app, monkeypatch)
            handed = [(name, content) async for name, content in handed_out(app, admin, key)]
        kept = await stored(store)
        personal = [part async for part in _personal(app, admin)]
        raw = _bytes_of(tmp_path)
    assert astray(written, NET) == set()
    assert astray(kept, NET) == set()
    assert {name: NET.found(content) for name, content in handed if NET.found(content)} == {}
    own = [record for record in caplog.records if not record.name.startswith(_OF_THE_CLIENT)]
    lines = "\n".join(f"{record.getMessage()} {record.exc_text or ''} {record.args!r}" for record in own)
    assert NET.found(lines) == set(), "in a log"
    measured = reader.get_metrics_data()
    assert measured is not None
    assert NET.found(measured.to_json()) == set(), "in a metric"
    # The profile had the old number in clear, and the log of writes has it until it is used again (docs/privacy.md).
    assert NOWHERE.found(raw) <= {"old_phone"}, "in the bytes of the database"
    assert NOWHERE.found(_bytes_of(tmp_path)) == set(), "in those that it leaves"

    # and all of it was there to be found
    assert NET.found([item for name, item in kept if name == IDENTITY.name]) >= set(CLEAR) - {"note"}
    assert NET.found(b"".join(personal)) >= set(SEALED) - {"headers", "body", "error", "wrong"}
    assert {name for name, _ in written} >= {AUDIT_EVENTS.name, GUARDS.name, "leases", "dead_letters", "signals"}
    assert {"csv", "bundle", "report"} <= {name for name, _ in handed}
    assert len(own) > 5


def _bytes_of(folder: Path) -> bytes:
    """Of all files: the database, its log of writes and its shared memory."""
    return b"".join(each.read_bytes() for each in sorted(folder.iterdir()))


async def _personal(app: App, admin: Account) -> AsyncIterator[bytes]:
    """The trail as somebody sees it who may: with what is sealed."""
    for form in ("jsonl", "csv"):
        for part in await walk(app, admin.auth, format=form):
            yield part.content
    yield json.dumps([await app.events(tenant_id) for tenant_id in ("platform", admin.tenant_id)]).encode()
