"""Alerts: raised by what happens, taken in hand by an administrator, closed with a note; each step is in the trail."""

from shared.storage.documents import Item
from tests.app import Account, App, assert_problem


async def attacked(app: App, account: Account) -> Item:
    """The alert of five wrong passwords for an account."""
    for _ in range(5):
        await app.login(account.email, "a guess")
        app.clock.advance(seconds=5)
    await app.host.drain_feed()
    (alert,) = (await app.client.get("/v1/alerts?pattern=brute_force", headers=account.auth)).json()["items"]
    found: Item = alert
    return found


async def test_an_alert_is_handled_and_its_incident_recorded(app: App, ada: Account) -> None:
    alert = await attacked(app, ada)
    url = f"/v1/alerts/{alert['id']}"
    (raised,) = await app.events(ada.tenant_id, "alert.raise")
    assert (raised["target"]["id"], raised["actor"]["kind"]) == (alert["id"], "system")

    taken = await app.client.patch(url, json={"status": "acknowledged"}, headers=ada.auth)
    assert (taken.status_code, taken.json()["status"]) == (200, "acknowledged")
    incident = {"aware_at": "2026-03-15T12:00:00Z", "decision": "not notified", "facts": "Five guesses, none right."}
    recorded = await app.client.put(f"{url}/incident", json=incident, headers=ada.auth)
    assert (recorded.status_code, recorded.json()["incident"]["decision"]) == (200, "not notified")
    assert_problem(
        await app.client.patch(url, json={"status": "resolved"}, headers=ada.auth), 422, "invalid_request", "note"
    )
    closed = await app.client.patch(url, json={"status": "resolved", "note": "It was Ada."}, headers=ada.auth)
    assert [step["to"] for step in closed.json()["history"]][-1] == "resolved"

    updates = await app.events(ada.tenant_id, "alert.update")
    assert sorted(e["attributes"]["new_status"] for e in updates) == ["acknowledged", "resolved"]
    (event,) = await app.events(ada.tenant_id, "incident.record")
    assert (event["target"]["id"], event["actor"]["id"]) == (alert["id"], ada.id)
