"""The users of a tenant, under hostile hands. What is right is told in tests/acceptance/test_admin_users.py."""

from typing import Any

import pytest

from shared.identity.model import TENANT_ITEM, Role, attempts_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchSet, Query
from tests.app import PASSWORD, Account, App, acceptance, assert_problem
from tests.identity.test_own_factor import before_commit
from tests.second_factors import enrolled, stored_factor

NOWHERE = "11111111-1111-7111-8111-111111111111"


async def put(app: App, by: Account, whom: str, body: dict[str, Any], **headers: str) -> Any:
    return await app.client.put(f"/v1/admin/users/{whom}", json=body, headers=by.auth | headers)


async def remove(app: App, by: Account, whom: str, **headers: str) -> Any:
    return await app.client.delete(f"/v1/admin/users/{whom}?reason=left", headers=by.auth | headers)


async def stored(app: App, account: Account) -> dict[str, Any]:
    return await app.store.read(IDENTITY, (account.tenant_id,), user_key(account.id))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "system_admin"}, "role"),
        ({"role": "TENANT_ADMIN"}, "role"),
        ({"role": "root"}, "role"),
        ({"role": None}, "role"),
        ({"role": 40}, "role"),
        ({"status": "deleted"}, "status"),
        ({"status": None}, "status"),
        ({"first_name": None}, "first_name"),
        ({"first_name": ""}, "first_name"),
        ({"last_name": "a\u202eb"}, "last_name"),
        ({"phone": "call me"}, "phone"),
        ({"website": "javascript:alert(1)"}, "website"),
        ({"website": "https://user:pw@example.com"}, "website"),
        ({"bio": "\x00"}, "bio"),
        ({"company": "x" * 101}, "company"),
        *(
            ({name: "x"}, name)
            for name in (
                *("id", "user_id", "tenant_id", "email", "kind", "mfa", "password", "password_hash", "invitation_id"),
                *("sessions_valid_from", "created_at", "updated_at", "search_email", "_etag", "ttl"),
            )
        ),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_changes(
    app: App, ada: Account, body: dict[str, Any], field: str
) -> None:
    bob = await app.join(ada, "bob@example.com")
    before = await stored(app, bob)
    assert_problem(await put(app, ada, bob.id, body | {"location": "here"}), 422, "invalid_request", field)
    assert await stored(app, bob) == before


@pytest.mark.parametrize("body", [{"role": "viewer"}, {"status": "suspended"}, {"first_name": "X", "role": "user"}])
async def test_nobody_changes_the_own_role_or_status(app: App, ada: Account, body: dict[str, str]) -> None:
    await app.join(ada, "bob@example.com", Role.TENANT_ADMIN)
    assert_problem(await put(app, ada, ada.id, body), 403, "forbidden")
    (event,) = await app.events(ada.tenant_id, "access.denied")
    assert (event["reason"], event["target"], event["outcome"]) == ("self", {"kind": "user", "id": ada.id}, "denied")
    assert event["personal"][ada.id]["data"]["attempted"] == body
    assert "attempted" not in event["attributes"]
    assert (await app.client.get("/v1/profile", headers=ada.auth)).json()["first_name"] == "Some"


async def test_the_own_profile_may_be_changed_here_too(app: App, ada: Account) -> None:
    answer = await put(app, ada, ada.id, {"phone": "+48 22 000", "role": "tenant_admin"})
    assert answer.status_code == 200, "a role that one has already is no change"
    assert answer.json()["phone"] == "+48 22 000"


async def test_a_tenant_admin_does_nothing_to_a_system_admin(app: App, ada: Account) -> None:
    sam = await app.join(ada, "sam@example.com")
    await app.give_role(sam, Role.SYSTEM_ADMIN)
    assert_problem(await put(app, ada, sam.id, {"role": "viewer"}), 403, "forbidden")
    assert_problem(await put(app, ada, sam.id, {}), 403, "forbidden")
    assert_problem(await remove(app, ada, sam.id), 403, "forbidden")
    assert_problem(await app.client.post(f"/v1/admin/users/{sam.id}/unlock", headers=ada.auth), 403, "forbidden")
    denied = await app.events(ada.tenant_id, "access.denied")
    assert [(e["reason"], e["target"]["id"]) for e in denied] == [("role", sam.id)] * 4
    assert (await app.client.get(f"/v1/admin/users/{sam.id}", headers=ada.auth)).status_code == 200


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER, Role.AUDITOR])
async def test_below_tenant_admin_there_is_nothing_here(app: App, ada: Account, role: Role) -> None:
    bob = await app.join(ada, "bob@example.com", role)
    path = f"/v1/admin/users/{ada.id}"
    for method, url, body in (
        ("GET", "/v1/admin/users", None),
        ("GET", path, None),
        ("PUT", path, {"role": "viewer"}),
        ("DELETE", path, {"reason": "because"}),
        ("POST", f"{path}/unlock", None),
        ("POST", "/v1/admin/invitations", {"email": "x@example.com", "role": "viewer"}),
        ("POST", "/v1/admin/api-keys", {"name": "x", "scopes": ["alerts:read"]}),
        ("PUT", "/v1/admin/settings", {"require_mfa": "off"}),
    ):
        assert_problem(await app.client.request(method, url, json=body, headers=bob.auth), 403, "forbidden")
    assert len(await app.events(ada.tenant_id, "access.denied")) == 8


