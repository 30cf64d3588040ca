"""Signing in, as its clients live through it: what they are told, and what it leaves in the trail."""

import asyncio
from typing import Any

import httpx
import pytest

from shared.audit.model import PLATFORM_TENANT, RequestContext
from shared.core.errors import AccountLocked, Unauthenticated
from shared.identity.model import attempts_key, session_key, user_key
from shared.identity.service import stranger_id
from shared.storage.containers import GUARDS, IDENTITY
from shared.storage.documents import PatchSet, Query
from tests.app import PASSWORD, Account, App, assert_problem, services_for
from tests.faults import FaultyStore

LOCK_SECONDS = 30 * 60
STRANGER = "stranger@example.com"


async def fail(app: App, email: str, times: int) -> list[httpx.Response]:
    return [await app.login(email, "a wrong password") for _ in range(times)]


async def logins(app: App, tenant_id: str) -> list[tuple[str, str | None, int]]:
    """What became of attempts, sorted: those of one moment have no order."""
    events = await app.events(tenant_id, "auth.login")
    return sorted(((e["outcome"], e["reason"], e["attributes"]["attempt_count"]) for e in events), key=str)


async def test_ten_failures_lock_for_half_an_hour_whatever_the_password(app: App, ada: Account) -> None:
    for answer in await fail(app, ada.email, 10):
        assert_problem(answer, 401, "invalid_credentials")
    wrong, right = await app.login(ada.email, "a wrong password"), await app.login(ada.email)
    for answer in (wrong, right):
        assert_problem(answer, 423, "account_locked")
        assert answer.headers["retry-after"] == str(LOCK_SECONDS)
    hidden = {"request_id"}
    assert {k: v for k, v in wrong.json().items() if k not in hidden} == {
        k: v for k, v in right.json().items() if k not in hidden
    }
    assert await logins(app, ada.tenant_id) == sorted(
        [*[("failure", "bad_credentials", n) for n in range(1, 11)], *[("failure", "locked", 10)] * 2], key=str
    )
    (locked,) = await app.events(ada.tenant_id, "auth.account_locked")
    assert locked["attributes"] == {"attempt_count": 10, "locked_until": "2026-03-15T12:30:00.000000Z"}
    assert (locked["severity"], locked["target"]["id"]) == ("medium", ada.id)

    app.clock.advance(seconds=LOCK_SECONDS - 1)
    assert (await app.login(ada.email)).headers["retry-after"] == "1"
    app.clock.advance(seconds=1)
    assert (await app.login(ada.email)).status_code == 200
    assert (await logins(app, ada.tenant_id))[-1] == ("success", None, 10)


async def test_attempts_while_locked_do_not_extend_the_lock(app: App, ada: Account) -> None:
    await fail(app, ada.email, 10)
    app.clock.advance(minutes=29)
    await fail(app, ada.email, 15)
    app.clock.advance(minutes=1)
    assert (await app.login(ada.email)).status_code == 200


async def test_failures_count_within_their_window_only(app: App, ada: Account) -> None:
    await fail(app, ada.email, 9)
    app.clock.advance(minutes=15)
    for answer in await fail(app, ada.email, 9):
        assert answer.status_code == 401
    assert (await app.login(ada.email)).status_code == 200
    for answer in await fail(app, ada.email, 9):  # a success begins anew
        assert answer.status_code == 401
    assert (await app.login(ada.email)).status_code == 200


async def test_an_email_without_an_account_locks_alike(app: App, ada: Account) -> None:
    known, unknown = await fail(app, ada.email, 12), await fail(app, STRANGER, 12)
    assert [a.status_code for a in known] == [a.status_code for a in unknown] == [401] * 10 + [423] * 2

    def shown(answer: httpx.Response) -> Any:
        return {k: v for k, v in answer.json().items() if k != "request_id"}, answer.headers.get("retry-after")

    assert [shown(a) for a in known] == [shown(a) for a in unknown]
    assert [reason for _, reason, _ in await logins(app, PLATFORM_TENANT)] == ["locked"] * 2 + ["unknown_account"] * 10
    (locked,) = await app.events(PLATFORM_TENANT, "auth.account_locked")
    assert (locked["reason"], locked["target"]) == ("unknown_account", None)
    assert_problem(await app.login(STRANGER.upper(), "x"), 423, "account_locked")  # every spelling of it
    app.clock.advance(minutes=30)
    assert (await app.login(STRANGER)).status_code == 401


