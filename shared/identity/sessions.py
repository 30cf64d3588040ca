"""Sessions: what proves that someone signed in, kept in the store, so that ending one ends it everywhere at once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.clock import Clock, rfc3339
from shared.core.ids import IdFactory
from shared.identity.model import Tokens, session_key
from shared.identity.tokens import AccessTokens, Claims, new_refresh_token
from shared.storage.documents import Item


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lives at most, and without being refreshed."""

    absolute: timedelta
    idle: timedelta


class Sessions:
    """Makes sessions and their tokens, and says whether one still holds."""

    def __init__(self, tokens: AccessTokens, clock: Clock, ids: IdFactory, limits: SessionLimits) -> None:
        self._tokens = tokens
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def draft(
        self, tenant_id: str, user_id: str, *, mfa_at: datetime | None = None, enrollment_only: bool = False
    ) -> tuple[Item, Tokens]:
        """A new session, for the caller to write in the batch of whatever opens it, and its tokens.

        `mfa_at`: when a second factor was shown in it. `enrollment_only`: good for enrolling one and nothing else.
        """
        session_id, now = self._ids.new(), self._clock.now()
        refresh_token, refresh_hash = new_refresh_token(tenant_id, session_id)
        session: Item = {
            "id": session_key(session_id),
            "tenant_id": tenant_id,
            "kind": "session",
            "session_id": session_id,
            "user_id": user_id,
            "refresh_hash": refresh_hash,
            "created_at": rfc3339(now),
            "renewed_at": rfc3339(now),
            "expires_at": rfc3339(now + self._limits.absolute),
            "idle_expires_at": rfc3339(now + self._limits.idle),
            "mfa_at": None if mfa_at is None else rfc3339(mfa_at),
            "enrollment_only": enrollment_only,
            "ttl": int(self._limits.absolute.total_seconds()),
        }
        access_token = await self._tokens.issue(Claims(user_id, tenant_id, session_id))
        return session, Tokens(access_token, refresh_token, int(self._tokens.lifetime.total_seconds()))


def holds(session: Item, user: Item, now: datetime) -> bool:
    """Whether a session of a user has neither ended by itself nor been ended with all the others."""
    moment = rfc3339(now)
    return bool(
        session["user_id"] == user["user_id"]
        and session["expires_at"] > moment
        and session["idle_expires_at"] > moment
        and session["renewed_at"] >= user["sessions_valid_from"]
    )


def ended_before(now: datetime) -> str:
    """The `sessions_valid_from` of a user that ends every session opened until now."""
    return rfc3339(now + timedelta(microseconds=1))
