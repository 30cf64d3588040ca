"""Sending to an address of a tenant's choice: the only place that does. What is refused, and why: docs/adr/0047."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from shared.core.deadline import remaining
from shared.core.version import VERSION
from shared.streaming.addresses import check_url, may_connect

if TYPE_CHECKING:  # cold start
    import aiohttp
    from aiohttp.abc import AbstractResolver

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
BODY_SECONDS = 2.0
MOST_ANSWER_BYTES = 4096
GZIP_FROM = 1024
"""Bytes below which packing does not pay."""
MOST_RESOLVING = 256
"""Threads that look up names, at most: twice as many as streams run at once, for one that hangs outlives its run."""
_GZIP_LEVEL = 6
_MOST_RETRY_AFTER = 3600
REFUSED: Final = "address_refused"

type Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host name, as text. OSError when it has none."""


class Undelivered(Exception):
    """There is no answer. `reason` is a code: address_refused, name_not_resolved, bad_certificate, not_connected,
    timeout, connection_lost, bad_answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, and the beginning of the body. `retry_after`: seconds, where the receiver named them."""

    status: int
    media_type: str = ""
    beginning: bytes = field(default=b"", repr=False)
    retry_after: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Times:
    """How long a request may take, in seconds: to connect, until the answer's head, and for its body after that."""

    connect: float = CONNECT_SECONDS
    total: float = TOTAL_SECONDS
    body: float = BODY_SECONDS


@lru_cache(maxsize=1)
def _resolvers() -> ThreadPoolExecutor:
    """Threads of their own: a resolver that hangs on one tenant's name must not keep others, or the rest of the app."""
    return ThreadPoolExecutor(MOST_RESOLVING, thread_name_prefix="resolve")


async def resolved(host: str, port: int) -> list[str]:
    """The addresses that the machine's resolver gives."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_resolvers(), ask)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Sender:
    """Sends over HTTPS, to addresses that may be sent to."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allow_http: bool = False,
        resolve: Resolve = resolved,
        trusted: ssl.SSLContext | None = None,
        times: Times | None = None,
    ) -> None:
        """`trusted`: whose certificates are (None: those that the machine trusts)."""
        self.allow_private = allow_private
        self.allow_http = allow_http
        self.resolve = resolve
        self.times = times or Times()
        self._trusted = trusted

    def check(self, url: str) -> None:
        """ValueError, with what is wrong, unless `url` may be sent to as far as its text says."""
        check_url(url, allow_private=self.allow_private, allow_http=self.allow_http)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        """What one message after the other is sent through; connections are kept in between."""
        import aiohttp

        if self._trusted is None:
            self._trusted = ssl.create_default_context()
        self._trusted.hostname_checks_common_name = False
        guard = _Guard(self)
        connector = aiohttp.TCPConnector(
            resolver=_resolver(guard),
            use_dns_cache=False,
            socket_factory=guard.socket,
            limit=1,
            ssl=self._trusted,
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=self.times.connect, sock_connect=self.times.connect)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"User-Agent": f"Kraftd-Audit/{VERSION}", "Accept-Encoding": "identity"},
        ) as session:
            yield Line(self, session, guard)


class Line:
    """Sends messages one after the other."""

    def __init__(self, sender: Sender, session: aiohttp.ClientSession, guard: _Guard) -> None:
        self._sender = sender
        self._session = session
        self._guard = guard
        self._used = False

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, packed: bool = False) -> Answer:
        """Send one body of JSON, and what came back. `packed`: with gzip, where that pays. Undelivered."""
        sent = {"Content-Type": "application/json", **headers}
        if packed and len(body) >= GZIP_FROM:
            body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0)
            sent["Content-Encoding"] = "gzip"
        try:
            return await self._once(url, sent, body)
        except Undelivered as error:
            if error.reason != "connection_lost" or not self._used:
                raise
            self._used = False  # a kept connection that the receiver had closed meanwhile: once more, over a new one
            return await self._once(url, sent, body)

    async def _once(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        import aiohttp

        try:
            self._sender.check(url)
        except ValueError:
            raise Undelivered(REFUSED) from None
        self._guard.refused = False
        try:
            async with asyncio.timeout(remaining(self._sender.times.total)):
                answer = await self._session.post(url, data=body, headers=headers, allow_redirects=False)
        except TimeoutError:
            raise Undelivered("timeout") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Undelivered(REFUSED if self._guard.refused else _reason(error)) from None
        try:
            beginning = await self._beginning(answer)
        finally:
            if answer.content.at_eof():
                answer.release()
            else:
                answer.close()  # and the connection with it
        self._used = True
        seconds = _seconds(answer.headers.get("Retry-After", ""), answer.headers.get("Date", ""))
        return Answer(answer.status, answer.content_type[:100], beginning, seconds)

    async def _beginning(self, answer: aiohttp.ClientResponse) -> bytes:
        """The beginning of an answer's body, as far as it comes soon."""
        import aiohttp

        found = b""
        try:
            async with asyncio.timeout(self._sender.times.body):
                while len(found) < MOST_ANSWER_BYTES:
                    more = await answer.content.read(MOST_ANSWER_BYTES - len(found))
                    if not more:
                        break
                    found += more
        except (TimeoutError, aiohttp.ClientError, OSError):
            return found  # its head is what counts
        return found


class _Guard:
    """Lets connections be made to addresses that may be sent to, and no others."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.refused = False

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where to connect. OSError when one of the host's addresses may not be sent to."""
        found = await self._sender.resolve(host, port)
        for each in found:
            self._check(each)
        return found

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for an address that is about to be connected to. OSError when it may not be."""
        family, kind, protocol, _, where = info
        self._check(str(where[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def _check(self, address: str) -> None:
        if not may_connect(address, allow_private=self._sender.allow_private):
            self.refused = True
            raise OSError("an address that nothing is sent to")


def _resolver(guard: _Guard) -> AbstractResolver:
    """The guard as aiohttp's resolver (a class of its own, for aiohttp is imported when it is needed)."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Guarded(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host,
                    host=each,
                    port=port,
                    family=socket.AF_INET6 if ":" in each else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for each in await guard.addresses(host, port)
            ]

        async def close(self) -> None:
            """There is nothing to let go of."""

    return Guarded()


def _seconds(wait: str, date: str) -> int | None:
    """What a Retry-After header says: seconds, or a moment (RFC 9110, 10.2.3), held against the answer's own."""
    if wait.isascii() and wait.isdigit():
        return min(int(wait), _MOST_RETRY_AFTER) if len(wait) < 10 else None
    try:
        left = (parsedate_to_datetime(wait) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0, min(int(left), _MOST_RETRY_AFTER))


def _reason(error: Exception) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return "bad_certificate"
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return "name_not_resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "not_connected"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | OSError):
        return "connection_lost"
    return "bad_answer"