async def test_a_sign_in_asks_the_store_for_the_same_whoever_it_is(app: App, ada: Account) -> None:
    """Every call is the same in number, kind and order, of the first failure, the later ones, the one that locks, and
    while locked: time tells nothing."""
    seen: dict[str, list[list[tuple[str, str]]]] = {ada.email: [], STRANGER: []}
    for email, calls in seen.items():
        store = FaultyStore(app.store)
        services = await services_for(app.clock, store, secrets=app.services.secrets)
        request = RequestContext(app.services.ids.new(), "POST /v1/login", "login", app.clock.now())
        key = stranger_id(STRANGER, app.clock.now())
        await app.services.person_keys.for_sealing(PLATFORM_TENANT, key)  # as after the first of them in a month
        for _ in range(12):
            store.calls.clear()
            with pytest.raises((Unauthenticated, AccountLocked)):
                await services.identity.login(email, "a wrong password", request)
            calls.append([(call.operation, call.container) for call in store.calls])
        services.passwords.close()
    assert seen[ada.email] == seen[STRANGER]
    found, failed = [("read", "directory"), *[("read", "identity")] * 3], [("batch", "identity")]
    event, done = [("create", "audit_events")], [("delete", "identity")]
    assert seen[STRANGER] == [
        [*found, ("read", "subject_keys"), *failed, *event, *done],
        *[found + failed + event + done] * 8,
        found + failed + 2 * event + done,
        *[found + event] * 2,
    ]


async def test_of_an_unknown_email_nothing_legible_is_kept(app: App) -> None:
    await fail(app, STRANGER, 10)
    guards = (await app.store.query(GUARDS, ("x",), Query(limit=1))).items
    assert guards == []
    assert "stranger" not in str(await app.store.query(IDENTITY, (PLATFORM_TENANT,), Query(limit=100)))


@pytest.mark.parametrize("concurrent", [25])
async def test_many_guesses_at_once_get_no_more_than_ten_tries(app: App, ada: Account, concurrent: int) -> None:
    answers = await asyncio.gather(*(app.login(ada.email, "a wrong password") for _ in range(concurrent)))
    statuses = sorted(a.status_code for a in answers)
    assert statuses.count(401) == 10
    assert set(statuses) <= {401, 423, 503}
    assert_problem(await app.login(ada.email), 423, "account_locked")


async def test_among_many_guesses_at_once_the_right_one_is_not_heard(app: App, ada: Account) -> None:
    """If ten wrong ones are judged before it, the right password gets 423 like the others; and so it is everywhere."""
    wrong = [app.login(ada.email, "a wrong password") for _ in range(30)]
    answers = await asyncio.gather(*wrong, app.login(ada.email))
    events = await app.events(ada.tenant_id, "auth.login")
    signed_in = answers[-1].status_code == 200
    tries = sum(e["reason"] == "bad_credentials" for e in events)
    assert tries <= (9 + 10 if signed_in else 10), "a sign-in forgets those before it, at most nine"
    before = [e["attributes"]["attempt_count"] for e in events if e["outcome"] == "success"]
    assert len(before) == signed_in
    assert all(count <= 9 for count in before), "no sign-in after the lock"

    app.clock.advance(hours=1)
    ada = Account(ada.id, ada.tenant_id, ada.email, (await app.login(ada.email)).json()["access_token"])
    body = {"current_password": PASSWORD, "new_password": "a quite different password"}
    guesses = [
        app.client.post("/v1/password", json={**body, "current_password": "wrong"}, headers=ada.auth) for _ in range(30)
    ]
    *_, right = await asyncio.gather(*guesses, app.client.post("/v1/password", json=body, headers=ada.auth))
    failed = await app.events(ada.tenant_id, "auth.password_change")
    assert right.status_code in (204, 412, 423, 503)
    tries = sum(e["reason"] == "wrong_password" for e in failed)
    assert tries <= (9 + 10 if right.status_code == 204 else 10)


