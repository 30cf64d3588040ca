"""Sessions: whose they are, how long they last, and what of their refresh token is stored."""

import hashlib
from datetime import timedelta

import httpx
import jwt

from shared.identity.model import session_key, user_key
from shared.identity.tokens import AccessTokens, Claims
from shared.storage.containers import CONTAINERS, IDENTITY
from shared.storage.documents import PatchSet
from shared.storage.sqlite import SqliteStore
from tests.app import PASSWORD, Account, App, assert_problem, registration


def session_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["sid"])


async def sign(app: App, user_id: str, tenant_id: str, session_id: str) -> dict[str, str]:
    """The header of a token that we signed, for claims of the test's choice."""
    tokens = AccessTokens(app.services.secrets, app.clock, timedelta(minutes=15))
    return {"Authorization": f"Bearer {await tokens.issue(Claims(user_id, tenant_id, session_id))}"}


async def profile(app: App, headers: dict[str, str]) -> httpx.Response:
    return await app.client.get("/v1/profile", headers=headers)


async def add_user(app: App, account: Account, email: str) -> str:
    """A second user of the account's tenant, written into the store; its id."""
    user_id = app.services.ids.new()
    first = await app.store.read(IDENTITY, (account.tenant_id,), user_key(account.id))
    await app.store.create(
        IDENTITY, (account.tenant_id,), {**first, "id": user_key(user_id), "user_id": user_id, "email": email}
    )
    return user_id


async def add_session(app: App, account: Account, user_id: str) -> str:
    """A copy of the account's session for another user of its tenant; its id."""
    session_id = app.services.ids.new()
    held = await app.store.read(IDENTITY, (account.tenant_id,), session_key(session_of(account.token)))
    await app.store.create(
        IDENTITY,
        (account.tenant_id,),
        {**held, "id": session_key(session_id), "session_id": session_id, "user_id": user_id},
    )
    return session_id


async def test_a_session_serves_its_own_user_only(app: App, ada: Account) -> None:
    """Two users of one tenant: a token for one of them that names the session of the other holds for neither."""
    other = await add_user(app, ada, "colleague@example.com")
    session = await add_session(app, ada, other)
    own = await profile(app, await sign(app, other, ada.tenant_id, session))
    assert (own.status_code, own.json()["email"]) == (200, "colleague@example.com")

    crossed = await profile(app, await sign(app, other, ada.tenant_id, session_of(ada.token)))
    assert_problem(crossed, 401, "invalid_token")
    assert_problem(await profile(app, await sign(app, ada.id, ada.tenant_id, session)), 401, "invalid_token")

    assert {e["reason"] for e in await app.events(type_="auth.token_rejected")} == {"session_ended"}
    seen = await app.events(ada.tenant_id, "profile.view")
    assert [event["actor"]["id"] for event in seen] == [other]


async def test_a_session_is_looked_for_in_the_tenant_of_its_token_only(app: App, ada: Account, grace: Account) -> None:
    for user_id, tenant_id in ((ada.id, grace.tenant_id), (grace.id, ada.tenant_id), (grace.id, grace.tenant_id)):
        headers = await sign(app, user_id, tenant_id, session_of(ada.token))
        assert_problem(await profile(app, headers), 401, "invalid_token")


async def test_a_session_ends_by_its_own_date(app: App, ada: Account) -> None:
    """The store would remove it, too; here it is told not to, and each token is fresh."""
    session = session_of(ada.token)
    await app.store.patch(IDENTITY, (ada.tenant_id,), session_key(session), [PatchSet("ttl", -1)])
    await app.store.patch(
        IDENTITY, (ada.tenant_id,), session_key(session), [PatchSet("idle_expires_at", "9999-01-01T00:00:00.000000Z")]
    )
    app.clock.advance(days=30, seconds=-1)
    assert (await profile(app, await sign(app, ada.id, ada.tenant_id, session))).status_code == 200

    app.clock.advance(seconds=1)
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), session_key(session)))["ttl"] == -1
    assert_problem(await profile(app, await sign(app, ada.id, ada.tenant_id, session)), 401, "invalid_token")
    (rejected,) = await app.events(type_="auth.token_rejected")
    assert rejected["reason"] == "session_ended"


async def test_a_session_ends_when_nobody_refreshes_it(app: App, ada: Account) -> None:
    session = session_of(ada.token)
    app.clock.advance(hours=24, seconds=-1)
    assert (await profile(app, await sign(app, ada.id, ada.tenant_id, session))).status_code == 200
    app.clock.advance(seconds=1)
    assert_problem(await profile(app, await sign(app, ada.id, ada.tenant_id, session)), 401, "invalid_token")


async def test_of_a_refresh_token_only_the_hash_is_stored(app: App) -> None:
    opened = (await app.client.post("/v1/register", json=registration())).json()
    again = (await app.client.post("/v1/login", json={"email": "ada@example.com", "password": PASSWORD})).json()
    tenant_id = opened["user"]["tenant_id"]
    for tokens in (opened, again):
        public, family, secret = tokens["refresh_token"].rsplit(".", 2)
        assert len(family) == 22, "128 random bits"
        session_id = session_of(tokens["access_token"])
        assert public == f"kr_{tenant_id}.{session_id}"
        assert len(secret) == 43, "256 random bits"
        session = await app.store.read(IDENTITY, (tenant_id,), session_key(session_id))
        assert session["refresh_hash"] == hashlib.sha256(secret.encode()).hexdigest()
        everything = await stored_text(app)
        assert session["refresh_hash"] in everything
        assert secret not in everything
    assert opened["refresh_token"] != again["refresh_token"]


async def stored_text(app: App) -> str:
    """All that is in the store, as text."""
    store = app.store
    assert isinstance(store, SqliteStore)
    changes = [change for each in CONTAINERS.values() for change in await store.changes(each, 0, limit=1000)]
    return "\n".join(str(change.item) for change in changes)
