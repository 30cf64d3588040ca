"""What goes over the network, to receivers that misbehave in every way; over TLS, on this machine."""

import asyncio
import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.core.deadline import deadline
from shared.streaming.runner import AT_ONCE
from shared.streaming.sender import MOST_ANSWER_BYTES, Answer, Sender, Times, Undelivered, resolved
from tests.cosmos_emulator.emulator import make_certificate
from tests.streaming.support import QUICK

HOST = "receiver.example.com"
BODY = json.dumps({"events": ["x" * 50] * 100}).encode()

type Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Tls:
    """Certificates for HOST: one that the sender trusts, and one that it does not."""

    def __init__(self, folder: Path) -> None:
        self.good, self.bad, self.elsewhere = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(3))
        trusted = self._made(folder / "good", HOST, self.good)
        self._made(folder / "bad", HOST, self.bad)
        elsewhere = self._made(folder / "elsewhere", "other.example.com", self.elsewhere)
        self.trust = ssl.create_default_context(cafile=trusted)
        self.trust.load_verify_locations(cafile=elsewhere)

    @staticmethod
    def _made(folder: Path, host: str, context: ssl.SSLContext) -> Path:
        folder.mkdir()
        certificate, key = make_certificate(folder, host)
        context.load_cert_chain(certificate, key)
        return certificate


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("certificates"))


async def loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def sender(tls: Tls, **options: object) -> Sender:
    given = {"allow_private": True, "resolve": loopback, "trusted": tls.trust, "times": QUICK, **options}
    return Sender(**given)  # type: ignore[arg-type] # of a test


@asynccontextmanager
async def serving(behave: Behave, context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """A server that does as it is told with each connection; the URL of it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            return
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}/in"
    finally:
        server.close()


async def request_of(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    return headers, await reader.readexactly(int(headers["content-length"]))


def answering(raw: bytes, then: bytes = b"", *, again: bool = False, pause: float = 0.0) -> Behave:
    """Answers each request with these bytes; then with `then`, again and again if so wanted."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        if pause:
            await asyncio.sleep(pause)
        writer.write(raw)
        await writer.drain()
        while again:
            writer.write(then)
            await writer.drain()
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)

    return behave


async def post(by: Sender, url: str, body: bytes = BODY, *, packed: bool = False) -> Answer:
    async with by.open() as line:
        return await line.post(url, {"webhook-id": "msg_1"}, body, packed=packed)


