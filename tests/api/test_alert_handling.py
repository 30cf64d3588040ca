"""Alerts in people's hands, the patterns as published, and what an organization sets for them."""

from typing import Any

import pytest

from shared.identity.model import Role
from shared.storage.containers import ALERTS
from shared.storage.documents import Eq, Query
from tests.app import Account, App, assert_problem

UNTIL = "2026-09-01T00:00:00Z"


async def attack(app: App, account: Account, tries: int = 5) -> None:
    for _ in range(tries):
        await app.login(account.email, "a guess")
        app.clock.advance(seconds=5)
    await app.host.drain_feed()


async def alerts(app: App, account: Account, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await app.client.get(f"/v1/alerts{query}", headers=account.auth)).json()["items"]
    return found


async def test_an_alert_is_acknowledged_and_resolved(app: App, ada: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    url = f"/v1/alerts/{alert['id']}"
    read = await app.client.get(url, headers=ada.auth)
    assert read.json() == alert
    match = {**ada.auth, "If-Match": read.headers["etag"]}

    first = await app.client.patch(url, json={"status": "acknowledged"}, headers=match)
    assert (first.status_code, first.json()["status"]) == (200, "acknowledged")
    stale = await app.client.patch(url, json={"status": "resolved", "note": "It was Ada."}, headers=match)
    assert_problem(stale, 412, "version_conflict")
    match["If-Match"] = first.headers["etag"]
    done = await app.client.patch(url, json={"status": "resolved", "note": "It was Ada."}, headers=match)

    assert [(entry["from"], entry["to"], entry["by"], entry["note"]) for entry in done.json()["history"]] == [
        (None, "open", "system", "raised"),
        ("open", "acknowledged", ada.id, None),
        ("acknowledged", "resolved", ada.id, "It was Ada."),
    ]
    assert done.json()["closed_at"]
    again = await app.client.patch(url, json={"status": "dismissed", "note": "No, Grace."}, headers=ada.auth)
    assert_problem(again, 409, "alert_closed")
    events = await app.events(ada.tenant_id, "alert.update")
    assert sorted((e["attributes"]["new_status"], e["actor"]["id"]) for e in events) == [
        ("acknowledged", ada.id),
        ("resolved", ada.id),
    ]


async def test_a_status_that_an_alert_has_is_no_change(app: App, ada: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    url, body = f"/v1/alerts/{alert['id']}", {"status": "acknowledged", "note": "I look at it."}
    first = await app.client.patch(url, json=body, headers=ada.auth)
    again = await app.client.patch(url, json={**body, "note": "I still do."}, headers=ada.auth)

    assert_problem(again, 409, "alert_unchanged")
    assert (await app.client.get(url, headers=ada.auth)).json() == first.json()
    assert len(await app.events(ada.tenant_id, "alert.update")) == 1


async def test_what_goes_on_after_the_closing_is_another_alert(app: App, ada: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    body = {"status": "dismissed", "note": "It was Ada."}
    assert (await app.client.patch(f"/v1/alerts/{alert['id']}", json=body, headers=ada.auth)).status_code == 200
    app.clock.advance(seconds=5)
    await attack(app, ada, 2)
    assert [(each["status"], each["count"]) for each in await alerts(app, ada, "?status=dismissed")] == [
        ("dismissed", 5)
    ]
    assert len(await alerts(app, ada, "?status=open")) == 1


@pytest.mark.parametrize("status", ["resolved", "dismissed"])
async def test_closing_needs_a_note(app: App, ada: Account, status: str) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    for body in ({"status": status}, {"status": status, "note": None}, {"status": status, "note": "x"}):
        answer = await app.client.patch(f"/v1/alerts/{alert['id']}", json=body, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", "note")
    wrong = await app.client.patch(f"/v1/alerts/{alert['id']}", json={"status": "open"}, headers=ada.auth)
    assert_problem(wrong, 422, "invalid_request", "status")


async def test_an_incident_is_recorded(app: App, ada: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    body = {"aware_at": "2026-03-15T12:00:00Z", "decision": "not notified", "facts": "Nobody got in."}
    answer = await app.client.put(f"/v1/alerts/{alert['id']}/incident", json=body, headers=ada.auth)
    assert answer.json()["incident"] == {
        **{"aware_at": "2026-03-15T12:00:00.000000Z", "decision": "not notified", "facts": "Nobody got in."},
        **{"authority_notified_at": None, "subjects_notified_at": None, "recorded_by": ada.id},
        "recorded_at": answer.json()["incident"]["recorded_at"],
    }
    (event,) = await app.events(ada.tenant_id, "incident.record")
    assert (event["target"], event["attributes"]["decision"]) == ({"kind": "alert", "id": alert["id"]}, "not notified")


async def test_nobody_is_aware_of_an_incident_ahead_of_time(app: App, ada: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    body = {"aware_at": "2027-01-01T00:00:00Z", "decision": "not notified", "facts": "Nobody got in."}
    answer = await app.client.put(f"/v1/alerts/{alert['id']}/incident", json=body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "aware_at")
    assert await app.events(ada.tenant_id, "incident.record") == []


async def test_another_tenants_alert_is_none(app: App, ada: Account, grace: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    assert_problem(await app.client.get(f"/v1/alerts/{alert['id']}", headers=grace.auth), 404, "not_found")
    (event,) = await app.events(grace.tenant_id, "access.denied")
    assert (event["reason"], event["target"]) == ("unknown_id", {"kind": "alert", "id": alert["id"]})
    (digest,) = (await app.store.query(ALERTS, (ada.tenant_id,), Query((Eq("kind", "alert_series"),), limit=1))).items
    assert digest["id"].startswith("series|"), "and what else lies beside alerts has ids that no route takes"


async def test_patterns_are_published_with_the_thresholds_of_the_tenant(app: App, ada: Account) -> None:
    thresholds = {"brute_force": {"threshold": 8}}
    answer = await app.client.put("/v1/admin/settings", json={"thresholds": thresholds}, headers=ada.auth)
    assert answer.json()["thresholds"] == thresholds
    items = (await app.client.get("/v1/alert-patterns", headers=ada.auth)).json()["items"]
    assert len(items) == 10
    (brute_force,) = (each for each in items if each["id"] == "brute_force")
    assert brute_force["thresholds"] == {"threshold": 8, "window_seconds": 900, "critical_from": 20}
    await attack(app, ada, 7)
    assert await alerts(app, ada) == []
    await attack(app, ada, 1)
    assert [each["count"] for each in await alerts(app, ada)] == [8]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"thresholds": {"nothing": {"threshold": 5}}}, "thresholds.nothing"),
        ({"thresholds": {"brute_force": {"threshold": 2}}}, "thresholds.brute_force.threshold"),
        ({"thresholds": {"brute_force": {"treshold": 5}}}, "thresholds.brute_force.treshold"),
        ({"thresholds": {"credential_stuffing": {"threshold": 9}}}, "thresholds.credential_stuffing"),
        ({"mutes": [{"pattern": "nothing", "reason": "a test", "until": UNTIL}]}, "mutes.pattern"),
        ({"mutes": [{"pattern": "brute_force", "until": UNTIL}]}, "mutes.0.reason"),
        ({"mutes": [{"pattern": "brute_force", "reason": "a test", "until": "2031-01-01T00:00:00Z"}]}, "mutes.until"),
        ({"mutes": [{"pattern": "brute_force", "reason": "a test", "until": "2026-03-01T00:00:00Z"}]}, "mutes.until"),
        ({"mutes": [{"pattern": "ledger_integrity", "reason": "a test", "until": UNTIL}]}, "mutes.pattern"),
        ({"thresholds": {"ledger_integrity": {"window_seconds": 60}}}, "thresholds.ledger_integrity"),
        (
            {"allow_lists": {"accounts": [{"value": "x", "reason": "a test", "until": "2026-03-01T00:00:00Z"}]}},
            "allow_lists.accounts.until",
        ),
        (
            {"allow_lists": {"addresses": [{"value": "home", "reason": "a test", "until": UNTIL}]}},
            "allow_lists.addresses.0.value",
        ),
    ],
)
async def test_what_cannot_be_set_is_named(app: App, ada: Account, body: dict[str, Any], field: str) -> None:
    answer = await app.client.put("/v1/admin/settings", json=body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", field)


async def test_a_mute_holds_until_it_expires(app: App, ada: Account) -> None:
    until = "2026-03-15T13:00:00Z"
    mute = {"pattern": "brute_force", "reason": "a test of penetration", "until": until}
    answer = await app.client.put("/v1/admin/settings", json={"mutes": [mute]}, headers=ada.auth)
    (told,) = answer.json()["mutes"]
    assert {**told, "since": ""} == {**mute, "until": "2026-03-15T13:00:00.000000Z", "since": ""}
    await attack(app, ada, 6)
    assert await alerts(app, ada) == []
    app.clock.advance(hours=2)
    login = (await app.login(ada.email)).json()
    renewed = Account(ada.id, ada.tenant_id, ada.email, login["access_token"], login["refresh_token"])
    await attack(app, renewed, 6)
    assert [each["pattern"] for each in await alerts(app, renewed)] == ["brute_force"]
    (event,) = await app.events(ada.tenant_id, "config.change")
    assert event["attributes"]["changed_fields"] == ["mutes"]
    again = await app.client.put("/v1/admin/settings", json={"mutes": [mute]}, headers=renewed.auth)
    assert again.json()["mutes"] == [told], "one that is over may stay, for it holds for events of its time"


async def test_what_is_on_an_allow_list_is_left_alone(app: App, ada: Account) -> None:
    entry = {"reason": "the scanner", "until": UNTIL}
    lists = {"addresses": [{"value": "203.0.113.77", **entry}], "accounts": []}
    answer = await app.client.put("/v1/admin/settings", json={"allow_lists": lists}, headers=ada.auth)
    (told,) = answer.json()["allow_lists"]["addresses"]
    assert told.keys() == {"value", "reason", "since", "until"}
    again = await app.client.put("/v1/admin/settings", json={"allow_lists": lists}, headers=ada.auth)
    assert again.json()["allow_lists"]["addresses"] == [told], "an entry that stays holds since it was made"
    lists = {"addresses": [], "accounts": [{"value": ada.id, **entry}]}
    answer = await app.client.put("/v1/admin/settings", json={"allow_lists": lists}, headers=ada.auth)
    told = answer.json()["allow_lists"]
    assert (told["addresses"], [each["value"] for each in told["accounts"]]) == ([], [ada.id]), (
        "what ended is not shown"
    )
    await attack(app, ada, 3)
    assert await alerts(app, ada) == []


async def test_an_auditor_reads_and_changes_nothing(app: App, ada: Account) -> None:
    await attack(app, ada)
    (alert,) = await alerts(app, ada)
    auditor = await app.join(ada, "auditor@example.com", Role.AUDITOR)
    assert (await app.client.get(f"/v1/alerts/{alert['id']}", headers=auditor.auth)).status_code == 200
    answer = await app.client.patch(f"/v1/alerts/{alert['id']}", json={"status": "acknowledged"}, headers=auditor.auth)
    assert_problem(answer, 403, "forbidden")
