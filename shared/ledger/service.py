"""What the ledger tells of itself: checkpoints, keys, proofs, tiles. No proof and no entry leaves here that does not
lead to what was signed; where what is stored cannot, that is recorded (`ledger.verify_failed`), and the answer is an
error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.audit.model import RequestContext
from shared.core.clock import Clock, period_end, period_of
from shared.core.errors import Clash, FieldError, Invalid, NotFoundError
from shared.core.ids import time_of
from shared.ledger.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
from shared.ledger.checkpoints import Checkpoints, Issued
from shared.ledger.keys import LedgerKeys
from shared.ledger.merkle import (
    ProofError,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    leaf_hashes,
    range_hash,
    verify_consistency,
    verify_inclusion,
)
from shared.ledger.note import NoteError, VerifierKey, parse_note
from shared.ledger.proof import Proof
from shared.ledger.shards import BrokenShard, Entry, Head, Shards, head_id, is_period
from shared.ledger.statements import Statements
from shared.ledger.tiles import ENTRIES, WIDTH, Tile, TileError, encode_bundle, parse_path, width_of
from shared.storage.documents import Cursor


@dataclass(frozen=True, slots=True)
class Proven:
    """An event's entry and the proof that it is sealed."""

    period: str
    entry: Entry
    proof: Proof

    def body(self) -> dict[str, Any]:
        """The JSON shape of the API."""
        return self.proof.body(self.entry.event_id, self.period, self.entry.text)


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key under a name, and when it signed: from, and up to (None: it signs now)."""

    vkey: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the first entries of a shard are what a smaller checkpoint covers: the hashes that show it."""

    period: str
    old_size: int
    size: int
    path: tuple[bytes, ...]


