"""POST /reports/{id}/sign-off: who answers for a report, and what they stated."""

import asyncio
import hashlib
import json
from typing import Any

from shared.identity.model import Role
from shared.storage.containers import REPORTS
from shared.storage.documents import Eq, Item, Query
from tests.app import Account, App, assert_problem
from tests.calls import NOWHERE

STATEMENT = "I have read it.\nNo incident was declared. ✓"


async def sign(app: App, by: Account, report_id: str, statement: str = STATEMENT, **more: str) -> Any:
    body = {"statement": statement} | more
    return await app.client.post(f"/v1/reports/{report_id}/sign-off", json=body, headers=by.auth)


async def reports(app: App, by: Account) -> dict[str, Item]:
    """The first report of each status."""
    await app.host.run_timer("daily_reports")
    items = (await app.client.get("/v1/reports", headers=by.auth)).json()["items"]
    return {each["status"]: each for each in items}


async def test_a_report_shows_who_signed_it_off(app: App, ada: Account) -> None:
    eve = await app.join(ada, "eve@example.com", Role.AUDITOR)
    await reports(app, ada)
    app.clock.advance(days=1, hours=2)
    ada = await again(app, ada)
    eve = await again(app, eve)
    ready = (await reports(app, ada))["ready"]
    url = f"/v1/reports/{ready['id']}"
    before = (await app.client.get(url, headers=eve.auth)).json()
    assert before == ready | {"sign_offs": []}
    signed = await sign(app, eve, ready["id"])
    assert signed.status_code == 201, signed.text
    text = json.dumps(ready, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (generated,) = [
        event for event in await app.events(ada.tenant_id, "report.generate") if event["attributes"]["digest"] == digest
    ]
    (event,) = await app.events(ada.tenant_id, "report.sign_off")
    assert event["attributes"] == generated["attributes"] | {"signed_as": "reviewed"}
    assert event["target"] == generated["target"] == {"kind": "report", "id": ready["id"]}
    assert (event["actor"]["id"], event["personal"][eve.id]["data"]["statement"]) == (eve.id, STATEMENT)
    app.clock.advance(minutes=1)
    approved = await sign(app, ada, ready["id"], "No incident was declared.", signed_as="approved")
    assert (approved.status_code, approved.json()["signed_as"]) == (201, "approved")
    told = await app.events(ada.tenant_id, "report.sign_off")
    assert [each["attributes"]["signed_as"] for each in told] == ["reviewed", "approved"]
    shown = (await app.client.get(url, headers=ada.auth)).json()
    of_eve = {"user_id": eve.id, "role": "auditor", "statement": STATEMENT, "digest": digest, "signed_as": "reviewed"}
    assert signed.json() == of_eve | {"at": "2026-03-16T14:00:00.000000Z"}
    assert [each["user_id"] for each in shown["sign_offs"]] == [eve.id, ada.id]
    assert shown["sign_offs"][0] == signed.json()
    assert shown | {"sign_offs": []} == before, "the report itself is as it was"


async def test_one_person_signs_once(app: App, ada: Account) -> None:
    ready = (await reports(app, ada)).get("ready") or await later(app, ada)
    ada = await again(app, ada)
    answers = await asyncio.gather(*(sign(app, ada, ready["id"]) for _ in range(4)))
    assert [each.status_code for each in answers] == [201] * 4
    assert len({each.text for each in answers}) == 1
    assert_problem(await sign(app, ada, ready["id"], "I take that back"), 409, "signed_off_already")
    assert_problem(await sign(app, ada, ready["id"], signed_as="approved"), 409, "signed_off_already")
    assert len(await app.events(ada.tenant_id, "report.sign_off")) == 1
    held = await app.store.query(REPORTS, (ada.tenant_id,), Query((Eq("kind", "sign_off"),)))
    assert [each["statement"] for each in held.items] == [STATEMENT]


async def test_what_cannot_be_signed_off(app: App, ada: Account, grace: Account) -> None:
    building = (await reports(app, ada))["building"]
    assert_problem(await sign(app, ada, building["id"]), 409, "report_not_ready")
    assert_problem(await sign(app, ada, NOWHERE), 404, "not_found")
    assert_problem(await sign(app, grace, building["id"]), 404, "not_found")
    for statement in ("", "ab", "   ", "x" * 1001, "a\u0000bc"):
        assert_problem(await sign(app, ada, building["id"], statement), 422, "invalid_request", "statement")
    assert_problem(await sign(app, ada, building["id"], signed_as="king"), 422, "invalid_request", "signed_as")
    assert await app.events(ada.tenant_id, "report.sign_off") == await app.events(grace.tenant_id, "report.sign_off")
    assert await app.events(ada.tenant_id, "report.sign_off") == []


async def later(app: App, by: Account) -> Item:
    app.clock.advance(days=1, hours=2)
    return (await reports(app, await again(app, by)))["ready"]


async def again(app: App, account: Account) -> Account:
    """The account in a new session."""
    token = (await app.login(account.email)).json()["access_token"]
    return Account(account.id, account.tenant_id, account.email, token)
