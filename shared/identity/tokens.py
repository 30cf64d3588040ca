"""Access tokens (JWT, HS256, claims sub, tid, sid, iat, exp) and refresh tokens (random, stored as a hash).

The signing key derives from the `tokens` root secret; `kid` names its version, so keys rotate without logging
anyone out: older versions still verify, and a new one signs only when every instance knows it (docs/adr/0011).
"""

import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt

from shared.core.clock import Clock
from shared.identity.secret_links import hash_of
from shared.privacy.secrets import SecretsPort, SecretVersion, derive, signing_version

_ALGORITHM = "HS256"
_CLAIMS = ("sub", "tid", "sid", "iat", "exp")
_LEEWAY_SECONDS = 60
MAX_TOKEN_LENGTH = 2048


class TokenRejected(Exception):
    """A token does not hold; `reason` is a machine code and says nothing of the token's content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says."""

    user_id: str
    tenant_id: str
    session_id: str


class AccessTokens:
    """Issues and checks access tokens."""

    def __init__(self, secrets_port: SecretsPort, clock: Clock, lifetime: timedelta) -> None:
        self._secrets = secrets_port
        self._clock = clock
        self.lifetime = lifetime

    async def issue(self, claims: Claims) -> str:
        """A token for one session, valid from now. SecretsError (503) when there is no key to be had."""
        moment = self._clock.now()
        root = signing_version(await self._secrets.versions("tokens"), moment, self.lifetime)
        now = int(moment.timestamp())
        payload = {
            "sub": claims.user_id,
            "tid": claims.tenant_id,
            "sid": claims.session_id,
            "iat": now,
            "exp": now + int(self.lifetime.total_seconds()),
        }
        return jwt.encode(payload, _key(root), algorithm=_ALGORITHM, headers={"kid": root.version})

    async def check(self, token: str) -> Claims:
        """The claims of a token that we signed and that has not expired. TokenRejected otherwise.

        SecretsError (503) when nobody can tell, because the key that it names is not known and cannot be asked for.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenRejected("malformed")
        kid = _kid(token)
        root = None if kid is None else await self._secrets.find("tokens", kid)
        if root is None:
            raise TokenRejected("unknown_key")
        signed = _signed(token, root)
        now = self._clock.now().timestamp()
        if signed.expires_at <= now or signed.issued_at > now + _LEEWAY_SECONDS:
            raise TokenRejected("expired")
        return signed.claims


@dataclass(frozen=True, slots=True)
class _Signed:
    """What a token with a good signature says, whenever it is or was valid (times: Unix seconds)."""

    claims: Claims
    issued_at: int
    expires_at: int


@functools.lru_cache(maxsize=4096)
def _kid(token: str) -> str | None:
    """The version of the root secret that a token says it was signed under."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        raise TokenRejected("malformed") from None
    return kid if isinstance(kid, str) else None


@functools.lru_cache(maxsize=4096)
def _signed(token: str, root: SecretVersion) -> _Signed:
    """What a token signed under this root says. TokenRejected otherwise.

    The same token under the same key always gives the same, so it is kept; a rejection is not. Whether the token
    still holds (its times, its session, its user) is for the caller to check at every call.
    """
    payload = _decode(token, root)
    signature = token.rpartition(".")[2]
    if jwt.utils.base64url_encode(jwt.utils.base64url_decode(signature)).decode() != signature:
        raise TokenRejected("malformed")  # another spelling of the same bytes: header and claims are signed as spelled
    return _read(payload)


def _read(payload: dict[str, Any]) -> _Signed:
    if set(payload) != set(_CLAIMS) or not all(type(payload[name]) is int for name in ("iat", "exp")):
        raise TokenRejected("malformed")
    try:
        ids = [str(UUID(payload[name])) for name in ("sub", "sid")]
    except (ValueError, AttributeError, TypeError):
        raise TokenRejected("malformed") from None
    tenant_id = payload["tid"]
    if not isinstance(tenant_id, str) or not tenant_id:
        raise TokenRejected("malformed")
    return _Signed(Claims(ids[0], tenant_id, ids[1]), payload["iat"], payload["exp"])


def _decode(token: str, root: SecretVersion) -> dict[str, Any]:
    # Times are checked by us, against the injected clock.
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_sub": False, "require": list(_CLAIMS)}
    try:
        return jwt.decode(token, _key(root), algorithms=[_ALGORITHM], options=options)
    except jwt.InvalidSignatureError:
        raise TokenRejected("bad_signature") from None
    except jwt.PyJWTError:
        raise TokenRejected("malformed") from None


def _key(root: SecretVersion) -> bytes:
    return derive(root.value, "access-token")


def new_refresh_token(
    tenant_id: str, session_id: str, family: str, random_text: Callable[[int], str] = secrets.token_urlsafe
) -> tuple[str, str]:
    """A refresh token and the hash that is stored. Its public part names tenant and session: one point read."""
    secret = random_text(32)
    return f"kr_{tenant_id}.{session_id}.{family}.{secret}", hash_of(secret)


def new_family(random_text: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """What all refresh tokens of a session have in common."""
    return random_text(16)
