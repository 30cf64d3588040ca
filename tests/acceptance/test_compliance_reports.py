"""Reports on frameworks through the API: asked for, built by the feed, read in every form, signed off, and checked."""

import asyncio
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shared.compliance.catalogue import FRAMEWORKS
from shared.identity.model import Role
from shared.storage.containers import REPORTS
from shared.storage.documents import PatchSet
from tests.app import Account, App, assert_problem
from tests.calls import NOWHERE
from tools.verify_evidence import OK, table, verify

DAY = {"framework": "soc2", "from": "2026-03-15", "to": "2026-03-16"}
MEDIA = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "csv": "application/zip",
    "oscal": "application/oscal+json",
}


async def again(app: App, account: Account) -> Account:
    """The account in a new session."""
    token = (await app.login(account.email)).json()["access_token"]
    return Account(account.id, account.tenant_id, account.email, token)


@pytest.fixture
async def eve(app: App, ada: Account) -> Account:
    """An auditor, on the morning after the first day; ada has a new session too."""
    joined = await app.join(ada, "eve@example.com", Role.AUDITOR)
    await app.host.drain_feed()
    app.clock.advance(hours=18)
    await app.host.run_timer("verify_ledger")
    ada.token = (await again(app, ada)).token
    return await again(app, joined)


async def ask(app: App, by: Account, **changes: Any) -> Any:
    return await app.client.post("/v1/reports", json=DAY | changes, headers=by.auth)


async def get(app: App, by: Account, report_id: str, **params: str) -> Any:
    return await app.client.get(f"/v1/reports/{report_id}", params=params, headers=by.auth)


async def test_a_report_is_asked_for_read_in_every_form_and_signed_off(
    app: App, ada: Account, eve: Account, tmp_path: Path
) -> None:
    answers = await asyncio.gather(*(ask(app, ada) for _ in range(3)))
    assert [each.status_code for each in answers] == [201] * 3, answers[0].text
    head = answers[0].json()
    assert {each.text for each in answers} == {answers[0].text}
    assert answers[0].headers["location"] == f"/api/v1/reports/{head['id']}"
    assert (head["framework"], head["from"], head["to"], head["generated_by"]) == (*DAY.values(), ada.id)
    (told,) = await app.events(ada.tenant_id, "report.generate")
    assert told["attributes"]["digest"] == head["digest"]
    assert [told["attributes"][name] for name in ("satisfied", "exceptions", "not_evidenced", "not_applicable")] == [
        head["summary"][name] for name in ("satisfied", "exception", "not_evidenced", "not_applicable")
    ]
    assert (told["actor"]["id"], told["attributes"]["gate_passed"]) == (ada.id, head["gate_passed"])
    listed = (await app.client.get("/v1/reports?framework=soc2", headers=eve.auth)).json()["items"]
    assert listed == [head]
    assert (await app.client.get("/v1/reports?framework=gdpr", headers=eve.auth)).json()["items"] == []

    files = {form: await get(app, eve, head["id"], format=form) for form in MEDIA}
    for form, answer in files.items():
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA[form]), answer.text[:500]
        assert answer.headers["content-disposition"].startswith('attachment; filename="soc2-2026-03-15-2026-03-16')
        assert "link" not in answer.headers
    assert hashlib.sha256(files["json"].content).hexdigest() == head["digest"]
    assert len(files["json"].content) == head["bytes"]
    assert files["json"].json()["sign_offs"] == []
    assert files["pdf"].content[:5] == b"%PDF-"
    policy = files["html"].headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.rpartition(";")[0] in files["html"].text
    assert zipfile.ZipFile(io.BytesIO(files["csv"].content)).testzip() is None
    assert "assessment-results" in files["oscal"].json()

    statement = "I have read it. ✓ <b>=1+1</b>"
    url = f"/v1/reports/{head['id']}/sign-off"
    signed = await app.client.post(url, json={"statement": statement}, headers=eve.auth)
    assert (signed.status_code, signed.json()["digest"]) == (201, head["digest"])
    shown = (await get(app, eve, head["id"])).json()
    assert shown == head | {"sign_offs": [signed.json()]}
    whole = (await get(app, eve, head["id"], format="json")).json()
    assert whole["sign_offs"] == [{name: signed.json()[name] for name in signed.json() if name != "digest"}]
    assert whole | {"sign_offs": []} == files["json"].json(), "the report itself is as it was"
    read = [event["attributes"]["format"] for event in await app.events(ada.tenant_id, "report.read")]
    assert sorted(read) == sorted([*MEDIA, "summary", "json"])

    bundle = await get(app, eve, head["id"], format="bundle")
    assert (bundle.status_code, bundle.headers["content-type"]) == (200, "application/zip"), bundle.text[:300]
    path = tmp_path / "bundle.zip"
    path.write_bytes(bundle.content)
    key = (await app.client.get("/v1/ledger/key", headers=eve.auth)).text.strip()
    checks = verify([str(path)], [key])
    assert checks.result == OK, table(checks)
    with zipfile.ZipFile(path) as opened:
        assert json.loads(opened.read("report/report.json")) == whole
        control = next(name for name in opened.namelist() if name.startswith("report/controls/"))
        assert opened.read(control).startswith(b"shown_for")
    exported = (await app.events(ada.tenant_id, "audit.export"))[-1]
    assert (exported["actor"]["id"], exported["record_count"] > 0) == (eve.id, True)


