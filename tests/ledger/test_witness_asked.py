"""What a witness is asked, what is kept of its answer, and what is said where it refuses."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.audit.model import RequestContext
from shared.core.errors import Clash, NotFoundError
from shared.ledger._text import decode_base64
from shared.ledger.checkpoints import Issued
from shared.ledger.merkle import verify_consistency
from shared.ledger.note import Cosigner, NoteError, Signer, parse_note, parse_signatures, with_signatures
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Shards, checkpoint_id, head_id
from shared.ledger.witness import Refused, Witness, WitnessSilent
from shared.storage.containers import LEDGER
from shared.storage.documents import BatchOperation, Item
from shared.storage.errors import NotFound, PreconditionFailed, Unavailable
from tests.faults import FaultyStore
from tests.ledger.answers import MONTHS, REQUEST, change, said, sealed, without_tiles
from tests.ledger.naive import NaiveTree
from tests.ledger.test_roster import told as logged
from tests.ledger.test_service import OVER
from tests.ledger.test_witness import COSIGNER, Canned, answering, cosigning, note_of
from tests.ledger.world import ORIGIN, OTHER, PERIOD, RETENTION_DAYS, TENANT, World

ELSEWHERE = "the witness has cosigned another history"


class Told(Ledger):
    """Remembers what is said to be broken."""

    errors: list[tuple[str, str, str, str]]

    async def broken(
        self, tenant_id: str, period: str, error: BrokenShard, request: RequestContext
    ) -> Clash | NotFoundError:
        assert request is REQUEST
        self.errors.append((tenant_id, period, error.what, str(error)))
        return await super().broken(tenant_id, period, error, request)


class Party:
    """A witness with answers, and what it was asked, what was counted, and what was found."""

    def __init__(self, world: World, *answers: Any, store: Any = None) -> None:
        self.post = Canned(*answers)
        self.outcomes: list[str] = []
        parts = Shards(world.store), world.checkpoints(), world.keys(), world.statements(), world.clock
        ledger = Told(*parts, RETENTION_DAYS)
        self.errors = ledger.errors = []
        self.witness = Witness(
            key=COSIGNER.verifier,
            post=self.post,
            ledger=ledger,
            shards=Shards(world.store),
            keys=world.keys(),
            store=store or world.store,
            counted=self.outcomes.append,
        )

    async def offer(self) -> list[str]:
        await self.witness.offer_all(TENANT, REQUEST)
        return self.outcomes


def silent(_: bytes) -> tuple[int, bytes]:
    raise WitnessSilent


async def months(world: World, **counts: int) -> None:
    """So many entries, signed, in months of 2026; the clock stands in March again."""
    await sealed(world, **counts)
    for name in counts:
        await world.checkpoints().issue(TENANT, f"2026-0{MONTHS.index(name) + 1}")


async def issued_of(world: World) -> Issued:
    return await world.checkpoints().issue(TENANT, PERIOD)


async def test_it_is_asked_with_a_proof_from_what_it_has_seen(world: World) -> None:
    await months(world, mar=3)
    first = await note_of(world, 3)
    party = Party(world, cosigning(), cosigning())
    assert await party.offer() == ["cosigned"]
    assert party.post.bodies == [f"old 0\n\n{first}".encode()]
    await world.seal(world.events(297))
    second = await issued_of(world)
    assert await party.offer() == ["cosigned"] * 2
    asked = party.post.bodies[1].decode()
    old, *path = asked.partition("\n\n")[0].split("\n")
    assert (old, asked.partition("\n\n")[2]) == ("old 3", second.note)
    tree = NaiveTree([each.text for each in await world.sealed()])
    verify_consistency(3, 300, [decode_base64(line) for line in path], tree.root(3), tree.root(300))
    assert party.errors == []


async def test_only_what_it_has_not_cosigned_is_offered(world: World) -> None:
    await months(world, jan=1, feb=2, mar=3)
    await change(world, head_id("2026-01"), "2026-01", witnessed_size=1)
    party = Party(world, cosigning(), cosigning())
    assert await party.offer() == ["cosigned"] * 2
    assert [body.split(b"\n")[2].rpartition(b"/")[2] for body in party.post.bodies] == [b"2026-02", b"2026-03"]
    for period, size in (("2026-01", 1), ("2026-02", 2), (PERIOD, 3)):
        assert (await Shards(world.store).head(TENANT, period)).witnessed_size == size


async def test_a_month_that_is_over_is_not_offered(world: World) -> None:
    await months(world, jan=1, mar=2)
    world.clock.set(OVER.replace(month=2, day=20))
    party = Party(world, cosigning())
    assert await party.offer() == ["cosigned"]
    assert b"/2026-03\n2\n" in party.post.bodies[0]


async def test_nothing_is_said_to_it_of_an_empty_ledger_or_twice(world: World) -> None:
    party = Party(world, cosigning())
    empty = await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)
    assert await party.witness.cosigned(TENANT, empty, REQUEST) is empty
    await months(world, mar=1)
    cosigned = await party.witness.cosigned(TENANT, await issued_of(world), REQUEST)
    assert cosigned is not None
    assert await party.witness.cosigned(TENANT, cosigned, REQUEST) is cosigned
    assert (len(party.post.bodies), party.outcomes) == (1, ["cosigned"])


async def test_what_is_kept_of_a_cosignature(world: World) -> None:
    await months(world, mar=2)
    issued = await issued_of(world)
    line = COSIGNER.cosign(parse_note(issued.note.encode()).text, 1_770_000_000)
    expected = with_signatures(parse_note(issued.note.encode()), [line]).encode()
    before = await world.store.read(LEDGER, (TENANT, PERIOD), checkpoint_id(2))
    found = await Party(world, cosigning()).witness.cosigned(TENANT, issued, REQUEST)
    assert found == Issued(issued.checkpoint, expected, issued.head)
    head = await Shards(world.store).head(TENANT, PERIOD)
    assert (head.note, head.witnessed_size, head.size) == (expected, 2, 2)
    after = await world.store.read(LEDGER, (TENANT, PERIOD), checkpoint_id(2))
    own = {name: value for name, value in after.items() if not name.startswith("_")}
    assert own == {name: value for name, value in before.items() if not name.startswith("_")} | {"note": expected}


async def test_a_cosignature_is_kept_though_the_document_is_gone(world: World) -> None:
    await months(world, mar=2)
    await world.store.delete(LEDGER, (TENANT, PERIOD), checkpoint_id(2))
    assert await Party(world, cosigning()).offer() == ["cosigned"]
    assert COSIGNER.verifier.name in ((await Shards(world.store).head(TENANT, PERIOD)).note or "")
    assert await Shards(world.store).checkpoint(TENANT, PERIOD, 2) is None


async def test_a_late_cosignature_sets_nothing_back(world: World) -> None:
    await months(world, mar=2)
    issued = await issued_of(world)
    await world.seal(world.events(2))
    last = await issued_of(world)
    await change(world, head_id(PERIOD), witnessed_size=3)
    await Party(world, cosigning()).witness.cosigned(TENANT, issued, REQUEST)
    head = await Shards(world.store).head(TENANT, PERIOD)
    assert (head.note, head.witnessed_size, head.signed_size) == (last.note, 3, 4)
    assert COSIGNER.verifier.name in await note_of(world, 2)
    assert COSIGNER.verifier.name not in await note_of(world, 4)


class Contended(FaultyStore):
    """Its batches fail the first few times."""

    def __init__(self, store: Any, error: Exception, times: int) -> None:
        super().__init__(store)
        self.error, self.left, self.batches = error, times, 0

    async def batch(self, container: Any, partition: Any, operations: Any) -> list[Item | None]:
        self.batches += 1
        if self.left:
            self.left -= 1
            raise self.error
        written: list[BatchOperation] = list(operations)
        return list(await super().batch(container, partition, written))


@pytest.mark.parametrize("error", [PreconditionFailed("x"), NotFound("x")])
async def test_others_may_be_faster_some_times(world: World, error: Exception) -> None:
    await months(world, mar=2)
    store = Contended(world.store, error, 9)
    assert await Party(world, cosigning(), store=store).offer() == ["cosigned"]
    assert COSIGNER.verifier.name in await note_of(world, 2)


async def test_others_are_not_faster_for_ever(world: World) -> None:
    await months(world, mar=2)
    store = Contended(world.store, PreconditionFailed("x"), 99)
    with pytest.raises(Unavailable, match=r"^the head of a shard is contended$"):
        await Party(world, cosigning(), store=store).offer()
    assert store.batches == 10


class Overtaken(FaultyStore):
    """Before its first batch somebody else writes."""

    def __init__(self, store: Any, first: Callable[[], Awaitable[None]]) -> None:
        super().__init__(store)
        self.first: Callable[[], Awaitable[None]] | None = first

    async def batch(self, container: Any, partition: Any, operations: Any) -> list[Item | None]:
        if first := self.first:
            self.first = None
            await first()
        return list(await super().batch(container, partition, operations))


async def test_what_others_write_meanwhile_is_not_undone(world: World) -> None:
    await months(world, mar=2)
    issued = await issued_of(world)

    async def seal() -> None:
        await world.seal(world.events(1))

    party = Party(world, cosigning(), store=Overtaken(world.store, seal))
    await party.witness.cosigned(TENANT, issued, REQUEST)
    head = await Shards(world.store).head(TENANT, PERIOD)
    assert (head.size, head.witnessed_size) == (3, 2)

    async def mark() -> None:
        await change(world, checkpoint_id(2), marked=True)

    party = Party(world, cosigning(), store=Overtaken(world.store, mark))
    await party.witness.cosigned(TENANT, issued, REQUEST)
    document = await Shards(world.store).checkpoint(TENANT, PERIOD, 2)
    assert document is not None
    assert document["marked"]


async def test_where_it_is_silent_nothing_more_is_asked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await months(world, jan=1, mar=2)
    party = Party(world, silent)
    with pytest.raises(Unavailable, match=r"^the witness does not answer$"):
        await party.offer()
    assert (len(party.post.bodies), party.outcomes) == (1, ["silent"])
    assert logged(caplog, "witness_passed_over") == [{"tenant_id": TENANT}]


@pytest.mark.parametrize(
    ("answers", "reason", "finding"),
    [
        ([answering(422)], "422", ELSEWHERE),
        ([answering(409, b"3\n"), answering(409, b"3\n")], "409", ELSEWHERE),
        ([answering(409, b"3")] * 2, "409", ELSEWHERE),
        ([answering(409, b"9\n")], "knows_more", "the witness has cosigned 9 entries, which are not there"),
        ([answering(409, b"4\n")], "knows_more", "the witness has cosigned 4 entries, which are not there"),
        ([answering(409, b"2\n"), answering(409, b"2\n")], "409", None),
        ([answering(409, b"0\n")], "409", None),
        ([answering(409, b"\xff\n")], "409", None),
        ([answering(409, b"3\n\n")], "409", None),
        ([answering(409, b"1\n"), answering(409, b"2\n"), answering(409, b"3\n")], "409", None),
        ([answering(404)], "404", None),
        ([answering(410, b"3\n")], "410", None),
        ([answering(201)], "201", None),
        ([answering(200, b"\xff")], "bad_cosignature", None),
        ([answering(200, b"")], "bad_cosignature", None),
        ([cosigning(Cosigner("witness.example.org/w1", b"x" * 32))], "bad_cosignature", None),
        ([lambda _: (200, COSIGNER.cosign("another text\n", 1).encode().encode())], "bad_cosignature", None),
    ],
)
async def test_why_it_refuses_is_said(
    world: World, caplog: pytest.LogCaptureFixture, answers: list[Any], reason: str, finding: str | None
) -> None:
    await months(world, mar=3)
    issued = await issued_of(world)
    party = Party(world, *answers)
    assert await party.witness.cosigned(TENANT, issued, REQUEST) is issued
    assert party.outcomes == ["refused"]
    assert len(party.post.bodies) == len(answers), "each answer was heard"
    assert logged(caplog, "witness_refused") == [{"tenant_id": TENANT, "period": PERIOD, "why": reason}]
    assert party.errors == ([] if finding is None else [(TENANT, PERIOD, "head", finding)])
    assert await said(world) == ([] if finding is None else [("head", PERIOD, "r-asked")])


async def test_sizes_that_it_knows_and_that_are_there_are_no_finding(world: World) -> None:
    await months(world, mar=3)
    issued = await issued_of(world)
    await world.seal(world.events(2))
    for known, count in ((b"4\n", 0), (b"5\n", 0), (b"6\n", 1)):
        party = Party(world, answering(409, known))
        assert await party.witness.cosigned(TENANT, issued, REQUEST) is issued
        assert len(party.errors) == count


async def test_a_size_that_it_names_is_where_it_is_asked_from(world: World) -> None:
    await months(world, mar=5)
    party = Party(world, answering(409, b"2\n"), answering(409, b"5\n"), cosigning())
    assert await party.offer() == ["cosigned"]
    assert [body.split(b"\n")[0] for body in party.post.bodies] == [b"old 0", b"old 2", b"old 5"]
    assert party.post.bodies[2].startswith(b"old 5\n\n"), "from a size to itself there is no path"


async def test_a_line_beside_its_own_is_left_out(world: World) -> None:
    await months(world, mar=1)

    def several(body: bytes) -> tuple[int, bytes]:
        text = parse_note(body.partition(b"\n\n")[2]).text
        others = [Cosigner("example.net/other", b"o" * 32), COSIGNER]
        return 200, "".join(each.cosign(text, at).encode() for at, each in enumerate([*others, COSIGNER], 1)).encode()

    issued = await Party(world, several).witness.cosigned(TENANT, await issued_of(world), REQUEST)
    assert issued is not None
    (line,) = [each for each in parse_note(issued.note.encode()).signatures if each.name == COSIGNER.verifier.name]
    text = parse_note(issued.note.encode()).text
    assert line == parse_signatures(COSIGNER.cosign(text, 2).encode())[0], "the first of its own"


async def test_a_month_that_broke_is_said_and_others_are_offered(world: World) -> None:
    await months(world, jan=2, feb=3, mar=4)
    await change(world, head_id("2026-01"), "2026-01", size="x")
    await change(world, head_id("2026-02"), "2026-02", note="no note")
    party = Party(world, cosigning())
    assert await party.offer() == ["cosigned"]
    assert (await Shards(world.store).head(TENANT, PERIOD)).witnessed_size == 4
    assert [error[:3] for error in party.errors] == [(TENANT, "2026-01", "head"), (TENANT, "2026-02", "head")]
    assert sorted(await said(world)) == [("head", "2026-01", "r-asked"), ("head", "2026-02", "r-asked")]
    assert await said(world, OTHER) == []


async def test_a_tree_without_its_tiles_is_said_and_others_are_offered(world: World) -> None:
    await months(world, mar=4)
    await without_tiles(world, "2026-02")
    await change(world, head_id("2026-02"), "2026-02", witnessed_size=100)
    party = Party(world, cosigning())
    assert await party.offer() == ["cosigned"]
    assert b"/2026-03\n4\n" in party.post.bodies[0]
    assert party.errors == [(TENANT, "2026-02", "tile", "tile/0/000 is missing or too short")]


def test_a_refusal_says_why() -> None:
    assert (str(Refused("409", 7)), Refused("409", 7).reason, Refused("409", 7).known) == ("409", "409", 7)
    assert Refused("422").known is None


def test_a_witness_has_a_key_that_cosigns(world: World) -> None:
    with pytest.raises(NoteError, match=r"^the key of a witness is one that cosigns$") as raised:
        world.witness(Signer(f"{ORIGIN}/x", b"1" * 32).verifier, Canned())
    assert raised.value.code == "malformed_key"
