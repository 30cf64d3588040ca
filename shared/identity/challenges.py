"""Signing in with a second factor: a right password is answered with a challenge, and a code to it with tokens.

A challenge is a random secret, stored as a hash; its public part names tenant and record, so that looking it up is one
point read. It holds for five minutes and five tries, once, and only while the user's sessions do: a change of password,
role or status ends it like them.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from shared.audit.events.auth import AuthLogin
from shared.audit.events.mfa import MfaChallenge, MfaChallengeIssued, MfaRecoveryUsed
from shared.audit.model import ANONYMOUS, Actor, AuditEvent, Draft, Outcome, RequestContext, StoredEvent, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Unauthenticated, Unready
from shared.core.ids import IdFactory
from shared.identity.attempts import FailureCounter, Failures
from shared.identity.factors import Factors, Proof, Verdict, is_confirmed, written
from shared.identity.model import TENANT_ITEM, Tokens, user_key
from shared.identity.secret_links import hash_of
from shared.identity.sessions import Sessions
from shared.identity.tokens import TokenRejected
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, delete, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed

LIFETIME = timedelta(minutes=5)
TRIES = 5
ENDED = "challenge_ended"
_RACES = 20
_FORM = re.compile(r"kc_([A-Za-z0-9-]{1,64})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a client has to answer with a second factor."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Try:
    """One try: the challenge, whose it is, and everything that was read to judge it."""

    challenge: Item = field(repr=False)
    user: Item = field(repr=False)
    factor: Item = field(repr=False)
    failures: Failures = field(repr=False)
    proof: Proof
    request: RequestContext

    def draft(self, event: AuditEvent, outcome: Outcome = "success", reason: str | None = None) -> Draft:
        """An event of this try; whoever fails it is nobody that we know."""
        user_id, email = self.user["user_id"], self.user["email"]
        right = outcome == "success"
        return Draft(
            self.user["tenant_id"],
            event,
            self.request,
            outcome=outcome,
            reason=reason,
            actor=Actor("user", user_id, self.user["role"], email) if right else ANONYMOUS,
            target=Target("user", user_id, email),
            person=user_id,
            email_typed=None if right else email,
        )


class Challenges:
    """Issues challenges and takes the answers."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        sessions: Sessions,
        factors: Factors,
        counter: FailureCounter,
        clock: Clock,
        ids: IdFactory,
        random_text: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._sessions = sessions
        self._factors = factors
        self._counter = counter
        self._clock = clock
        self._ids = ids
        self._random_text = random_text

    async def after_password(self, user: Item, request: RequestContext) -> Challenge | None:
        """What a user whose password was right has to answer; None: nothing, there is no second factor."""
        if not user["mfa"]:
            return None
        tenant_id, user_id = user["tenant_id"], user["user_id"]
        challenge_id, secret, now = self._ids.new(), self._random_text(32), self._clock.now()
        challenge: Item = {
            "id": _key(challenge_id),
            "tenant_id": tenant_id,
            "kind": "challenge",
            "user_id": user_id,
            "secret_hash": hash_of(secret),
            "tries": 0,
            "valid_from": user["sessions_valid_from"],
            "created_at": rfc3339(now),
            "expires_at": rfc3339(now + LIFETIME),
            "ttl": int(LIFETIME.total_seconds()),
        }
        event = await self._recorder.finish(
            Draft(
                tenant_id,
                MfaChallengeIssued(factor="totp"),
                request,
                target=Target("user", user_id, user["email"]),
                person=user_id,
                email_typed=user["email"],
            )
        )
        await self._outbox.commit(IDENTITY, tenant_id, [create(challenge)], [event])
        return Challenge(f"kc_{tenant_id}.{challenge_id}.{secret}")

    async def finish(self, token: str, proof: Proof, request: RequestContext) -> Tokens:
        """The tokens of a new session for a right proof.

        TokenRejected: the challenge does not hold (any more). Unauthenticated (401 invalid_credentials), counted and
        audited: the proof is wrong. AccountLocked (423): see the counter.
        """
        form = _FORM.fullmatch(token)
        if form is None:
            raise TokenRejected("malformed")
        tenant_id, challenge_id, secret = form.groups()
        for _ in range(_RACES):
            challenge = await self._challenge(tenant_id, challenge_id, secret)
            user, factor, active = await self._account(challenge)
            session, tokens = await self._sessions.draft(user, mfa_at=self._clock.now())
            failures = await self._counter.read(user, request)
            this = _Try(challenge, user, factor, failures, proof, request)
            try:
                if not active:
                    await self._refuse(this)
                elif (verdict := await self._factors.judge(factor, proof)).reason is not None:
                    await self._count(this, verdict.reason)
                else:
                    await self._sign_in(this, verdict, session)
                    return tokens
            except (Conflict, PreconditionFailed, NotFound):
                continue  # another answer to this challenge, or another attempt on this account, was quicker
            raise Unauthenticated("invalid_credentials", "The second factor is wrong.")
        raise Unready("store_unavailable", "Too many attempts on this account at once.", retry_after_seconds=1)

    async def _challenge(self, tenant_id: str, challenge_id: str, secret: str) -> Item:
        try:
            found = await self._store.read(IDENTITY, (tenant_id,), _key(challenge_id))
        except NotFound:
            raise TokenRejected(ENDED) from None
        right = hmac.compare_digest(found["secret_hash"], hash_of(secret))
        if not right or found["expires_at"] <= rfc3339(self._clock.now()):
            raise TokenRejected(ENDED)
        return found

    async def _account(self, challenge: Item) -> tuple[Item, Item, bool]:
        """User and factor of a challenge, and whether user and organization are active.

        TokenRejected if it is not about these any more.
        """
        tenant_id, user_id = challenge["tenant_id"], challenge["user_id"]
        try:
            user, tenant, factor = await asyncio.gather(
                self._store.read(IDENTITY, (tenant_id,), user_key(user_id)),
                self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM),
                self._factors.read(tenant_id, user_id),
            )
        except NotFound:
            raise TokenRejected(ENDED) from None
        if user["sessions_valid_from"] != challenge["valid_from"] or factor is None or not is_confirmed(factor):
            raise TokenRejected(ENDED)
        return user, factor, user["status"] == "active" and tenant["status"] == "active"

    async def _refuse(self, this: _Try) -> None:
        """The account or its organization was suspended after the password was checked."""
        login = AuthLogin(attempt_count=this.failures.count)
        event = await self._recorder.finish(this.draft(login, "failure", "suspended"))
        await self._commit(this, [_removed(this.challenge)], [event])

    async def _count(self, this: _Try, reason: str) -> None:
        """A wrong proof: one try less, one failure more."""
        counted = await self._counter.counted(this.user, this.failures, this.request)
        tries = this.challenge["tries"] + 1
        left = {**this.challenge, "tries": tries}
        step = replace(left, this.challenge["_etag"]) if tries < TRIES else _removed(this.challenge)
        events = [
            await self._recorder.finish(this.draft(MfaChallenge(factor=this.proof.factor), "failure", reason)),
            await self._recorder.finish(this.draft(AuthLogin(attempt_count=counted.count), "failure", "mfa_failed")),
        ]
        await self._commit(this, [step, *counted.operations], [*events, *counted.events])

    async def _sign_in(self, this: _Try, verdict: Verdict, session: Item) -> None:
        events: list[AuditEvent] = [MfaChallenge(factor=this.proof.factor)]
        if this.proof.factor == "recovery":
            events.append(MfaRecoveryUsed(factor="recovery", remaining=len(verdict.item["recovery"])))
        events.append(AuthLogin(attempt_count=this.failures.count))
        cleared = self._counter.cleared(this.user, this.failures)
        await self._commit(
            this,
            [_removed(this.challenge), written(verdict.item), create(session), *cleared],
            [await self._recorder.finish(this.draft(event)) for event in events],
        )

    async def _commit(self, this: _Try, steps: list[BatchOperation], events: list[StoredEvent]) -> None:
        await self._outbox.commit(IDENTITY, this.user["tenant_id"], steps, events)


def _removed(challenge: Item) -> BatchOperation:
    return delete(challenge["id"], if_match=challenge["_etag"])


def _key(challenge_id: str) -> str:
    return f"challenge|{challenge_id}"
