"""GET, PUT and DELETE /admin/users, POST /admin/users/{id}/unlock: what an administrator does, and what stays of it."""

from typing import Any

import pytest

from shared.identity.model import Role
from tests.app import Account, App, assert_problem

type Events = list[dict[str, Any]]


@pytest.fixture
async def bob(app: App, ada: Account) -> Account:
    """A viewer of Ada's tenant."""
    return await app.join(ada, "bob@example.com", first_name="Bob", last_name="Builder")


async def last(app: App, ada: Account, count: int = 1) -> Events:
    """The newest events of the tenant, as an auditor would search for them in the store."""
    app.clock.advance(seconds=1)  # so that what comes next is newer
    return (await app.events(ada.tenant_id))[-count:]


def opened(event: dict[str, Any], whose: Account) -> dict[str, Any]:
    """What an event holds about one person."""
    data: dict[str, Any] = event["personal"][whose.id]["data"]
    return data


async def test_an_administrator_looks_for_someone(app: App, ada: Account, bob: Account) -> None:
    await last(app, ada)
    answer = await app.client.get("/v1/admin/users?q=BUIL&role=viewer&status=active", headers=ada.auth)
    assert answer.status_code == 200
    assert [each["email"] for each in answer.json()["items"]] == [bob.email]
    assert answer.json()["next_cursor"] is None
    (event,) = await last(app, ada)
    assert (event["type"], event["outcome"], event["record_count"]) == ("user.list", "success", 1)
    assert event["actor"] == {"kind": "user", "id": ada.id, "role": "tenant_admin"}
    assert event["attributes"] == {}
    assert opened(event, ada)["filters"] == {"q": "BUIL", "role": "viewer", "status": "active"}
    assert set(opened(event, ada)) >= {"email", "ip", "user_agent"}


async def test_an_administrator_looks_at_someone(app: App, ada: Account, bob: Account) -> None:
    await last(app, ada)
    answer = await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)
    user = answer.json()
    assert (answer.status_code, answer.headers["etag"][0]) == (200, '"')
    assert {name: user[name] for name in ("id", "email", "role", "status", "mfa", "tenant_id")} == {
        "id": bob.id,
        "email": bob.email,
        "role": "viewer",
        "status": "active",
        "mfa": False,
        "tenant_id": ada.tenant_id,
    }
    (event,) = await last(app, ada)
    assert (event["type"], event["target"], event["data_class"]) == (
        "user.view",
        {"kind": "user", "id": bob.id},
        "personal",
    )
    assert sorted(event["subjects"]) == sorted([ada.id, bob.id])


async def test_a_profile_is_corrected(app: App, ada: Account, bob: Account) -> None:
    """The trail says which fields; what they were and are is sealed under the person whose they are."""
    tag = (await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)).headers["etag"]
    await last(app, ada)
    body = {"last_name": "Baumeister", "phone": "+49 30 000000", "website": "https://example.com/bob", "bio": None}
    answer = await app.client.put(f"/v1/admin/users/{bob.id}", json=body, headers=ada.auth | {"If-Match": tag})
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in body} == body
    assert answer.headers["etag"] != tag
    (event,) = await last(app, ada)
    assert (event["type"], event["severity"], event["target"]["id"]) == ("user.update", "info", bob.id)
    assert event["attributes"] == {"changed_fields": ["last_name", "phone", "website"]}
    assert opened(event, bob)["old_values"] == {"last_name": "Builder", "phone": None, "website": None}
    assert opened(event, bob)["new_values"] == {n: body[n] for n in ("last_name", "phone", "website")}
    assert "new_values" not in opened(event, ada)
    profile = await app.client.get("/v1/profile", headers=bob.auth)
    assert profile.json()["last_name"] == "Baumeister", "his session goes on"


async def test_a_role_is_changed(app: App, ada: Account, bob: Account) -> None:
    """Bob has to sign in again, and then reads what an auditor reads."""
    await last(app, ada)
    answer = await app.client.put(f"/v1/admin/users/{bob.id}", json={"role": "auditor"}, headers=ada.auth)
    assert answer.json()["role"] == "auditor"
    (event,) = await last(app, ada)
    assert (event["type"], event["severity"], event["target"]["id"]) == ("user.role_change", "medium", bob.id)
    assert event["attributes"] == {"old_role": "viewer", "new_role": "auditor"}
    assert_problem(await app.client.get("/v1/profile", headers=bob.auth), 401, "invalid_token")
    token = (await app.login(bob.email)).json()["access_token"]
    again = await app.client.get("/v1/admin/logs/authorization", headers={"Authorization": f"Bearer {token}"})
    assert "user.role_change" in {each["type"] for each in again.json()["items"]}


async def test_a_user_is_suspended_and_comes_back(app: App, ada: Account, bob: Account) -> None:
    for status, old in (("suspended", "active"), ("active", "suspended")):
        await last(app, ada)
        await app.client.put(f"/v1/admin/users/{bob.id}", json={"status": status}, headers=ada.auth)
        (event,) = await last(app, ada)
        assert (event["type"], event["attributes"]) == (
            "user.status_change",
            {"old_status": old, "new_status": status},
        )
        assert (await app.login(bob.email)).status_code == (401 if status == "suspended" else 200)
    log = await app.client.get("/v1/admin/logs/authorization?type=user.status_change", headers=ada.auth)
    assert len(log.json()["items"]) == 2


async def test_each_kind_of_change_is_an_event_of_its_own(app: App, ada: Account, bob: Account) -> None:
    await last(app, ada)
    body = {"company": "Example", "role": "user", "status": "suspended"}
    await app.client.put(f"/v1/admin/users/{bob.id}", json=body, headers=ada.auth)
    assert sorted(e["type"] for e in await last(app, ada, 3)) == [
        "user.role_change",
        "user.status_change",
        "user.update",
    ]


