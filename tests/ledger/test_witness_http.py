"""Speaking to a witness: one request of a form, one answer that is bounded in size and time."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.core.deadline import deadline
from shared.ledger.witness import WitnessSilent
from shared.ledger.witness_http import MOST_BYTES, witness_at
from tests.ledger.test_witness import http, serving


@asynccontextmanager
async def sending(*pieces: bytes) -> AsyncIterator[str]:
    """A server on loopback that answers in pieces, each of which is on its way before the next."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("end", "path"), [("", "/w1/add-checkpoint"), ("/", "/w1/add-checkpoint")])
async def test_the_request(end: str, path: str) -> None:
    async with serving(http("200 OK", b"line\n")) as (url, seen):
        assert await witness_at(url.rstrip("/") + end)(b"old 0\n") == (200, b"line\n")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert first == f"POST {path} HTTP/1.1"
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["accept-encoding"] == "identity"
    assert headers["content-length"] == "6"
    assert body == b"old 0\n"


async def test_an_address_without_a_path() -> None:
    async with serving(http("200 OK")) as (url, seen):
        await witness_at(url.removesuffix("/w1/"))(b"x")
    assert seen[0].startswith(b"POST /add-checkpoint HTTP/1.1\r\n")


async def test_what_was_packed_is_not_unpacked() -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    async with serving(http("200 OK", packed, "Content-Encoding: gzip")) as (url, _):
        assert await witness_at(url)(b"x") == (200, packed)


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "409 Conflict", "422 Unprocessable", "499 Strange"])
async def test_what_is_an_answer(status: str) -> None:
    async with serving(http(status, b"7\n")) as (url, _):
        assert await witness_at(url)(b"x") == (int(status[:3]), b"7\n")


@pytest.mark.parametrize("status", ["500 Internal Server Error", "501 Not Implemented", "599 Strange"])
async def test_a_witness_that_fails_is_silent(status: str) -> None:
    async with serving(http(status, b"7\n")) as (url, _):
        with pytest.raises(WitnessSilent):
            await witness_at(url)(b"x")


async def test_an_answer_in_pieces_is_one_and_bounded() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    async with sending(head + b"a", b"b" * 9, b"c") as url:
        assert await witness_at(url)(b"x") == (200, b"a" + b"b" * 9 + b"c")
    async with sending(head, b"x" * (MOST_BYTES - 1), b"y") as url:
        assert await witness_at(url)(b"x") == (200, b"x" * (MOST_BYTES - 1) + b"y")
    async with sending(head, b"x" * MOST_BYTES, b"y") as url:
        with pytest.raises(WitnessSilent):
            await witness_at(url)(b"x")


async def test_it_takes_what_the_request_has_left() -> None:
    async with serving(http("200 OK"), delay=0.2) as (url, seen):
        with deadline(0.05), pytest.raises(WitnessSilent) as raised:
            await witness_at(url)(b"x")
        assert isinstance(raised.value.__cause__, TimeoutError)
        with deadline(0), pytest.raises(WitnessSilent) as raised:
            await witness_at(url)(b"x")
        assert raised.value.__cause__ is None
        assert len(seen) <= 1, "where nothing is left nobody is asked"
    async with serving(http("200 OK")) as (url, _):
        with deadline(0.9):
            assert (await witness_at(url)(b"x"))[0] == 200
