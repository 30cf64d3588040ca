"""docs/access-control.md, cell by cell: every route, as every caller, on every kind of target."""

import re
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from functions import ENDPOINTS
from shared.identity.model import TENANT_ITEM, Role
from shared.identity.operations import NewAdmin
from shared.storage.containers import ALERTS, IDENTITY, REPORTS
from shared.storage.documents import Eq, PatchSet, Query
from tests.app import PASSWORD, ROOT, Account, App, registration

PAGE = (ROOT / "docs/access-control.md").read_text(encoding="utf-8")
SCOPES = ["alerts:read", "events:read", "events:write", "ledger:read", "reports:read"]


@dataclass(frozen=True)
class Row:
    """One line of the table: a call, and the status that each caller gets."""

    method: str
    path: str
    statuses: dict[str, int]

    @property
    def route(self) -> str:
        """The path as the app declares it."""
        path = re.sub(r"^(/ledger/)[^/]+/tile/.*", r"\1{period}/tile/{*path}", self.path.partition("?")[0])
        return "v1" + re.sub(r"(?<=/)\{(?!period)\w+\}", "{id:guid}", path)


def _rows() -> list[Row]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:2] == "| "]
    callers = lines[0][1:]
    return [
        Row(*call.split(" ", 1), dict(zip(callers, map(int, cells), strict=True)))  # type: ignore[call-arg,arg-type] # two words
        for call, *cells in lines[1:]
    ]


ROWS = _rows()
KINDS = ("sessions", "events", "reports", "users", "invitations", "api-keys", "alerts", "requests")
BODIES: dict[str, Any] = {
    "POST /login": {"email": "ada@example.com", "password": PASSWORD},
    "POST /token/refresh": {"refresh_token": "kr_a"},
    "POST /login/mfa": {"challenge": "kc_x", "code": "123456"},
    "POST /mfa/confirm": {"code": "123456"},
    "DELETE /mfa": {"password": PASSWORD, "code": "123456"},
    "POST /step-up": {"code": "123456"},
    "PUT /profile": {"bio": "A few words."},
    "POST /password": {"current_password": PASSWORD, "new_password": "a quite different password"},
    "PUT /admin/users/{}": {"role": "user"},
    "DELETE /admin/users/{}": {"reason": "left the company"},
    "POST /privacy/erasure": {"reason": "wants to be forgotten", "password": PASSWORD},
    "POST /admin/users/{}/erasure": {"reason": "wants to be forgotten"},
    "PATCH /privacy/requests/{}": {"decision": "refused", "reason": "it is not the person who asks"},
    "PUT /privacy/consent": {"consents": [{"purpose": "marketing", "granted": True, "version": "1"}]},
    "POST /admin/invitations": {"email": "someone@example.com", "role": "viewer"},
    "POST /admin/api-keys": {"name": "reader", "scopes": ["alerts:read"]},
    "PUT /admin/settings": {"require_mfa": "off"},
    "POST /events": {"type": "custom.test", "actor": {"kind": "service", "id": "billing"}},
    "POST /reports": {"framework": "soc2", "from": "2026-03-14", "to": "2026-03-15"},
    "POST /reports/{}/sign-off": {"statement": "I have read it."},
    "PUT /webhook": {"url": "https://receiver.example.com/in"},
    "POST /webhook/replay": {"from_position": "2026-03/0"},
    "PATCH /alerts/{}": {"status": "acknowledged"},
    "PUT /alerts/{}/incident": {"aware_at": "2026-03-15T12:00:00Z", "decision": "not notified", "facts": "A test."},
}


_ALERTS = {"other": "22222222-2222-5222-8222-222222222222", "foreign": "33333333-3333-5333-8333-333333333333"}
_ALERT: dict[str, Any] = {
    **{"kind": "alert", "pattern": "brute_force", "severity": "high", "status": "open", "key": "x", "title": "A test"},
    **{"first_seen": "2026-03-15T12:00:00.000000Z", "last_seen": "2026-03-15T12:00:00.000000Z", "count": 0},
    **{"event_ids": [], "attack": [], "runbook": [], "history": [], "created_at": "2026-03-15T12:00:00.000000Z"},
}