async def test_a_change_of_nothing_changes_nothing(app: App, ada: Account, bob: Account) -> None:
    tag = (await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)).headers["etag"]
    await last(app, ada)
    answer = await app.client.put(f"/v1/admin/users/{bob.id}", json={"role": "viewer"}, headers=ada.auth)
    assert (answer.status_code, answer.headers["etag"]) == (200, tag)
    assert [e["type"] for e in await last(app, ada)] == ["user.view"], "but it was looked at"
    assert (await app.client.get("/v1/profile", headers=bob.auth)).status_code == 200


async def test_an_account_is_unlocked(app: App, ada: Account, bob: Account) -> None:
    for _ in range(3):
        await app.login(bob.email, "wrong")
    await last(app, ada)
    answer = await app.client.post(f"/v1/admin/users/{bob.id}/unlock", headers=ada.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    (event,) = await last(app, ada)
    assert (event["type"], event["target"]["id"]) == ("user.unlock", bob.id)
    await app.login(bob.email, "wrong")
    (failed,) = await last(app, ada)
    assert failed["attributes"]["attempt_count"] == 1, "counted from the beginning"


async def test_a_user_is_deleted(app: App, ada: Account, bob: Account) -> None:
    """The account goes; the trail of what Bob did, and why he went, stays. His e-mail is free."""
    await app.client.get("/v1/profile", headers=bob.auth)
    before = [e for e in await app.events(ada.tenant_id) if bob.id in e["subjects"]]
    await last(app, ada)
    url = f"/v1/admin/users/{bob.id}"
    answer = await app.client.request("DELETE", url, json={"reason": "left the company"}, headers=ada.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    (event,) = await last(app, ada)
    assert (event["type"], event["severity"], event["target"]["id"]) == ("user.delete", "medium", bob.id)
    assert opened(event, bob)["reason_text"] == "left the company"
    assert opened(event, bob)["last_profile"]["email"] == bob.email
    assert event["attributes"] == {}
    assert_problem(await app.client.get("/v1/profile", headers=bob.auth), 401, "invalid_token")
    assert_problem(await app.client.get(url, headers=ada.auth), 404, "not_found")
    after = [e for e in await app.events(ada.tenant_id) if bob.id in e["subjects"]]
    assert [e["id"] for e in after][: len(before)] == [e["id"] for e in before]
    assert (await app.register(bob.email)).tenant_id != ada.tenant_id


async def test_nobody_removes_or_demotes_oneself(app: App, ada: Account) -> None:
    await last(app, ada)
    url = f"/v1/admin/users/{ada.id}"
    for method, body in (
        ("PUT", {"role": "viewer"}),
        ("PUT", {"status": "suspended"}),
        ("DELETE", {"reason": "tired"}),
    ):
        assert_problem(await app.client.request(method, url, json=body, headers=ada.auth), 403, "forbidden")
        (event,) = await last(app, ada)
        assert (event["type"], event["outcome"], event["reason"]) == ("access.denied", "denied", "self")
        assert opened(event, ada)["attempted"]
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


async def test_tenant_admins_act_on_each_other_but_not_above(app: App, ada: Account) -> None:
    cleo = await app.join(ada, "cleo@example.com", Role.TENANT_ADMIN)
    sam = await app.join(ada, "sam@example.com")
    await app.give_role(sam, Role.SYSTEM_ADMIN)
    await last(app, ada)
    assert_problem(
        await app.client.put(f"/v1/admin/users/{sam.id}", json={"status": "suspended"}, headers=ada.auth),
        403,
        "forbidden",
    )
    (event,) = await last(app, ada)
    assert (event["reason"], event["attributes"]["held_role"]) == ("role", "tenant_admin")
    assert opened(event, sam)["attempted"] == {"status": "suspended"}
    demoted = await app.client.put(f"/v1/admin/users/{cleo.id}", json={"role": "user"}, headers=ada.auth)
    assert demoted.status_code == 200


async def test_the_last_tenant_admin_stays(app: App, ada: Account) -> None:
    """Not even someone of a higher rank leaves a tenant without one."""
    sam = await app.join(ada, "sam@example.com")
    await app.give_role(sam, Role.SYSTEM_ADMIN)
    await last(app, ada)
    url = f"/v1/admin/users/{ada.id}"
    for method, body in (
        ("PUT", {"role": "viewer"}),
        ("PUT", {"status": "suspended"}),
        ("DELETE", {"reason": "a coup"}),
    ):
        assert_problem(await app.client.request(method, url, json=body, headers=sam.auth), 409, "last_admin")
        (event,) = await last(app, ada)
        assert (event["type"], event["reason"], event["actor"]["id"]) == ("access.denied", "last_admin", sam.id)
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


async def test_the_authorization_log_is_read_and_says_so(app: App, ada: Account, bob: Account) -> None:
    """Sign-ins, refusals, role and status changes; who looked, for what, and how much there was."""
    await app.client.put(f"/v1/admin/users/{bob.id}", json={"role": "user"}, headers=ada.auth)
    await last(app, ada)
    url = "/v1/admin/logs/authorization"
    answer = await app.client.get(url, params={"email": bob.email, "type": "user.role_change"}, headers=ada.auth)
    assert [each["type"] for each in answer.json()["items"]] == ["user.role_change"]
    (event,) = await last(app, ada)
    assert (event["type"], event["record_count"]) == ("audit.search", 1)
    assert event["attributes"] == {"log": "authorization", "filtered_by": ["email", "type"], "criteria": None}
    assert opened(event, ada)["filters"] == {"type": ["user.role_change"]}
    assert opened(event, bob) == {"email": bob.email}, "sealed under whose it is"
