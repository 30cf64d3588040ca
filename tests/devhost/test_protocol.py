"""What the server takes from one connection, shown with raw sockets on a process of its own."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.devhost.test_process import PATIENCE_SECONDS, appears, ended, serving

ECHO = b"GET /kraftd/api/echo HTTP/1.1\r\n"
CHUNKED = (
    b"POST /kraftd/api/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
)
CLOSE = b"Connection: close\r\n\r\n"
FLOOD_MIB = 48


@dataclass(frozen=True)
class Served:
    port: int
    pid: int

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answer(self, sent: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                writer.write(sent)
                return await reader.read()
        finally:
            writer.close()

    async def memory_mib(self) -> float:
        """The resident memory of the process."""
        process = await asyncio.create_subprocess_exec(
            "ps", "-o", "rss=", "-p", str(self.pid), stdout=asyncio.subprocess.PIPE
        )
        return int((await process.communicate())[0]) / 1024


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    """One process for all; none of it may leave a traceback in the log."""
    async with serving("web") as (process, url, _):
        yield Served(int(url.split(":")[2].split("/")[0]), process.pid)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


def bare(answer: bytes) -> int:
    """The status of a single answer without a body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert b"\r\ncontent-length: 0" in head
    return status(answer)


def padded(section: int) -> bytes:
    """A request whose header section has `section` bytes, without the empty line at its end."""
    lines = b"Host: x\r\nConnection: close\r\n"
    return ECHO + lines + b"A: ".ljust(section - len(lines) - 2, b"a") + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (padded(32 * 1024), 200),
        (padded(32 * 1024 + 1), 431),
        (ECHO + b"Host: x\r\n" + b"a: b\r\n" * 98 + CLOSE, 200),
        (ECHO + b"Host: x\r\n" + b"a: b\r\n" * 99 + CLOSE, 431),
        (ECHO.replace(b"echo", b"echo?".ljust(8192 - 12, b"a")) + b"Host: x\r\n" + CLOSE, 200),
        (ECHO.replace(b"echo", b"echo?".ljust(8192 - 11, b"a")) + b"Host: x\r\n" + CLOSE, 414),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 97 + b"\r\n", 200),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 98 + b"\r\n", 431),
    ],
)
async def test_a_header_section_has_limits(served: Served, sent: bytes, expected: int) -> None:
    answer = await served.answer(sent)
    assert status(answer) == expected
    if expected != 200:
        assert bare(answer) == expected


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        *(
            b"Host: " + host + b"\r\n"
            for host in (b"", b"a#", b"a?x=1", b"[", b"[:::]", b"[::1", b"a/b", b"u@a", b"a b")
        ),
        *(
            b"Host: " + host + b"\r\n"
            for host in (b":80", b"a:", b"a:b", b"a:65536", b"a,b", b"a\\b", b"a%2Fb", b"\xe4")
        ),
    ],
)
async def test_a_request_names_one_valid_host(served: Served, lines: bytes) -> None:
    for path in (b"/kraftd/api/echo", b"/none"):
        assert bare(await served.answer(b"GET " + path + b" HTTP/1.1\r\n" + lines + CLOSE)) == 400


@pytest.mark.parametrize("host", ["a", "a-b.example:80", "127.0.0.1:7071", "[::1]", "[::1]:65535", "a_b", "A."])
async def test_the_url_is_made_of_the_host(served: Served, host: str) -> None:
    answer = await served.answer(ECHO + f"Host: {host}\r\n".encode() + CLOSE)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["url"] == f"http://{host}/kraftd/api/echo"


async def test_http_1_0_needs_no_host(served: Served) -> None:
    assert status(await served.answer(b"GET /kraftd/api/echo HTTP/1.0\r\n\r\n")) == 200


