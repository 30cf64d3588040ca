"""Sessions and tokens without the app around them: what is made, what is renewed, and what holds no more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from functions._tokens import login_answer
from shared.core.clock import rfc3339
from shared.identity.challenges import Challenge
from shared.identity.model import (
    Applicant,
    Role,
    Tokens,
    admins_of,
    is_active_admin,
    new_tenant,
    new_user,
    search_fields,
    shown_user,
)
from shared.identity.secret_links import hash_of, new_secret
from shared.identity.service import SignedIn
from shared.identity.sessions import ended_before, holds
from shared.identity.tokens import MAX_TOKEN_LENGTH, AccessTokens, Claims, TokenRejected, new_family, new_refresh_token
from shared.privacy.secrets import MemorySecrets, RootName, SecretVersion, derive
from tests.fakes import ManualClock
from tests.identity.gate import ADA, BOB, HERE, HOUR, MINUTE, Gate

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
USER = {"user_id": ADA, "tenant_id": HERE, "sessions_valid_from": rfc3339(NOON - HOUR)}
CLAIMS = Claims(ADA, HERE, BOB)


async def test_a_new_session_says_when_it_ends(gate: Gate) -> None:
    session, tokens = await gate.sessions.draft(USER)
    session_id, now = session["session_id"], rfc3339(NOON)
    prefix, family, secret = tokens.refresh_token.rsplit(".", 2)
    assert session == {
        "id": f"session|{session_id}",
        "tenant_id": HERE,
        "kind": "session",
        "session_id": session_id,
        "user_id": ADA,
        "family_hash": hash_of(family),
        "refresh_hash": hash_of(secret),
        "created_at": now,
        "refreshed_at": now,
        "epoch": USER["sessions_valid_from"],
        "expires_at": rfc3339(NOON + 30 * 24 * HOUR),
        "idle_expires_at": rfc3339(NOON + 24 * HOUR),
        "mfa_at": None,
        "enrollment_only": False,
        "ttl": 30 * 86_400,
    }
    assert (prefix, len(family), len(secret)) == (f"kr_{HERE}.{session_id}", 22, 43)
    assert tokens.expires_in == 900
    said = jwt.decode(tokens.access_token, options={"verify_signature": False})
    assert (said["sub"], said["tid"], said["sid"]) == (ADA, HERE, session_id)

    shown, _ = await gate.sessions.draft(USER, mfa_at=NOON - MINUTE, enrollment_only=True)
    assert (shown["mfa_at"], shown["enrollment_only"]) == (rfc3339(NOON - MINUTE), True)
    assert shown["session_id"] != session_id


async def test_a_renewed_session_lives_on_and_not_for_longer(gate: Gate) -> None:
    session, first = await gate.sessions.draft(USER)
    family = first.refresh_token.rsplit(".", 2)[1]
    now = NOON + 2 * HOUR
    renewed, tokens = await gate.sessions.renew(session, family, now)
    secret = tokens.refresh_token.rpartition(".")[2]
    assert tokens.refresh_token == f"kr_{HERE}.{session['session_id']}.{family}.{secret}"
    assert tokens.refresh_token != first.refresh_token
    assert renewed == {
        **session,
        "refresh_hash": hash_of(secret),
        "refreshed_at": rfc3339(now),
        "idle_expires_at": rfc3339(now + 24 * HOUR),
        "ttl": 30 * 86_400 - 7200,
    }
    end = NOON + 30 * 24 * HOUR
    for at, ttl in ((end - timedelta(seconds=1.5), 2), (end - TICK, 1), (end, 1), (end + HOUR, 1)):
        assert (await gate.sessions.renew(session, family, at))[0]["ttl"] == ttl, "rounded up, and never none"


@pytest.mark.parametrize(
    ("changes", "holding"),
    [
        ({}, True),
        ({"user_id": BOB}, False),
        ({"expires_at": rfc3339(NOON)}, False),
        ({"expires_at": rfc3339(NOON + TICK)}, True),
        ({"idle_expires_at": rfc3339(NOON)}, False),
        ({"idle_expires_at": rfc3339(NOON + TICK)}, True),
        ({"epoch": rfc3339(NOON)}, False),
        ({"epoch": rfc3339(NOON - 2 * HOUR)}, False),
    ],
)
def test_when_a_session_holds(changes: dict[str, Any], holding: bool) -> None:
    later = rfc3339(NOON + HOUR)
    session = {"user_id": ADA, "expires_at": later, "idle_expires_at": later, "epoch": USER["sessions_valid_from"]}
    assert holds({**session, **changes}, USER, NOON) is holding


def test_what_ends_all_sessions_ends_those_of_this_very_moment() -> None:
    assert ended_before(USER, NOON) == rfc3339(NOON + TICK)
    ahead = {**USER, "sessions_valid_from": rfc3339(NOON + HOUR)}
    assert ended_before(ahead, NOON) == rfc3339(NOON + HOUR + TICK), "also where the clock was set back"


def signer(**options: Any) -> tuple[AccessTokens, ManualClock, MemorySecrets]:
    clock, secrets = ManualClock(NOON), MemorySecrets()
    return AccessTokens(secrets, clock, 15 * MINUTE), clock, secrets


async def test_a_token_holds_for_its_lifetime() -> None:
    tokens, clock, _ = signer()
    token = await tokens.issue(CLAIMS)
    for seconds, fault in (
        (0, None),
        (899, None),
        (899.999, None),
        (900, "expired"),
        (-60, None),
        (-60.001, "expired"),
    ):
        clock.set(NOON + timedelta(seconds=seconds))
        if fault is None:
            assert await tokens.check(token) == CLAIMS
        else:
            with pytest.raises(TokenRejected, match=f"^{fault}$"):
                await tokens.check(token)


async def test_times_are_told_by_the_clock_that_is_given() -> None:
    """Whatever the machine's says: a token of long ago, and one of a time to come."""
    for year in (2001, 2101):
        tokens, clock, _ = signer()
        clock.set(NOON.replace(year=year))
        assert await tokens.check(await tokens.issue(CLAIMS)) == CLAIMS


