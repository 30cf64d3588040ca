"""Signing shards: a checkpoint of all that is sealed, and never one that does not follow from the one before.

The one before is known twice: in the shard's head, and as a mark in another container (`marks`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.ledger.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from shared.ledger.keys import LedgerKeys
from shared.ledger.marks import Mark, Marked, Marks
from shared.ledger.merkle import ProofError, consistency_proof, consistency_ranges, verify_consistency
from shared.ledger.note import NoteError
from shared.ledger.pending import CLOCKS_DIFFER
from shared.ledger.shards import CHECKPOINT, BrokenShard, Head, SetBack, Shards, checkpoint_id, later_checkpoints
from shared.storage.containers import LEDGER
from shared.storage.documents import BatchOperation, DocumentStore, Item, Query, create
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


@dataclass(frozen=True, slots=True)
class Along:
    """A checkpoint that a sealer writes in one batch with what it covers: the head with it, and its document."""

    head: Head
    document: BatchOperation
    mark: Mark
    marked: Marked


class Checkpoints:
    """Issues checkpoints."""

    def __init__(self, store: DocumentStore, keys: LedgerKeys, clock: Clock) -> None:
        self._store = store
        self._shards = Shards(store)
        self._marks = Marks(store)
        self._keys = keys
        self._clock = clock

    def is_due(self, head: Head) -> bool:
        """Whether the last checkpoint of a shard is SIGN_EVERY old, or there is none, or it is of a time to come."""
        if head.signed_at is None:
            return True
        return not -CLOCKS_DIFFER <= self._clock.now() - parse_rfc3339(head.signed_at) < SIGN_EVERY

    async def along(self, tenant_id: str, before: Head, after: Head) -> Along | None:
        """A checkpoint of the tree that is about to be written, `after`, which was grown from the stored one, `before`.

        None where more has to be looked at than is at hand, to see that it follows from the one before: `issue` does.
        BrokenShard: it does not follow; SetBack: there is less than was signed. PreconditionFailed: there was more
        when that was read. StoreError, SecretsError.
        """
        marked = await self._marks.of(tenant_id)
        mark = marked.months.get(before.period)
        await self._check_not_set_back(tenant_id, before, mark)
        if mark is None or not 0 < mark.size == before.signed_size <= before.size:
            return None
        origin = self._keys.shard(tenant_id, before.period)
        stored = Checkpoint(origin, before.size, before.frontier().root())
        await self._check_growth(tenant_id, before, mark, stored)
        checkpoint = Checkpoint(origin, after.size, after.frontier().root())
        note = checkpoint.sign(await self._keys.signer(origin)).encode()
        signed, document = self._signed(tenant_id, after, note)
        return Along(signed, create(document), Mark(checkpoint.size, checkpoint.root), marked)

    async def keep(self, tenant_id: str, along: Along) -> None:
        """Keep the mark of a checkpoint once it was written. BrokenShard, StoreError."""
        await self._marks.keep(tenant_id, along.head.period, along.mark, along.marked)

    async def remember(self, tenant_id: str, head: Head, marked: Marked) -> None:
        """Bring the mark of a shard up to its last checkpoint: a crash left it behind. BrokenShard, StoreError."""
        last = await self._last(head, self._keys.shard(tenant_id, head.period))
        if last is not None:
            mark = Mark(last.checkpoint.size, last.checkpoint.root)
            await self._marks.keep(tenant_id, head.period, mark, marked)

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
            try:
                if last is not None and self._serves(head, last.checkpoint.size, at_least):
                    await self.check_mark(tenant_id, head)
                    return last
                return await self._sign(tenant_id, head, origin, last)
            except (Conflict, PreconditionFailed):
                continue
        raise Unavailable("the head of a shard is contended")

    def _serves(self, head: Head, signed_size: int, at_least: int | None) -> bool:
        if signed_size == head.size:
            return True
        if at_least is None or signed_size < at_least:
            return False
        return at_least > 0 or not self.is_due(head)

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
        marked = await self._marks.of(tenant_id)
        mark = marked.months.get(head.period)
        checkpoint = Checkpoint(origin, head.size, head.frontier().root())
        if await self._is_behind(tenant_id, head, mark):
            raise SetBack
        before = set() if last is None else {Mark(last.checkpoint.size, last.checkpoint.root)}
        for old in before | (set() if mark is None else {mark}):
            await self._check_growth(tenant_id, head, old, checkpoint)
        note = checkpoint.sign(await self._keys.signer(origin)).encode()
        if head.etag is None:  # nothing was sealed: nothing to keep it with
            return Issued(checkpoint, note, head)
        signed, document = self._signed(tenant_id, head, note)
        partition = (tenant_id, head.period)
        operations = [create(document), replaced(signed.item(tenant_id), head.etag)]
        written = await self._store.batch(LEDGER, partition, operations)
        await self._marks.keep(tenant_id, head.period, Mark(checkpoint.size, checkpoint.root), marked)
        return Issued(checkpoint, note, replace(signed, etag=(written[1] or {})["_etag"]))

    async def check_mark(self, tenant_id: str, head: Head) -> None:
        """SetBack when more was signed than a head has; PreconditionFailed: the head was read before that. BrokenShard:
        nobody can read what was signed."""
        await self._check_not_set_back(tenant_id, head, (await self._marks.of(tenant_id)).months.get(head.period))

    async def _check_not_set_back(self, tenant_id: str, head: Head, mark: Mark | None) -> None:
        if mark is not None and mark.size > head.size and await self._is_behind(tenant_id, head, mark):
            raise SetBack

    def _signed(self, tenant_id: str, head: Head, note: str) -> tuple[Head, Item]:
        """A head with the checkpoint of all that it has, and the checkpoint's document."""
        now = rfc3339(self._clock.now())
        document: Item = {
            "id": checkpoint_id(head.size),
            "tenant_id": tenant_id,
            "period": head.period,
            "kind": CHECKPOINT,
            "size": head.size,
            "signed_at": now,
            "note": note,
        }
        return replace(head, signed_size=head.size, signed_at=now, note=note), document

    async def _is_behind(self, tenant_id: str, head: Head, mark: Mark | None) -> bool:
        """Whether as much or more was signed than the head says there is: it was set back.

        PreconditionFailed: it was read before that was signed.
        """
        if mark is None or mark.size <= head.size:
            later = Query((later_checkpoints(head.size - 1),), limit=1)
            if not (await self._store.query(LEDGER, (tenant_id, head.period), later)).items:
                return False
        if (await self._shards.head(tenant_id, head.period)).etag != head.etag:
            raise PreconditionFailed("the shard grew meanwhile")
        return True

    async def _check_growth(self, tenant_id: str, head: Head, old: Mark, new: Checkpoint) -> None:
        """BrokenShard unless the tree that is stored, `new`, begins with what was signed."""
        if old.size == 0:
            return
        reader = await self._shards.reader(tenant_id, head, consistency_ranges(old.size, new.size))
        try:
            path = consistency_proof(old.size, new.size, reader)
            verify_consistency(old.size, new.size, path, old.root, new.root)
        except ProofError as error:
            raise BrokenShard("tile", f"the tree does not begin with the one that was signed: {error}") from None
