"""After an erasure nothing that was known of the person is anywhere, in any form: not in any item of any container, not
in the bytes of the database file."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from devhost.host import Host
from shared.identity.model import Role
from shared.storage.sqlite import SqliteStore
from shared.subject_rights.export import Limits
from tests.app import Account, App, acceptance, running
from tests.fakes import ManualClock
from tests.hunting import Net
from tests.subject_rights.support import all_requests, everything, left, run, settle

SEEDS = {
    "email": "quirinius.zappelbaum@example.net",
    "first_name": "Quirinius",
    "last_name": "Zappelbaum",
    "phone": "+49 30 98127734",
    "company": "Zappelbaum & Daughters",
    "bio": "grows unmistakable zucchini",
    "user_agent": "ZappelBrowser/77.3",
    "address": "198.51.100.213",
    "reason": "zucchini are nobody's business",
    "produced": "zappelbaum-diagnosis-4711",
    "search": "zappel.search@example.org",
}
"""What is known of the person, each unmistakable."""


async def live(app: App, admin: Account) -> Account:
    """A life that leaves each of them wherever it can; at the person's own address, with the own browser."""
    transport = httpx.ASGITransport(app=app.host.asgi, client=(SEEDS["address"], 4711))
    headers = {"User-Agent": SEEDS["user_agent"]}
    async with httpx.AsyncClient(transport=transport, base_url=app.client.base_url, headers=headers) as client:
        own = App(app.host, app.services, client, app.clock)
        names = {"first_name": SEEDS["first_name"], "last_name": SEEDS["last_name"]}
        await own.login(SEEDS["email"], "before there is an account")
        invitation = await app.invite(admin, SEEDS["email"], Role.AUDITOR)
        answer = await client.post("/v1/register", json=acceptance(invitation, SEEDS["email"], **names))
        user, token = answer.json()["user"], answer.json()["access_token"]
        bob = Account(user["id"], user["tenant_id"], SEEDS["email"], token)
        profile = {name: SEEDS[name] for name in ("phone", "company", "bio")}
        assert (await client.put("/v1/profile", json=profile, headers=bob.auth)).status_code == 200
        await client.get(f"/v1/events?email={SEEDS['search']}", headers=bob.auth)
        for _ in range(6):
            await own.login(bob.email, "a guess")
        await client.put(f"/v1/admin/users/{admin.id}", json={"role": "viewer"}, headers=bob.auth)
    await app.client.put(f"/v1/admin/users/{bob.id}", json={"company": "Other"}, headers=admin.auth)
    event: dict[str, Any] = {"type": "data.read", "data_class": "phi", "actor": {"kind": "user", "id": bob.id}}
    event |= {"personal": {bob.id: {"diagnosis": SEEDS["produced"], "ip": SEEDS["address"]}}, "producer_id": "p"}
    answer = await app.client.post("/v1/events", json=event, headers=admin.auth | {"Idempotency-Key": "k"})
    assert answer.status_code == 201, answer.text
    await app.host.drain_feed()
    alerts = (await app.client.get("/v1/alerts", headers=admin.auth)).json()["items"]
    for alert in alerts:
        note = {"status": "acknowledged", "note": f"{SEEDS['first_name']} says it was not him"}
        await app.client.patch(f"/v1/alerts/{alert['id']}", json=note, headers=admin.auth)
    assert {each["pattern"] for each in alerts} >= {"brute_force"}
    return bob


async def tell_later(app: App, admin: Account, bob: Account) -> None:
    """A producer that was not told goes on with what it knows of the person."""
    known = {"email": bob.email, "ip": SEEDS["address"], "user_agent": SEEDS["user_agent"], "bio": SEEDS["bio"]}
    event: dict[str, Any] = {"type": "data.read", "data_class": "phi", "actor": {"kind": "user", "id": bob.id}}
    event |= {"target": {"kind": "user", "id": bob.id}, "personal": {bob.id: known}, "producer_id": "later"}
    answer = await app.client.post("/v1/events", json=event, headers=admin.auth | {"Idempotency-Key": "later"})
    assert answer.status_code == 201, answer.text
    await app.host.drain_feed()


async def _token(app: App, who: Account) -> str:
    token: str = (await app.login(who.email)).json()["access_token"]
    return token


async def test_the_hunt(host: Host, clock: ManualClock, tmp_path: Path) -> None:
    path = tmp_path / "kraftd.sqlite"
    store = await SqliteStore.open(path, clock=clock)
    async with running(host, clock, store) as app:
        admin = await app.register("ada@example.com")
        bob = await live(app, admin)
        app.services.subject_exports._limits = Limits(records=5)
        for form in ("json", "html"):  # two that are left under way
            params = {"subject": bob.id, "format": form}
            answer = await app.client.get("/v1/privacy/export", params=params, headers=admin.auth)
            assert SEEDS["phone"] in answer.text
            assert "next" in answer.links
        before = everything(store)
        index = app.services.index
        hashes = {
            "directory": await index.for_directory(bob.email),
            "in the tenant": await index.for_email(admin.tenant_id, bob.email),
            "in platform": await index.for_email("platform", bob.email),
            "of the address": await index.for_address(SEEDS["address"]),
            "of the browser": await index.for_user_agent(admin.tenant_id, SEEDS["user_agent"]),
        }
        clear = {name for name, seed in SEEDS.items() if any(seed in text for text in _texts(before))}
        assert clear == {"email", "first_name", "last_name", "phone", "bio"}, "the account, and a note; else sealed"
        assert all(any(value in text for text in _texts(before)) for value in hashes.values())
        await app.client.post(f"/v1/admin/users/{bob.id}/erasure", json={"reason": SEEDS["reason"]}, headers=admin.auth)
        await run(app)
        await app.host.drain_feed()
        await settle(app)
        await app.host.drain_feed()
        states = {(each["about"], each["state"]) for each in await all_requests(app, admin.tenant_id)}
        assert states == {("erasure", "executed"), ("export", "running")}
        assert await left(app, bob) == []
        await tell_later(app, Account(admin.id, admin.tenant_id, admin.email, await _token(app, admin)), bob)
        assert await left(app, bob) == []
        clock.advance(days=8)
        await run(app)
        assert {each["state"] for each in await all_requests(app, admin.tenant_id)} == {"executed", "withdrawn"}
        await app.host.run_timer("flush_rejections")
        found = {
            (container, name)
            for container, texts in everything(store).items()
            for name in Net({**SEEDS, **hashes}).found("\n".join(texts))
        }
        assert found == set(), "nothing is left in any item"
    raw = await asyncio.to_thread(path.read_bytes)
    assert not path.with_name(path.name + "-wal").exists(), "closed, and with it the log of writes"
    assert [name for name, seed in {**SEEDS, **hashes}.items() if seed.encode() in raw] == []


def _texts(items: dict[str, list[str]]) -> list[str]:
    return [text for texts in items.values() for text in texts]