async def test_a_long_form_comes_in_parts_of_one_file(app: App, ada: Account, eve: Account) -> None:
    report_id = (await ask(app, ada)).json()["id"]
    whole = await get(app, eve, report_id, format="csv")
    app.services.framework_reports.delivery._part_bytes = len(whole.content) // 3
    first = await get(app, eve, report_id, format="csv")
    parts, answer = [first.content], first
    while "link" in answer.headers:
        query = answer.headers["link"].partition("<")[2].partition(">")[0]
        answer = await app.client.get(f"/v1/reports/{report_id}{query}", headers=eve.auth)
        parts.append(answer.content)
    assert b"".join(parts) == whole.content
    assert len(parts) in (3, 4)
    assert len(await app.events(ada.tenant_id, "report.read")) == 2, "one for each file, not one for each part"
    query = first.headers["link"].partition("<")[2].partition(">")[0]
    other = query.replace("format=csv", "format=html")
    assert_problem(
        await app.client.get(f"/v1/reports/{report_id}{other}", headers=eve.auth), 422, "invalid_request", "cursor"
    )
    body = {"statement": "It is as it should be."}
    await app.client.post(f"/v1/reports/{report_id}/sign-off", json=body, headers=eve.auth)
    late = await app.client.get(f"/v1/reports/{report_id}{query}", headers=eve.auth)
    assert_problem(late, 422, "invalid_request", "cursor")