async def signed(secrets: MemorySecrets, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token under our key, with claims and headers of the test's choice; a claim of ... is left out."""
    (root,) = await secrets.versions("tokens")
    now = int(NOON.timestamp())
    payload = {"sub": ADA, "tid": HERE, "sid": BOB, "iat": now, "exp": now + 60, **changes}
    payload = {name: value for name, value in payload.items() if value is not ...}
    key = derive(root.value, "access-token")
    return jwt.encode(payload, key, algorithm="HS256", headers={"kid": root.version, **(headers or {})})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *(({name: ...}, "malformed") for name in ("sub", "tid", "sid", "iat", "exp")),
        ({"admin": True}, "malformed"),
        ({"iat": 1.5}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"sub": "me"}, "malformed"),
        ({"sub": 7}, "malformed"),
        ({"sid": None}, "malformed"),
        ({"tid": ""}, "malformed"),
        ({"tid": 7}, "malformed"),
        ({"headers": {"kid": "v9"}}, "unknown_key"),
        ({"headers": {"kid": ""}}, "unknown_key"),
    ],
)
async def test_a_token_that_says_something_else(changes: dict[str, Any], reason: str) -> None:
    tokens, _, secrets = signer()
    assert await tokens.check(await signed(secrets)) == CLAIMS
    with pytest.raises(TokenRejected) as caught:
        await tokens.check(await signed(secrets, **changes))
    assert caught.value.reason == reason


async def test_a_token_that_is_none() -> None:
    tokens, _, secrets = signer()
    token = await signed(secrets)
    padded = [await signed(secrets, headers={"pad": "x" * n}) for n in range(1275, 1295)]
    just = next(each for each in padded if len(each) == MAX_TOKEN_LENGTH)
    assert await tokens.check(just) == CLAIMS
    long = next(each for each in padded if len(each) > MAX_TOKEN_LENGTH)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = token[:-1] + last[last.index(token[-1]) ^ 1]
    others = MemorySecrets()
    for wrong, reason in (
        (long, "malformed"),
        ("", "malformed"),
        ("a.b.c", "malformed"),
        (respelled, "malformed"),
        (await signed(others), "bad_signature"),
        (token[:-5] + "AAAAA", "bad_signature"),
    ):
        with pytest.raises(TokenRejected) as caught:
            await tokens.check(wrong)
        assert caught.value.reason == reason, wrong[:20]


