"""Enrolling, confirming, renewing and removing the own second factor, in a hurry or with bad intent."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.identity.model import attempts_key, session_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchSet
from shared.storage.errors import NotFound
from tests.app import PASSWORD, Account, App, assert_problem
from tests.identity.endings import delete_account, end_sessions
from tests.identity.test_sessions import session_of, stored_text
from tests.second_factors import Device, begin, enrolled, require, stored_factor
from tests.storage.conftest import LOCAL


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def outcomes(app: App, account: Account, type_: str) -> list[tuple[str, str | None]]:
    return [(event["outcome"], event["reason"]) for event in await app.events(account.tenant_id, type_)]


async def failures(app: App, account: Account) -> int:
    try:
        item = await app.store.read(IDENTITY, (account.tenant_id,), attempts_key(account.id))
    except NotFound:
        return 0
    return int(item["count"])


async def shows_factor(app: App, account: Account) -> bool:
    return bool((await app.client.get("/v1/profile", headers=account.auth)).json()["mfa"])


async def session(app: App, account: Account) -> dict[str, Any]:
    return await app.store.read(IDENTITY, (account.tenant_id,), session_key(session_of(account.token)))


async def test_the_second_enrollment_takes_the_place_of_the_first(app: App, ada: Account) -> None:
    first, second = await begin(app, ada), await begin(app, ada)
    assert first.secret != second.secret
    assert_problem(await first.post("/v1/mfa/confirm", code=first.code()), 403, "wrong_code")
    assert (await second.post("/v1/mfa/confirm", code=second.code())).status_code == 200


async def test_a_pending_factor_is_no_factor(app: App, ada: Account) -> None:
    device = await begin(app, ada)
    assert not await shows_factor(app, ada)
    assert "access_token" in (await app.login(ada.email)).json()
    assert_problem(await device.post("/v1/step-up", code=device.code()), 409, "mfa_not_enrolled")
    assert_problem(await device.disable(device.code()), 409, "mfa_not_enrolled")


async def test_nothing_to_confirm(app: App, ada: Account) -> None:
    nothing = Device(app, ada, "A" * 32)
    assert_problem(await nothing.post("/v1/mfa/confirm", code="123456"), 409, "mfa_not_enrolled")
    device = await enrolled(app, ada)
    assert_problem(await device.post("/v1/mfa/confirm", code=device.code()), 409, "mfa_not_enrolled")
    assert await outcomes(app, ada, "mfa.enroll") == [
        ("failure", "not_enrolled"),
        ("success", "started"),
        ("success", "confirmed"),
        ("failure", "not_enrolled"),
    ]


@pytest.mark.parametrize(("seconds", "status"), [(599, 200), (600, 409), (601, 409), (890, 409)])
async def test_a_secret_waits_for_ten_minutes(app: App, ada: Account, seconds: int, status: int) -> None:
    device = await begin(app, ada)
    app.clock.advance(seconds=seconds - 0.000001)
    assert (await device.post("/v1/mfa/confirm", code=device.code())).status_code == status
    app.clock.advance(minutes=21)
    assert (await stored_factor(app, ada) is not None) == (status == 200), "nothing is left of what nobody confirmed"


async def test_five_wrong_codes_drop_the_secret_and_lock_nobody(app: App, ada: Account) -> None:
    """Whoever asks was told the secret: a wrong code here is a clock that is off, not a guess at a person."""
    device = await begin(app, ada)
    for number in range(1, 6):
        assert_problem(await device.post("/v1/mfa/confirm", code=device.wrong(number)), 403, "wrong_code")
    assert_problem(await device.post("/v1/mfa/confirm", code=device.code()), 409, "mfa_not_enrolled")
    assert [reason for _, reason in await outcomes(app, ada, "mfa.enroll")] == [
        "started",
        *5 * ["wrong_code"],
        "not_enrolled",
    ]
    assert await failures(app, ada) == 0
    assert not await shows_factor(app, ada)


async def test_the_fourth_wrong_code_does_not(app: App, ada: Account) -> None:
    device = await begin(app, ada)
    await asyncio.gather(*(device.post("/v1/mfa/confirm", code=device.wrong(n)) for n in range(1, 5)))
    assert (await device.post("/v1/mfa/confirm", code=device.code())).status_code == 200


async def test_two_confirmations_at_once(app: App, ada: Account) -> None:
    """One set of recovery codes, not two of which one is void."""
    device = await begin(app, ada)
    answers = await asyncio.gather(*(device.post("/v1/mfa/confirm", code=device.code()) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (right,) = [answer for answer in answers if answer.status_code == 200]
    code = right.json()["recovery_codes"][0]
    signed_in = await device.answer(await device.challenge(), recovery_code=code)
    assert signed_in.status_code == 200
    assert [reason for _, reason in await outcomes(app, ada, "mfa.enroll")].count("confirmed") == 1


async def test_what_confirming_changes(app: App, ada: Account) -> None:
    before = await session(app, ada)
    await enrolled(app, ada)
    assert await shows_factor(app, ada)
    user = await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id))
    assert user["updated_at"] > user["created_at"]
    after = await session(app, ada)
    assert (before["mfa_at"], before["enrollment_only"]) == (None, False)
    assert after["mfa_at"] is not None
    assert {name: after[name] for name in ("created_at", "expires_at", "refresh_hash")} == {
        name: before[name] for name in ("created_at", "expires_at", "refresh_hash")
    }
    stored = await stored_factor(app, ada)
    assert stored is not None
    assert (stored["pending"], len(stored["recovery"])) == (None, 10)
    assert "ttl" not in stored, "a factor that counts never expires"


async def test_a_new_telephone(app: App, ada: Account) -> None:
    """The factor is replaced by whoever showed it just now; until the new one is confirmed the old one counts."""
    old = await enrolled(app, ada)
    new = await begin(app, ada)
    assert (await old.post("/v1/step-up", code=old.code())).status_code == 204
    assert_problem(await new.post("/v1/step-up", code=new.code()), 403, "wrong_code")
    answer = await new.post("/v1/mfa/confirm", code=new.code())
    assert answer.status_code == 200
    app.clock.advance(minutes=1)
    assert_problem(await old.post("/v1/step-up", code=old.code()), 403, "wrong_code")
    assert (await new.post("/v1/step-up", code=new.code())).status_code == 204
    late = await old.answer(await old.challenge(), recovery_code=old.recovery_codes[0])
    assert_problem(late, 401, "invalid_credentials")
    assert [reason for _, reason in await outcomes(app, ada, "mfa.enroll")][-1] == "replaced"


@pytest.mark.parametrize("minutes", [15, 16])
async def test_a_factor_that_was_shown_long_ago_is_not_replaced(app: App, ada: Account, minutes: int) -> None:
    """A token that somebody found must not become a telephone of theirs."""
    await enrolled(app, ada)  # a minute ago
    token = Account(ada.id, ada.tenant_id, ada.email, await fresh_token(app, ada))
    app.clock.advance(minutes=minutes - 1)
    if minutes == 15:
        assert (await app.client.post("/v1/mfa/enroll", headers=token.auth)).status_code == 200
        return
    app.clock.advance(seconds=-59)
    answer = await app.client.post("/v1/mfa/enroll", headers=token.auth)
    assert_problem(answer, 403, "step_up_required")
    assert await outcomes(app, ada, "access.denied") == [("denied", "step_up")]


async def fresh_token(app: App, account: Account) -> str:
    """A later access token of the same session."""
    from tests.identity.test_sessions import sign

    header = await sign(app, account.id, account.tenant_id, session_of(account.token))
    return header["Authorization"].removeprefix("Bearer ")


async def test_a_session_without_the_factor_does_not_replace_it(app: App, ada: Account) -> None:
    other = Account(ada.id, ada.tenant_id, ada.email, (await app.login(ada.email)).json()["access_token"])
    await enrolled(app, ada)
    assert_problem(await app.client.post("/v1/mfa/enroll", headers=other.auth), 401, "invalid_token")


async def test_a_code_is_taken_once(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    code = device.code()
    assert (await device.post("/v1/step-up", code=code)).status_code == 204
    for _ in range(2):
        assert_problem(await device.post("/v1/step-up", code=code), 403, "wrong_code")
    app.clock.advance(seconds=30)  # it would still be within its time
    assert_problem(await device.post("/v1/step-up", code=code), 403, "wrong_code")
    assert await outcomes(app, ada, "mfa.challenge") == [("success", None), *3 * [("failure", "replayed")]]
    assert await failures(app, ada) == 3


async def test_the_code_that_confirmed_is_used_up(app: App, ada: Account) -> None:
    device = await begin(app, ada)
    code = device.code()
    assert (await device.post("/v1/mfa/confirm", code=code)).status_code == 200
    assert_problem(await device.post("/v1/step-up", code=code), 403, "wrong_code")
    assert_problem(await device.answer(await device.challenge(), code), 401, "invalid_credentials")


async def test_a_code_is_taken_once_of_many_at_the_same_time(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    code = device.code()
    answers = await asyncio.gather(*(device.post("/v1/step-up", code=code) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [204, *7 * [403]]
    assert await failures(app, ada) == 7


async def test_steps_before_now_and_behind_it(app: App, ada: Account) -> None:
    """Clocks differ: one step either way. What is older than the last one taken is not taken, though it is near."""
    device = await enrolled(app, ada)
    assert_problem(await device.post("/v1/step-up", code=device.code(-2)), 403, "wrong_code")
    assert_problem(await device.post("/v1/step-up", code=device.code(2)), 403, "wrong_code")
    assert (await device.post("/v1/step-up", code=device.code(-1))).status_code == 204
    assert (await device.post("/v1/step-up", code=device.code(1))).status_code == 204
    assert_problem(await device.post("/v1/step-up", code=device.code()), 403, "wrong_code")
    reasons = [reason for _, reason in await outcomes(app, ada, "mfa.challenge")]
    assert reasons == ["wrong_code", "wrong_code", None, None, "replayed"]


async def test_a_clock_that_was_set_back_takes_no_old_code(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    old = device.code(-1)
    assert (await device.post("/v1/step-up", code=device.code(1))).status_code == 204
    app.clock.advance(seconds=-30)
    assert_problem(await device.post("/v1/step-up", code=old), 403, "wrong_code")


async def test_without_a_factor_there_is_nothing_to_show(app: App, ada: Account) -> None:
    nothing = Device(app, ada, "A" * 32)
    assert_problem(await nothing.post("/v1/step-up", code="123456"), 409, "mfa_not_enrolled")
    assert_problem(await nothing.disable("123456"), 409, "mfa_not_enrolled")
    assert await outcomes(app, ada, "mfa.challenge") == [("failure", "not_enrolled")]
    assert await outcomes(app, ada, "mfa.disable") == [("failure", "not_enrolled")]
    assert await failures(app, ada) == 0


async def test_failures_count_with_wrong_passwords(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    await app.login(ada.email, "wrong")
    await device.post("/v1/step-up", code=device.wrong())
    await device.disable(device.code(), "wrong")
    await device.disable(device.wrong())
    assert await failures(app, ada) == 4
    await app.login(ada.email, "wrong")
    assert (await app.events(ada.tenant_id, "auth.login"))[-1]["attributes"] == {"attempt_count": 5}


async def test_only_both_proofs_remove_a_factor(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    code = device.code()
    assert_problem(await device.disable(code, "wrong"), 403, "wrong_password")
    assert_problem(await device.disable(device.wrong(), "wrong"), 403, "wrong_password")
    assert_problem(await device.disable(device.wrong()), 403, "wrong_code")
    assert await shows_factor(app, ada)
    assert (await device.disable(code)).status_code == 204  # a wrong password does not use a code up
    assert not await shows_factor(app, ada)
    assert await stored_factor(app, ada) is None
    assert (await session(app, ada))["mfa_at"] is None
    assert "access_token" in (await app.login(ada.email)).json()
    assert await outcomes(app, ada, "mfa.disable") == [
        ("failure", "wrong_password"),
        ("failure", "wrong_password"),
        ("failure", "wrong_code"),
        ("success", None),
    ]
    assert {event["severity"] for event in await app.events(ada.tenant_id, "mfa.disable")} == {"medium"}


async def test_a_used_code_does_not_remove_the_factor(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    code = device.code()
    assert (await device.post("/v1/step-up", code=code)).status_code == 204
    assert_problem(await device.disable(code), 403, "wrong_code")
    assert await outcomes(app, ada, "mfa.disable") == [("failure", "replayed")]


async def test_a_code_that_is_used_meanwhile_does_not_remove_the_factor(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await enrolled(app, ada)
    code = device.code()

    async def step_up(*_: object) -> None:
        assert (await device.post("/v1/step-up", code=code)).status_code == 204

    before_commit(app, ada, step_up, monkeypatch)
    assert_problem(await device.disable(code), 403, "wrong_code")
    assert await outcomes(app, ada, "mfa.disable") == [("failure", "replayed")]


async def test_removing_it_twice_at_once(app: App, ada: Account) -> None:
    device = await enrolled(app, ada)
    answers = await asyncio.gather(*(device.disable(device.code()) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409]
    assert await outcomes(app, ada, "mfa.disable") != []
    assert [outcome for outcome, _ in await outcomes(app, ada, "mfa.disable")].count("success") == 1


@pytest.mark.parametrize("policy", ["admins", "all"])
async def test_a_factor_that_is_required_stays(app: App, ada: Account, policy: str) -> None:
    device = await enrolled(app, ada)
    await require(app, ada, policy)
    assert_problem(await device.disable(device.code()), 409, "mfa_required")
    assert await shows_factor(app, ada)
    assert await outcomes(app, ada, "mfa.disable") == [("failure", "required")]


async def test_after_removing_it_one_enrolls_anew_with_a_secret_of_its_own(app: App, ada: Account) -> None:
    old = await enrolled(app, ada)
    assert (await old.disable(old.code())).status_code == 204
    new = await enrolled(app, ada)
    assert new.secret != old.secret
    assert not set(new.recovery_codes) & set(old.recovery_codes)
    assert_problem(await old.post("/v1/step-up", code=old.code()), 403, "wrong_code")


type Act = Callable[[App, Account], Awaitable[object]]


async def _logout(app: App, account: Account) -> None:
    await app.store.delete(IDENTITY, (account.tenant_id,), session_key(session_of(account.token)))


async def _rename(app: App, account: Account) -> None:
    await app.store.patch(IDENTITY, (account.tenant_id,), user_key(account.id), [PatchSet("company", "Example")])


def before_commit(app: App, account: Account, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something happens once, right before the next change is committed."""
    commit = app.services.outbox.commit
    waiting = [act]

    async def late(*args: Any, **kwargs: Any) -> None:
        if waiting:
            await waiting.pop()(app, account)
        await commit(*args, **kwargs)

    monkeypatch.setattr(app.services.outbox, "commit", late)


