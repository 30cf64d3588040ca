"""Invitations under hostile hands. What is right is told in tests/acceptance/test_invitations.py."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from shared.audit.model import RequestContext
from shared.core.errors import Forbidden
from shared.identity.invitations import invitation_key
from shared.identity.model import Role, user_key
from shared.storage.containers import DIRECTORY, IDENTITY
from shared.storage.documents import Eq, PatchSet, Query
from shared.storage.errors import NotFound
from tests.app import PASSWORD, Account, App, acceptance, assert_problem, registration
from tests.storage.conftest import LOCAL

EMAIL = "bob@example.com"


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def accept(app: App, invitation: str, email: str = EMAIL, **changes: Any) -> httpx.Response:
    return await app.client.post("/v1/register", json=acceptance(invitation, email, **changes))


async def refused(app: App, answer: httpx.Response, tenant_id: str) -> None:
    """The one neutral answer, and its event in the trail of `tenant_id`."""
    assert_problem(answer, 422, "invalid_invitation", "invitation")
    assert answer.json()["errors"][0]["code"] == "invalid_invitation"
    event = [e for e in await app.events(tenant_id, "auth.register") if e["outcome"] == "failure"][-1]
    assert (event["reason"], event["actor"]["kind"]) == ("invalid_invitation", "anonymous")
    assert event["attributes"]["organization"] is False


async def users(app: App, tenant_id: str) -> list[dict[str, Any]]:
    return (await app.store.query(IDENTITY, (tenant_id,), Query((Eq("kind", "user"),)))).items


async def test_both_or_neither_is_refused(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    both = registration(EMAIL, invitation=invitation)
    neither = {name: value for name, value in registration(EMAIL).items() if name != "organization"}
    for body in (both, neither):
        assert_problem(await app.client.post("/v1/register", json=body), 422, "invalid_request", "organization")
    assert (await accept(app, invitation)).status_code == 201


@pytest.mark.parametrize("field", ["role", "tenant_id", "organization_id", "invited_by"])
async def test_nobody_chooses_the_role_or_the_tenant(app: App, ada: Account, field: str) -> None:
    invitation = await app.invite(ada, EMAIL)
    assert_problem(await accept(app, invitation, **{field: "tenant_admin"}), 422, "invalid_request", field)


async def test_an_invitation_is_good_once(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    assert (await accept(app, invitation)).status_code == 201
    await refused(app, await accept(app, invitation), ada.tenant_id)
    await refused(app, await accept(app, invitation, "other@example.com"), ada.tenant_id)
    assert len(await users(app, ada.tenant_id)) == 2


async def test_of_many_at_once_one_makes_an_account(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL, Role.TENANT_ADMIN)
    answers = await asyncio.gather(*(accept(app, invitation) for _ in range(5)))
    codes = sorted(a.status_code for a in answers)
    assert codes[0] == 201
    assert set(codes[1:]) <= {409, 422}
    assert len(await users(app, ada.tenant_id)) == 2
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), "tenant"))["admins"] == 2
    assert (await app.login(EMAIL)).status_code == 200
    registered = [e for e in await app.events(ada.tenant_id, "auth.register") if e["outcome"] == "success"]
    assert len(registered) == 2


async def test_revoked_at_the_same_moment_it_is_one_or_the_other(app: App, ada: Account) -> None:
    for n in range(4):
        email = f"bob{n}@example.com"
        answer = await app.client.post("/v1/admin/invitations", json={"email": email, "role": "user"}, headers=ada.auth)
        made = answer.json()

        async def revoke(made: Any = made, n: int = n) -> httpx.Response:
            await asyncio.sleep(0.01 * n)
            return await app.client.delete(f"/v1/admin/invitations/{made['id']}", headers=ada.auth)

        joined, revoked = await asyncio.gather(accept(app, made["invitation"], email), revoke())
        assert (joined.status_code, revoked.status_code) in {(201, 404), (422, 204)}
        entry = await app.services.directory.find(email)
        assert (entry is not None) == joined.is_success, "an e-mail that was refused is free"


async def test_a_revoked_one(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    invitation_id = invitation.split(".")[1]
    assert (await app.client.delete(f"/v1/admin/invitations/{invitation_id}", headers=ada.auth)).status_code == 204
    await refused(app, await accept(app, invitation), ada.tenant_id)
    again = await app.client.delete(f"/v1/admin/invitations/{invitation_id}", headers=ada.auth)
    assert_problem(again, 404, "not_found")
    assert len(await app.events(ada.tenant_id, "user.invite_revoke")) == 1


async def test_a_malformed_one_is_the_platforms(app: App) -> None:
    for invitation in ("x", "ki_", "ki_platform.x.y", "kak_" + "x" * 90, "\x00", "ki_é.é.é"):
        await refused(app, await accept(app, invitation), "platform")


async def test_one_of_a_tenant_that_is_not_there(app: App, ada: Account) -> None:
    invitation = (await app.invite(ada, EMAIL)).replace(ada.tenant_id, "0195c000-0000-7000-8000-0000000000aa")
    await refused(app, await accept(app, invitation), "platform")


async def test_another_secret_another_record_another_tenant(app: App, ada: Account, grace: Account) -> None:
    invitation, other = await app.invite(ada, EMAIL), await app.invite(grace, EMAIL)
    (head, record, secret), (other_head, _, other_secret) = invitation.split("."), other.split(".")
    for forged, whose in (
        (f"{head}.{record}.{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}", ada),
        (f"{head}.{record}.{other_secret}", ada),
        (f"{other_head}.{record}.{secret}", grace),
        (f"{head}.0195c000-0000-7000-8000-0000000000aa.{secret}", ada),
    ):
        await refused(app, await accept(app, forged), whose.tenant_id)
    assert (await accept(app, invitation)).status_code == 201


@pytest.mark.parametrize("email", ["eve@example.com", "bob+x@example.com", "bоb@example.com"])
async def test_for_another_email(app: App, ada: Account, email: str) -> None:
    await refused(app, await accept(app, await app.invite(ada, EMAIL), email), ada.tenant_id)
    assert await app.services.directory.find(email) is None


@pytest.mark.parametrize("email", ["BOB@example.com", "bob@EXAMPLE.com", "ｂｏｂ@example.com"])
async def test_for_another_spelling_of_the_email(app: App, ada: Account, email: str) -> None:
    answer = await accept(app, await app.invite(ada, EMAIL), email)
    assert (answer.status_code, answer.json()["user"]["email"]) == (201, email)


async def test_after_a_week(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    app.clock.advance(days=7)
    await refused(app, await accept(app, invitation), ada.tenant_id)


async def test_an_expired_one_that_the_store_still_has(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    key = invitation_key(invitation.split(".")[1])
    past = [
        PatchSet("expires_at", "2026-03-15T12:00:00.000000Z"),
        PatchSet("created_at", "2026-03-08T12:00:00.000000Z"),
    ]
    await app.store.patch(IDENTITY, (ada.tenant_id,), key, past)
    await refused(app, await accept(app, invitation), ada.tenant_id)
    assert (await app.client.get("/v1/admin/invitations", headers=ada.auth)).json()["items"] == []


async def test_just_before_a_week_is_over(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    app.clock.advance(days=6, hours=23, minutes=59)
    assert (await accept(app, invitation)).status_code == 201


@pytest.mark.parametrize("fate", ["demoted", "suspended", "deleted"])
async def test_it_falls_with_whoever_sent_it(app: App, ada: Account, fate: str) -> None:
    """Who was removed leaves no door open; a new administrator invites again."""
    eve = await app.join(ada, "eve@example.com", Role.TENANT_ADMIN)
    invitation = await app.invite(eve, EMAIL)
    url = f"/v1/admin/users/{eve.id}"
    if fate == "deleted":
        assert (await app.client.delete(f"{url}?reason=theft", headers=ada.auth)).status_code == 204
    else:
        body = {"role": "auditor"} if fate == "demoted" else {"status": "suspended"}
        assert (await app.client.put(url, json=body, headers=ada.auth)).status_code == 200
    await refused(app, await accept(app, invitation), ada.tenant_id)


async def test_a_suspended_tenant_takes_nobody(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, EMAIL)
    await app.store.patch(IDENTITY, (ada.tenant_id,), "tenant", [PatchSet("status", "suspended")])
    await refused(app, await accept(app, invitation), ada.tenant_id)
    assert await app.services.directory.find(EMAIL) is None


async def test_an_email_that_has_an_account_elsewhere(app: App, ada: Account, grace: Account) -> None:
    """Inviting tells nothing of it; only who holds the invitation hears, as at any registration."""
    answer = await app.client.post(
        "/v1/admin/invitations", json={"email": grace.email, "role": "user"}, headers=ada.auth
    )
    assert answer.status_code == 201
    joined = await accept(app, answer.json()["invitation"], grace.email)
    assert_problem(joined, 409, "email_taken")
    (event,) = [e for e in await app.events(grace.tenant_id, "auth.register") if e["outcome"] == "failure"]
    assert (event["reason"], event["target"]["id"]) == ("email_taken", grace.id)
    assert len(await users(app, ada.tenant_id)) == 1


async def test_a_member_is_not_invited_again(app: App, ada: Account) -> None:
    body = {"email": ada.email.upper(), "role": "user"}
    assert_problem(await app.client.post("/v1/admin/invitations", json=body, headers=ada.auth), 409, "email_taken")
    assert await app.events(ada.tenant_id, "user.invite") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "system_admin"}, "role"),
        ({"role": "owner"}, "role"),
        ({"role": None}, "role"),
        ({"email": "bob"}, "email"),
        ({"email": "bob@example.com\r\nBcc: x@example.com"}, "email"),
        ({"email": ["bob@example.com"]}, "email"),
        ({"tenant_id": "x"}, "tenant_id"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_a_wrong_field_is_named(app: App, ada: Account, body: dict[str, Any], field: str) -> None:
    answer = await app.client.post(
        "/v1/admin/invitations", json={"email": EMAIL, "role": "user"} | body, headers=ada.auth
    )
    assert_problem(answer, 422, "invalid_request", field)


async def test_foreign_invitations_are_not_seen_and_not_revoked(app: App, ada: Account, grace: Account) -> None:
    invitation_id = (await app.invite(ada, EMAIL)).split(".")[1]
    assert (await app.client.get("/v1/admin/invitations", headers=grace.auth)).json()["items"] == []
    answer = await app.client.delete(f"/v1/admin/invitations/{invitation_id}", headers=grace.auth)
    assert_problem(answer, 404, "not_found")
    assert len((await app.client.get("/v1/admin/invitations", headers=ada.auth)).json()["items"]) == 1


async def test_the_secret_is_nowhere_but_in_the_answer(
    app: App, ada: Account, caplog: pytest.LogCaptureFixture
) -> None:
    secret = (await app.invite(ada, EMAIL)).split(".")[2]
    listed = await app.client.get("/v1/admin/invitations", headers=ada.auth)
    items = (await app.store.query(IDENTITY, (ada.tenant_id,), Query(limit=1000))).items
    events = await app.events(ada.tenant_id)
    for text in (listed.text, str(items), str(events), caplog.text):
        assert secret not in text
    assert "secret_hash" not in listed.text


async def test_a_lost_email_takes_the_account_back_and_leaves_the_tenant(app: App, ada: Account) -> None:
    """Someone else took the reservation over before it was confirmed: the tenant and its count are as before."""
    invitation = await app.invite(ada, EMAIL, Role.TENANT_ADMIN)
    inner = app.services.directory.confirm

    async def steal(key: str, entry: Any) -> None:
        held = await app.store.read(DIRECTORY, (key,), key)
        await app.store.replace(DIRECTORY, (key,), {**held, "user_id": "another", "tenant_id": "another"})
        await inner(key, entry)

    app.services.directory.confirm = steal  # type: ignore[method-assign] # a rival at the worst moment
    assert_problem(await accept(app, invitation), 409, "email_taken")
    tenant = await app.store.read(IDENTITY, (ada.tenant_id,), "tenant")
    assert (tenant["status"], tenant["admins"]) == ("active", 1)
    assert [each["user_id"] for each in await users(app, ada.tenant_id)] == [ada.id]
    (event,) = await app.events(ada.tenant_id, "user.delete")
    assert (event["reason"], event["actor"]["kind"]) == ("email_taken", "system")
    with pytest.raises(NotFound):
        await app.store.read(IDENTITY, (ada.tenant_id,), user_key(event["target"]["id"]))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER, Role.AUDITOR])
async def test_rank_is_checked_again_behind_the_edge(app: App, ada: Account, role: Role) -> None:
    """Whatever lets a caller in: the domain does not take its word."""
    request = RequestContext(app.services.ids.new(), "POST /v1/admin/invitations", "invite_user", app.clock.now())
    principal = replace(await app.services.access.authenticate(ada.token, request), role=role)
    with pytest.raises(Forbidden):
        await app.services.invitations.invite(principal, EMAIL, Role.VIEWER, request)
    (event,) = await app.events(ada.tenant_id, "access.denied")
    assert (event["reason"], event["target"]["kind"]) == ("role", "invitation")
    assert event["personal"][event["target"]["id"]]["data"] == {"email": EMAIL, "attempted": {"role": "viewer"}}
    assert await app.events(ada.tenant_id, "user.invite") == []


async def test_a_known_password_does_not_help(app: App, ada: Account) -> None:
    """A refusal costs no hashing, and does not depend on what else was given."""
    answer = await accept(app, "ki_nothing", ada.email, password=PASSWORD)
    assert_problem(answer, 422, "invalid_invitation", "invitation")
