"""A store that fails at any one call of a request about second factors: what was answered is so, what is so has its
events, once each, and no code is taken without a trace."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from shared.identity.factors import is_confirmed
from shared.identity.model import attempts_key, session_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.errors import NotFound
from tests.api.broken import MODES, MOST_CALLS, Broken
from tests.app import Account
from tests.identity.test_sessions import session_of
from tests.second_factors import Device, begin, enrolled, stored_factor

type Prepare = Callable[[Account], Awaitable[Callable[[], Awaitable[httpx.Response]]]]
"""Brings an account to where the call can be made; the call."""
type Check = Callable[[Account, int], Awaitable[None]]


async def walk(broken: Broken, prepare: Prepare, check: Check, status: int) -> None:
    """Fail at the k-th store call of a request for each k and mode, on a new account each time.

    It answers `status` or 503; once it is made without a fault, and then it has to answer `status`.
    """
    app = broken.app
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            account = await app.register(f"{mode}-{times}-{k}@example.com")
            request = await prepare(account)
            broken.store.arm(k, mode, times=times)
            answer = await request()
            reached = len(broken.store.calls) >= k
            await broken.recover()
            assert answer.status_code in (status, 503), answer.text
            if answer.status_code == 503:
                assert answer.json()["code"] in {"store_unavailable", "audit_unavailable"}
                assert int(answer.headers["retry-after"]) >= 1
            assert await broken.items("outbox", account.tenant_id) == 0
            await check(account, answer.status_code)
            if not reached:
                assert answer.status_code == status
                break
        else:
            pytest.fail("a request without end")


async def count(broken: Broken, account: Account, type_: str, outcome: str, reason: str | None = None) -> int:
    events = await broken.app.events(account.tenant_id, type_)
    return sum((event["outcome"], event["reason"]) == (outcome, reason) for event in events)


async def failures(broken: Broken, account: Account) -> int:
    try:
        item = await broken.store.read(IDENTITY, (account.tenant_id,), attempts_key(account.id))
    except NotFound:
        return 0
    return int(item["count"])


async def flagged(broken: Broken, account: Account) -> bool:
    return bool((await broken.store.read(IDENTITY, (account.tenant_id,), user_key(account.id)))["mfa"])


async def mfa_at(broken: Broken, account: Account) -> str | None:
    session = await broken.store.read(IDENTITY, (account.tenant_id,), session_key(session_of(account.token)))
    found: str | None = session["mfa_at"]
    return found


async def test_being_asked(broken: Broken) -> None:
    """No challenge without its event; no session."""

    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        await enrolled(broken.app, account)
        return lambda: broken.app.login(account.email)

    async def check(account: Account, status: int) -> None:
        issued = await count(broken, account, "mfa.challenge_issued", "success")
        assert issued == (1 if status == 200 else issued) <= 1
        assert await broken.items("session", account.tenant_id) == 1

    await walk(broken, prepare, check, 200)


async def test_a_right_answer(broken: Broken) -> None:
    """A session, the factor's success and the sign-in are there together or not at all."""
    devices: dict[str, tuple[Device, int]] = {}

    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        held = await stored_factor(broken.app, account)
        assert held is not None
        devices[account.id] = (device, held["last_step"])
        challenge, code = await device.challenge(), device.code()
        return lambda: device.answer(challenge, code)

    async def check(account: Account, status: int) -> None:
        opened = await broken.items("session", account.tenant_id) - 1
        held = await stored_factor(broken.app, account)
        assert held is not None
        assert opened == (1 if status == 200 else opened) <= 1
        assert await count(broken, account, "mfa.challenge", "success") == opened
        assert await count(broken, account, "auth.login", "success") == opened
        assert (held["last_step"] > devices[account.id][1]) == (opened == 1)

    await walk(broken, prepare, check, 200)


async def test_a_right_recovery_code(broken: Broken) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        challenge = await device.challenge()
        return lambda: device.answer(challenge, recovery_code=device.recovery_codes[0])

    async def check(account: Account, status: int) -> None:
        opened = await broken.items("session", account.tenant_id) - 1
        held = await stored_factor(broken.app, account)
        assert held is not None
        assert opened == (1 if status == 200 else opened) <= 1
        assert len(held["recovery"]) == 10 - opened
        assert await count(broken, account, "mfa.recovery_used", "success") == opened

    await walk(broken, prepare, check, 200)


async def test_a_wrong_answer(broken: Broken) -> None:
    """Each answer that was refused is counted, in the challenge, in the account and in the trail."""

    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        challenge = await device.challenge()
        return lambda: device.answer(challenge, device.wrong())

    async def check(account: Account, status: int) -> None:
        counted = await failures(broken, account)
        assert counted == (1 if status == 401 else counted) <= 1
        assert await count(broken, account, "mfa.challenge", "failure", "wrong_code") == counted
        assert await count(broken, account, "auth.login", "failure", "mfa_failed") == counted

    await walk(broken, prepare, check, 401)


