"""Signing in with a second factor, against people who know the password, and some who know nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from devhost.host import Host
from shared.audit.model import RequestContext
from shared.core.errors import AccountLocked
from shared.core.settings import Settings
from shared.identity.attempts import Counted, Failures
from shared.identity.model import TENANT_ITEM, session_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import Eq, Item, PatchSet, Query, create
from tests.app import PASSWORD, UNLIMITED, Account, App, assert_problem, running
from tests.fakes import ManualClock
from tests.identity.attempts import Attempts
from tests.identity.endings import delete_account, end_sessions
from tests.identity.test_own_factor import failures, outcomes
from tests.identity.test_sessions import add_user, session_of
from tests.second_factors import Device, enrolled, stored_factor
from tests.storage.conftest import LOCAL


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


@pytest.fixture
async def device(app: App, ada: Account) -> Device:
    return await enrolled(app, ada)


async def items(app: App, account: Account, kind: str) -> list[Item]:
    page = await app.store.query(IDENTITY, (account.tenant_id,), Query((Eq("kind", kind),), limit=1000))
    return page.items


async def test_the_password_alone_opens_no_session(app: App, ada: Account, device: Device) -> None:
    sessions = await items(app, ada, "session")
    answer = await app.login(ada.email)
    assert answer.status_code == 200
    body = answer.json()
    assert body == {"mfa_required": True, "challenge": body["challenge"], "enrollment_required": False}
    assert await items(app, ada, "session") == sessions
    assert await app.events(ada.tenant_id, "auth.login") == []
    (issued,) = await app.events(ada.tenant_id, "mfa.challenge_issued")
    assert (issued["actor"]["kind"], issued["target"]["id"]) == ("anonymous", ada.id)


async def test_of_a_challenge_only_the_hash_is_stored(app: App, ada: Account, device: Device) -> None:
    challenge = await device.challenge()
    (stored,) = await items(app, ada, "challenge")
    public, _, secret = challenge.rpartition(".")
    assert public == f"kc_{ada.tenant_id}.{stored['id'].removeprefix('challenge|')}"
    assert len(secret) == 43, "256 random bits"
    assert secret not in str(stored)
    assert stored["ttl"] == 300


async def test_a_right_answer_opens_a_session_in_which_the_factor_was_shown(
    app: App, ada: Account, device: Device
) -> None:
    await app.login(ada.email, "wrong")
    challenge = await device.challenge()
    await device.answer(challenge, device.wrong())
    answer = await device.answer(challenge, device.code())
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    profile = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert (profile.status_code, profile.json()["mfa"]) == (200, True)
    key = session_key(session_of(tokens["access_token"]))
    session = await app.store.read(IDENTITY, (ada.tenant_id,), key)
    assert (session["mfa_at"], session["enrollment_only"]) == (session["created_at"], False)
    assert await failures(app, ada) == 0
    assert await items(app, ada, "challenge") == []
    done = (await app.events(ada.tenant_id, "auth.login"))[-1]
    assert (done["outcome"], done["reason"], done["attributes"]) == ("success", None, {"attempt_count": 2})
    assert done["actor"] == {"kind": "user", "id": ada.id, "role": "tenant_admin"}


async def test_the_right_password_does_not_forget_failures(app: App, ada: Account, device: Device) -> None:
    """Else five tries of a challenge could be had again and again."""
    for number in range(1, 4):
        await device.answer(await device.challenge(), device.wrong(number))
    await app.login(ada.email, "wrong")
    await device.challenge()
    assert await failures(app, ada) == 4
    counts = [event["attributes"]["attempt_count"] for event in await app.events(ada.tenant_id, "auth.login")]
    assert sorted(counts) == [1, 2, 3, 4]
    reasons = [reason for _, reason in await outcomes(app, ada, "auth.login")]
    assert sorted(map(str, reasons)) == ["bad_credentials", *3 * ["mfa_failed"]]


async def test_five_tries(app: App, ada: Account, device: Device) -> None:
    challenge = await device.challenge()
    for number in range(1, 6):
        assert_problem(await device.answer(challenge, device.wrong(number)), 401, "invalid_credentials")
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")
    assert (await device.answer(await device.challenge(), device.code())).status_code == 200
    assert [reason for _, reason in await outcomes(app, ada, "mfa.challenge")] == [*5 * ["wrong_code"], None]
    (rejected,) = await app.events(type_="auth.token_rejected")
    assert rejected["reason"] == "challenge_ended"


async def test_the_fifth_try_may_be_the_right_one(app: App, ada: Account, device: Device) -> None:
    challenge = await device.challenge()
    for number in range(1, 5):
        await device.answer(challenge, device.wrong(number))
    assert (await device.answer(challenge, device.code())).status_code == 200


async def test_five_tries_are_five_of_many_at_once(app: App, ada: Account, device: Device) -> None:
    """Of both kinds; none is judged without having been counted."""
    challenge = await device.challenge()
    recovery = "aaaa-bbbb-cccc-dddd"
    guesses = [device.answer(challenge, device.wrong(n)) for n in range(1, 9)]
    guesses += [device.answer(challenge, recovery_code=recovery) for _ in range(8)]
    answers = await asyncio.gather(*guesses)
    assert sorted(answer.json()["code"] for answer in answers) == [
        *11 * ["invalid_challenge"],
        *5 * ["invalid_credentials"],
    ]
    assert await failures(app, ada) == 5
    assert len(await app.events(ada.tenant_id, "mfa.challenge")) == 5
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")


class Forgetful(Attempts):
    """A counter that counts nothing: the challenge has to count its tries by itself."""

    async def counted(self, user: Item, failures: Failures, request: RequestContext) -> Counted:
        return Counted(1, [])


async def test_a_challenge_counts_its_tries_by_itself(
    app: App, ada: Account, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.services.challenges, "_counter", Forgetful(app.store))
    challenge = await device.challenge()
    await asyncio.gather(*(device.answer(challenge, device.wrong(n)) for n in range(1, 13)))
    assert len(await app.events(ada.tenant_id, "mfa.challenge")) == 5
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")


async def test_a_code_is_taken_once_across_challenges(app: App, ada: Account, device: Device) -> None:
    first, second = await device.challenge(), await device.challenge()
    code = device.code()
    assert (await device.answer(first, code)).status_code == 200
    assert_problem(await device.answer(second, code), 401, "invalid_credentials")
    assert_problem(await device.post("/v1/step-up", code=code), 403, "wrong_code")
    assert [reason for _, reason in await outcomes(app, ada, "mfa.challenge")] == [None, "replayed", "replayed"]
    assert (await device.answer(second, device.code(1))).status_code == 200


async def test_a_code_is_taken_once_across_challenges_at_once(app: App, ada: Account, device: Device) -> None:
    challenges = [await device.challenge() for _ in range(6)]
    code = device.code()
    answers = await asyncio.gather(*(device.answer(each, code) for each in challenges))
    assert sorted(answer.status_code for answer in answers) == [200, *5 * [401]]
    assert len(await items(app, ada, "session")) == 2
    assert [outcome for outcome, _ in await outcomes(app, ada, "auth.login")].count("success") == 1


async def test_a_challenge_opens_one_session(app: App, ada: Account, device: Device) -> None:
    challenge = await device.challenge()
    codes = [device.code(step) for step in (-1, 0, 1)] * 3
    answers = await asyncio.gather(*(device.answer(challenge, code) for code in codes))
    assert sorted(answer.status_code for answer in answers) == [200, *8 * [401]]
    app.clock.advance(seconds=60)
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")
    assert len(await items(app, ada, "session")) == 2


@pytest.mark.parametrize(("seconds", "status"), [(299, 200), (300, 401), (301, 401)])
async def test_a_challenge_waits_for_five_minutes(
    app: App, ada: Account, device: Device, seconds: int, status: int
) -> None:
    challenge = await device.challenge()
    if status == 401:  # also of a store that has not tidied up yet
        (stored,) = await items(app, ada, "challenge")
        await app.store.patch(IDENTITY, (ada.tenant_id,), stored["id"], [PatchSet("ttl", -1)])
    app.clock.advance(seconds=seconds - 0.000001)
    answer = await device.answer(challenge, device.code())
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "invalid_challenge"


async def test_a_wrong_try_buys_no_time(app: App, ada: Account, device: Device) -> None:
    challenge = await device.challenge()
    app.clock.advance(seconds=290)
    await device.answer(challenge, device.wrong())
    app.clock.advance(seconds=10)
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")


async def test_parts_of_two_challenges_make_none(app: App, ada: Account, device: Device, grace: Account) -> None:
    other = await enrolled(app, grace)
    mine, theirs = await device.challenge(), await other.challenge()
    (tenant, id_, secret), (tenant2, id2, secret2) = (each[3:].split(".") for each in (mine, theirs))
    mixed = [(tenant2, id_, secret), (tenant, id2, secret), (tenant, id_, secret2), (tenant2, id2, secret)]
    for parts in mixed:
        for code in (device.code(), other.code()):
            assert_problem(await device.answer("kc_" + ".".join(parts), code), 401, "invalid_challenge")
    assert_problem(await device.answer(theirs, device.code()), 401, "invalid_credentials")
    assert_problem(await device.answer(theirs, recovery_code=device.recovery_codes[0]), 401, "invalid_credentials")
    assert (await device.answer(mine, device.code())).status_code == 200
    assert (await other.answer(theirs, other.code())).status_code == 200
    assert await failures(app, ada) == 0, "what another challenge was answered with is not this account's failure"


async def test_a_colleague_cannot_answer(app: App, ada: Account, device: Device) -> None:
    """Two users of one tenant, each with a factor."""
    colleague_id = await add_user(app, ada, "colleague@example.com")
    held = await stored_factor(app, ada)
    assert held is not None
    factor = {**held, "id": f"mfa|{colleague_id}", "user_id": colleague_id}
    await app.store.create(IDENTITY, (ada.tenant_id,), factor)
    challenge = await device.challenge()
    (stored,) = await items(app, ada, "challenge")
    await app.store.patch(IDENTITY, (ada.tenant_id,), stored["id"], [PatchSet("user_id", colleague_id)])
    answer = await device.answer(challenge, device.code())
    assert answer.status_code == 503, "a secret that was sealed for one user opens for no other"


GARBAGE = [
    "kc_",
    "x",
    "kc_a.b.c",
    "kr_0195c000-0000-7000-8000-0000000000aa.0195c000-0000-7000-8000-00000000ada0." + "a" * 43,
    "kc_platform.0195c000-0000-7000-8000-00000000ada0." + "a" * 43,
    "kc_0195c000-0000-7000-8000-0000000000aa.0195c000-0000-7000-8000-00000000ada0." + "a" * 43,
    "kc_0195c000-0000-7000-8000-0000000000aa.0195C000-0000-7000-8000-00000000ADA0." + "a" * 43,
    "kc_../identity.0195c000-0000-7000-8000-00000000ada0." + "a" * 43,
    "kc_\u00e4.0195c000-0000-7000-8000-00000000ada0." + "a" * 43,
    "kc_a.0195c000-0000-7000-8000-00000000ada0." + "a" * 43 + "\n",
    "ı" * 200,
]


async def test_garbage_is_no_challenge(app: App, ada: Account) -> None:
    """Each is counted in the trail, as rejected tokens are, and tells nothing of what there is."""
    bodies = set()
    for garbage in GARBAGE:
        answer = await app.client.post("/v1/login/mfa", json={"challenge": garbage, "code": "123456"})
        body = assert_problem(answer, 401, "invalid_challenge")
        bodies.add((body["title"], body["detail"]))
        assert answer.headers["www-authenticate"] == "Bearer"
    assert len(bodies) == 1
    app.clock.advance(minutes=2)
    assert await app.host.run_timer("flush_rejections")
    rejected = await app.events(type_="auth.token_rejected")
    assert sum(event["attributes"]["count"] for event in rejected) == len(GARBAGE)


BAD_BODIES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["code"]),
    ({"code": "123456", "recovery_code": "abcd-efgh-ijkl-mnop"}, ["code"]),
    ({"code": None}, ["code"]),
    ({"code": "12345"}, ["code"]),
    ({"code": 123456}, ["code"]),
    ({"recovery_code": "abcd"}, ["recovery_code"]),
    ({"recovery_code": "a" * 65}, ["recovery_code"]),
    ({"code": "123456", "user_id": "1"}, ["user_id"]),
    ({"code": "123456", "challenge": ""}, ["challenge"]),
    ({"code": "123456", "challenge": "k" * 201}, ["challenge"]),
    ({"code": "123456", "challenge": None}, ["challenge"]),
]


@pytest.mark.parametrize(("body", "fields"), BAD_BODIES, ids=str)
async def test_bad_input_names_its_field_and_costs_no_try(
    app: App, ada: Account, device: Device, body: dict[str, Any], fields: list[str]
) -> None:
    challenge = await device.challenge()
    answer = await app.client.post("/v1/login/mfa", json={"challenge": challenge} | body)
    assert_problem(answer, 422, "invalid_request", *fields)
    (stored,) = await items(app, ada, "challenge")
    assert stored["tries"] == 0
    assert await failures(app, ada) == 0


async def test_each_recovery_code_works_once(app: App, ada: Account, device: Device) -> None:
    for number, code in enumerate(device.recovery_codes):
        typed = code.upper().replace("-", " ") if number % 2 else code
        assert (await device.answer(await device.challenge(), recovery_code=typed)).status_code == 200
        again = await device.answer(await device.challenge(), recovery_code=code)
        assert_problem(again, 401, "invalid_credentials")
    assert (await device.answer(await device.challenge(), device.code())).status_code == 200
    used = await app.events(ada.tenant_id, "mfa.recovery_used")
    assert [event["attributes"] for event in used] == [
        {"factor": "recovery", "remaining": left} for left in range(9, -1, -1)
    ]
    shown = [(e["outcome"], e["attributes"]["factor"]) for e in await app.events(ada.tenant_id, "mfa.challenge")]
    assert shown == [*10 * [("success", "recovery"), ("failure", "recovery")], ("success", "totp")]


async def test_a_recovery_code_works_once_of_many_at_once(app: App, ada: Account, device: Device) -> None:
    challenges = [await device.challenge() for _ in range(5)]
    code = device.recovery_codes[3]
    answers = await asyncio.gather(*(device.answer(each, recovery_code=code) for each in challenges))
    assert sorted(answer.status_code for answer in answers) == [200, *4 * [401]]
    assert len(await app.events(ada.tenant_id, "mfa.recovery_used")) == 1


async def test_who_lost_the_telephone_gets_in_and_sets_up_a_new_one(app: App, ada: Account, device: Device) -> None:
    answer = await device.answer(await device.challenge(), recovery_code=device.recovery_codes[0])
    later = Account(ada.id, ada.tenant_id, ada.email, answer.json()["access_token"])
    new = await enrolled(app, later)
    assert (await new.answer(await new.challenge(), new.code())).status_code == 200


@pytest.mark.parametrize("act", [end_sessions, delete_account, None])
async def test_what_ends_a_challenge(
    app: App, ada: Account, device: Device, act: Callable[[App, Account], Awaitable[None]] | None
) -> None:
    """None: the factor is disabled."""
    challenge = await device.challenge()
    if act is None:
        assert (await device.disable(device.code(-1))).status_code == 204
    else:
        await act(app, ada)
    sessions = await items(app, ada, "session")
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")
    assert await items(app, ada, "session") == sessions
    assert await app.events(ada.tenant_id, "auth.login") == []


@pytest.mark.parametrize("what", ["user", "tenant"])
async def test_who_is_suspended_meanwhile_is_not_let_in(app: App, ada: Account, device: Device, what: str) -> None:
    challenge = await device.challenge()
    key = user_key(ada.id) if what == "user" else TENANT_ITEM
    await app.store.patch(IDENTITY, (ada.tenant_id,), key, [PatchSet("status", "suspended")])
    sessions = await items(app, ada, "session")
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_credentials")
    assert_problem(await device.answer(challenge, device.code()), 401, "invalid_challenge")
    assert await items(app, ada, "session") == sessions
    assert await outcomes(app, ada, "auth.login") == [("failure", "suspended")]


async def test_a_password_change_right_before_the_commit(
    app: App, ada: Account, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session may still be written, but it ended with the others."""
    challenge = await device.challenge()
    commit = app.services.outbox.commit

    async def late(*args: Any, **kwargs: Any) -> None:
        await end_sessions(app, ada)
        await commit(*args, **kwargs)

    monkeypatch.setattr(app.services.outbox, "commit", late)
    token = (await device.answer(challenge, device.code())).json()["access_token"]
    answer = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "invalid_token")


