"""Every proof from before an erasure holds after it, by our offline verifier and by ones that we did not write."""

import base64
import dataclasses
import io
from pathlib import Path

import aics_tlog
import pytest
from proofbundle.tlogproof import verify_tlog_proof

from shared.audit.entries import entry_of
from shared.ledger.bundle import Disclosure, PartWriter, Scope, Shard
from shared.ledger.checkpoints import Issued
from shared.ledger.merkle import consistency_proof, consistency_ranges, inclusion_proof, leaf_hash
from shared.ledger.proof import Proof
from shared.ledger.shards import Entry, Head
from shared.ledger.tiles import ENTRIES, Tile, encode_bundle, tiles_of, width_of
from shared.privacy.boxes import SealedBoxes
from tests.app import ROOT, Account, App
from tests.ledger.evidence import save
from tests.subject_rights.support import ask, events_of, left, run, settle, with_a_past
from tools import verify_evidence as verifier

PERIOD = "2026-03"
VERIFIER = (ROOT / "tools" / "verify_evidence.py").read_bytes()


class Ledger:
    """What an auditor may have of one month of a tenant."""

    def __init__(self, app: App, tenant_id: str) -> None:
        self.app = app
        self.tenant_id = tenant_id
        self.services = app.services

    async def issue(self) -> Issued:
        """A checkpoint of all that the feed brought."""
        await self.app.host.drain_feed()
        return await self.services.checkpoints.issue(self.tenant_id, PERIOD)

    async def vkey(self) -> str:
        signer = await self.services.ledger_keys.signer(self.services.ledger_keys.shard(self.tenant_id, PERIOD))
        return signer.verifier.encode()

    async def entries(self, size: int) -> list[Entry]:
        pages = self.services.shards.entries(self.tenant_id, PERIOD, 0, size)
        return [entry async for page in pages for entry in page]

    async def inclusion(self, issued: Issued, index: int) -> list[bytes]:
        size = issued.checkpoint.size
        reader = await self.services.shards.reader(self.tenant_id, await self.head(), [(0, size)], size)
        return inclusion_proof(index, size, reader)

    async def consistency(self, old: Issued, new: Issued) -> list[bytes]:
        sizes = (old.checkpoint.size, new.checkpoint.size)
        reader = await self.services.shards.reader(self.tenant_id, await self.head(), consistency_ranges(*sizes))
        return consistency_proof(*sizes, reader)

    async def head(self) -> Head:
        return await self.services.shards.head(self.tenant_id, PERIOD)

    async def files(self, issued: Issued) -> dict[str, bytes]:
        """Every tile and entry bundle of the tree, by its path."""
        size = issued.checkpoint.size
        wanted = tiles_of([(0, n) for n in range(size)], size)
        tiles = await self.services.shards.tiles(self.tenant_id, dataclasses.replace(await self.head()), wanted)
        found = {tile.path: content for tile, content in tiles.items()}
        entries = [entry.text for entry in await self.entries(size)]
        for number in range(-(-size // 256)):
            path = Tile(ENTRIES, number, width_of(ENTRIES, number, size)).path
            found[path] = encode_bundle(entries[number * 256 : number * 256 + 256])
        return found

    async def bundle(self, issued: Issued) -> bytes:
        """An evidence bundle of the month, with everything disclosed that still opens."""
        size, days = issued.checkpoint.size, [f"{PERIOD}-{day:02d}" for day in range(1, 32)]
        rollups = await self.services.shards.rollups(self.tenant_id, PERIOD, days)
        names = ("day", "events", "first", "last", "counts", "hours", "distinct_actors", "distinct_actors_exact")
        totals = [{name: rollups[day][name] for name in names} for day in sorted(rollups)]
        shard = Shard(PERIOD, issued.checkpoint, issued.note, totals)
        log = self.services.ledger_keys.log(self.tenant_id)
        scope = Scope("b-1", log, self.tenant_id, f"{PERIOD}-01", "2026-04-01", "2026-04-01T00:00:00Z", (shard,))
        out = io.BytesIO()
        signer = await self.services.ledger_keys.signer(scope.key_name)
        entries = await self.entries(size)
        with PartWriter(out, scope, 1, signer, VERIFIER) as writer:
            writer.add_entries(PERIOD, 0, [entry.text for entry in entries], await self.disclosures(entries))
            writer.close(last=True)
        return out.getvalue()

    async def disclosures(self, entries: list[Entry]) -> list[Disclosure]:
        box, stored = SealedBoxes(self.services.person_keys), await events_of(self.app, self.tenant_id)
        found = []
        for entry in entries:
            for subject, sealed in stored[entry.event_id]["personal"].items():
                opened = await box.open(self.tenant_id, subject, entry.event_id, sealed)
                assert opened is not None
                salt = base64.b64encode(opened.salt).decode()
                found.append(Disclosure(entry.index, entry.event_id, subject, salt, opened.personal))
        return found


@pytest.fixture
async def ledger(app: App, ada: Account) -> Ledger:
    return Ledger(app, ada.tenant_id)


async def test_proofs_and_bundles_from_before_and_after(app: App, ada: Account, ledger: Ledger, tmp_path: Path) -> None:
    bob = await with_a_past(app, ada, "bob@example.com")
    for _ in range(60):
        await app.client.get("/v1/profile", headers=bob.auth)
    before = await ledger.issue()
    size, key = before.checkpoint.size, await ledger.vkey()
    entries = await ledger.entries(size)
    proofs = {entry.index: tuple(await ledger.inclusion(before, entry.index)) for entry in entries}
    bundle, files = await ledger.bundle(before), await ledger.files(before)

    await ask(app, bob)
    await run(app)
    await settle(app)
    assert await left(app, bob) == []
    after = await ledger.issue()
    assert after.checkpoint.size > size
    assert await app.events(ada.tenant_id, "ledger.verify_failed") == []

    # What is stored gives the entries that were sealed, and those give the same leaves.
    stored = await events_of(app, ada.tenant_id)
    erased = [entry for entry in entries if "erased_at" in stored[entry.event_id]]
    assert len(erased) > 60
    for entry in entries:
        assert entry_of(stored[entry.event_id]) == entry.text

    # Our verifier, as a program of its own: the bundle from before, and one that is made now.
    checks = verifier.verify(save(tmp_path, [bundle]), (key,))
    assert checks.result == verifier.OK, verifier.table(checks)
    assert "bob@example.com" not in str(await ledger.disclosures(await ledger.entries(after.checkpoint.size)))
    checks = verifier.verify(save(tmp_path, [await ledger.bundle(after)]), (key,))
    assert checks.result == verifier.OK, verifier.table(checks)

    # Verifiers of others: inclusion and consistency proofs, proof files, tiles, checkpoints.
    root, parsed = before.checkpoint.root, aics_tlog.parse_vkey(key)
    for index, path in proofs.items():
        assert aics_tlog.verify_inclusion(leaf_hash(entries[index].text), index, size, list(path), root)
        assert list(path) == await ledger.inclusion(before, index)
        text = Proof(index, path, before.note).text()
        assert verify_tlog_proof(text, entry_of(stored[entries[index].event_id]), key, [], threshold=0)["ok"]
    grown = await ledger.consistency(before, after)
    assert aics_tlog.verify_consistency(size, after.checkpoint.size, root, after.checkpoint.root, grown)
    for issued, tiles in ((before, files), (after, await ledger.files(after))):
        found = aics_tlog.verify_checkpoint(aics_tlog.parse_note(issued.note.encode()), parsed)
        assert found.ok, found.error
        reader = aics_tlog.MemoryTileReader(tiles)
        assert aics_tlog.audit_tiles(reader, issued.checkpoint.size, issued.checkpoint.root).size


async def test_what_was_disclosed_before_still_matches_its_commitment(app: App, ada: Account, ledger: Ledger) -> None:
    """Whoever kept what was in a box can prove it after the erasure: the commitment is sealed. That is why a
    disclosure is personal data, too."""
    bob = await with_a_past(app, ada, "bob@example.com")
    issued = await ledger.issue()
    disclosed = await ledger.disclosures(await ledger.entries(issued.checkpoint.size))
    await ask(app, bob)
    await run(app)
    await settle(app)
    stored = await events_of(app, ada.tenant_id)
    of_bob = [each for each in disclosed if each.subject == bob.id]
    assert len(of_bob) > 4
    from shared.privacy.boxes import commitment_of

    for each in of_bob:
        commitment = commitment_of(base64.b64decode(each.salt), dict(each.personal))
        assert stored[each.event_id]["commitments"][bob.id] == commitment
