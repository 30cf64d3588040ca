import json

import pytest

from functions.alerts import AlertShape
from shared.identity.model import Role
from tests.app import Account, App, assert_problem


async def _attack(app: App, account: Account, tries: int = 6) -> None:
    for _ in range(tries):
        await app.login(account.email, "a guess")
        app.clock.advance(seconds=20)
    await app.host.drain_feed()


async def test_guessing_raises_one_alert_in_one_tenant(app: App, ada: Account, grace: Account) -> None:
    await _attack(app, ada)
    items = (await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"]
    assert [(i["pattern"], i["severity"], i["status"], i["key"], i["count"]) for i in items] == [
        ("brute_force", "high", "open", ada.id, 6)
    ]
    AlertShape.model().model_validate_json(json.dumps(items[0]), strict=True)
    failures = [e["id"] for e in await app.events(ada.tenant_id, "auth.login")]
    assert items[0]["event_ids"] == failures
    assert items[0]["attack"] == ["T1110.001"]
    raised = await app.events(ada.tenant_id, "alert.raise")
    assert [(e["target"], e["attributes"]["pattern"]) for e in raised] == [
        ({"kind": "alert", "id": items[0]["id"]}, "brute_force")
    ]
    assert (await app.client.get("/v1/alerts", headers=grace.auth)).json()["items"] == []


async def test_four_failures_raise_nothing(app: App, ada: Account) -> None:
    await _attack(app, ada, tries=4)
    assert (await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"] == []


async def test_the_feed_settles(app: App, ada: Account) -> None:
    """An alert's own event comes back through the feed and sets off nothing."""
    await _attack(app, ada)
    before = len(await app.events(ada.tenant_id))
    await app.host.drain_feed()
    assert len(await app.events(ada.tenant_id)) == before


async def test_an_attack_that_goes_on_stays_one_alert_and_turns_critical(app: App, ada: Account) -> None:
    for _ in range(4):
        await _attack(app, ada, tries=6)
    items = (await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"]
    assert [(i["severity"], i["count"]) for i in items] == [("critical", 24)]
    assert len(await app.events(ada.tenant_id, "alert.raise")) == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("pattern=brute_force", 1),
        ("pattern=mass_deletion", 0),
        ("severity=high&status=open", 1),
        ("severity=critical", 0),
        ("status=resolved", 0),
        ("from=2026-03-15T12:00:00Z", 1),
        ("to=2026-03-15T12:00:00Z", 0),
    ],
)
async def test_alert_filters(app: App, ada: Account, query: str, expected: int) -> None:
    await _attack(app, ada)
    answer = await app.client.get(f"/v1/alerts?{query}", headers=ada.auth)
    assert len(answer.json()["items"]) == expected, answer.text


async def test_the_timer_builds_a_report_of_the_day(app: App, ada: Account, grace: Account) -> None:
    await _attack(app, ada)
    await app.give_role(ada, Role.VIEWER)
    await app.client.get("/v1/reports", headers=ada.auth)
    await app.give_role(ada, Role.AUDITOR)
    assert await app.host.run_timer("daily_reports")
    listed = (await app.client.get("/v1/reports", headers=ada.auth)).json()["items"]
    assert [(r["from"], r["to"], r["status"]) for r in listed] == [("2026-03-15", "2026-03-16", "building")]
    report = (await app.client.get(f"/v1/reports/{listed[0]['id']}", headers=ada.auth)).json()
    assert report == listed[0] | {"sign_offs": []}
    assert report["by_type"]["auth.login"] == {"failure": 6}
    assert report["alerts_raised"] == {"total": 1, "by_pattern": {"brute_force": 1}}
    assert report["access_denied"] == {"total": 1, "by_reason": {"role": 1}}
    assert report["events_in_period"] == sum(sum(n.values()) for n in report["by_type"].values())
    assert len(await app.events(ada.tenant_id, "report.generate")) == 1
    read = await app.events(ada.tenant_id, "report.read")
    assert [e["target"] for e in read] == [{"kind": "report", "id": report["id"]}]
    assert read[0]["actor"] == {"kind": "user", "id": ada.id, "role": "auditor"}
    assert read[0]["attributes"] == {"framework": "activity", "format": "json"}
    assert (read[0]["source"]["kind"], set(read[0]["personal"])) == ("session", {ada.id})
    others = (await app.client.get("/v1/reports", headers=grace.auth)).json()["items"]
    assert others[0]["alerts_raised"]["total"] == 0
    assert others[0]["id"] != report["id"]


async def test_yesterdays_report_is_final(app: App, ada: Account) -> None:
    await app.host.run_timer("daily_reports")
    app.clock.advance(days=1)
    await app.host.run_timer("daily_reports")
    fresh = {"Authorization": f"Bearer {(await app.login(ada.email)).json()['access_token']}"}
    listed = (await app.client.get("/v1/reports", headers=fresh)).json()["items"]
    assert [(r["from"], r["status"]) for r in listed] == [("2026-03-16", "building"), ("2026-03-15", "ready")]
    generated = len(await app.events(ada.tenant_id, "report.generate"))
    await app.host.run_timer("daily_reports")
    again = (await app.client.get("/v1/reports", headers=fresh)).json()["items"]
    assert again[1] == listed[1]
    assert len(await app.events(ada.tenant_id, "report.generate")) == generated + 1  # today's saw the new login


async def test_another_tenants_report_is_not_there(app: App, ada: Account, grace: Account) -> None:
    await app.host.run_timer("daily_reports")
    foreign = (await app.client.get("/v1/reports", headers=grace.auth)).json()["items"][0]["id"]
    answer = await app.client.get(f"/v1/reports/{foreign}", headers=ada.auth)
    assert_problem(answer, 404, "not_found")
    event = (await app.events(ada.tenant_id, "access.denied"))[0]
    assert (event["reason"], event["target"]) == ("unknown_id", {"kind": "report", "id": foreign})
    assert await app.events(grace.tenant_id, "access.denied") == []
    nowhere = await app.client.get("/v1/reports/11111111-1111-7111-8111-111111111111", headers=ada.auth)
    assert nowhere.json() | {"request_id": ""} == answer.json() | {"request_id": ""}


@pytest.mark.parametrize("form", ["pdf", "bundle"])
async def test_a_daily_report_has_no_other_form(app: App, ada: Account, form: str) -> None:
    await app.host.run_timer("daily_reports")
    mine = (await app.client.get("/v1/reports", headers=ada.auth)).json()["items"][0]["id"]
    answer = await app.client.get(f"/v1/reports/{mine}?format={form}", headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "format")


@pytest.mark.parametrize("spelling", ["({})", "{{{}}}", "{}"])
async def test_other_spellings_of_a_guid(app: App, ada: Account, spelling: str) -> None:
    await app.host.run_timer("daily_reports")
    mine = (await app.client.get("/v1/reports", headers=ada.auth)).json()["items"][0]["id"]
    answer = await app.client.get(f"/v1/reports/{spelling.format(mine)}", headers=ada.auth)
    assert (answer.status_code, answer.json()["id"]) == (200, mine)


async def test_an_id_that_the_directory_knows_elsewhere_is_a_cross_tenant_denial(
    app: App, ada: Account, grace: Account
) -> None:
    answer = await app.client.get(f"/v1/reports/{grace.id.upper()}", headers=ada.auth)
    assert_problem(answer, 404, "not_found")
    event = (await app.events(ada.tenant_id, "access.cross_tenant_denied"))[0]
    assert (event["outcome"], event["severity"], event["target"]["id"]) == ("denied", "high", grace.id)
    assert await app.events(grace.tenant_id, "access.cross_tenant_denied") == []


@pytest.mark.parametrize("item", ["outbox", "tenant", "user"])
async def test_only_reports_are_read_as_reports(app: App, ada: Account, item: str) -> None:
    answer = await app.client.get(f"/v1/reports/{item}", headers=ada.auth)
    assert_problem(answer, 404, "not_found")


async def test_paging_through_reports(app: App, ada: Account) -> None:
    for _ in range(5):
        await app.host.run_timer("daily_reports")
        app.clock.advance(days=1)
    headers = {"Authorization": f"Bearer {(await app.login(ada.email)).json()['access_token']}"}
    params: dict[str, str] = {"limit": "2"}
    days: list[str] = []
    while True:
        body = (await app.client.get("/v1/reports", params=params, headers=headers)).json()
        days += [report["from"] for report in body["items"]]
        if body["next_cursor"] is None:
            break
        params["cursor"] = body["next_cursor"]
    assert days == [f"2026-03-{day}" for day in (19, 18, 17, 16, 15)]
