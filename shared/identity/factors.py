"""The stored form of a user's second factor, and what a code makes of it. Whoever calls writes the change.

One item per user. Of the secret only a sealed form is stored, of recovery codes only hashes. A secret is pending until
a code confirms it; a new one may be pending beside the one that counts. `last_step` is the time step of the last code
that was taken: only a later one is taken after it, also of two calls at once, for the item is written under its etag.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from shared.audit.events.mfa import Factor
from shared.core.clock import Clock, rfc3339
from shared.identity import one_time_codes as codes
from shared.privacy.secret_boxes import SecretBoxes
from shared.storage.containers import IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, find_item, replace

PENDING_FOR = timedelta(minutes=10)
PENDING_TRIES = 5
_NEVER = -1


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody shows as a second factor: a one-time code, or a recovery code."""

    factor: Factor
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a proof (None: nothing), and the item that remembers that it was shown."""

    reason: str | None
    item: Item = field(repr=False)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A factor that counts from now on, and its recovery codes, which are shown this once."""

    item: Item = field(repr=False)
    recovery_codes: list[str] = field(repr=False)


def factor_key(user_id: str) -> str:
    """The id of the item of a user's second factor in its tenant's partition."""
    return f"mfa|{user_id}"


def is_confirmed(held: Item | None) -> bool:
    """Whether there is a factor that counts."""
    return held is not None and held["secret"] is not None


def written(item: Item) -> BatchOperation:
    """The step that stores a factor, unless another call changed it meanwhile."""
    return replace(item, if_match=item["_etag"]) if "_etag" in item else create(item)


class Factors:
    """Reads factors and judges proofs."""

    def __init__(
        self,
        store: DocumentStore,
        boxes: SecretBoxes,
        clock: Clock,
        new_secret: Callable[[], str] = codes.new_secret,
        new_recovery_codes: Callable[[], list[str]] = codes.new_recovery_codes,
    ) -> None:
        self._store = store
        self._boxes = boxes
        self._clock = clock
        self._new_secret = new_secret
        self._new_recovery_codes = new_recovery_codes

    async def read(self, tenant_id: str, user_id: str) -> Item | None:
        """A user's factor, pending or confirmed."""
        return await find_item(self._store, IDENTITY, (tenant_id,), factor_key(user_id))

    async def begun(self, tenant_id: str, user_id: str, held: Item | None) -> tuple[Item, str]:
        """The factor with a new secret pending, in place of one that was pending before; and that secret."""
        secret = self._new_secret()
        item: Item = held or {
            "id": factor_key(user_id),
            "tenant_id": tenant_id,
            "kind": "mfa",
            "user_id": user_id,
            "secret": None,
            "last_step": _NEVER,
            "recovery": [],
        }
        pending = {
            "secret": await self._boxes.seal("mfa", tenant_id, user_id, secret),
            "until": rfc3339(self._clock.now() + PENDING_FOR),
            "tries": 0,
        }
        # Nobody needs a factor that never came to be; one that counts stays for good.
        ttl = {} if is_confirmed(held) else {"ttl": int(2 * PENDING_FOR.total_seconds())}
        return {**item, "pending": pending, **ttl}, secret

    def pending(self, held: Item | None) -> bool:
        """Whether a secret waits to be confirmed."""
        pending = held["pending"] if held is not None else None
        return pending is not None and pending["until"] > rfc3339(self._clock.now())

    async def confirmed(self, held: Item, code: str) -> Confirmed | Item:
        """The factor with its pending secret confirmed by a code; after a wrong one, the factor that counts the try.

        After five wrong ones the secret is dropped. These say nothing of who it is: whoever asks was told the secret.
        """
        pending = held["pending"]
        step = await self._step(held, pending["secret"], code)
        if step is None:
            tries = pending["tries"] + 1
            return {**held, "pending": {**pending, "tries": tries} if tries < PENDING_TRIES else None}
        recovery_codes = self._new_recovery_codes()
        item = {
            **held,
            "secret": pending["secret"],
            "last_step": step,
            "recovery": [codes.recovery_hash(each) for each in recovery_codes],
            "pending": None,
        }
        item.pop("ttl", None)
        return Confirmed(item, recovery_codes)

    async def judge(self, held: Item, proof: Proof) -> Verdict:
        """Whether a proof is right for a confirmed factor, and was not shown before."""
        if proof.factor == "recovery":
            found = codes.matching_hash(held["recovery"], proof.code)
            left = [each for each in held["recovery"] if each != found]
            return Verdict("wrong_code" if found is None else None, {**held, "recovery": left})
        step = await self._step(held, held["secret"], proof.code)
        if step is None:
            return Verdict("wrong_code", held)
        if step <= held["last_step"]:
            return Verdict("replayed", held)
        return Verdict(None, {**held, "last_step": step})

    async def _step(self, held: Item, box: dict[str, str], code: str) -> int | None:
        secret = await self._boxes.open("mfa", held["tenant_id"], held["user_id"], box)
        return codes.matching_step(secret, code, self._clock.now())