async def test_trailers_do_not_become_headers(served: Served) -> None:
    answer = await served.answer(CHUNKED + b"0\r\nHost: evil#\r\nX-Forwarded-For: 192.0.2.1\r\nX-Late: 1\r\n\r\n")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (seen["url"], seen["length"]) == ("http://x/kraftd/api/echo", 3)
    assert seen["headers"].keys() == {"host", "connection", "transfer-encoding", "x-forwarded-for"}
    assert seen["headers"]["x-forwarded-for"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "start",
    [
        b"TRACE /kraftd/api/echo",
        b"TRACE /admin",
        b"PROPFIND /kraftd/api/echo",
        b"QUERY /kraftd/api/echo",
        b"CONNECT /kraftd/api/echo",
        b"CONNECT example.org:443",
        b"OPTIONS *",
    ],
)
async def test_a_method_that_no_function_declares_is_a_bare_404(served: Served, start: bytes) -> None:
    assert bare(await served.answer(start + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE)) == 404


async def test_what_is_no_http_is_a_bare_400(served: Served) -> None:
    for sent in (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\r\n\r\n", ECHO + b"a\0: b\r\n\r\n"):
        assert bare(await served.answer(sent)) == 400
    assert bare(await served.answer(b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n")) == 400
    assert bare(await served.answer(CHUNKED + b"no length\r\n")) == 400


async def test_requests_follow_each_other_on_a_connection(served: Served) -> None:
    post = b"POST /kraftd/api/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + b"b" * 40000
    large = padded(30_000).replace(b"Connection: close\r\n", b"")
    answer = await served.answer(post + large * 3 + post + ECHO + b"Host: x\r\n" + CLOSE)
    assert answer.count(b"HTTP/1.1 200 OK") == 6


async def test_the_limits_are_for_each_request(served: Served) -> None:
    reader, writer = await served.connect()
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(4):
            writer.write(padded(30_000).replace(b"Connection: close\r\n", b""))
            assert status(await reader.readuntil(b'"length": 0}')) == 200
    writer.close()


async def test_a_body_has_no_such_limits(served: Served) -> None:
    sent = bytes(range(256)) * 8192
    head = b"POST /kraftd/api/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(sent)
    answer = await served.answer(head + CLOSE + sent)
    assert answer.partition(b"\r\n\r\n")[2] == sent


async def test_a_request_is_answered_once(served: Served) -> None:
    """The application refuses the host, and the parser what follows in the same piece."""
    assert bare(await served.answer(CHUNKED.replace(b"Host: x", b"Host: a#") + b"no length\r\n")) == 400


async def test_a_refused_client_is_not_listened_to_for_long(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(padded(40_000))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert bare(await reader.read()) == 431
        with pytest.raises(ConnectionError):  # noqa: PT012 - whichever of them notices
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.01)


async def test_a_refusal_is_never_the_answer_to_an_earlier_request(served: Served, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    reader, writer = await served.connect()
    writer.write(f"GET /kraftd/api/slow?flag={flag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await appears(flag.with_suffix(".started"))
    writer.write(padded(40_000))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await reader.read() == b""
    flag.touch()
    await appears(flag.with_suffix(".finished"))
    writer.close()


@pytest.mark.parametrize(
    ("begin", "more", "expected"),
    [
        (ECHO + b"Host: x\r\nA: ", b"a", 431),
        (ECHO + b"Host: x\r\n", b"a", 431),
        (ECHO + b"Host: x\r\n", b"a: b\r\n", 431),
        (ECHO + b"Host: x\r\nA:", b" ", 431),
        (b"GET /", b"a", 414),
        (CHUNKED + b"0\r\nA: ", b"a", 431),
        (CHUNKED + b"0\r\n", b"a: b\r\n", 431),
        (CHUNKED + b"3;", b"a", 431),
    ],
)
async def test_memory_does_not_grow_with_what_is_never_finished(
    served: Served, begin: bytes, more: bytes, expected: int
) -> None:
    before = most = await served.memory_mib()
    reader, writer = await served.connect()
    answer = asyncio.create_task(reader.read())
    piece = more * (1024 * 1024 // len(more))
    writer.write(begin)
    try:
        for number in range(FLOOD_MIB):
            writer.write(piece)
            await writer.drain()
            if number % 8 == 7:
                most = max(most, await served.memory_mib())
    except ConnectionError:  # the server has lingered long enough
        most = max(most, await served.memory_mib())
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert bare(await answer) == expected
    writer.close()
    assert most - before < 16
