"""Sessions, as their users live through them: renewed, listed, ended; and what becomes of a stolen refresh token."""

import asyncio

import httpx
import pytest

from shared.identity.model import session_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchSet
from shared.storage.errors import NotFound
from tests.app import PASSWORD, Account, App, assert_problem

LATER = "a quite different password"


async def refresh(app: App, token: str) -> httpx.Response:
    return await app.client.post("/v1/token/refresh", json={"refresh_token": token})


async def works(app: App, access_token: str) -> bool:
    answer = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {access_token}"})
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def refreshes(app: App, tenant_id: str) -> list[tuple[str, str | None]]:
    """What became of attempts, sorted: those of one moment have no order."""
    found = [(e["outcome"], e["reason"]) for e in await app.events(tenant_id, "auth.token_refresh")]
    return sorted(found, key=str)


async def test_a_refresh_token_is_exchanged_for_new_tokens(app: App, ada: Account) -> None:
    app.clock.advance(minutes=20)
    assert not await works(app, ada.token)
    answer = await refresh(app, ada.refresh_token)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert body["refresh_token"] != ada.refresh_token
    assert await works(app, body["access_token"])
    (event,) = await app.events(ada.tenant_id, "auth.token_refresh")
    assert (event["outcome"], event["actor"]["id"], event["source"]["kind"]) == ("success", ada.id, "session")
    assert body["refresh_token"].split(".")[:3] == ada.refresh_token.split(".")[:3]


async def test_a_session_lives_on_while_it_is_refreshed_and_no_longer_than_its_limit(app: App, ada: Account) -> None:
    token = ada.refresh_token
    for _ in range(30 * 2 - 1):  # 12 hours at a time: idle it would be over after 24
        app.clock.advance(hours=12)
        answer = await refresh(app, token)
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]
    app.clock.advance(hours=12)
    assert_problem(await refresh(app, token), 401, "invalid_token")


async def test_an_idle_session_ends(app: App, ada: Account) -> None:
    app.clock.advance(hours=24)
    assert_problem(await refresh(app, ada.refresh_token), 401, "invalid_token")
    assert await refreshes(app, ada.tenant_id) == [("failure", "expired")]


async def test_a_token_used_twice_ends_its_session_for_both(app: App, ada: Account) -> None:
    """Owner and thief hold the same token: whoever comes second shows that there are two."""
    body = (await refresh(app, ada.refresh_token)).json()
    assert_problem(await refresh(app, ada.refresh_token), 401, "invalid_token")
    assert not await works(app, body["access_token"])
    assert_problem(await refresh(app, body["refresh_token"]), 401, "invalid_token")
    assert await refreshes(app, ada.tenant_id) == [("failure", "reused"), ("success", None)]
    (login, *_) = [await app.login(ada.email)]
    assert await works(app, login.json()["access_token"])


async def test_any_older_token_is_recognized_however_old(app: App, ada: Account) -> None:
    token = ada.refresh_token
    for _ in range(5):
        token = (await refresh(app, token)).json()["refresh_token"]
    assert_problem(await refresh(app, ada.refresh_token), 401, "invalid_token")
    assert_problem(await refresh(app, token), 401, "invalid_token")
    assert (await refreshes(app, ada.tenant_id))[0] == ("failure", "reused")


async def test_one_token_at_the_same_moment_is_good_once_and_then_for_nobody(app: App, ada: Account) -> None:
    answers = await asyncio.gather(*(refresh(app, ada.refresh_token) for _ in range(8)))
    assert sum(a.status_code == 200 for a in answers) <= 1
    assert {a.status_code for a in answers} <= {200, 401}
    for answer in answers:
        if answer.status_code == 200:
            assert not await works(app, answer.json()["access_token"])
    with pytest.raises(NotFound):
        await app.store.read(IDENTITY, (ada.tenant_id,), session_key(ada.refresh_token.split(".")[1]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),  # the secret: taken for an older one
        lambda token: token.replace("kr_", "kx_"),
        lambda token: token + "A",
        lambda token: "kr_platform" + token[token.index(".") :],
        lambda token: token.replace(token.split(".")[2], "A" * 22),
        lambda token: token.replace(token.split(".")[1], "01890a5d-ac96-774b-bcce-b302099a8057"),
        lambda token: "kr_../.." + token,
        lambda _: "é" * 100,
        lambda _: "x",
    ],
)
async def test_what_is_no_refresh_token_of_ours_is_refused_and_counted(app: App, ada: Account, damage: object) -> None:
    assert callable(damage)
    assert_problem(await refresh(app, damage(ada.refresh_token)), 401, "invalid_token")
    counted = len(await app.events(type_="auth.token_rejected")) + len(await refreshes(app, ada.tenant_id))
    assert counted == 1