@pytest.mark.parametrize("act", [_logout, end_sessions, delete_account])
@pytest.mark.parametrize("call", ["confirm", "disable"])
async def test_whose_session_ends_meanwhile_changes_nothing(
    app: App, ada: Account, call: str, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await (begin if call == "confirm" else enrolled)(app, ada)
    held = await stored_factor(app, ada)
    before_commit(app, ada, act, monkeypatch)
    code = device.code()
    answer = await (device.post("/v1/mfa/confirm", code=code) if call == "confirm" else device.disable(code))
    assert_problem(answer, 401, "invalid_token")
    assert await stored_factor(app, ada) == held
    assert [outcome for outcome, _ in await outcomes(app, ada, "mfa.disable")] == []
    assert (
        "confirmed" not in [reason for _, reason in await outcomes(app, ada, "mfa.enroll")][1 + (call == "disable") :]
    )


async def test_a_session_that_ended_is_not_renewed(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    device = await enrolled(app, ada)
    before_commit(app, ada, _logout, monkeypatch)
    assert_problem(await device.post("/v1/step-up", code=device.code()), 401, "invalid_token")
    assert await outcomes(app, ada, "mfa.challenge") == []


@pytest.mark.parametrize("call", ["confirm", "disable"])
async def test_another_change_of_the_account_is_kept(
    app: App, ada: Account, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await (begin if call == "confirm" else enrolled)(app, ada)
    before_commit(app, ada, _rename, monkeypatch)
    code = device.code()
    answer = await (device.post("/v1/mfa/confirm", code=code) if call == "confirm" else device.disable(code))
    assert answer.status_code in (200, 204)
    profile = (await app.client.get("/v1/profile", headers=ada.auth)).json()
    assert (profile["company"], profile["mfa"]) == ("Example", call == "confirm")


BAD_BODIES = [
    ("POST", "/v1/mfa/confirm", {}, ["code"]),
    ("POST", "/v1/mfa/confirm", {"code": 123456}, ["code"]),
    ("POST", "/v1/mfa/confirm", {"code": "12345"}, ["code"]),
    ("POST", "/v1/step-up", {"code": "１２３４５６"}, ["code"]),
    ("POST", "/v1/step-up", {"code": None}, ["code"]),
    ("POST", "/v1/step-up", {"code": ["123456"]}, ["code"]),
    ("POST", "/v1/step-up", {"recovery_code": "abcd-efgh-ijkl-mnop"}, ["code", "recovery_code"]),
    ("POST", "/v1/mfa/enroll", {"secret": "A" * 32}, ["secret"]),
    ("DELETE", "/v1/mfa", {"code": "123456"}, ["password"]),
    ("DELETE", "/v1/mfa", {"password": PASSWORD}, ["code"]),
    ("DELETE", "/v1/mfa", {"password": "x\u0000", "code": "1" * 1000}, ["password", "code"]),
]


@pytest.mark.parametrize(("method", "path", "body", "fields"), BAD_BODIES)
async def test_bad_input_names_its_field_and_counts_for_nothing(
    app: App, ada: Account, method: str, path: str, body: dict[str, Any], fields: list[str]
) -> None:
    device = await enrolled(app, ada)
    answer = await app.client.request(method, path, json=body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", *fields)
    assert await failures(app, ada) == 0
    assert (await device.post("/v1/step-up", code=device.code())).status_code == 204


async def test_secrets_are_shown_once_and_kept_nowhere(
    app: App, ada: Account, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    caplog.set_level(0)
    device = await enrolled(app, ada)
    codes = [device.code()]
    assert (await device.post("/v1/step-up", code=codes[0])).status_code == 204
    codes.append(device.wrong())
    await device.post("/v1/step-up", code=codes[1])
    challenge = await device.challenge()
    assert (await device.answer(challenge, recovery_code=device.recovery_codes[0])).status_code == 200
    await app.login(ada.email)
    await app.host.drain_feed()
    seen = caplog.text + str(await app.events(ada.tenant_id)) + str(await stored_factor(app, ada))
    if request.node.callspec.params["adapter"] == "sqlite":
        seen += await stored_text(app)
    for secret in (device.secret, challenge, challenge.rpartition(".")[2], *device.recovery_codes):
        assert secret not in seen
        assert secret.replace("-", "") not in seen
    for code in codes:
        assert not re.search(rf"(?<![0-9a-fA-F.]){code}(?![0-9a-fA-F])", seen), "neither right nor wrong"
    assert repr(device) == repr(Device(app, ada, ""))
