"""POST, GET and DELETE /admin/api-keys, and what a program does with a key."""

from shared.identity.model import Role
from tests.app import Account, App, assert_problem


async def test_a_program_reads_alerts_and_reports_until_its_key_is_revoked(app: App, ada: Account) -> None:
    body = {"name": "dashboard", "scopes": ["reports:read", "alerts:read"], "expires_at": "2026-06-30T00:00:00Z"}
    answer = await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)
    assert answer.status_code == 201
    made = answer.json()
    assert made["key"].startswith(f"kak_{ada.tenant_id}.{made['id']}.")
    shown = {
        "id": made["id"],
        "name": "dashboard",
        "scopes": ["alerts:read", "reports:read"],
        "created_at": "2026-03-15T12:00:00.000000Z",
        "expires_at": "2026-06-30T00:00:00.000000Z",
        "last_used_at": None,
        "last_sent_at": None,
        "silent_since": None,
    }
    assert {name: value for name, value in made.items() if name != "key"} == shown
    (event,) = await app.events(ada.tenant_id, "apikey.create")
    assert event["target"] == {"kind": "api_key", "id": made["id"]}
    assert event["attributes"] == {
        "scopes": ["alerts:read", "reports:read"],
        "expires_at": "2026-06-30T00:00:00.000000Z",
    }
    assert event["actor"]["id"] == ada.id
    listed = await app.client.get("/v1/admin/api-keys", headers=ada.auth)
    assert listed.json() == {"items": [shown], "next_cursor": None}

    for _ in range(6):
        await app.login(ada.email, "a guess")
    await app.host.drain_feed()
    program = {"Authorization": f"Bearer {made['key']}"}
    alerts = await app.client.get("/v1/alerts", headers=program)
    assert [each["pattern"] for each in alerts.json()["items"]] == ["brute_force"]
    for _ in range(14):
        app.clock.advance(seconds=1)
        await app.login(ada.email, "a guess")
    await app.host.drain_feed()
    (raised,) = await app.events(ada.tenant_id, "alert.raise")
    *_, updated = await app.events(ada.tenant_id, "alert.update")
    (alert,) = (await app.client.get("/v1/alerts", headers=program)).json()["items"]
    assert raised["target"] == updated["target"] == {"kind": "alert", "id": alert["id"]}
    assert (raised["attributes"]["severity"], updated["attributes"]["severity"]) == ("high", "critical")
    assert await app.host.run_timer("daily_reports")
    (generated,) = await app.events(ada.tenant_id, "report.generate")
    assert (generated["outcome"], generated["attributes"]["framework"]) == ("success", "activity")
    (report,) = (await app.client.get("/v1/reports", headers=program)).json()["items"]
    assert (await app.client.get(f"/v1/reports/{report['id']}", headers=program)).status_code == 200
    (read,) = await app.events(ada.tenant_id, "report.read")
    assert read["actor"] == {"kind": "service", "id": made["id"], "role": None}
    assert read["source"] == {"kind": "api_key", "id": made["id"]}
    (used,) = (await app.client.get("/v1/admin/api-keys", headers=ada.auth)).json()["items"]
    assert used["last_used_at"] == "2026-03-15T12:00:00.000000Z"

    gone = await app.client.delete(f"/v1/admin/api-keys/{made['id']}", headers=ada.auth)
    assert (gone.status_code, gone.content) == (204, b"")
    (event,) = await app.events(ada.tenant_id, "apikey.revoke")
    assert (event["target"]["id"], event["attributes"]) == (made["id"], {"scopes": ["alerts:read", "reports:read"]})
    assert_problem(await app.client.get("/v1/alerts", headers=program), 401, "invalid_token")
    assert [e["reason"] for e in await app.events(type_="auth.token_rejected")] == ["api_key_unknown"]


async def test_a_key_does_what_its_scopes_say_and_nothing_else(app: App, ada: Account) -> None:
    body = {"name": "alerts only", "scopes": ["alerts:read"]}
    made = (await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).json()
    program = {"Authorization": f"Bearer {made['key']}"}
    assert (await app.client.get("/v1/alerts", headers=program)).status_code == 200
    for path, needed in (
        ("/v1/reports", "reports:read"),
        ("/v1/admin/logs/authorization", None),
        ("/v1/admin/users", None),
        ("/v1/profile", None),
    ):
        assert_problem(await app.client.get(path, headers=program), 403, "forbidden")
        app.clock.advance(seconds=1)
        event = (await app.events(ada.tenant_id, "access.denied"))[-1]
        assert (event["reason"], event["actor"]["kind"]) == ("scope", "service")
        assert event["attributes"]["required_scope"] == needed


async def test_a_key_outlives_whoever_made_it(app: App, ada: Account) -> None:
    cleo = await app.join(ada, "cleo@example.com", Role.TENANT_ADMIN)
    body = {"name": "reader", "scopes": ["alerts:read"]}
    made = (await app.client.post("/v1/admin/api-keys", json=body, headers=cleo.auth)).json()
    assert (await app.client.delete(f"/v1/admin/users/{cleo.id}?reason=left", headers=ada.auth)).status_code == 204
    program = {"Authorization": f"Bearer {made['key']}"}
    assert (await app.client.get("/v1/alerts", headers=program)).status_code == 200
    listed = (await app.client.get("/v1/admin/api-keys", headers=ada.auth)).json()["items"]
    assert [each["id"] for each in listed] == [made["id"]], "and Ada can see and revoke it"
