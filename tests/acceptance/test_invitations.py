"""POST, GET and DELETE /admin/invitations, and POST /register by invitation."""

from shared.identity.model import Role
from tests.app import Account, App, acceptance, assert_problem


async def test_someone_is_invited_and_joins(app: App, ada: Account) -> None:
    body = {"email": "Bob@example.com", "role": "auditor"}
    answer = await app.client.post("/v1/admin/invitations", json=body, headers=ada.auth)
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {"id", "invitation", "expires_at"}
    assert made["invitation"].startswith(f"ki_{ada.tenant_id}.{made['id']}.")
    assert made["expires_at"] == "2026-03-22T12:00:00.000000Z"
    (event,) = await app.events(ada.tenant_id, "user.invite")
    assert event["target"] == {"kind": "invitation", "id": made["id"]}
    assert event["attributes"] == {"role": "auditor"}
    assert event["personal"][made["id"]]["data"] == {"email": "Bob@example.com"}
    assert event["actor"]["id"] == ada.id

    listed = (await app.client.get("/v1/admin/invitations", headers=ada.auth)).json()["items"]
    assert listed == [
        {
            "id": made["id"],
            "email": "Bob@example.com",
            "role": "auditor",
            "invited_by": ada.id,
            "created_at": "2026-03-15T12:00:00.000000Z",
            "expires_at": made["expires_at"],
        }
    ]

    joined = await app.client.post("/v1/register", json=acceptance(made["invitation"], "bob@example.com"))
    assert joined.status_code == 201
    user = joined.json()["user"]
    assert (user["tenant_id"], user["role"], user["status"]) == (ada.tenant_id, "auditor", "active")
    registered = [e for e in await app.events(ada.tenant_id, "auth.register") if e["target"]["id"] == user["id"]]
    assert [(e["outcome"], e["actor"]["role"]) for e in registered] == [("success", "auditor")]
    assert registered[0]["attributes"] == {"organization": False, "terms_version": "1", "privacy_version": "1"}
    assert registered[0]["personal"][user["id"]]["data"]["first_name"] == "Some"
    consents = [e for e in await app.events(ada.tenant_id, "consent.grant") if e["actor"]["id"] == user["id"]]
    assert sorted(e["attributes"]["purpose"] for e in consents) == ["privacy", "terms"]

    assert (await app.client.get("/v1/admin/invitations", headers=ada.auth)).json()["items"] == []
    token = {"Authorization": f"Bearer {joined.json()['access_token']}"}
    assert (await app.client.get("/v1/admin/logs/authorization", headers=token)).status_code == 200
    assert (await app.login("bob@example.com")).status_code == 200


async def test_an_invitation_is_taken_back(app: App, ada: Account) -> None:
    invitation = await app.invite(ada, "bob@example.com")
    invitation_id = invitation.split(".")[1]
    answer = await app.client.delete(f"/v1/admin/invitations/{invitation_id}", headers=ada.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    (event,) = await app.events(ada.tenant_id, "user.invite_revoke")
    assert (event["actor"]["id"], event["target"]["id"]) == (ada.id, invitation_id)
    refused = await app.client.post("/v1/register", json=acceptance(invitation, "bob@example.com"))
    assert_problem(refused, 422, "invalid_invitation", "invitation")


async def test_whatever_is_wrong_with_it_the_answer_is_the_same_and_the_tenant_hears(app: App, ada: Account) -> None:
    revoked = await app.invite(ada, "revoked@example.com")
    await app.client.delete(f"/v1/admin/invitations/{revoked.split('.')[1]}", headers=ada.auth)
    used = await app.invite(ada, "used@example.com")
    assert (await app.client.post("/v1/register", json=acceptance(used, "used@example.com"))).status_code == 201
    other = await app.invite(ada, "other@example.com")
    answers = [
        await app.client.post("/v1/register", json=acceptance(invitation, email))
        for invitation, email in (
            (revoked, "revoked@example.com"),
            (used, "used@example.com"),
            (other, "eve@example.com"),
            (other[:-3] + "xxx", "other@example.com"),
            ("nonsense", "other@example.com"),
        )
    ]
    bodies = [{k: v for k, v in a.json().items() if k != "request_id"} for a in answers]
    assert all(a.status_code == 422 for a in answers)
    assert bodies == bodies[:1] * 5
    failures = [e for e in await app.events(ada.tenant_id, "auth.register") if e["outcome"] == "failure"]
    assert [e["reason"] for e in failures] == ["invalid_invitation"] * 4
    assert len([e for e in await app.events(type_="auth.register") if e["reason"] == "invalid_invitation"]) == 1


async def test_a_tenant_admin_invites_another_and_nobody_invites_a_system_admin(app: App, ada: Account) -> None:
    cleo = await app.join(ada, "cleo@example.com", Role.TENANT_ADMIN)
    assert (await app.client.get("/v1/admin/users", headers=cleo.auth)).status_code == 200
    body = {"email": "sam@example.com", "role": "system_admin"}
    answer = await app.client.post("/v1/admin/invitations", json=body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "role")