class Ledger:
    """Answers about the shards of one deployment. Every call names its tenant."""

    def __init__(
        self,
        shards: Shards,
        checkpoints: Checkpoints,
        keys: LedgerKeys,
        statements: Statements,
        clock: Clock,
        ttl_days: int,
    ) -> None:
        self._shards = shards
        self._checkpoints = checkpoints
        self._keys = keys
        self._statements = statements
        self._clock = clock
        self._retention_seconds = ttl_days * 86_400

    @property
    def present(self) -> str:
        """The month that events are recorded in now."""
        return period_of(self._clock.now())

    def is_over(self, period: str) -> bool:
        """Whether a month's retention has ended: its head is left, nothing else."""
        return self._clock.now().timestamp() >= period_end(period) + self._retention_seconds

    async def checkpoint(self, tenant_id: str, period: str, request: RequestContext, *, newest: bool = False) -> Issued:
        """A checkpoint of a shard: of all that is sealed with `newest`, else one that may be some seconds old.

        Of a month whose retention is over it is the last one. Clash `ledger_broken`.
        """
        async with self._guarded(tenant_id, period, request):
            if self.is_over(period):
                head = await self._shards.head(tenant_id, period)
                return await self._checkpoints.issue(tenant_id, period, at_least=max(0, head.signed_size))
            return await self._checkpoints.issue(tenant_id, period, at_least=None if newest else 0)

    async def witnessed(self, tenant_id: str, period: str, request: RequestContext) -> str:
        """The newest checkpoint that the witness cosigned. NotFoundError `not_witnessed` when there is none."""
        async with self._guarded(tenant_id, period, request):
            head = await self._shards.head(tenant_id, period)
        if head.witnessed_size and head.witnessed_size == head.signed_size and head.note is not None:
            return head.note
        item = await self._shards.checkpoint(tenant_id, period, head.witnessed_size) if head.witnessed_size else None
        if item is None:
            raise NotFoundError("not_witnessed", "No witness has cosigned a checkpoint of this month.")
        return str(item["note"])

    async def vkeys(self, tenant_id: str, period: str, request: RequestContext) -> list[NamedKey]:
        """Every key that signs or signed, under the name of a shard: the one that signs now is the first.

        Clash `ledger_broken`.
        """
        name = self._keys.shard(tenant_id, period)
        async with self._guarded(tenant_id, period, request):
            current = (await self._keys.signer(name)).verifier.public_key  # publishes it, if it is new
            published = sorted(await self._keys.published(), key=lambda each: each.public_key != current)
        return [NamedKey(VerifierKey(name, each.public_key).encode(), each.since, each.until) for each in published]

    async def shards(
        self, tenant_id: str, limit: int, after: Cursor | None, request: RequestContext
    ) -> tuple[list[dict[str, Any]], Cursor | None]:
        """A page of a tenant's shards, the newest month first, as the API shows them; and the next page's cursor.

        What somebody put there that is no month's is recorded and left out. Clash `ledger_broken`.
        """
        found = await self._shards.page(tenant_id, limit, after)
        shown = []
        for item in found.items:
            period = item["period"]
            if not is_period(period) or item["id"] != head_id(period):
                await self._statements.found(tenant_id, self.present, "head", "no_month", request, found=item["id"])
                continue
            async with self._guarded(tenant_id, period, request):
                shown.append(self._shown(Head.of(item)))
        return shown, found.next

    def _shown(self, head: Head) -> dict[str, Any]:
        return {
            "period": head.period,
            "size": head.size,
            "signed_size": None if head.note is None else head.signed_size,
            "signed_at": head.signed_at,
            "witnessed_size": head.witnessed_size or None,
            "expired": self.is_over(head.period),
        }

    async def prove(self, tenant_id: str, event_id: str, request: RequestContext) -> Proven | None:
        """The proof that an event is sealed, under a checkpoint that covers it; None when no such event is sealed.

        Clash `ledger_broken` when what is stored does not lead to what was signed.
        """
        try:
            period = period_of(time_of(event_id))
        except ValueError:
            period = self.present  # no id of ours: it takes as long to find nothing
        async with self._guarded(tenant_id, period, request):
            entry = await self._shards.entry(tenant_id, period, event_id)
            if entry is None:
                return None
            issued = await self._checkpoints.issue(tenant_id, period, at_least=entry.index + 1)
            checkpoint = issued.checkpoint
            try:
                ranges = inclusion_ranges(entry.index, checkpoint.size)
                reader = await self._shards.reader(tenant_id, issued.head, ranges, checkpoint.size)
                path = tuple(inclusion_proof(entry.index, checkpoint.size, reader))
                verify_inclusion(leaf_hash(entry.text), entry.index, checkpoint.size, path, checkpoint.root)
            except ProofError as error:
                raise BrokenShard("entries", f"an entry does not lead to the signed root: {error}") from None
            return Proven(period, entry, Proof(entry.index, path, issued.note))

    async def consistency(
        self, tenant_id: str, period: str, old_size: int, size: int | None, request: RequestContext
    ) -> Consistency:
        """The proof that a shard of `size` entries begins with what it was at `old_size`.

        `size` None: that of the last checkpoint. Invalid (422) for sizes that the shard never had. NotFoundError
        `period_expired`; Clash `ledger_broken`.
        """
        self.check_kept(period)
        async with self._guarded(tenant_id, period, request):
            issued = await self._checkpoints.issue(tenant_id, period, at_least=0)
            head, wanted = issued.head, issued.checkpoint.size if size is None else size
            if not 0 < wanted <= head.size:
                raise _outside("to", f"must be from 1 to {head.size}, the size of the ledger")
            if not 0 < old_size <= wanted:
                raise _outside("from", f"must be from 1 to {wanted}")
            ranges = [*consistency_ranges(old_size, wanted), (0, old_size), (0, wanted)]
            reader = await self._shards.reader(tenant_id, head, ranges, wanted)
            roots = {each: range_hash((0, each), reader) for each in (old_size, wanted)}
            path = tuple(consistency_proof(old_size, wanted, reader))
            try:
                verify_consistency(old_size, wanted, path, roots[old_size], roots[wanted])
            except ProofError as error:
                raise BrokenShard("tile", f"the tree does not agree with itself: {error}") from None
            for each, root in roots.items():
                signed = await self._signed(tenant_id, period, each)
                if signed is not None and signed.root != root:
                    raise BrokenShard("tile", "the tree does not lead to a root that was signed")
            return Consistency(period, old_size, wanted, path)

    async def tile(self, tenant_id: str, period: str, path: str, request: RequestContext) -> tuple[Tile, bytes]:
        """A tile or entry bundle by its path in tlog-tiles, behind `tile/`. NotFoundError where the shard has none."""
        self.check_kept(period)
        try:
            tile = parse_path(f"tile/{path}")
        except TileError:
            raise NotFoundError("not_found", "The ledger has no such tile.") from None
        async with self._guarded(tenant_id, period, request):
            head = await self._shards.head(tenant_id, period)
            if tile.width > width_of(tile.level, tile.index, head.size):
                raise NotFoundError("not_found", "The ledger has no such tile.")
            if tile.level == ENTRIES:
                entries = await self.entries(tenant_id, head, tile.index, tile.width)
                return tile, encode_bundle(each.text for each in entries)
            return tile, (await self._shards.tiles(tenant_id, head, [tile]))[tile]

    async def entries(self, tenant_id: str, head: Head, number: int, width: int) -> list[Entry]:
        """The entries of an entry bundle, once they have the hashes that the tree was made of. BrokenShard."""
        start = number * WIDTH
        pages = self._shards.entries(tenant_id, head.period, start, start + width)
        entries = [entry async for page in pages for entry in page]
        tile = Tile(0, number, width)
        sealed = (await self._shards.tiles(tenant_id, head, [tile]))[tile]
        if b"".join(leaf_hashes(each.text for each in entries)) != sealed:
            raise BrokenShard("entries", f"entries of bundle {number} are not those that were sealed")
        return entries

    def check_kept(self, period: str) -> None:
        """NotFoundError `period_expired` for a month whose retention is over."""
        if self.is_over(period):
            raise _expired()

    async def _signed(self, tenant_id: str, period: str, size: int) -> Checkpoint | None:
        """The checkpoint that was signed at a size, if one was. BrokenShard when it is none."""
        item = await self._shards.checkpoint(tenant_id, period, size)
        if item is None:
            return None
        try:
            return parse_checkpoint(parse_note(item["note"].encode()).text)
        except (NoteError, CheckpointError, KeyError, AttributeError) as error:
            raise BrokenShard("head", f"a stored checkpoint is none: {error}") from None

    @asynccontextmanager
    async def _guarded(self, tenant_id: str, period: str, request: RequestContext) -> AsyncIterator[None]:
        """Turn BrokenShard into Clash `ledger_broken`, once the trail says so."""
        try:
            yield
        except BrokenShard as error:
            raise await self.broken(tenant_id, period, error, request) from error

    async def broken(
        self, tenant_id: str, period: str, error: BrokenShard, request: RequestContext
    ) -> Clash | NotFoundError:
        """The answer where a shard is not as it was left, after recording that; or where its retention ended now."""
        if self.is_over(period):
            return _expired()
        await self._statements.broken(tenant_id, period, error, request)
        return Clash("ledger_broken", "What is stored is not what was sealed. Nothing can be proven with it.")


def _outside(field: str, message: str) -> Invalid:
    return Invalid(
        "invalid_request", "Some fields are not as they must be.", errors=(FieldError(field, "range", message),)
    )


def _expired() -> NotFoundError:
    return NotFoundError("period_expired", "The retention of this month is over; only its last checkpoint is left.")
