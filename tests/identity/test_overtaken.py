"""A right secret whose call is overtaken between reading the account and the commit: by failures, a lock, a factor."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from shared.identity.model import user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import Item, PatchSet, Query
from tests.app import PASSWORD, Account, App, assert_problem
from tests.identity.endings import end_sessions
from tests.identity.test_own_factor import before_commit, failures, outcomes
from tests.second_factors import Device, begin, enrolled, stored_factor

LOCKS_AT = 10


async def fail(app: App, account: Account, times: int) -> None:
    for _ in range(times):
        assert_problem(await app.login(account.email, "a wrong password"), 401, "invalid_credentials")


async def guarded(app: App, account: Account) -> list[Item]:
    """What a right secret could change: the user, the sessions, the factor, the failures; as stored."""
    page = await app.store.query(IDENTITY, (account.tenant_id,), Query(limit=1000))
    kinds = ("user", "session", "mfa", "attempts", "challenge")
    return sorted((item for item in page.items if item["kind"] in kinds), key=lambda item: str(item["id"]))


async def login(app: App, account: Account) -> httpx.Response:
    return await app.login(account.email)


async def set_password(app: App, account: Account) -> httpx.Response:
    body = {"current_password": PASSWORD, "new_password": "a quite different password"}
    return await app.client.post("/v1/password", json=body, headers=account.auth)


type Call = Callable[[], Awaitable[httpx.Response]]

CALLS = {  # the event of each call, and its answer when it was overtaken by failures that do not lock
    "login": ("auth.login", 200),
    "password": ("auth.password_change", 412),
    "step_up": ("mfa.challenge", 204),
    "disable": ("mfa.disable", 204),
    "login_mfa": ("mfa.challenge", 200),
}


async def prepared(app: App, account: Account, name: str) -> Call:
    """A call with a right secret, after everything that has to come before it."""
    if name == "login":
        return lambda: login(app, account)
    if name == "password":
        return lambda: set_password(app, account)
    device = await enrolled(app, account)
    if name == "step_up":
        return lambda: device.post("/v1/step-up", code=device.code())
    if name == "disable":
        return lambda: device.disable(device.code())
    challenge = await device.challenge()
    return lambda: device.answer(challenge, device.code())


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("name", CALLS)
async def test_a_right_secret_is_not_heard_after_a_lock_written_meanwhile(
    app: App, ada: Account, name: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await prepared(app, ada, name)
    await fail(app, ada, before)
    held: list[Item] = []

    async def lock(*_: object) -> None:
        await fail(app, ada, LOCKS_AT - before)
        held.extend(await guarded(app, ada))

    before_commit(app, ada, lock, monkeypatch)
    answer = await call()
    assert held, "it was overtaken"
    assert_problem(answer, 423, "account_locked")
    assert await guarded(app, ada) == held, "nothing changed, and the lock stays"
    assert "success" not in [outcome for outcome, _ in await outcomes(app, ada, CALLS[name][0])]
    assert len(await app.events(ada.tenant_id, "auth.account_locked")) == 1


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("name", CALLS)
async def test_failures_written_meanwhile_are_not_erased_unseen(
    app: App, ada: Account, name: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign-in forgets them, and says how many they were; whatever else is right leaves them as they are."""
    call = await prepared(app, ada, name)
    await fail(app, ada, before)

    async def two(*_: object) -> None:
        await fail(app, ada, 2)

    before_commit(app, ada, two, monkeypatch)
    assert (await call()).status_code == CALLS[name][1]
    if name in ("login", "login_mfa"):
        (done,) = [e for e in await app.events(ada.tenant_id, "auth.login") if e["outcome"] == "success"]
        assert done["attributes"] == {"attempt_count": before + 2}
        assert await failures(app, ada) == 0
    else:
        assert await failures(app, ada) == before + 2


async def test_who_is_locked_gets_no_challenge_for_the_right_password(app: App, ada: Account) -> None:
    """Else the challenge would tell that the password is right."""
    await enrolled(app, ada)
    await fail(app, ada, LOCKS_AT)
    held = await guarded(app, ada)
    assert_problem(await app.login(ada.email), 423, "account_locked")
    assert await guarded(app, ada) == held, "no challenge is stored"
    assert await app.events(ada.tenant_id, "mfa.challenge_issued") == []
    reasons = [reason for _, reason in await outcomes(app, ada, "auth.login")]
    assert sorted(map(str, reasons)) == [*LOCKS_AT * ["bad_credentials"], "locked"]


async def _confirm(device: Device) -> None:
    answer = await device.post("/v1/mfa/confirm", code=device.code())
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("what", ["confirmed", "sessions_ended", "flagged"])
@pytest.mark.parametrize("before", [0, 3])
async def test_a_sign_in_by_password_alone_does_not_outlast_what_ends_it(
    app: App, ada: Account, what: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password was judged while there was no factor; another failure lets the commit fail, and by the time of the
    next one a factor counts, or all sessions were ended. Either of its two traces on the user is enough."""
    device = await begin(app, ada)
    await fail(app, ada, before)
    held: list[Item] = []

    async def overtake(*_: object) -> None:
        await fail(app, ada, 1)
        if what == "confirmed":
            await _confirm(device)
        elif what == "sessions_ended":
            await end_sessions(app, ada)
        else:
            await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(ada.id), [PatchSet("mfa", True)])
        held.extend(await guarded(app, ada))

    before_commit(app, ada, overtake, monkeypatch)
    answer = await app.login(ada.email)
    assert held, "it was overtaken"
    assert_problem(answer, 401, "invalid_credentials")
    assert await guarded(app, ada) == held, "no session was opened, and the failures stay"
    assert await outcomes(app, ada, "auth.login") == (before + 2) * [("failure", "bad_credentials")]
    assert (await stored_factor(app, ada)) is not None
