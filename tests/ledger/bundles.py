"""Bundles of what is stored, for tests that tamper with the store."""

import io
import json

from shared.ledger.bundle import PartWriter, Scope, Shard
from shared.ledger.checkpoints import Checkpoints
from shared.ledger.keys import LedgerKeys
from shared.ledger.rollups import rollups_of
from shared.ledger.shards import Shards
from shared.storage.documents import DocumentStore
from tests.ledger.evidence import VERIFIER

MADE_AT = "2026-06-01T00:00:00.000000Z"


async def bundle_of(
    store: DocumentStore,
    keys: LedgerKeys,
    checkpoints: Checkpoints,
    tenant_id: str,
    start: str,
    end: str,
    *periods: str,
) -> bytes:
    """A bundle of these months, of which the days from `start` up to `end`, excluded, are the ones asked for."""
    reader, shards, sealed = Shards(store), [], {}
    for period in periods:
        issued = await checkpoints.issue(tenant_id, period)
        pages = reader.entries(tenant_id, period, 0, issued.checkpoint.size)
        sealed[period] = [entry.text async for page in pages for entry in page]
        counted = rollups_of(json.loads(text) for text in sealed[period])
        held = await reader.rollups(tenant_id, period, sorted(counted))
        totals = [{name: item[name] for name in counted[day].totals()} for day, item in sorted(held.items())]
        shards.append(Shard(period, issued.checkpoint, issued.note, totals))
    log = keys.log(tenant_id)
    scope = Scope("b", log, tenant_id, start, end, MADE_AT, tuple(shards))
    out = io.BytesIO()
    with PartWriter(out, scope, 1, await keys.signer(f"{log}/bundle"), VERIFIER.read_bytes()) as writer:
        for period in periods:
            for number in range(-(-len(sealed[period]) // 256)):
                writer.add_entries(period, number, sealed[period][number * 256 : number * 256 + 256])
        writer.close(last=True)
    return out.getvalue()