async def test_a_foreign_id_looks_like_an_unknown_one(app: App, ada: Account, grace: Account) -> None:
    for method, tail, body in (
        ("GET", "", None),
        ("PUT", "", {"role": "viewer"}),
        ("DELETE", "", {"reason": "because"}),
        ("POST", "/unlock", None),
    ):
        for whom in (NOWHERE, grace.id):
            url = f"/v1/admin/users/{whom}{tail}"
            assert_problem(await app.client.request(method, url, json=body, headers=ada.auth), 404, "not_found")
    types = [e["type"] for e in await app.events(ada.tenant_id) if e["outcome"] == "denied"]
    assert sorted(types) == ["access.cross_tenant_denied"] * 4 + ["access.denied"] * 4
    assert [e for e in await app.events(grace.tenant_id) if e["actor"]["id"] == ada.id] == []
    assert (await app.client.get("/v1/profile", headers=grace.auth)).status_code == 200


async def test_other_items_of_the_tenant_are_no_users(app: App, ada: Account) -> None:
    await app.services.directory.void_user(await _entry(app, ada, NOWHERE))
    answer = await app.client.get(f"/v1/admin/users/{NOWHERE}", headers=ada.auth)
    assert_problem(answer, 404, "not_found")


async def _entry(app: App, account: Account, user_id: str) -> Any:
    entry = await app.services.directory.find(account.email)
    assert entry is not None
    return type(entry)(account.tenant_id, user_id)


