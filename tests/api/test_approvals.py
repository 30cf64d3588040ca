"""Who approved a change, its ticket, and why a status changed: kept with the change, and refused where wrong."""

from typing import Any

import pytest

from functions._approvals import ApprovalFields, approval_of, changes_of
from functions._parsing import parse_body
from functions.admin_users import UserBody
from shared.core.errors import Invalid
from shared.identity.approvals import Approval
from shared.identity.model import Role
from tests.app import Account, App, assert_problem
from tests.calls import NOWHERE
from tests.storage.conftest import LOCAL

TICKET = "CHG-1042"
LEFT = "2026-03-14T17:00:00.000000Z"


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def put(app: App, by: Account, user: Account, **body: Any) -> Any:
    return await app.client.put(f"/v1/admin/users/{user.id}", json=body, headers=by.auth)


async def test_every_kind_of_change_says_who_approved_it(app: App, ada: Account) -> None:
    bob, eve = await app.join(ada, "bob@example.com"), await app.join(ada, "eve@example.com")
    said = {"approved_by": eve.id, "ticket": TICKET}
    changed = await put(
        app, ada, bob, role="user", status="suspended", first_name="B", reason="left us", left_at=LEFT, **said
    )
    assert changed.status_code == 200, changed.text
    for path, body in (
        ("/v1/admin/invitations", {"email": "new@example.com", "role": "viewer"}),
        ("/v1/admin/api-keys", {"name": "reader", "scopes": ["alerts:read"]}),
    ):
        assert (await app.client.post(path, json=body | said, headers=ada.auth)).status_code == 201
    settings = await app.client.put("/v1/admin/settings", json={"require_mfa": "off", **said}, headers=ada.auth)
    assert (settings.status_code, await app.events(ada.tenant_id, "config.change")) == (200, [])
    mutes = [{"pattern": "brute_force", "reason": "a test", "until": "2026-03-16T00:00:00Z"}]
    assert (await app.client.put("/v1/admin/settings", json={"mutes": mutes, **said}, headers=ada.auth)).is_success
    for type_ in ("user.update", "user.role_change", "user.status_change", "apikey.create", "config.change"):
        (event,) = await app.events(ada.tenant_id, type_)
        assert {name: event["attributes"][name] for name in said} == said, type_
    invited = [event["attributes"] for event in await app.events(ada.tenant_id, "user.invite")]
    assert {"role": "viewer", **said} in invited
    (suspended,) = await app.events(ada.tenant_id, "user.status_change")
    assert suspended["attributes"]["left_at"] == LEFT
    assert suspended["personal"][bob.id]["data"]["reason_text"] == "left us", "sealed under the user"
    assert "left us" not in str(suspended["attributes"])


async def test_what_is_done_to_the_webhook_says_who_approved_it(app: App, ada: Account, grace: Account) -> None:
    eve = await app.join(ada, "eve@example.com")
    said = {"approved_by": eve.id, "ticket": TICKET}
    url = {"url": "https://receiver.example.com/in"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "", {"json": url}),
        ("POST", "/replay", {"json": {"from_position": "2026-03/0"}}),
        ("DELETE", "", {"params": {}}),
    ]
    for method, path, given in calls:
        ((where, body),) = given.items()
        for wrong, field in (({"approved_by": grace.id}, "approved_by"), ({"ticket": "a b"}, "ticket")):
            answer = await app.client.request(method, f"/v1/webhook{path}", headers=ada.auth, **{where: body | wrong})
            assert_problem(answer, 422, "invalid_request", field)
        app.clock.advance(seconds=1)
        answer = await app.client.request(method, f"/v1/webhook{path}", headers=ada.auth, **{where: body | said})
        assert answer.is_success, answer.text
    changes = [event["attributes"] for event in await app.events(ada.tenant_id, "config.change")]
    assert [each["key"] for each in changes] == ["webhook", "webhook.replay", "webhook"]
    assert [{name: each[name] for name in said} for each in changes] == [said] * 3