async def test_what_is_sent(tls: Tls) -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            seen.append(await request_of(reader))
            writer.write(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n")

    async with serving(keep, tls.good) as url, sender(tls).open() as line:
        for packed in (False, True):
            assert (await line.post(url, {"webhook-id": "msg_1"}, BODY, packed=packed)).accepted
        await line.post(url, {}, b"{}", packed=True)
    (plain, body), (with_gzip, packed_body), (small, _) = seen
    assert (body, gzip.decompress(packed_body)) == (BODY, BODY)
    assert with_gzip["content-encoding"] == "gzip"
    assert len(packed_body) < len(BODY) / 5
    assert "content-encoding" not in plain | small
    assert plain["content-type"] == "application/json"
    assert plain["webhook-id"] == "msg_1"
    assert plain["host"].startswith(HOST)
    assert "cookie" not in with_gzip
    assert plain["user-agent"].startswith("kraftd-audit/")


@pytest.mark.parametrize("status", [200, 201, 204, 299, 301, 302, 307, 400, 401, 404, 410, 413, 500, 503])
async def test_the_status_decides(tls: Tls, status: int) -> None:
    raw = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: https://127.0.0.1:9/\r\n\r\n".encode()
    async with serving(answering(raw), tls.good) as url:
        answer = await post(sender(tls), url)
    assert (answer.status, answer.accepted) == (status, status < 300)


async def test_a_redirect_is_not_followed(tls: Tls) -> None:
    connections: list[int] = []

    async def elsewhere(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        connections.append(1)

    async with serving(elsewhere, tls.good) as other:
        raw = f"HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: {other}\r\n\r\n".encode()
        async with serving(answering(raw), tls.good) as url:
            assert (await post(sender(tls), url)).status == 307
    assert connections == []


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (answering(b"", pause=2), "timeout"),
        (answering(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", again=True), "timeout"),
        (answering(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", again=True), "bad_answer"),
        (answering(b"HTTP/1.1 200 OK\r\nX-A: ", b"y" * 1000, again=True), "bad_answer"),
        (answering(b"220 smtp.example.com ESMTP\r\n"), "bad_answer"),
        (answering(b"\x00" * 100), "bad_answer"),
        (answering(b""), "connection_lost"),
        (answering(b"HTTP/1.1 200"), "connection_lost"),
    ],
    ids=["silent", "endless 1xx", "endless headers", "endless header", "smtp", "zeros", "cut", "half a line"],
)
async def test_no_answer(tls: Tls, behave: Behave, reason: str) -> None:
    began = time.monotonic()
    async with serving(behave, tls.good) as url:
        with pytest.raises(Undelivered) as caught:
            await post(sender(tls), url)
    assert caught.value.reason == reason
    assert time.monotonic() - began < 2


async def test_a_body_without_end_is_cut_and_its_head_counts(tls: Tls) -> None:
    chunk = b"400\r\n" + b"z" * 1024 + b"\r\n"
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(answering(raw, chunk, again=True), tls.good) as url:
        answer = await post(sender(tls), url)
    assert answer.accepted
    assert len(answer.beginning) == MOST_ANSWER_BYTES


@pytest.mark.parametrize("head", [b"Content-Length: 10000000", b"Content-Encoding: gzip\r\nContent-Length: 5"])
async def test_a_body_that_does_not_come_is_not_waited_for(tls: Tls, head: bytes) -> None:
    began = time.monotonic()
    async with serving(answering(b"HTTP/1.1 202 OK\r\n" + head + b"\r\n\r\nabc", b"", again=True), tls.good) as url:
        answer = await post(sender(tls), url)
    assert (answer.status, answer.beginning) == (202, b"abc")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("which", ["bad", "elsewhere", "none"])
async def test_a_certificate_that_does_not_hold(tls: Tls, which: str) -> None:
    """Unknown to us; for another host; no TLS at all."""
    seen: list[int] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(await reader.readuntil(b"\r\n\r\n")))

    context = None if which == "none" else getattr(tls, which)
    async with serving(listen, context) as url:
        with pytest.raises(Undelivered) as caught:
            await post(sender(tls), url)
    assert caught.value.reason in ("bad_certificate", "timeout")
    assert seen == []


async def test_a_certificate_says_its_hosts_where_it_has_to(tls: Tls) -> None:
    """The common name, which anybody may have written, says nothing (RFC 9525)."""
    async with sender(tls).open():
        assert not tls.trust.hostname_checks_common_name
    by = Sender()
    async with by.open():
        assert by._trusted is not None
        assert not by._trusted.hostname_checks_common_name


async def test_nobody_there_and_no_such_name(tls: Tls) -> None:
    async with serving(answering(b""), tls.good) as url:
        pass
    with pytest.raises(Undelivered, match="not_connected"):
        await post(sender(tls), url)

    async def unknown(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Undelivered, match="name_not_resolved"):
        await post(sender(tls, resolve=unknown), url)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["?"]],
)
async def test_a_name_that_leads_inside_is_refused_before_anything_connects(tls: Tls, addresses: list[str]) -> None:
    connections: list[int] = []

    async def listen(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        connections.append(1)

    async def inside(_host: str, _port: int) -> list[str]:
        return addresses

    async with serving(listen, tls.good) as url:
        with pytest.raises(Undelivered, match="address_refused"):
            await post(sender(tls, resolve=inside, allow_private=False), url)
    assert connections == []


async def test_metadata_is_never_allowed(tls: Tls) -> None:
    async def inside(_host: str, _port: int) -> list[str]:
        return ["169.254.169.254"]

    with pytest.raises(Undelivered, match="address_refused"):
        await post(sender(tls, resolve=inside), f"https://{HOST}/")


async def test_a_name_that_changes_between_check_and_connect(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is what is connected to: a name is asked for once a connection, and each answer is checked.
    Here one loopback address stands for the world outside, and another for what is inside."""
    from shared.streaming import sender as module

    monkeypatch.setattr(module, "may_connect", lambda address, **_: address == "127.0.0.1")
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    asked: list[str] = []

    async def changing(_host: str, _port: int) -> list[str]:
        asked.append(next(answers))
        return [asked[-1]]

    by = sender(tls, resolve=changing, allow_private=False)
    async with serving(answering(b"HTTP/1.1 204 X\r\n\r\n"), tls.good) as url:
        assert (await post(by, url)).accepted
        assert asked == ["127.0.0.1"]
        with pytest.raises(Undelivered, match="address_refused"):
            await post(by, url)
    assert asked == ["127.0.0.1", "127.0.0.2"]


async def test_the_socket_is_checked_even_if_the_resolver_were_wrong(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.streaming import sender as module

    async def blind(self: object, _host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(module._Guard, "addresses", blind)
    with pytest.raises(Undelivered, match="address_refused"):
        await post(sender(tls, allow_private=False), f"https://{HOST}/")


async def test_an_address_that_was_stored_is_checked_again(tls: Tls) -> None:
    for url in ("https://127.0.0.1/", "http://receiver.example.com/", "https://10.0.0.1/", "https://2130706433/"):
        with pytest.raises(Undelivered, match="address_refused"):
            await post(sender(tls, allow_private=False), url)


async def test_no_proxy_of_the_environment(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    async with serving(answering(b"HTTP/1.1 204 X\r\n\r\n"), tls.good) as url:
        assert (await post(sender(tls), url)).accepted


async def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew(tls: Tls) -> None:
    served: list[int] = []

    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        served.append(1)
        writer.write(b"HTTP/1.1 204 X\r\n\r\n")
        await writer.drain()
        await reader.read(1)  # the next request has begun: too late

    async with serving(one_each, tls.good) as url, sender(tls).open() as line:
        assert [(await line.post(url, {}, BODY)).status for _ in range(3)] == [204] * 3
    assert len(served) == 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *[("120", 120), ("99999", 3600), ("0", 0), ("soon", None), ("-1", None), ("9" * 400, None)],
        *[("Sun, 15 Mar 2026 12:02:00 GMT", 120), ("Sun, 15 Mar 2026 11:00:00 GMT", 0), ("Fri, 31 Dec 9999", None)],
        *[("Fri, 31 Dec 9999 23:59:59 GMT", 3600), ("Sun, 15 Mar 2026 12:02:00", None)],
    ],
)
async def test_retry_after(tls: Tls, header: str, seconds: int | None) -> None:
    """Seconds, or a moment, by the receiver's own clock."""
    date = "Date: Sun, 15 Mar 2026 12:00:00 GMT\r\n"
    raw = f"HTTP/1.1 503 X\r\nContent-Length: 0\r\n{date}Retry-After: {header}\r\n\r\n".encode()
    async with serving(answering(raw), tls.good) as url:
        assert (await post(sender(tls), url)).retry_after == seconds


async def test_a_request_at_hand_has_no_more_time_than_is_left(tls: Tls) -> None:
    by = sender(tls, times=Times(connect=5, total=5, body=1))
    began = time.monotonic()
    async with serving(answering(b"", pause=2), tls.good) as url:
        with deadline(0.2), pytest.raises(Undelivered, match="timeout"):
            await post(by, url)
    assert time.monotonic() - began < 1.5


async def test_the_machines_resolver() -> None:
    assert set(await resolved("127.0.0.1", 443)) == {"127.0.0.1"}
    assert set(await resolved("::1", 443)) == {"::1"}


async def test_names_that_hang_keep_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are streams at once, fast ones and slow ones, each name of which is asked for in vain."""
    release, hanging = threading.Event(), 0

    def ask(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        nonlocal hanging
        if host.startswith("hangs"):
            hanging += 1
            release.wait(30)
        return [(0, 0, 0, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    waiting = [asyncio.create_task(resolved(f"hangs{n}.example.com", 443)) for n in range(2 * AT_ONCE)]
    try:
        assert await asyncio.wait_for(resolved("quick.example.com", 443), 10) == ["192.0.2.1"]
        assert hanging == 2 * AT_ONCE
    finally:
        release.set()
        await asyncio.gather(*waiting)


async def test_each_new_connection_asks_for_the_name_again(tls: Tls) -> None:
    asked: list[str] = []

    async def counted(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    raw = b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n"
    async with serving(answering(raw), tls.good) as url, sender(tls, resolve=counted).open() as line:
        for _ in range(3):
            await line.post(url, {}, BODY)
    assert asked == [HOST] * 3


async def test_one_bad_address_refuses_them_all(tls: Tls) -> None:
    from shared.streaming.sender import _Guard

    async def mixed(_host: str, _port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    guard = _Guard(sender(tls, resolve=mixed, allow_private=False))
    with pytest.raises(OSError, match="nothing is sent to"):
        await guard.addresses(HOST, 443)
    assert guard.refused