async def test_what_is_no_challenge(broken: Broken) -> None:
    """Never a 401 without a trace."""
    app, refused = broken.app, 0

    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = Device(app, account, "A" * 32)
        challenge = f"kc_{account.tenant_id}.{account.id}.{'a' * 43}"
        return lambda: device.answer(challenge, "123456")

    async def check(_: Account, status: int) -> None:
        nonlocal refused
        refused += status == 401
        app.clock.advance(minutes=2)
        assert await app.host.run_timer("flush_rejections")
        counted = sum(e["attributes"]["count"] for e in await app.events(type_="auth.token_rejected"))
        assert counted >= refused

    await walk(broken, prepare, check, 401)


async def test_enroll(broken: Broken) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        return lambda: broken.app.client.post("/v1/mfa/enroll", headers=account.auth)

    async def check(account: Account, status: int) -> None:
        begun = int(await stored_factor(broken.app, account) is not None)
        assert begun == (1 if status == 200 else begun)
        assert await count(broken, account, "mfa.enroll", "success", "started") == begun
        assert not await flagged(broken, account)

    await walk(broken, prepare, check, 200)


async def test_confirm(broken: Broken) -> None:
    """The factor, the user that shows it, the session, the end of the others and the event are there together or not
    at all."""
    others: dict[str, str] = {}

    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        others[account.id] = (await broken.app.login(account.email)).json()["access_token"]
        device = await begin(broken.app, account)
        code = device.code()
        return lambda: device.post("/v1/mfa/confirm", code=code)

    async def check(account: Account, status: int) -> None:
        done = is_confirmed(await stored_factor(broken.app, account))
        assert done or status != 200
        assert await flagged(broken, account) == done
        assert (await mfa_at(broken, account) is not None) == done
        assert await count(broken, account, "mfa.enroll", "success", "confirmed") == done
        headers = {"Authorization": f"Bearer {others[account.id]}"}
        other = await broken.app.client.get("/v1/profile", headers=headers)
        assert other.status_code == (401 if done else 200)

    await walk(broken, prepare, check, 200)


async def test_confirm_with_a_wrong_code(broken: Broken) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await begin(broken.app, account)
        return lambda: device.post("/v1/mfa/confirm", code=device.wrong())

    async def check(account: Account, status: int) -> None:
        held = await stored_factor(broken.app, account)
        assert held is not None
        tries = held["pending"]["tries"]
        assert tries == (1 if status == 403 else tries) <= 1
        assert await count(broken, account, "mfa.enroll", "failure", "wrong_code") == tries

    await walk(broken, prepare, check, 403)


async def test_disable(broken: Broken) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        code = device.code()
        return lambda: device.disable(code)

    async def check(account: Account, status: int) -> None:
        gone = await stored_factor(broken.app, account) is None
        assert gone or status != 204
        assert await flagged(broken, account) != gone
        assert (await mfa_at(broken, account) is None) == gone
        assert await count(broken, account, "mfa.disable", "success") == gone

    await walk(broken, prepare, check, 204)


@pytest.mark.parametrize("reason", ["wrong_password", "wrong_code"])
async def test_disable_with_a_wrong_proof(broken: Broken, reason: str) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        right = device.code()
        return lambda: device.disable(right, "wrong") if reason == "wrong_password" else device.disable(device.wrong())

    async def check(account: Account, status: int) -> None:
        counted = await failures(broken, account)
        assert counted == (1 if status == 403 else counted) <= 1
        assert await count(broken, account, "mfa.disable", "failure", reason) == counted

    await walk(broken, prepare, check, 403)


async def test_step_up(broken: Broken) -> None:
    before: dict[str, str | None] = {}

    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        before[account.id] = await mfa_at(broken, account)
        code = device.code()
        return lambda: device.post("/v1/step-up", code=code)

    async def check(account: Account, status: int) -> None:
        renewed = await mfa_at(broken, account) != before[account.id]
        assert renewed or status != 204
        assert await count(broken, account, "mfa.challenge", "success") == renewed

    await walk(broken, prepare, check, 204)


async def test_step_up_with_a_wrong_code(broken: Broken) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        device = await enrolled(broken.app, account)
        return lambda: device.post("/v1/step-up", code=device.wrong())

    async def check(account: Account, status: int) -> None:
        counted = await failures(broken, account)
        assert counted == (1 if status == 403 else counted) <= 1
        assert await count(broken, account, "mfa.challenge", "failure", "wrong_code") == counted

    await walk(broken, prepare, check, 403)


async def test_a_factor_that_is_due_is_not_asked_for_without_its_event(broken: Broken) -> None:
    async def prepare(account: Account) -> Callable[[], Awaitable[httpx.Response]]:
        session = session_key(session_of(account.token))
        held = await broken.store.read(IDENTITY, (account.tenant_id,), session)
        await broken.store.replace(IDENTITY, (account.tenant_id,), {**held, "enrollment_only": True})
        return lambda: broken.app.client.get("/v1/alerts", headers=account.auth)

    async def check(account: Account, status: int) -> None:
        assert await count(broken, account, "access.denied", "denied", "mfa_enrollment") >= (status == 403)

    await walk(broken, prepare, check, 403)
