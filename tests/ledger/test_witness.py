"""Checkpoints and their witness: one from outside that speaks the protocol, and answers of every kind."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aics_tlog
import pytest

from shared.audit.model import RequestContext
from shared.core.deadline import deadline
from shared.ledger import witness_http
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.marks import marks_id
from shared.ledger.note import Cosigner, NoteError, Signer, VerifierKey, parse_note
from shared.ledger.shards import Shards, head_id
from shared.ledger.witness import ATTEMPTS, Post, WitnessSilent
from shared.ledger.witness_http import MOST_BYTES, witness_at
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, LEDGER
from shared.storage.documents import Query, pages
from shared.storage.errors import Unavailable
from tests.cosmos_emulator.emulator import make_certificate
from tests.ledger.outside_witness import outside_witness
from tests.ledger.world import NOW, ORIGIN, OTHER, PERIOD, TENANT, World

NAME = f"{ORIGIN}/{TENANT}/{PERIOD}"
REQUEST = RequestContext("r", "timer/witness_checkpoints", "witness_checkpoints", NOW)
COSIGNER = Cosigner("witness.example.org/w1", b"w" * 32)
STRANGER = Cosigner("witness.example.org/w1", b"x" * 32)


async def note_of(world: World, size: int) -> str:
    document = await Shards(world.store).checkpoint(TENANT, PERIOD, size)
    assert document is not None
    return str(document["note"])


def text_of(body: bytes) -> str:
    """The signed text in the body of add-checkpoint."""
    return parse_note(body.partition(b"\n\n")[2]).text


class Canned:
    """A witness that answers what it is told to; the bodies that it got."""

    def __init__(self, *answers: Callable[[bytes], tuple[int, bytes]]) -> None:
        self._answers = list(answers)
        self.bodies: list[bytes] = []

    async def __call__(self, body: bytes) -> tuple[int, bytes]:
        self.bodies.append(body)
        return self._answers.pop(0)(body)


def cosigning(cosigner: Cosigner = COSIGNER) -> Callable[[bytes], tuple[int, bytes]]:
    return lambda body: (200, cosigner.cosign(text_of(body), 1_770_000_000).encode().encode())


def answering(status: int, body: bytes = b"") -> Callable[[bytes], tuple[int, bytes]]:
    return lambda _: (status, body)


async def offer(world: World, post: Post) -> list[str]:
    outcomes: list[str] = []
    await world.witness(COSIGNER.verifier, post, outcomes.append).offer_all(TENANT, REQUEST)
    return outcomes


async def test_a_witness_from_outside_cosigns_what_grows_and_nothing_else(world: World, tmp_path: Path) -> None:
    await world.seal(world.events(300))
    await world.seal(world.events(3, tenant_id=OTHER))
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())
    log_key = (await world.keys().signer(NAME)).verifier.encode()
    with outside_witness(tmp_path, {NAME: log_key}) as outside:
        key = VerifierKey.decode(outside.vkey)
        outcomes: list[str] = []
        witness = world.witness(key, witness_at(outside.url), outcomes.append)
        await witness.offer_all(TENANT, REQUEST)
        assert await world.ledger().witnessed(TENANT, PERIOD, REQUEST) == await note_of(world, 300)
        assert (await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)).note == await note_of(world, 300)
        await witness.offer_all(TENANT, REQUEST)
        assert outcomes == ["cosigned"], "nothing is new"

        world.clock.advance(seconds=SIGN_EVERY.total_seconds())
        await world.seal(world.events(700))
        world.clock.advance(seconds=SIGN_EVERY.total_seconds())
        await witness.offer_all(TENANT, REQUEST)
        cosigned = await note_of(world, 1000)
        result = aics_tlog.verify_checkpoint(
            aics_tlog.parse_note(cosigned.encode()),
            aics_tlog.parse_vkey(log_key),
            [aics_tlog.parse_vkey(outside.vkey)],
            1,
            expected_origin=NAME,
        )
        assert result.ok, result.error

        await forget(world)
        world.clock.advance(seconds=SIGN_EVERY.total_seconds())
        await world.seal(world.events(5))
        await witness.offer_all(TENANT, REQUEST)  # the witness says how far it is
        assert outcomes == ["cosigned"] * 3
        assert outside.vkey.split("+")[0] in await note_of(world, 1005)

        await witness.offer_all(OTHER, REQUEST)
        assert outcomes[3:] == ["refused"], "it does not know this log"
        assert "witness.example.org" not in (await world.ledger().checkpoint(OTHER, PERIOD, REQUEST)).note
    with outside_witness(tmp_path, {}) as outside:
        forked = World(world.store, world.clock)
        forked.secrets = world.secrets
        await rewrite(world)
        outcomes.clear()
        assert await world.found() == []
        again = forked.witness(key, witness_at(outside.url), outcomes.append)
        await again.offer_all(TENANT, REQUEST)
        assert outcomes == ["refused"]
        assert await world.found() == [], "what was offered is older than what the witness knows, and that may be"
        world.clock.advance(seconds=SIGN_EVERY.total_seconds())
        await again.offer_all(TENANT, REQUEST)
        assert outcomes == ["refused"] * 2, "another history"
        assert await world.found() == ["head"]


async def forget(world: World) -> None:
    """The head of a sealer that does not know what was witnessed."""
    item = await world.store.read(LEDGER, (TENANT, PERIOD), head_id(PERIOD))
    await world.store.replace(LEDGER, (TENANT, PERIOD), item | {"witnessed_size": 0})


async def rewrite(world: World) -> None:
    """The month anew, one event left out, by somebody who has the store and the key."""
    entries = await world.sealed()
    async for page in pages(world.store, LEDGER, (TENANT, PERIOD), Query(limit=1000)):
        for item in page:
            await world.store.delete(LEDGER, (TENANT, PERIOD), item["id"])
    await world.store.delete(DIRECTORY, (marks_id(TENANT),), marks_id(TENANT))
    left = [await world.store.read(AUDIT_EVENTS, (TENANT, PERIOD), each.event_id) for each in entries[1:]]
    await world.sealer().consume(left)
    await world.seal(world.events(2))


async def test_the_body_is_that_of_the_protocol(world: World) -> None:
    await world.seal(world.events(3))
    post = Canned(cosigning(), cosigning())
    await offer(world, post)
    first = await note_of(world, 3)
    own = first.partition("\n\n")[2].split("\n")[0]
    assert post.bodies[0].decode() == f"old 0\n\n{parse_note(first.encode()).text}\n{own}\n"
    world.clock.advance(seconds=60)
    await world.seal(world.events(4))
    await offer(world, post)
    head, note = post.bodies[1].decode().split("\n\n", 1)
    lines = head.split("\n")
    assert lines[0] == "old 3"
    assert note.startswith(f"{NAME}\n7\n")
    path = [base64.b64decode(line) for line in lines[1:]]
    roots = [parse_note(each.encode()).text.split("\n")[2] for each in (first, await note_of(world, 7))]
    assert aics_tlog.verify_consistency(3, 7, base64.b64decode(roots[0]), base64.b64decode(roots[1]), path)


@pytest.mark.parametrize(
    "answer",
    [
        answering(400),
        answering(403),
        answering(404),
        answering(422),
        answering(302),
        answering(200),
        answering(200, b"no line\n"),
        answering(200, b"\xff\n"),
        cosigning(STRANGER),
        cosigning(Cosigner("example.net/other", b"w" * 32)),
        lambda _: (200, COSIGNER.cosign("another text\n", 1).encode().encode()),
        lambda body: (200, COSIGNER.cosign(text_of(body), 1).encode().encode()[:-9] + b"AAAAAAA=\n"),
        answering(409),
        answering(409, b"0\n"),
        answering(409, b"-1\n"),
        answering(409, b"99999999999999999999\n"),
        answering(409, b"4\n"),
    ],
)
async def test_what_is_no_cosignature_is_not_kept(world: World, answer: Callable[[bytes], tuple[int, bytes]]) -> None:
    await world.seal(world.events(3))
    assert await offer(world, Canned(answer)) == ["refused"]
    assert "witness" not in await note_of(world, 3)
    assert (await Shards(world.store).head(TENANT, PERIOD)).witnessed_size == 0
    assert await offer(world, Canned(cosigning())) == ["cosigned"]


async def test_lines_of_others_are_left_out(world: World) -> None:
    await world.seal(world.events(3))

    def several(body: bytes) -> tuple[int, bytes]:
        lines = [each.cosign(text_of(body), 9).encode() for each in (STRANGER, COSIGNER, COSIGNER)]
        return 200, "".join(lines).encode()

    assert await offer(world, Canned(several)) == ["cosigned"]
    assert len(parse_note((await note_of(world, 3)).encode()).signatures) == 2


async def test_a_witness_that_changes_its_mind_is_not_asked_for_ever(world: World) -> None:
    await world.seal(world.events(9))
    post = Canned(*(answering(409, b"%d\n" % size) for size in (1, 2, 3, 4)))
    assert await offer(world, post) == ["refused"]
    assert len(post.bodies) == ATTEMPTS


async def test_a_silent_one_holds_up_neither_sealing_nor_signing(world: World) -> None:
    async def silent(_: bytes) -> tuple[int, bytes]:
        raise WitnessSilent

    await world.seal(world.events(3))
    outcomes: list[str] = []
    witness = world.witness(COSIGNER.verifier, silent, outcomes.append)
    with pytest.raises(Unavailable):
        await witness.offer_all(TENANT, REQUEST)
    issued = await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)
    assert issued.checkpoint.size == 3
    assert await witness.cosigned(TENANT, issued, REQUEST) is None
    assert outcomes == ["silent", "silent"]


async def test_the_ledger_grows_while_the_witness_thinks(world: World) -> None:
    await world.seal(world.events(3))

    async def slow(body: bytes) -> tuple[int, bytes]:
        world.clock.advance(seconds=60)
        await world.seal(world.events(2))
        await world.checkpoints().issue(TENANT, PERIOD)
        return cosigning()(body)

    assert await offer(world, slow) == ["cosigned"]
    head = await Shards(world.store).head(TENANT, PERIOD)
    assert (head.size, head.signed_size, head.witnessed_size) == (5, 5, 3)
    assert "witness" not in (head.note or "")
    assert await world.ledger().witnessed(TENANT, PERIOD, REQUEST) == await note_of(world, 3)
    assert (await world.checkpoints().issue(TENANT, PERIOD)).checkpoint.size == 5


async def test_a_broken_shard_is_said_and_others_are_offered(world: World) -> None:
    await world.seal(world.events(3))
    await world.seal([world.event(NOW.replace(month=2))])
    february = await world.store.read(LEDGER, (TENANT, "2026-02"), head_id("2026-02"))
    await world.store.replace(LEDGER, (TENANT, "2026-02"), february | {"size": 2})
    assert await offer(world, Canned(cosigning())) == ["cosigned"]
    assert sorted(await world.found()) == ["head", "inserted_behind"]


def test_a_key_that_signs_is_no_key_of_a_witness(world: World) -> None:
    with pytest.raises(NoteError):
        world.witness(Signer("x", b"1" * 32).verifier, Canned())


@asynccontextmanager
async def serving(
    answer: bytes, delay: float = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on loopback that answers everything with these bytes, after a while."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-le")
        )
        seen.append(head + await reader.readexactly(length))
        await asyncio.sleep(delay)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/w1/", seen


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_what_goes_over_the_wire() -> None:
    async with serving(http("200 OK", b"line\n")) as (url, seen):
        assert await witness_at(url)(b"old 0\n") == (200, b"line\n")
    assert seen[0].startswith(b"POST /w1/add-checkpoint HTTP/1.1\r\n")
    assert seen[0].endswith(b"\r\n\r\nold 0\n")


async def test_a_witness_whose_certificate_nobody_knows_is_told_nothing(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    async with serving(http("200 OK", b"line\n"), tls=context) as (url, seen):
        with pytest.raises(WitnessSilent):
            await witness_at(url)(b"old 0\n")
    assert seen == []


async def test_redirects_are_not_followed() -> None:
    async with serving(http("302 Found", b"", "Location: http://127.0.0.1:9/")) as (url, seen):
        assert (await witness_at(url)(b"x"))[0] == 302
    assert len(seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        http("503 Service Unavailable"),
        http("200 OK", b"x" * (MOST_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"nonsense\r\n\r\n",
        b"",
    ],
    ids=["503", "large", "cut", "nonsense", "nothing"],
)
async def test_what_is_no_answer(answer: bytes) -> None:
    async with serving(answer) as (url, _):
        with pytest.raises(WitnessSilent):
            await witness_at(url)(b"x")


async def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_http, "TIMEOUT_SECONDS", 0.1)
    async with serving(http("200 OK"), delay=0.5) as (url, _):
        with pytest.raises(WitnessSilent):
            await witness_at(url)(b"x")
    with deadline(0), pytest.raises(WitnessSilent):
        await witness_at("http://127.0.0.1:9/")(b"x")
    with pytest.raises(WitnessSilent):
        await witness_at("http://127.0.0.1:9/")(b"x")


async def signed(world: World, count: int = 3) -> None:
    """So many entries, all of them under a checkpoint."""
    await world.seal(world.events(count))
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())


@pytest.mark.parametrize(
    "answers",
    [[answering(422)], [answering(409, b"9\n")], [answering(409, b"3\n"), answering(409, b"3\n")]],
    ids=["inconsistent", "knows more", "another root of that size"],
)
async def test_what_a_witness_saw_that_is_not_there_is_a_finding(
    world: World, answers: list[Callable[[bytes], tuple[int, bytes]]]
) -> None:
    await signed(world)
    for _ in range(2):
        assert await offer(world, Canned(*answers)) == ["refused"]
        assert await world.found() == ["head"], "once"


@pytest.mark.parametrize("answer", [answering(404), answering(403), answering(409, b"0\n"), answering(409, b"x")])
async def test_a_witness_that_only_refuses_is_no_finding(
    world: World, answer: Callable[[bytes], tuple[int, bytes]]
) -> None:
    await signed(world)
    assert await offer(world, Canned(answer)) == ["refused"]
    assert await world.found() == []


async def test_a_witness_that_is_ahead_because_its_answer_was_lost_is_no_finding(world: World) -> None:
    await signed(world)
    issued = await world.ledger().checkpoint(TENANT, PERIOD, REQUEST)
    await world.seal(world.events(2))  # another instance offers these meanwhile
    witness = world.witness(COSIGNER.verifier, Canned(answering(409, b"5\n")))
    assert await witness.cosigned(TENANT, issued, REQUEST) == issued
    assert await world.found() == []
    lost = Canned(answering(409, b"3\n"), cosigning())
    world.clock.advance(seconds=SIGN_EVERY.total_seconds())
    assert await offer(world, lost) == ["cosigned"]
    assert await world.found() == []


async def test_a_head_that_is_none_stops_no_other_month(world: World) -> None:
    await signed(world)
    february = {"id": head_id("2026-02"), "tenant_id": TENANT, "period": "2026-02", "size": "x"}
    await world.store.create(LEDGER, (TENANT, "2026-02"), february)
    assert await offer(world, Canned(cosigning())) == ["cosigned"]
    assert await world.found() == ["head"]