async def test_an_unknown_email_under_many_guesses_looks_like_a_known_one(app: App, ada: Account) -> None:
    for email in (ada.email, STRANGER):
        answers = await asyncio.gather(*(app.login(email, "a wrong password") for _ in range(25)))
        assert sorted(a.status_code for a in answers) == [401] * 10 + [423] * 15
    assert len(await app.events(PLATFORM_TENANT, "auth.account_locked")) == 1


async def test_no_password_holds_up_the_others(app: App, ada: Account) -> None:
    """The estimator's worst: it may take its time, beside the loop."""
    started = asyncio.get_running_loop().time()
    hard = "4@8({[<69!1|$5+7%2" * 4
    body = {"current_password": PASSWORD, "new_password": hard}
    slow = asyncio.create_task(app.client.post("/v1/password", json=body, headers=ada.auth))
    turns = 0
    while not slow.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await slow).status_code in (204, 422)
    assert turns > 100, "others had their turns meanwhile"
    assert asyncio.get_running_loop().time() - started < 20


async def test_a_suspended_tenant_signs_nobody_in(app: App, ada: Account) -> None:
    await app.store.patch(IDENTITY, (ada.tenant_id,), "tenant", [PatchSet("status", "suspended")])
    assert_problem(await app.login(ada.email), 401, "invalid_credentials")
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 401, "invalid_token")
    refreshed = await app.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    assert_problem(refreshed, 401, "invalid_token")
    assert await logins(app, ada.tenant_id) == [("failure", "suspended", 1)]
    assert (await app.events(ada.tenant_id, "auth.token_refresh"))[-1]["reason"] == "suspended"
    (rejected,) = await app.events(type_="auth.token_rejected")
    assert rejected["reason"] == "tenant_suspended"


async def test_an_old_hash_is_brought_up_to_date_at_the_next_sign_in(app: App, ada: Account) -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(ada.id), [PatchSet("password_hash", old)])
    assert (await app.login(ada.email)).status_code == 200
    fresh = (await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id)))["password_hash"]
    assert fresh != old
    assert not app.services.passwords.is_outdated(fresh)
    assert (await app.login(ada.email)).status_code == 200
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id)))["password_hash"] == fresh


async def test_a_sign_in_under_way_does_not_outlive_what_ends_all_sessions(app: App, ada: Account) -> None:
    """The password is right, and changed before the session is written: what comes of it is good for nothing."""
    verify = app.services.passwords.verify

    async def slow(encoded: str | None, password: str) -> bool:
        right = await verify(encoded, password)
        app.services.passwords.verify = verify  # type: ignore[method-assign]
        changed = await app.client.post(
            "/v1/password",
            json={"current_password": PASSWORD, "new_password": "a quite different password"},
            headers=ada.auth,
        )
        assert changed.status_code == 204
        return right

    app.services.passwords.verify = slow  # type: ignore[method-assign]
    late = await app.login(ada.email)
    if late.status_code == 200:
        token = late.json()["access_token"]
        profile = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {token}"})
        assert_problem(profile, 401, "invalid_token")
        refreshed = await app.client.post("/v1/token/refresh", json={"refresh_token": late.json()["refresh_token"]})
        assert_problem(refreshed, 401, "invalid_token")
    else:
        assert_problem(late, 401, "invalid_credentials")
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


async def test_the_count_of_failures_is_beside_the_user(app: App, ada: Account) -> None:
    await fail(app, ada.email, 3)
    held = await app.store.read(IDENTITY, (ada.tenant_id,), attempts_key(ada.id))
    assert (held["count"], len(held["recent"]), held["locked_until"]) == (3, 3, None)
    assert (await app.login(ada.email)).status_code == 200
    page = await app.store.query(IDENTITY, (ada.tenant_id,), Query(limit=100))
    assert not [each for each in page.items if each["kind"] == "attempts"]
    assert session_key("x") != attempts_key("x")
