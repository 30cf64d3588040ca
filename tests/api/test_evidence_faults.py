"""A store that fails at any one call of an access review, a sign-off or the order of a report: each that was made has
its event, and no event is without one; asked again, it is there once."""

from datetime import timedelta

import httpx
import pytest

from shared.compliance.model import Activity, Day, new_report
from shared.compliance.parts import report_id as report_id_of
from shared.compliance.sign_off import sign_off_key
from shared.identity.access_reviews import KIND
from shared.identity.model import TENANT_ITEM
from shared.storage.containers import IDENTITY, REPORTS
from shared.storage.documents import Eq, Item, PatchSet, Query
from shared.storage.errors import NotFound, StoreError
from tests.api.broken import MODES, Admin
from tests.audit.support import TIMER


async def test_an_access_review(admin: Admin) -> None:
    ada = admin.ada
    body = {"population": [ada.id], "decisions": [{"user_id": ada.id, "decision": "keep", "note": "looked at it"}]}

    async def reviews() -> set[str]:
        query = Query((Eq("kind", KIND),), order_by="created_at", limit=1000)
        return {item["review_id"] for item in (await admin.broken.store.query(IDENTITY, (ada.tenant_id,), query)).items}

    async def prepare(attempt: int) -> tuple[dict[str, str], int]:
        return {"Idempotency-Key": f"review-{attempt}"}, len(await reviews())

    async def act(thing: tuple[dict[str, str], int]) -> httpx.Response:
        headers = admin.ada.auth | thing[0]
        return await admin.app.client.post("/v1/admin/access-reviews", json=body, headers=headers)

    async def check(thing: tuple[dict[str, str], int], answer: httpx.Response) -> None:
        there = len(await reviews()) - thing[1]
        assert there == 1 or (there == 0 and answer.status_code == 503)
        again = await act(thing)
        assert again.status_code == 201, again.text
        assert answer.status_code == 503 or again.json() == answer.json()
        told = [event["target"]["id"] for event in await admin.app.events(ada.tenant_id, "review.complete")]
        assert (sorted(told), len(told)) == (sorted(await reviews()), thing[1] + 1)

    await admin.walk(prepare, act, check, 201)


async def test_a_sign_off(admin: Admin) -> None:
    ada, today = admin.ada, admin.app.clock.now()
    body = {"statement": "I have read it."}

    async def prepare(attempt: int) -> Item:
        day = Day(today.date() - timedelta(days=attempt + 1))
        report = new_report(ada.tenant_id, day, Activity(), today, final=True)
        return await admin.broken.store.inner.create(REPORTS, (ada.tenant_id,), report)

    async def act(report: Item) -> httpx.Response:
        return await admin.ask("POST", f"/v1/reports/{report['id']}/sign-off", body)

    async def signed(report: Item) -> bool:
        try:
            await admin.broken.store.read(REPORTS, (ada.tenant_id,), sign_off_key(report["id"], ada.id))
        except NotFound:
            return False
        return True

    async def check(report: Item, answer: httpx.Response) -> None:
        there = await signed(report)
        assert there or answer.status_code == 503
        assert len(await admin.events("report.sign_off", report["id"])) == there
        again = await act(report)
        assert again.status_code == 201, again.text
        assert len(await admin.events("report.sign_off", report["id"])) == 1

    await admin.walk(prepare, act, check, 201)


async def test_an_order_of_a_report(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its building is walked in tests/compliance/test_orders.py."""
    monkeypatch.setattr("shared.compliance.reporting.QUICK_EVENTS", -1)
    ada, today, app = admin.ada, admin.app.clock.now().date(), admin.app
    began = PatchSet("created_at", "2025-06-01T00:00:00.000000Z")
    await admin.broken.store.patch(IDENTITY, (ada.tenant_id,), TENANT_ITEM, [began])
    await app.host.drain_feed()
    await app.host.run_timer("verify_ledger")

    async def prepare(attempt: int) -> dict[str, str]:
        days = (today - timedelta(days=attempt + 1), today - timedelta(days=attempt))
        return {"framework": "gdpr", "from": days[0].isoformat(), "to": days[1].isoformat()}

    async def act(body: dict[str, str]) -> httpx.Response:
        return await admin.ask("POST", "/v1/reports", body)

    async def check(body: dict[str, str], answer: httpx.Response) -> None:
        """The feed was drained by now: what was ordered is there."""
        report_id = report_id_of(ada.tenant_id, body["framework"], body["from"], body["to"])
        head = await app.services.compliance.head(ada.tenant_id, report_id)
        assert head or answer.status_code == 503
        assert len(await admin.events("report.order", report_id)) == bool(head)
        assert len(await admin.events("report.generate", report_id)) == bool(head)
        again = await act(body)
        assert (again.status_code, again.json()["id"]) == (201 if head else 202, report_id)

    await admin.walk(prepare, act, check, 202)


async def test_a_heartbeat(admin: Admin) -> None:
    """Whatever fails in a run: the next one sees to it that a day is told of, and once."""
    app, broken, tenant_id = admin.app, admin.broken, admin.ada.tenant_id
    days = failed = 0
    for mode, times in MODES:
        for k in range(1, 20):
            app.clock.advance(days=1)
            broken.store.arm(k, mode, times=times)
            try:
                await app.services.heartbeats.beat(tenant_id, TIMER)
            except StoreError:
                failed += 1
            reached = len(broken.store.calls) >= k
            await broken.recover()
            await app.services.heartbeats.beat(tenant_id, TIMER)
            days += 1
            told = [event["attributes"] for event in await app.events(tenant_id, "system.heartbeat")]
            assert sum(each["source"] == "policy" for each in told) == days
            of_days = [each["window_from"] for each in told if each["source"] == "detect_threats"]
            assert len(of_days) == len(set(of_days)) >= days - 2
            if not reached:
                break
    assert failed > len(MODES)