@dataclass
class Stage:
    """Two tenants, one user of each role, and things of each kind to reach for."""

    app: App
    callers: dict[str, Account | None] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    foreign_tenant: str = ""
    foreign_admin: Account = field(default_factory=lambda: Account("", "", "", ""))
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    """The id that stands for `{other}` or `{foreign}` below a path such as `sessions`."""

    async def call(self, row: Row, caller: str) -> httpx.Response:
        account = self.callers[caller]
        headers = {"Authorization": f"Bearer {self.keys[caller]}"} if caller in self.keys else {}
        headers |= account.auth if account else {}
        kind = "events" if "event_id" in row.path else next((part for part in KINDS if part in row.path), "")
        path = re.sub(r"\{(\w+)\}", lambda found: self._id(kind, found[1], account), row.path)
        body = BODIES.get(f"{row.method} {re.sub(r'{.*?}', '{}', row.path)}")
        if row.path == "/register":
            body = registration(f"{caller.replace(' ', '-')}@example.net")
        if row.path == "/admin/access-reviews" and account:
            body = {"population": [account.id], "decisions": [{"user_id": account.id, "decision": "keep"}]}
        return await self.app.client.request(row.method, f"/v1{path}", headers=headers, json=body)

    def _id(self, kind: str, which: str, account: Account | None) -> str:
        if which == "own" and kind == "users":
            return account.id if account else self.ids[kind, "other"]
        if which == "own" and kind == "sessions":
            return account.refresh_token.split(".")[1] if account else self.ids[kind, "other"]
        return self.ids[kind, "other" if which == "own" else which]


async def set_stage(stage: Stage) -> Stage:
    app = stage.app
    ada, grace = await app.register("ada@example.com"), await app.register("grace@example.org")
    await app.services.operations.make_system_admin(NewAdmin("root@example.com", PASSWORD, "Some", "Operator"))
    began = [PatchSet("created_at", "2026-03-14T00:00:00.000000Z")]  # there is no report of a day before
    for tenant_id in (ada.tenant_id, "platform"):
        await app.store.patch(IDENTITY, (tenant_id,), TENANT_ITEM, began)
    root = (await app.login("root@example.com")).json()
    profile = (await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {root['access_token']}"})).json()
    operator = Account(profile["id"], "platform", profile["email"], root["access_token"], root["refresh_token"])
    other = await app.join(ada, "other@example.com")
    stage.foreign_tenant, stage.foreign_admin = grace.tenant_id, grace
    stage.callers = {"nobody": None, "tenant_admin": ada, "system_admin": operator, "API key": None}
    for role in (Role.VIEWER, Role.USER, Role.AUDITOR):
        stage.callers[role.value] = await app.join(ada, f"{role.value}@example.com", role)
    made = await app.client.post("/v1/admin/api-keys", json={"name": "all", "scopes": SCOPES}, headers=ada.auth)
    stage.keys["API key"] = made.json()["key"]
    await app.host.run_timer("daily_reports")
    for which, admin, person in (("other", ada, other), ("foreign", grace, grace)):
        invited = {"email": f"{which}.guest@example.com", "role": "viewer"}
        invitation = await app.client.post("/v1/admin/invitations", json=invited, headers=admin.auth)
        key = await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": SCOPES}, headers=admin.auth)
        leaver = await app.join(admin, f"{which}.leaver@example.com")
        asked = {"reason": "wants to be forgotten"}
        erasure = await app.client.post(f"/v1/admin/users/{leaver.id}/erasure", json=asked, headers=admin.auth)
        report = (await app.store.query(REPORTS, (admin.tenant_id,), Query((Eq("kind", "report"),), limit=1))).items
        stage.ids |= {
            ("users", which): person.id,
            ("sessions", which): person.refresh_token.split(".")[1],
            ("invitations", which): invitation.json()["id"],
            ("api-keys", which): key.json()["id"],
            ("requests", which): erasure.json()["request_id"],
            ("reports", which): report[0]["id"],
            ("events", which): (await app.events(admin.tenant_id))[0]["id"],
            ("alerts", which): _ALERTS[which],
        }
        alert = {"id": _ALERTS[which], "tenant_id": admin.tenant_id, **_ALERT}
        await app.store.create(ALERTS, (admin.tenant_id,), alert)
    await app.client.put("/v1/webhook", json=BODIES["PUT /webhook"], headers=ada.auth)
    return stage


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.method} {row.path}" for row in ROWS])
async def test_each_caller_gets_what_the_table_says(app: App, row: Row) -> None:
    """Those who are refused come first: what they try must be there, and stay, for those who may."""
    stage = await set_stage(Stage(app))
    if row.path.startswith("/ledger"):
        await app.host.drain_feed()  # what is not sealed is 409
    callers = sorted(row.statuses, key=lambda caller: row.statuses[caller] < 300)
    found = {caller: (await stage.call(row, caller)).status_code for caller in callers}
    assert found == row.statuses


def test_every_route_is_in_the_table() -> None:
    declared = {f"{each.method} {each.route}" for each in ENDPOINTS}
    assert {f"{row.method} {row.route}" for row in ROWS} == declared


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[each.name for each in ENDPOINTS])
def test_what_a_route_declares_agrees_with_the_table(endpoint: Any) -> None:
    rows = [row for row in ROWS if (row.method, row.route) == (endpoint.method, endpoint.route)]
    allowed = {role.value for role in endpoint.who or Role}
    for row in rows:
        for role in Role if "{own}" not in row.path else ():  # what one may not do to oneself is no matter of role
            assert (row.statuses[role.value] == 403) == (role.value not in allowed), (row.path, role)
        assert (row.statuses["API key"] != 403) == (endpoint.scope is not None or endpoint.who is None)
