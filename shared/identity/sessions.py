"""Sessions: what proves that someone signed in, kept in the store, so that ending one ends it everywhere at once."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.ids import IdFactory
from shared.identity.model import Tokens, session_key
from shared.identity.secret_links import hash_of
from shared.identity.tokens import AccessTokens, Claims, new_family, new_refresh_token
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
        self, user: Item, *, mfa_at: datetime | None = None, enrollment_only: bool = False
    ) -> tuple[Item, Tokens]:
        """A new session, for the caller to write in the batch of whatever opens it, and its tokens.

        `user`: as it was when it was found that it may be opened; what ends all its sessions meanwhile ends this one,
        too. `mfa_at`: when a second factor was shown in it. `enrollment_only`: good for enrolling one and nothing else.
        """
        tenant_id, user_id = user["tenant_id"], user["user_id"]
        session_id, now = self._ids.new(), self._clock.now()
        family = new_family()
        refresh_token, refresh_hash = new_refresh_token(tenant_id, session_id, family)
        session: Item = {
            "id": session_key(session_id),
            "tenant_id": tenant_id,
            "kind": "session",
            "session_id": session_id,
            "user_id": user_id,
            "family_hash": hash_of(family),
            "refresh_hash": refresh_hash,
            "created_at": rfc3339(now),
            "refreshed_at": rfc3339(now),
            "epoch": user["sessions_valid_from"],
            "expires_at": rfc3339(now + self._limits.absolute),
            "idle_expires_at": rfc3339(now + self._limits.idle),
            "mfa_at": None if mfa_at is None else rfc3339(mfa_at),
            "enrollment_only": enrollment_only,
            "ttl": int(self._limits.absolute.total_seconds()),
        }
        return session, await self._issued(session, refresh_token)

    async def renew(self, session: Item, family: str, now: datetime) -> tuple[Item, Tokens]:
        """The session under a new refresh token, for the caller to write in place of the old one, and its tokens."""
        refresh_token, refresh_hash = new_refresh_token(session["tenant_id"], session["session_id"], family)
        left = parse_rfc3339(session["expires_at"]) - now
        renewed = {
            **session,
            "refresh_hash": refresh_hash,
            "refreshed_at": rfc3339(now),
            "idle_expires_at": rfc3339(now + self._limits.idle),
            "ttl": max(1, math.ceil(left.total_seconds())),
        }
        return renewed, await self._issued(session, refresh_token)

    async def _issued(self, session: Item, refresh_token: str) -> Tokens:
        claims = Claims(session["user_id"], session["tenant_id"], session["session_id"])
        return Tokens(await self._tokens.issue(claims), refresh_token, int(self._tokens.lifetime.total_seconds()))


def holds(session: Item, user: Item, now: datetime) -> bool:
    """Whether a session of a user has neither ended by itself nor been ended with all the others."""
    moment = rfc3339(now)
    return bool(
        session["user_id"] == user["user_id"]
        and session["expires_at"] > moment
        and session["idle_expires_at"] > moment
        and session["epoch"] == user["sessions_valid_from"]
    )


def ended_before(user: Item, now: datetime) -> str:
    """The `sessions_valid_from` of a user that ends every session opened under the present one, and no later one."""
    return rfc3339(max(now, parse_rfc3339(user["sessions_valid_from"])) + timedelta(microseconds=1))