async def test_what_is_not_said_is_not_stored(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    assert (await put(app, ada, bob, status="suspended", role="user")).status_code == 200
    (status,) = await app.events(ada.tenant_id, "user.status_change")
    (role,) = await app.events(ada.tenant_id, "user.role_change")
    assert status["attributes"] == {"old_status": "active", "new_status": "suspended"}
    assert role["attributes"] == {"old_role": "viewer", "new_role": "user"}


async def test_who_cannot_have_approved_it(app: App, ada: Account, grace: Account) -> None:
    """Oneself, whom it is about, nobody, and users of others: these two answer the same."""
    bob = await app.join(ada, "bob@example.com")
    answers = {}
    for name, approver in (("self", ada.id), ("concerned", bob.id), ("nobody", NOWHERE), ("foreign", grace.id)):
        answer = await put(app, ada, bob, role="user", approved_by=approver)
        answers[name] = assert_problem(answer, 422, "invalid_request", "approved_by")["errors"]
    assert [answers[name][0]["code"] for name in ("self", "concerned", "nobody")] == ["self", "concerned", "unknown"]
    assert answers["foreign"] == answers["nobody"]
    for path, body in (
        ("/v1/admin/invitations", {"email": "new@example.com", "role": "viewer"}),
        ("/v1/admin/api-keys", {"name": "reader", "scopes": ["alerts:read"]}),
    ):
        answer = await app.client.post(path, json={**body, "approved_by": grace.id}, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", "approved_by")
    answer = await app.client.put(
        "/v1/admin/settings", json={"require_mfa": "all", "approved_by": ada.id}, headers=ada.auth
    )
    assert_problem(answer, 422, "invalid_request", "approved_by")
    assert await app.events(ada.tenant_id, "user.role_change") == []
    assert await app.events(ada.tenant_id, "config.change") == await app.events(ada.tenant_id, "apikey.create") == []
    assert len(await app.events(ada.tenant_id, "user.invite")) == 1, "bob's"


async def test_what_is_wrong_is_named(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    for body, field in (
        ({"ticket": ""}, "ticket"),
        ({"ticket": "a b"}, "ticket"),
        ({"ticket": "someone@example.com"}, "ticket"),
        ({"ticket": "x" * 65}, "ticket"),
        ({"ticket": "4111111111111111"}, "ticket"),
        ({"ticket": None}, "ticket"),
        ({"approved_by": "../tenant"}, "approved_by"),
        ({"approved_by": 7}, "approved_by"),
        ({"reason": "left us"}, "reason"),
        ({"reason": "ab", "status": "suspended"}, "reason"),
        ({"left_at": LEFT}, "left_at"),
        ({"left_at": LEFT, "status": "active"}, "left_at"),
        ({"left_at": "2026-03-15T12:00:01Z", "status": "suspended"}, "left_at"),
        ({"left_at": "yesterday", "status": "suspended"}, "left_at"),
    ):
        assert_problem(await put(app, ada, bob, **body), 422, "invalid_request", field)
    assert await app.events(ada.tenant_id, "user.status_change") == []


def test_a_ticket_that_is_a_secret_is_told_from_one_of_another_form() -> None:
    with pytest.raises(Invalid) as caught:
        parse_body(b'{"ticket": "4111-1111-1111-1111"}', ApprovalFields)
    (fault,) = caught.value.errors
    assert (fault.field, fault.code) == ("ticket", "sensitive")
    assert fault.message == "must not hold a card number or a secret"


def test_what_a_body_says_of_its_approval_is_no_change() -> None:
    said = UserBody(approved_by=NOWHERE, ticket=TICKET, company="Example")
    assert approval_of(said) == Approval(NOWHERE, TICKET)
    assert changes_of(said) == {"company": "Example"}
    assert approval_of(UserBody(company=None)) == Approval(None, None)
    assert changes_of(UserBody(company=None)) == {"company": None}, "what is to be emptied is a change"


async def test_a_refusal_keeps_what_was_said_sealed(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.AUDITOR)
    answer = await put(app, bob, ada, status="suspended", ticket=TICKET, reason="because I say so")
    assert_problem(answer, 403, "forbidden")
    (event,) = await app.events(ada.tenant_id, "access.denied")
    assert event["attributes"]["attempted_fields"] == ["reason", "status", "ticket"]
    assert "because" not in str(event["attributes"])
