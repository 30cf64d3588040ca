"""What one run finds: told as it is, to the tenant that it is about, and counted, known or not."""

from shared.ledger.findings import Findings
from shared.ledger.shards import BrokenShard
from tests.ledger.heard import Heard, Said
from tests.ledger.world import OTHER, World


async def test_each_finding_is_told_as_it_is_and_counted(world: World) -> None:
    heard, request = Heard(world.statements()), world.request()
    findings = Findings(heard, OTHER, request)
    assert findings.number == 0
    await findings.add("2026-02", "tile", "tile|0|3")
    await findings.add("2026-03", "edited", "an event", 7, found=b"a leaf")
    await findings.add("2026-03", "edited", "an event", 7, found=b"a leaf")
    await findings.broken("2026-01", BrokenShard("head", "it is none", "7"))
    assert heard.said == [
        Said("tile", "tile|0|3", None, None, "2026-02", OTHER),
        *[Said("edited", "an event", 7, b"a leaf", "2026-03", OTHER)] * 2,
        Said("head", "shard", None, "7", "2026-01", OTHER, "it is none"),
    ]
    assert findings.number == 4, "one that is known costs as much"
    assert all(each is request for each in heard.requests)
    assert sorted(await world.found(OTHER)) == ["edited", "head", "tile"]


async def test_after_a_hundred_it_is_enough(world: World) -> None:
    findings = Findings(world.statements(), OTHER, world.request())
    told = []
    for _ in range(101):
        told.append(findings.enough)
        await findings.add("2026-03", "head", "nodes")
    assert told == [False] * 100 + [True]
    assert findings.enough, "and so it stays"