async def test_a_foreign_family_cannot_end_a_session(app: App, ada: Account, grace: Account) -> None:
    """Who knows only ids (they stand in events) has no token at all."""
    tenant, session, _, _ = ada.refresh_token.split(".")
    _, _, family, secret = grace.refresh_token.split(".")
    assert_problem(await refresh(app, f"{tenant}.{session}.{family}.{secret}"), 401, "invalid_token")
    assert await works(app, ada.token)
    assert (await refresh(app, ada.refresh_token)).status_code == 200


async def test_own_sessions_are_listed_and_ended_one_by_one(app: App, ada: Account, grace: Account) -> None:
    app.clock.advance(minutes=1)
    other = (await app.login(ada.email)).json()
    listed = (await app.client.get("/v1/sessions", headers=ada.auth)).json()["items"]
    assert [each["current"] for each in listed] == [False, True]
    assert "hash" not in str(listed)

    foreign = await app.client.delete(f"/v1/sessions/{listed[0]['id']}", headers=grace.auth)
    assert_problem(foreign, 404, "not_found")
    (denied,) = await app.events(grace.tenant_id, "access.denied")
    assert denied["reason"] == "unknown_id"

    assert (await app.client.delete(f"/v1/sessions/{listed[0]['id']}", headers=ada.auth)).status_code == 204
    assert not await works(app, other["access_token"])
    assert_problem(await refresh(app, other["refresh_token"]), 401, "invalid_token")
    assert await works(app, ada.token)
    again = await app.client.delete(f"/v1/sessions/{listed[0]['id']}", headers=ada.auth)
    assert_problem(again, 404, "not_found")
    (event,) = await app.events(ada.tenant_id, "session.revoke")
    assert event["reason"] == "by_user"
    assert (event["target"], event["attributes"]) == (
        {"kind": "session", "id": listed[0]["id"]},
        {"sessions_ended": 1},
    )


async def test_sessions_of_others_in_the_same_tenant_are_not_ones_own(app: App, ada: Account) -> None:
    page = (await app.client.get("/v1/sessions", headers=ada.auth)).json()["items"]
    session = await app.store.read(IDENTITY, (ada.tenant_id,), session_key(page[0]["id"]))
    await app.store.create(
        IDENTITY, (ada.tenant_id,), {**session, "id": session_key(ada.id), "session_id": ada.id, "user_id": "another"}
    )
    assert len((await app.client.get("/v1/sessions", headers=ada.auth)).json()["items"]) == 1
    assert_problem(await app.client.delete(f"/v1/sessions/{ada.id}", headers=ada.auth), 404, "not_found")


async def test_a_logout_ends_the_refresh_token_too(app: App, ada: Account) -> None:
    app.clock.advance(minutes=2)
    assert (await app.client.post("/v1/logout", headers=ada.auth)).status_code == 204
    (event,) = await app.events(ada.tenant_id, "auth.logout")
    assert (event["actor"]["id"], event["attributes"]) == (ada.id, {"session_seconds": 120})
    assert_problem(await refresh(app, ada.refresh_token), 401, "invalid_token")


async def test_a_suspended_user_renews_nothing(app: App, ada: Account) -> None:
    await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(ada.id), [PatchSet("status", "suspended")])
    assert_problem(await refresh(app, ada.refresh_token), 401, "invalid_token")
    assert await refreshes(app, ada.tenant_id) == [("failure", "suspended")]


async def test_a_password_change_ends_the_others_and_keeps_this_one(app: App, ada: Account) -> None:
    others = [(await app.login(ada.email)).json() for _ in range(2)]
    body = {"current_password": PASSWORD, "new_password": LATER}
    assert (await app.client.post("/v1/password", json=body, headers=ada.auth)).status_code == 204
    assert await works(app, ada.token)
    for other in others:
        assert not await works(app, other["access_token"])
        assert_problem(await refresh(app, other["refresh_token"]), 401, "invalid_token")
    assert (await refresh(app, ada.refresh_token)).status_code == 200
    (event,) = await app.events(ada.tenant_id, "auth.password_change")
    assert (event["outcome"], event["attributes"]) == ("success", {"sessions_ended": 2})
    assert (await app.login(ada.email)).status_code == 401
    assert (await app.login(ada.email, LATER)).status_code == 200