async def test_a_password_change_while_the_answer_is_judged(
    app: App, ada: Account, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes behind the reading of the user, so it is not seen; it ends the session all the same."""
    challenge = await device.challenge()
    read = app.services.challenges._factors.read

    async def late(tenant_id: str, user_id: str) -> Item | None:
        await end_sessions(app, ada)
        app.clock.advance(seconds=1)
        return await read(tenant_id, user_id)

    monkeypatch.setattr(app.services.challenges._factors, "read", late)
    token = (await device.answer(challenge, device.code())).json()["access_token"]
    answer = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "invalid_token")


class Locked(Attempts):
    """A counter that has locked the account."""

    async def read(self, user: Item, request: RequestContext) -> Failures:
        raise AccountLocked("account_locked", "Locked.", retry_after_seconds=1800)


async def test_a_locked_account_takes_no_factor_and_uses_no_code_up(
    app: App, ada: Account, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right or wrong: the answer is the same, so that a right code does not reveal itself."""
    challenge = await device.challenge()
    with monkeypatch.context() as patched:
        for service in (app.services.challenges, app.services.mfa):
            patched.setattr(service, "_counter", Locked(app.store))
        for code in (device.code(), device.wrong()):
            for answer in (
                await device.answer(challenge, code),
                await device.post("/v1/step-up", code=code),
                await device.disable(code),
                await device.disable(code, "wrong"),
            ):
                assert_problem(answer, 423, "account_locked")
                assert answer.headers["retry-after"] == "1800"
    assert (await device.answer(challenge, device.code())).status_code == 200


class Locking(Attempts):
    """A counter with a step of its own."""

    async def counted(self, user: Item, failures: Failures, request: RequestContext) -> Counted:
        counted = await super().counted(user, failures, request)
        mark: Item = {"id": f"invitation|{counted.count}", "tenant_id": user["tenant_id"], "kind": "invitation"}
        return replace(counted, operations=[*counted.operations, create(mark)])


@pytest.mark.parametrize("call", ["answer", "step_up", "disable"])
async def test_what_the_counter_adds_is_in_the_same_commit(
    app: App, ada: Account, device: Device, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in (app.services.challenges, app.services.mfa):
        monkeypatch.setattr(service, "_counter", Locking(app.store))
    if call == "answer":
        await device.answer(await device.challenge(), device.wrong())
    elif call == "step_up":
        await device.post("/v1/step-up", code=device.wrong())
    else:
        await device.disable(device.code(), "wrong")
    assert [item["id"] for item in await items(app, ada, "invitation")] == ["invitation|1"]


async def test_an_account_without_a_factor_signs_in_as_before(app: App, ada: Account) -> None:
    answer = await app.login(ada.email)
    assert answer.json().keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert "mfa.challenge_issued" not in await app.types(ada.tenant_id)


async def test_a_wrong_password_is_not_told_from_one_of_an_account_with_a_factor(
    app: App, ada: Account, device: Device, grace: Account
) -> None:
    answers = [await app.login(email, "wrong") for email in (ada.email, grace.email, "nobody@example.com")]
    shown: Sequence[tuple[Any, ...]] = [
        (a.status_code, a.json()["code"], a.json()["detail"], sorted(a.json())) for a in answers
    ]
    assert len(set(map(str, shown))) == 1


async def test_answers_count_against_the_limit_of_their_address(host: Host, clock: ManualClock) -> None:
    settings = Settings(kraftd_data=":memory:", **(UNLIMITED | {"login_rate_per_minute": 3}))
    async with running(host, clock, settings=settings) as app:
        answers = [
            await app.client.post("/v1/login/mfa", json={"challenge": "kc_x", "code": "123456"}) for _ in range(4)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert_problem(await app.login("ada@example.com", PASSWORD), 429, "rate_limited")


async def test_a_factor_that_cannot_be_opened_lets_nobody_in(app: App, ada: Account, device: Device) -> None:
    held = await stored_factor(app, ada)
    assert held is not None
    changed = {**held["secret"], "sealed": "AAAA" + held["secret"]["sealed"][4:]}
    await app.store.patch(IDENTITY, (ada.tenant_id,), held["id"], [PatchSet("secret", changed)])
    challenge = await device.challenge()
    assert_problem(await device.answer(challenge, device.code()), 503, "secrets_unavailable")