async def test_deleting_twice_and_changing_the_deleted(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    assert (await remove(app, ada, bob.id)).status_code == 204
    assert_problem(await remove(app, ada, bob.id), 404, "not_found")
    assert_problem(await put(app, ada, bob.id, {"role": "user"}), 404, "not_found")
    assert len(await app.events(ada.tenant_id, "user.delete")) == 1


async def test_who_is_promoted_meanwhile_is_not_deleted_from_below(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await app.join(ada, "bob@example.com")

    async def promote(*_: object) -> None:
        await app.give_role(bob, Role.SYSTEM_ADMIN)

    before_commit(app, ada, promote, monkeypatch)
    assert_problem(await remove(app, ada, bob.id), 403, "forbidden")
    assert (await stored(app, bob))["role"] == Role.SYSTEM_ADMIN
    assert await app.events(ada.tenant_id, "user.delete") == []
    (denied,) = await app.events(ada.tenant_id, "access.denied")
    assert (denied["reason"], denied["target"]["id"]) == ("role", bob.id)


async def test_a_version_that_is_gone_meanwhile_is_not_deleted(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await app.join(ada, "bob@example.com")
    tag = (await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)).headers["etag"]

    async def rename(*_: object) -> None:
        assert (await app.client.put("/v1/profile", json={"bio": "new"}, headers=bob.auth)).status_code == 200

    before_commit(app, ada, rename, monkeypatch)
    assert_problem(await remove(app, ada, bob.id, **{"If-Match": tag}), 412, "version_conflict")
    assert (await stored(app, bob))["bio"] == "new"
    assert await app.events(ada.tenant_id, "user.delete") == []


async def test_an_administrator_made_and_deleted_at_once_is_counted_out_again(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the tenant would count one whom it has no more, and could lose its last one."""
    bob = await app.join(ada, "bob@example.com")

    async def promote(*_: object) -> None:
        assert (await put(app, ada, bob.id, {"role": "tenant_admin"})).status_code == 200

    before_commit(app, ada, promote, monkeypatch)
    assert (await remove(app, ada, bob.id)).status_code == 204
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM))["admins"] == 1
    (event,) = await app.events(ada.tenant_id, "user.delete")
    assert event["personal"][bob.id]["data"]["last_profile"]["role"] == "tenant_admin"


async def test_of_a_deleted_user_neither_factor_nor_failures_are_left(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    await enrolled(app, bob)
    await app.login(bob.email, "wrong")
    assert await stored_factor(app, bob) is not None
    assert (await app.store.read(IDENTITY, (bob.tenant_id,), attempts_key(bob.id)))["count"] == 1
    assert (await remove(app, ada, bob.id)).status_code == 204
    page = await app.store.query(IDENTITY, (ada.tenant_id,), Query(limit=1000))
    left = {item["kind"] for item in page.items if bob.id in item["id"] or item.get("user_id") == bob.id}
    assert left <= {"session"}, "which holds for nobody, and expires"


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("", None, "missing"),
        ("?reason=left", {"reason": "left"}, "repeated"),
        ("?reason=no", None, "string_too_short"),
        ("?reason=", None, "string_too_short"),
        ("?reason=%20%20%20%20", None, "blank"),
        ("?reason=a%00bc", None, "control_character"),
        ("?reason=" + "x" * 501, None, "string_too_long"),
        ("", {"reason": None}, "string_type"),
        ("", {"reason": ["left"]}, "string_type"),
    ],
)
async def test_a_deletion_needs_one_good_reason(app: App, ada: Account, query: str, body: Any, code: str) -> None:
    bob = await app.join(ada, "bob@example.com")
    url = f"/v1/admin/users/{bob.id}{query}"
    answer = await app.client.request("DELETE", url, json=body, headers=ada.auth)
    assert assert_problem(answer, 422, "invalid_request", "reason")["errors"][0]["code"] == code
    assert (await stored(app, bob))["status"] == "active"


@pytest.mark.parametrize("reason", ["abc", "x" * 500, "Büro geschlossen 🏢", "'; DROP TABLE users--"])
async def test_any_text_is_a_reason(app: App, ada: Account, reason: str) -> None:
    bob = await app.join(ada, "bob@example.com")
    answer = await app.client.request("DELETE", f"/v1/admin/users/{bob.id}", json={"reason": reason}, headers=ada.auth)
    assert answer.status_code == 204
    (event,) = await app.events(ada.tenant_id, "user.delete")
    assert event["personal"][bob.id]["data"]["reason_text"] == reason


async def test_a_suspended_user_cannot_act_and_may_again(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    assert (await put(app, ada, bob.id, {"status": "suspended"})).json()["status"] == "suspended"
    assert_problem(await app.client.get("/v1/profile", headers=bob.auth), 401, "invalid_token")
    assert_problem(await app.login(bob.email), 401, "invalid_credentials")
    assert (await put(app, ada, bob.id, {"status": "active"})).status_code == 200
    assert_problem(await app.client.get("/v1/profile", headers=bob.auth), 401, "invalid_token")
    assert (await app.login(bob.email)).status_code == 200


async def test_a_cursor_of_another_filter_or_caller_is_refused(app: App, ada: Account, grace: Account) -> None:
    await app.join(ada, "bob@example.com")
    url = "/v1/admin/users"
    cursor = (await app.client.get(url, params={"limit": "1"}, headers=ada.auth)).json()["next_cursor"]
    assert cursor
    for params, who in (({"role": "viewer"}, ada), ({"q": "b"}, ada), ({}, grace)):
        answer = await app.client.get(url, params={"cursor": cursor, **params}, headers=who.auth)
        assert_problem(answer, 422, "invalid_request", "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("role=boss", "role"),
        ("status=open", "status"),
        ("q=", "q"),
        ("q=%20", "q"),
        ("q=a%00", "q"),
        ("email=x", "email"),
    ],
)
async def test_a_wrong_filter_is_named(app: App, ada: Account, query: str, field: str) -> None:
    assert_problem(await app.client.get(f"/v1/admin/users?{query}", headers=ada.auth), 422, "invalid_request", field)
    assert await app.events(ada.tenant_id, "user.list") == []


async def test_unlocking_is_not_for_oneself(app: App, ada: Account) -> None:
    await app.login(ada.email, "wrong")
    assert_problem(await app.client.post(f"/v1/admin/users/{ada.id}/unlock", headers=ada.auth), 403, "forbidden")
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), attempts_key(ada.id)))["count"] == 1


async def test_no_answer_holds_a_secret(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    for answer in (
        await app.client.get("/v1/admin/users", headers=ada.auth),
        await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth),
        await put(app, ada, bob.id, {"company": "x"}),
    ):
        assert not any(word in answer.text for word in ("argon2", "hash", "search", "invitation_id", "sessions_valid"))


async def test_a_suspended_tenant_has_no_administrators(app: App, ada: Account) -> None:
    await app.store.patch(IDENTITY, (ada.tenant_id,), "tenant", [PatchSet("status", "suspended")])
    assert_problem(await app.client.get("/v1/admin/users", headers=ada.auth), 401, "invalid_token")


async def test_an_invited_password_is_checked_as_any(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, "bob@example.com")
    body = acceptance(invitation, "bob@example.com", password=PASSWORD[:8])
    assert_problem(await app.client.post("/v1/register", json=body), 422, "invalid_request", "password")
