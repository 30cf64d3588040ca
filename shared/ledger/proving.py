"""Proofs of many events of one shard at once, all under one checkpoint: entries and tiles are read once for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from shared.ledger.checkpoint import Checkpoint
from shared.ledger.merkle import ProofError, inclusion_proof, inclusion_ranges, leaf_hash, verify_inclusion
from shared.ledger.shards import BrokenShard, Entry, SetBack, Shards

SLICE = 20
"""Proofs that are made before others get a turn."""


@dataclass(frozen=True, slots=True)
class Included:
    """A sealed event, and the hashes from its leaf's sibling up to the root of the checkpoint."""

    entry: Entry
    path: tuple[bytes, ...]


async def prove_each(
    shards: Shards, tenant_id: str, period: str, checkpoint: Checkpoint, event_ids: Sequence[str]
) -> dict[str, Included]:
    """The proofs of those of some events (1,000 at most) that a checkpoint covers, by id.

    BrokenShard when what is stored does not lead to the checkpoint.
    """
    entries = await shards.entries_of(tenant_id, period, event_ids)
    covered = [each for each in entries if each.index < checkpoint.size]
    if not covered:
        return {}
    head = await shards.head(tenant_id, period)
    if head.size < checkpoint.size:
        raise SetBack
    try:
        ranges = [part for each in covered for part in inclusion_ranges(each.index, checkpoint.size)]
        reader = cache(await shards.reader(tenant_id, head, ranges, checkpoint.size))
        found = {}
        for number, entry in enumerate(covered, 1):
            path = tuple(inclusion_proof(entry.index, checkpoint.size, reader))
            verify_inclusion(leaf_hash(entry.text), entry.index, checkpoint.size, path, checkpoint.root)
            found[entry.event_id] = Included(entry, path)
            if number % SLICE == 0:
                await asyncio.sleep(0)
    except ProofError as error:
        raise BrokenShard("entries", f"an entry does not lead to the signed root: {error}") from None
    return found