async def test_what_takes_longer_is_built_by_the_feed_once(
    app: App, ada: Account, eve: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.compliance.reporting.QUICK_EVENTS", -1)
    answers = await asyncio.gather(*(ask(app, ada) for _ in range(3)))
    assert [each.status_code for each in answers] == [202] * 3, answers[0].text
    order = answers[0].json()
    assert {each.text for each in answers} == {answers[0].text}
    assert order["status"] == "queued"
    (placed,) = await app.events(ada.tenant_id, "report.order")
    assert (placed["actor"]["id"], placed["target"]) == (ada.id, {"kind": "report", "id": order["id"]})
    assert placed["attributes"] == {"framework": "soc2", "period_from": DAY["from"], "period_to": DAY["to"]}
    assert (await get(app, eve, order["id"])).json() == order
    assert_problem(await get(app, eve, order["id"], format="pdf"), 409, "report_not_ready")
    body = {"statement": "I have read it."}
    url = f"/v1/reports/{order['id']}/sign-off"
    assert_problem(await app.client.post(url, json=body, headers=eve.auth), 409, "report_not_ready")
    listed = (await app.client.get("/v1/reports", headers=eve.auth)).json()["items"]
    assert listed == [order]
    await app.host.drain_feed()
    ready = (await get(app, eve, order["id"])).json()
    assert (ready["status"], ready["generated_by"]) == ("ready", ada.id)
    assert (await ask(app, ada)).status_code == 201
    (told,) = await app.events(ada.tenant_id, "report.generate")
    assert (told["actor"]["id"], told["source"]["id"]) == (ada.id, "build_reports")
    (listed,) = (await app.client.get("/v1/reports", headers=eve.auth)).json()["items"]
    assert listed | {"sign_offs": []} == ready


async def test_a_day_that_ended_just_now_waits_for_its_last_events(app: App, ada: Account) -> None:
    app.clock.advance(hours=12, minutes=10)
    ada = await again(app, ada)
    order = await ask(app, ada)
    assert (order.status_code, order.json()["status"]) == (202, "queued")
    await app.host.drain_feed()
    assert (await get(app, ada, order.json()["id"])).json()["status"] == "queued"
    app.clock.advance(hours=1)
    await app.host.run_timer("retry_reports")
    ada = await again(app, ada)
    waiting = (await get(app, ada, order.json()["id"])).json()
    assert (waiting["status"], waiting["waits_for"]) == ("queued", "ledger_check")
    assert (await ask(app, ada)).status_code == 202
    await app.host.run_timer("verify_ledger")
    app.clock.advance(minutes=10)
    await app.host.run_timer("retry_reports")
    assert (await get(app, ada, order.json()["id"])).json()["status"] == "ready"


async def test_what_cannot_be_asked_for_or_read(app: App, ada: Account, grace: Account, eve: Account) -> None:
    for changes, field in (
        ({"framework": "activity"}, "framework"),
        ({"from": "2026-03-16"}, "to"),
        ({"to": "2026-03-17"}, "to"),
        ({"from": "2027-03-16", "to": "2027-03-17"}, "to"),
        ({"from": "2025-03-01"}, "to"),
        ({"from": "2026-03-13", "to": "2026-03-15"}, "to"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "0001-01-01"}, "from"),
        ({"to": None}, "to"),
    ):
        assert_problem(await ask(app, ada, **changes), 422, "invalid_request", field)
    assert_problem(await ask(app, eve), 403, "forbidden")
    report_id = (await ask(app, ada)).json()["id"]
    early = await ask(app, ada, **{"from": "2026-03-01"})
    assert early.status_code == 201, early.text
    whole = (await get(app, eve, early.json()["id"], format="json")).json()
    assert "Days before 2026-03-15, when the organization began" in whole["scope"]["exclusions"]
    grace = await again(app, grace)
    for params in ({}, {"format": "json"}):
        assert_problem(await get(app, grace, report_id, **params), 404, "not_found")
        assert_problem(await get(app, ada, NOWHERE, **params), 404, "not_found")
    assert_problem(await get(app, ada, report_id, format="docx"), 422, "invalid_request", "format")
    await app.host.run_timer("daily_reports")
    (daily, *_) = (await app.client.get("/v1/reports?framework=activity", headers=eve.auth)).json()["items"]
    assert_problem(await get(app, eve, daily["id"], format="pdf"), 422, "invalid_request", "format")
    assert (await get(app, eve, daily["id"], format="json")).json() == daily | {"sign_offs": []}
    wanted = {"name": "reader", "scopes": ["reports:read"]}
    key = (await app.client.post("/v1/admin/api-keys", json=wanted, headers=ada.auth)).json()["key"]
    program = Account("", ada.tenant_id, "", key)
    assert (await get(app, program, report_id, format="oscal")).status_code == 200
    assert_problem(await get(app, program, report_id, format="bundle"), 403, "forbidden")
    (denied,) = [each for each in await app.events(ada.tenant_id, "access.denied") if each["reason"] == "scope"]
    assert denied["context"]["route"] == "GET /v1/reports/{id:guid}"
    head = await app.store.read(REPORTS, (ada.tenant_id,), report_id)
    part = f"part|{report_id}|{head['digest'][:16]}|0000"
    await app.store.patch(REPORTS, (ada.tenant_id,), part, [PatchSet("text", "{}")], None)
    assert_problem(await get(app, eve, report_id, format="json"), 409, "report_damaged")
    controls = (await app.client.get("/v1/controls?framework=gdpr", headers=eve.auth)).json()["items"]
    assert {each["framework"] for each in controls} == {"gdpr"}
    every = (await app.client.get("/v1/controls", headers=eve.auth)).json()["items"]
    assert len(every) == sum(len(each.controls) for each in FRAMEWORKS.values()) > len(controls) > 10
