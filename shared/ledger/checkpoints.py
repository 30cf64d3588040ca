"""Signing shards: a checkpoint of all that is sealed, and never one that does not follow from the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.ledger.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from shared.ledger.keys import LedgerKeys
from shared.ledger.merkle import ProofError, consistency_proof, consistency_ranges, verify_consistency
from shared.ledger.note import NoteError
from shared.ledger.shards import CHECKPOINT, BrokenShard, Head, Shards, checkpoint_id, later_checkpoints
from shared.storage.containers import LEDGER
from shared.storage.documents import DocumentStore, Item, Query, create
from shared.storage.documents import replace as replaced
from shared.storage.errors import Conflict, PreconditionFailed, Unavailable

SIGN_EVERY = timedelta(seconds=10)
_RACES = 10


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed checkpoint of a shard: what it says, the note, and the head that it was found in."""

    checkpoint: Checkpoint
    note: str
    head: Head


class Checkpoints:
    """Issues checkpoints."""

    def __init__(self, store: DocumentStore, keys: LedgerKeys, clock: Clock) -> None:
        self._store = store
        self._shards = Shards(store)
        self._keys = keys
        self._clock = clock

    async def issue(self, tenant_id: str, period: str, *, at_least: int | None = None) -> Issued:
        """A signed checkpoint of a shard.

        `at_least`: the last one that was signed serves if it is of so many entries; it serves as well when it is
        younger than SIGN_EVERY and `at_least` is 0. None: of all that is sealed. BrokenShard: what is stored does not
        follow from what was signed, and is not signed. StoreError, SecretsError.
        """
        origin = self._keys.shard(tenant_id, period)
        for _ in range(_RACES):
            head = await self._shards.head(tenant_id, period)
            last = await self._last(head, origin)
            if last is not None and self._serves(head, last.checkpoint.size, at_least):
                return last
            try:
                return await self._sign(tenant_id, head, origin, last)
            except (Conflict, PreconditionFailed):
                continue
        raise Unavailable("the head of a shard is contended")

    def _serves(self, head: Head, signed_size: int, at_least: int | None) -> bool:
        if signed_size == head.size:
            return True
        if at_least is None or signed_size < at_least:
            return False
        signed_at = head.signed_at
        return at_least > 0 or (signed_at is not None and self._clock.now() - parse_rfc3339(signed_at) < SIGN_EVERY)

    async def _last(self, head: Head, origin: str) -> Issued | None:
        """The last checkpoint of a shard, if there is one. BrokenShard when it is not one that we signed."""
        if head.note is None:
            return None
        try:
            checkpoint, _ = open_checkpoint(head.note.encode(), origin, await self._keys.verifiers(origin))
        except (NoteError, CheckpointError) as error:
            raise BrokenShard("head", f"the last checkpoint does not verify: {error}") from None
        if not checkpoint.size == head.signed_size <= head.size:
            raise BrokenShard("head", "the last checkpoint is not of the size that the head says")
        return Issued(checkpoint, head.note, head)

    async def _sign(self, tenant_id: str, head: Head, origin: str, last: Issued | None) -> Issued:
        checkpoint = Checkpoint(origin, head.size, head.frontier().root())
        if await self._is_behind(tenant_id, head):
            raise BrokenShard("head", "a checkpoint of a larger tree was signed")
        if last is not None:
            await self._check_growth(tenant_id, head, last.checkpoint, checkpoint)
        note = checkpoint.sign(await self._keys.signer(origin)).encode()
        if head.etag is None:  # nothing was sealed: nothing to keep it with
            return Issued(checkpoint, note, head)
        now = rfc3339(self._clock.now())
        signed = replace(head, signed_size=head.size, signed_at=now, note=note)
        document: Item = {
            "id": checkpoint_id(head.size),
            "tenant_id": tenant_id,
            "period": head.period,
            "kind": CHECKPOINT,
            "size": head.size,
            "signed_at": now,
            "note": note,
        }
        partition = (tenant_id, head.period)
        operations = [create(document), replaced(signed.item(tenant_id), head.etag)]
        written = await self._store.batch(LEDGER, partition, operations)
        return Issued(checkpoint, note, replace(signed, etag=(written[1] or {})["_etag"]))

    async def _is_behind(self, tenant_id: str, head: Head) -> bool:
        """Whether more was signed than the head says there is: it was set back."""
        later = Query((later_checkpoints(head.size),), limit=1)
        found = await self._store.query(LEDGER, (tenant_id, head.period), later)
        if not found.items:
            return False
        if (await self._shards.head(tenant_id, head.period)).etag != head.etag:
            raise PreconditionFailed("the shard grew meanwhile")
        return True

    async def _check_growth(self, tenant_id: str, head: Head, old: Checkpoint, new: Checkpoint) -> None:
        """BrokenShard unless the tree that is stored begins with the one that was signed."""
        if old.size == 0:
            return
        reader = await self._shards.reader(tenant_id, head, consistency_ranges(old.size, new.size))
        try:
            path = consistency_proof(old.size, new.size, reader)
            verify_consistency(old.size, new.size, path, old.root, new.root)
        except ProofError as error:
            raise BrokenShard("tile", f"the tree does not begin with the one that was signed: {error}") from None
