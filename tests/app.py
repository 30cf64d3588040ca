"""The real app, in process: devhost's ASGI front over Microsoft's worker runtime, on a fresh store for each test."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from devhost.host import Host
from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import Clock
from shared.core.settings import Settings
from shared.identity.model import Role, user_key
from shared.identity.operations import NewAdmin
from shared.identity.passwords import Cost, Passwords
from shared.privacy.boxes import SealedBoxes
from shared.privacy.key_wrapping import KeyWrapper
from shared.privacy.secrets import SecretsPort
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import DocumentStore, Item, PatchSet, Query
from shared.storage.sqlite import SqliteStore
from shared.wiring import Services, build_services
from tests.declared import watched
from tests.fakes import ManualClock

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "correct horse battery staple"
PEER = ("203.0.113.9", 50000)
TOY_COST = Cost(memory_kib=8, passes=1)
"""Of tests' passwords: most tests are not about the work of a hash. Processes of their own hash as in production."""
UNLIMITED: dict[str, Any] = {
    "login_rate_per_minute": 0,
    "refresh_rate_per_minute": 0,
    "register_rate_per_hour": 0,
}
"""Settings of tests in which one address does what many do."""


def registration(email: str = "ada@example.com", **changes: Any) -> dict[str, Any]:
    """A valid body for POST /register."""
    return {
        "email": email,
        "password": PASSWORD,
        "first_name": "Some",
        "last_name": "Body",
        "organization": "Example",
        "accept_terms": True,
        "accept_privacy": True,
    } | changes


def acceptance(invitation: str, email: str, **changes: Any) -> dict[str, Any]:
    """A valid body for POST /register by invitation."""
    body = registration(email, invitation=invitation) | changes
    return {name: value for name, value in body.items() if name != "organization"}


@dataclass
class Account:
    """A registered account and its access token."""

    id: str
    tenant_id: str
    email: str
    token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class App:
    """One running app with its client, its clock and what a test wants to look into."""

    host: Host
    services: Services
    client: httpx.AsyncClient
    clock: ManualClock

    @property
    def store(self) -> DocumentStore:
        return self.services.store

    async def register(self, email: str = "ada@example.com", **changes: Any) -> Account:
        answer = await self.client.post("/v1/register", json=registration(email, **changes))
        assert answer.status_code == 201, answer.text
        body = answer.json()
        user = body["user"]
        return Account(user["id"], user["tenant_id"], email, body["access_token"], body["refresh_token"])

    async def invite(self, admin: Account, email: str, role: Role = Role.VIEWER) -> str:
        """An invitation, as the invited person gets it."""
        body = {"email": email, "role": role.value}
        answer = await self.client.post("/v1/admin/invitations", json=body, headers=admin.auth)
        assert answer.status_code == 201, answer.text
        invitation: str = answer.json()["invitation"]
        return invitation

    async def join(self, admin: Account, email: str, role: Role = Role.VIEWER, **changes: Any) -> Account:
        """Another user of an administrator's tenant, who came by invitation."""
        invitation = await self.invite(admin, email, role)
        answer = await self.client.post("/v1/register", json=acceptance(invitation, email, **changes))
        assert answer.status_code == 201, answer.text
        body = answer.json()
        user = body["user"]
        return Account(user["id"], user["tenant_id"], email, body["access_token"], body["refresh_token"])

    async def system_admin(self, email: str = "root@example.com") -> Account:
        """A system administrator, made as the operator makes one, and signed in."""
        new = NewAdmin(email, PASSWORD, "Some", "Operator")
        user_id = await self.services.operations.make_system_admin(new)
        body = (await self.login(email)).json()
        return Account(user_id, "platform", email, body["access_token"], body["refresh_token"])

    async def login(self, email: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
        return await self.client.post("/v1/login", json={"email": email, "password": password}, headers=headers)

    async def give_role(self, account: Account, role: Role) -> None:
        """Change a role behind the app's back: the endpoint for it is not what these tests are about."""
        await self.store.patch(
            IDENTITY, (account.tenant_id,), user_key(account.id), [PatchSet("role", role.value)], None
        )

    async def events(self, tenant_id: str = PLATFORM_TENANT, type_: str | None = None) -> list[Item]:
        """A tenant's events in the order of their recording, read from the store itself, each box with its `data`."""
        found: list[Item] = []
        query = Query(order_by="recorded_at", limit=1000)
        while True:
            page = await self.store.query(AUDIT_EVENTS, (tenant_id,), query)
            found += page.items
            if page.next is None:
                break
            query = Query(order_by="recorded_at", limit=1000, after=page.next)
        return [await self._opened(event) for event in found if type_ in (None, event["type"])]

    async def _opened(self, event: Item) -> Item:
        """An event whose boxes are open, but for those of persons who were erased."""
        box, personal = SealedBoxes(self.services.person_keys), {}
        for subject, sealed in event["personal"].items():
            opened = await box.open(event["tenant_id"], subject, event["id"], sealed)
            salt = None if opened is None else base64.b64encode(opened.salt).decode()
            personal[subject] = sealed | {"data": opened and opened.personal, "salt": salt}
        return event | {"personal": personal}

    async def types(self, tenant_id: str = PLATFORM_TENANT) -> list[str]:
        return sorted(event["type"] for event in await self.events(tenant_id))


def assert_problem(answer: httpx.Response, status: int, code: str, *fields: str) -> dict[str, Any]:
    """The error shape of RFC 9457 as the contract has it; the fields that it names."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["request_id"] == answer.headers["x-request-id"]
    assert set(body) <= {"type", "title", "status", "detail", "code", "request_id", "errors", "items"}
    assert [error["field"] for error in body.get("errors", [])] == list(fields)
    return body


@asynccontextmanager
async def running(
    host: Host,
    clock: ManualClock,
    store: DocumentStore | None = None,
    settings: Settings | None = None,
    secrets: SecretsPort | None = None,
    wrapper: KeyWrapper | None = None,
) -> AsyncIterator[App]:
    """The app on `store` (default: a fresh temporary one), its loops stopped: `host.drain_feed()` moves the feed.

    At the end, every field that was written declares whether it is personal.
    """
    services = await services_for(clock, store, settings, secrets, wrapper)
    host.module.services.put(services)
    transport = httpx.ASGITransport(app=host.asgi, client=PEER)
    await host.start(background=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://kraftd.test/api", timeout=30) as client:
            with watched():
                yield App(host, services, client, clock)
    finally:
        await host.stop()


async def services_for(
    clock: Clock,
    store: DocumentStore | None,
    settings: Settings | None = None,
    secrets: SecretsPort | None = None,
    wrapper: KeyWrapper | None = None,
) -> Services:
    settings = settings or Settings(kraftd_data=":memory:", **UNLIMITED)
    store = store or await SqliteStore.open(None, clock=clock)
    passwords = Passwords(TOY_COST)
    services = await build_services(
        settings, clock=clock, store=store, secrets=secrets, passwords=passwords, wrapper=wrapper
    )
    services.streaming.delivery.sender.resolve = nowhere
    return services


async def nowhere(_host: str, _port: int) -> list[str]:
    """No name leads anywhere: tests ask no resolver."""
    raise OSError("no such name")
