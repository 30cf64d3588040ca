"""The ledger watches the trail: what is done to it past the app is an alert, and months that are over are chained."""

from shared.identity.directory import shard_of
from shared.storage.containers import AUDIT_EVENTS, TENANTS
from tests.app import Account, App


async def test_an_event_that_is_deleted_past_the_app_is_a_critical_alert(app: App, ada: Account) -> None:
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200
    await app.host.drain_feed()
    (seen,) = await app.events(ada.tenant_id, "profile.view")
    await app.store.delete(AUDIT_EVENTS, (ada.tenant_id, seen["period"]), seen["id"])
    assert await app.host.run_timer("verify_ledger")
    await app.host.drain_feed()

    (alert,) = (await app.client.get("/v1/alerts?pattern=ledger_integrity", headers=ada.auth)).json()["items"]
    assert (alert["severity"], alert["key"], alert["count"]) == ("critical", seen["period"], 1)
    answer = await app.client.get("/v1/events?type=ledger.verify_failed", headers=ada.auth)
    (found,) = answer.json()["items"]
    assert (found["type"], found["outcome"], found["severity"]) == ("ledger.verify_failed", "failure", "critical")
    assert (found["attributes"]["what"], found["actor"]["kind"]) == ("deleted", "system")
    assert alert["event_ids"] == [found["id"]]


async def test_a_month_that_is_over_is_told_in_the_next(app: App, ada: Account) -> None:
    await app.host.drain_feed()
    app.clock.advance(days=31)
    for _ in range(2):
        assert await app.host.run_timer("close_months")
    (closed,) = await app.events(ada.tenant_id, "ledger.checkpoint")
    assert (closed["type"], closed["period"]) == ("ledger.checkpoint", "2026-04")
    issued = await app.services.checkpoints.issue(ada.tenant_id, "2026-03")
    assert closed["attributes"]["period"] == "2026-03"
    assert closed["attributes"]["size"] == issued.checkpoint.size > 0


async def test_a_tenant_that_is_struck_off_the_registry_is_checked_all_the_same(app: App, ada: Account) -> None:
    await app.host.drain_feed()
    assert await app.host.run_timer("verify_ledger")
    (seen,) = await app.events(ada.tenant_id, "auth.register")
    await app.store.delete(TENANTS, (shard_of(ada.tenant_id),), ada.tenant_id)
    await app.store.delete(AUDIT_EVENTS, (ada.tenant_id, seen["period"]), seen["id"])
    assert await app.host.run_timer("verify_ledger")
    found = await app.events(ada.tenant_id, "ledger.verify_failed")
    assert sorted(each["attributes"]["what"] for each in found) == ["checkpoint", "deleted"]
    assert [tenant.id async for tenant in app.services.directory.tenants()] == [ada.tenant_id]