async def test_a_key_that_ends_before_the_token_signs_none() -> None:
    ends = SecretVersion("v2", b"2" * 32, expires_at=NOON + 15 * MINUTE - TICK)
    lasts = SecretVersion("v1", b"1" * 32, expires_at=NOON + 15 * MINUTE)

    class Two(MemorySecrets):
        async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
            return ends, lasts

    token = await AccessTokens(Two(), ManualClock(NOON), 15 * MINUTE).issue(CLAIMS)
    assert jwt.get_unverified_header(token)["kid"] == "v1"


def test_randomness_is_asked_for_by_the_byte() -> None:
    asked = []

    def random_text(count: int) -> str:
        asked.append(count)
        return "r" * count

    text, stored = new_refresh_token(HERE, BOB, "family", random_text)
    assert (text, stored, asked) == (f"kr_{HERE}.{BOB}.family.{'r' * 32}", hash_of("r" * 32), [32])
    assert new_secret("kak", HERE, BOB, random_text) == (f"kak_{HERE}.{BOB}.{'r' * 32}", hash_of("r" * 32))
    assert (new_family(random_text), asked) == ("r" * 16, [32, 32, 16])


def test_what_a_sign_in_answers() -> None:
    """Before the second factor was shown there is no token in it."""
    shown = {"access_token": "a", "refresh_token": "r", "token_type": "bearer", "expires_in": 900}
    signed_in = SignedIn({}, Tokens("a", "r", 900))
    assert login_answer(signed_in) == shown
    due = {"mfa_required": True, "challenge": None, "enrollment_required": True}
    assert login_answer(replace(signed_in, enrollment_only=True)) == due | shown
    assert login_answer(Challenge("c")) == {"mfa_required": True, "challenge": "c", "enrollment_required": False}


def test_the_stored_forms_of_a_tenant_and_a_user() -> None:
    tenant = new_tenant(HERE, "Example", NOON)
    assert tenant == {
        "id": "tenant",
        "tenant_id": HERE,
        "kind": "tenant",
        "name": "Example",
        "status": "active",
        "admins": 1,
        "created_at": rfc3339(NOON),
    }
    applicant = Applicant(
        email="Ada@Example.com", password="x", first_name="Ada", last_name="Hopper", marketing_opt_in=True
    )
    user = new_user(ADA, HERE, applicant, Role.AUDITOR, "hash", NOON)
    searched = {"search_email": "ada@example.com", "search_name": "ada hopper", "search_last_name": "hopper"}
    empty = dict.fromkeys(("phone", "company", "job_title", "location", "website", "bio"))
    common = {
        "email": "Ada@Example.com",
        "first_name": "Ada",
        "last_name": "Hopper",
        "role": "auditor",
        "status": "active",
        "tenant_id": HERE,
        "created_at": rfc3339(NOON),
        "updated_at": rfc3339(NOON),
        "mfa": False,
        **empty,
    }
    assert search_fields(user) == searched
    assert user == {
        **common,
        "id": f"user|{ADA}",
        "kind": "user",
        "user_id": ADA,
        "password_hash": "hash",
        "sessions_valid_from": rfc3339(NOON),
        **searched,
    }
    assert shown_user(user) == {**common, "id": ADA}


def test_who_counts_as_an_administrator() -> None:
    for role in Role:
        for status in ("active", "suspended"):
            counted = role is Role.TENANT_ADMIN and status == "active"
            assert is_active_admin({"role": role.value, "status": status}) is counted
    assert (admins_of({}), admins_of({"admins": 0}), admins_of({"admins": 3})) == (1, 0, 3)
