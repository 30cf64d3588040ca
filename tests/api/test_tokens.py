import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest

from shared.privacy.secrets import MemorySecrets, derive
from tests.app import Account, App, assert_problem


async def _key(app: App) -> bytes:
    return derive((await app.services.secrets.versions("tokens"))[0].value, "access-token")


def _payload(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


async def _rejected(app: App, token: str, reason: str) -> None:
    answer = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"] == "Bearer"
    events = await app.events(type_="auth.token_rejected")
    assert [e["reason"] for e in events] == [reason]


async def test_claims_are_the_documented_ones(app: App, ada: Account) -> None:
    assert set(_payload(ada.token)) == {"sub", "tid", "sid", "iat", "exp"}
    assert jwt.get_unverified_header(ada.token) == {"alg": "HS256", "typ": "JWT", "kid": "v1"}


async def test_no_token(app: App) -> None:
    answer = await app.client.get("/v1/profile")
    assert_problem(answer, 401, "missing_token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer   ", "token abc", ""])
async def test_another_scheme_is_no_token(app: App, header: str) -> None:
    assert_problem(await app.client.get("/v1/profile", headers={"Authorization": header}), 401, "missing_token")


async def test_expired(app: App, ada: Account) -> None:
    app.clock.advance(minutes=15)
    await _rejected(app, ada.token, "expired")


async def test_from_the_future(app: App, ada: Account) -> None:
    app.clock.advance(minutes=-10)
    await _rejected(app, ada.token, "expired")


async def test_alg_none(app: App, ada: Account) -> None:
    forged = jwt.encode(_payload(ada.token), "", algorithm="none", headers={"kid": "v1"})
    await _rejected(app, forged, "malformed")


async def test_another_algorithm_with_our_key(app: App, ada: Account) -> None:
    key = derive((await app.services.secrets.versions("tokens"))[0].value, "access-token", 64)
    forged = jwt.encode(_payload(ada.token), key, algorithm="HS512", headers={"kid": "v1"})
    await _rejected(app, forged, "malformed")


async def test_foreign_key(app: App, ada: Account) -> None:
    foreign = derive((await MemorySecrets().versions("tokens"))[0].value, "access-token")
    await _rejected(app, jwt.encode(_payload(ada.token), foreign, headers={"kid": "v1"}), "bad_signature")


async def test_a_key_derived_for_something_else(app: App, ada: Account) -> None:
    other = derive((await app.services.secrets.versions("tokens"))[0].value, "cursor")
    await _rejected(app, jwt.encode(_payload(ada.token), other, headers={"kid": "v1"}), "bad_signature")


@pytest.mark.parametrize("kid", ["v2", "", "../v1", None, 1])
async def test_unknown_kid(app: App, ada: Account, kid: Any) -> None:
    header = {"alg": "HS256", "typ": "JWT"} | ({} if kid is None else {"kid": kid})
    signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, _payload(ada.token)))
    mac = hmac.new(await _key(app), signed.encode(), hashlib.sha256).digest()
    await _rejected(app, f"{signed}.{_b64(mac)}", "malformed" if kid == 1 else "unknown_key")


FORGERS_KEY = bytes(range(32))
SENT_ALONG: list[dict[str, Any]] = [
    {"jwk": {"kty": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(FORGERS_KEY).decode().rstrip("=")}},
    {"jku": "https://keys.example.com/jwks.json"},
    {"x5u": "https://keys.example.com/chain.pem"},
    {"x5c": [base64.b64encode(FORGERS_KEY).decode()]},
    {"x5t": "AAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    {"x5t#S256": hashlib.sha256(FORGERS_KEY).hexdigest()},
    {"crit": ["jwk"], "jwk": {"kty": "oct", "k": ""}},
]
"""Where a header may say that the key of its signature is (RFC 7515, 4.1)."""


@pytest.mark.parametrize("kid", ["v1", None, "https://keys.example.com/jwks.json"])
@pytest.mark.parametrize("sent", SENT_ALONG, ids=lambda sent: next(iter(sent)))
async def test_a_key_that_comes_with_the_token(app: App, ada: Account, sent: dict[str, Any], kid: str | None) -> None:
    """Signed with the key that its own header names: no header adds to the keys that count."""
    headers = sent | ({} if kid is None else {"kid": kid})
    forged = jwt.encode(_payload(ada.token), FORGERS_KEY, algorithm="HS256", headers=headers)
    if "crit" in sent:
        await _rejected(app, forged, "malformed")
    else:
        await _rejected(app, forged, "bad_signature" if kid == "v1" else "unknown_key")


@pytest.mark.parametrize(
    "changes",
    [
        {"tid": "11111111-1111-7111-8111-111111111111"},
        {"sub": "11111111-1111-7111-8111-111111111111"},
        {"sid": "11111111-1111-7111-8111-111111111111"},
    ],
)
async def test_a_signed_token_for_what_is_not_there(app: App, ada: Account, changes: dict[str, str]) -> None:
    forged = jwt.encode(_payload(ada.token) | changes, await _key(app), headers={"kid": "v1"})
    await _rejected(app, forged, "session_ended")


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "x"},
        {"sub": 7},
        {"sid": None},
        {"tid": 7},
        {"tid": ""},
        {"exp": "soon"},
        {"exp": True},
        {"iat": 1.5},
        {"role": "system_admin"},
        {"aud": "x"},
    ],
)
async def test_a_signed_token_of_another_form(app: App, ada: Account, changes: dict[str, Any]) -> None:
    await _rejected(app, jwt.encode(_payload(ada.token) | changes, await _key(app), headers={"kid": "v1"}), "malformed")


@pytest.mark.parametrize("missing", ["sub", "tid", "sid", "iat", "exp"])
async def test_a_signed_token_without_a_claim(app: App, ada: Account, missing: str) -> None:
    payload = _payload(ada.token)
    del payload[missing]
    await _rejected(app, jwt.encode(payload, await _key(app), headers={"kid": "v1"}), "malformed")


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "....", "x" * 5000, "ü.ü.ü", "null"])
async def test_what_is_no_token_at_all(app: App, token: str) -> None:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    assert_problem(await app.client.get("/v1/profile", headers=headers), 401, "invalid_token")


async def test_every_byte_of_a_token_counts(app: App, ada: Account) -> None:
    head, body, mac = ada.token.split(".")
    for position in range(0, len(body), 7):
        changed = body[:position] + ("A" if body[position] != "A" else "B") + body[position + 1 :]
        answer = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {head}.{changed}.{mac}"})
        assert answer.status_code == 401


async def test_a_session_of_another_user_of_the_tenant(app: App, ada: Account, grace: Account) -> None:
    """A token with one's own id and somebody else's session is no key to anything."""
    mixed = _payload(ada.token) | {"sid": _payload(grace.token)["sid"], "tid": grace.tenant_id}
    await _rejected(app, jwt.encode(mixed, await _key(app), headers={"kid": "v1"}), "session_ended")


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
