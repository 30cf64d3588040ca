"""HTTP in front of the functions: from an ASGI request to the runtime's values and back, as the real host does it.

What the host changes on the way is changed here too: header names in lower case, repeated request headers joined
(`,`, cookies `; `), repeated query parameters joined and empty ones absent from `params`, cookies written by ASP.NET
Core's rules. `req.url` keeps the query as it was sent, and a body arrives as the bytes that were sent.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from http.cookies import Morsel
from ipaddress import IPv6Address
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

from starlette.types import Receive, Scope, Send

from devhost.bindings import Function, HttpTrigger
from devhost.routing import Router, RouteSpec, parse_path
from devhost.runtime import Datum, Worker

_log = logging.getLogger("devhost")

MAX_BODY_BYTES = 100 * 1024 * 1024
MAX_BODIES_BYTES = 256 * 1024 * 1024
# Nothing in it may end the authority of a URL or start another part: the host becomes a part of `req.url`.
_HOST = re.compile(rb"(?:([A-Za-z0-9!$&'()\-._~]{1,255})|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?")
_EMPTY: dict[str, Any] = {}
# The server frames the answer itself; what a function says about that would contradict it.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
_BODYLESS = frozenset({204, 304})

type RawHeaders = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The request is answered with a bare status, without any function."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ClientGone(Exception):
    """The client went away before it had sent its request."""


class Answer(NamedTuple):
    """What goes back: status, header lines and body."""

    status: int
    headers: RawHeaders
    body: bytes = b""


def build_router(functions: Iterable[Function], prefix: str) -> Router:
    """The routes of an app's HTTP functions. HostError for what the real host would refuse."""
    return Router(
        [
            RouteSpec(each.name, each.trigger.route, each.trigger.methods)
            for each in functions
            if isinstance(each.trigger, HttpTrigger)
        ],
        prefix,
    )


class BodyBudget:
    """How many bytes the bodies of all requests under way may take together."""

    def __init__(self, limit: int) -> None:
        self.left = limit


class _Share:
    """What one request has of the budget, from the first byte of its body to its answer."""

    __slots__ = ("_budget", "_taken")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._taken = 0

    def take(self, size: int) -> None:
        """Count `size` bytes more. Refused (503) when that is more than is left."""
        if size > self._budget.left:
            raise Refused(503)
        self._budget.left -= size
        self._taken += size

    def give_back(self) -> None:
        """Nothing of the body is needed any more."""
        self._budget.left += self._taken


class HttpFront:
    """The ASGI endpoint that answers everything but the admin path."""

    def __init__(self, worker: Worker, router: Router, bodies: BodyBudget | None = None) -> None:
        self._worker = worker
        self._router = router
        self._bodies = bodies or BodyBudget(MAX_BODIES_BYTES)
        self._functions = {
            each.name: (each, each.trigger.parameter)
            for each in worker.functions
            if isinstance(each.trigger, HttpTrigger)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A function that runs is never cancelled, even when its client goes away."""
        try:
            reply = await self._reply(scope, receive)
        except Refused as refused:
            # A body that was not read must not be taken for the next request.
            reply = Answer(refused.status, [(b"connection", b"close")] if refused.status in {413, 503} else [])
        except ClientGone:
            return
        await send_answer(send, reply, head=scope["method"] == "HEAD")

    async def _reply(self, scope: Scope, receive: Receive) -> Answer:
        read_host(scope)
        raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        path = parse_path(raw_path) if raw_path.isascii() else None
        if path is None:
            raise Refused(400)
        found = self._router.match(scope["method"], path)
        if found is None:
            raise Refused(404)
        name, route_params = found
        share = _Share(self._bodies)
        try:
            body = await read_body(scope, receive, take=share.take)
            return await self._run(name, _request_datum(scope, raw_path, route_params, body))
        finally:
            share.give_back()

    async def _run(self, name: str, request: Any) -> Answer:
        function, parameter = self._functions[name]
        result = await self._worker.invoke(function, ((parameter, request),), _EMPTY)
        if not result.ok:
            _log.error("function_failed function=%s error=%s", name, result.error)
            return Answer(500, [])
        try:
            return _answer_of(result.value)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            _log.error("bad_response function=%s error=%s", name, type(error).__name__)
            return Answer(500, [])


async def send_answer(send: Send, reply: Answer, *, head: bool = False) -> None:
    """Send one whole answer. With `head`, the length of its body without the body."""
    headers, body = reply.headers, reply.body
    if reply.status in _BODYLESS:
        body = b""
    else:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


def read_host(scope: Scope) -> str:
    """The request's host in lower case, without port and brackets. Refused (400) unless there is exactly one, valid.

    Only HTTP/1.0 may leave it out; the host is empty then.
    """
    values = [value for name, value in scope["headers"] if name == b"host"]
    if not values and scope.get("http_version") == "1.0":
        return ""
    found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        raise Refused(400)
    name, address, port = found.groups()
    if port is not None and int(port) > 65535:
        raise Refused(400)
    if address is None:
        return str(name.decode("ascii").lower())
    try:
        return str(IPv6Address(address.decode("ascii")))
    except ValueError:
        raise Refused(400) from None


async def read_body(
    scope: Scope, receive: Receive, limit: int = MAX_BODY_BYTES, take: Callable[[int], None] | None = None
) -> bytes:
    """The whole body; `take` is told the size of every piece before it is kept, and may refuse it.

    Refused (413) above `limit` bytes; ClientGone when it never arrives.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise Refused(413)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise Refused(413)
        if take is not None:
            take(len(chunk))
        if not message.get("more_body", False):
            return chunk if not chunks else b"".join((*chunks, chunk))
        chunks.append(chunk)


def _request_datum(scope: Scope, raw_path: str, route_params: Mapping[str, str], body: bytes) -> Any:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        try:
            name, value = raw_name.decode("ascii"), raw_value.decode()
        except UnicodeDecodeError as error:  # the real server reads headers as UTF-8, strictly
            raise Refused(400) from error
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ','}{value}"
        headers[name] = value
    peer = _peer(scope.get("client"))
    if peer:
        # Azure's front end appends the peer it saw; only this last entry can be trusted.
        forwarded = headers.get("x-forwarded-for")
        headers["x-forwarded-for"] = f"{forwarded}, {peer}" if forwarded else peer
    query = scope["query_string"].decode("latin-1")
    url = f"{scope['scheme']}://{headers.get('host', '')}{raw_path}{'?' + query if query else ''}"
    return Datum(
        {
            "method": Datum(scope["method"], "string"),
            "url": Datum(url, "string"),
            "headers": {name: Datum(value, "string") for name, value in headers.items()},
            "body": Datum(body, "bytes"),
            "params": {name: Datum(value, "string") for name, value in route_params.items()},
            "query": _query(query) if query else _EMPTY,
        },
        "http",
    )


def _peer(client: tuple[str, int] | None) -> str:
    if not client:
        return ""
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _query(text: str) -> dict[str, Any]:
    """The host's reading: names ignore case, repeated values are joined, parameters without any value are dropped."""
    names: dict[str, str] = {}
    joined: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        first = names.setdefault(name.lower(), name)
        joined[first] = f"{joined[first]},{value}" if first in joined else value
    return {name: Datum(value, "string") for name, value in joined.items() if value}


def _answer_of(value: Any) -> Answer:
    """What a function returned, ready to send. ValueError and its like when it cannot be sent."""
    if value.type == "string":
        return Answer(200, [(b"content-type", b"text/plain; charset=utf-8")], value.value.encode())
    fields = value.value
    status = int(fields["status_code"].value)
    if not 200 <= status <= 599:
        raise ValueError("not a final status code")
    headers: dict[bytes, bytes] = {}
    for name, each in fields["headers"].items():
        lowered = name.lower()
        if lowered not in _FRAMING:
            headers[lowered.encode("ascii")] = _header_value(each.value)
    lines = list(headers.items())
    for jar in fields["cookies"] or ():
        lines.extend((b"set-cookie", _header_value(_cookie(morsel))) for morsel in jar.values())
    return Answer(status, lines, fields["body"].value)


def _header_value(text: str) -> bytes:
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError("a header value holds a line break")
    return text.encode("latin-1")


def _cookie(morsel: Morsel[str]) -> str:
    """One Set-Cookie line by ASP.NET Core's rules: the value percent-encoded, the path `/` unless given."""
    parts = [f"{morsel.key}={quote(morsel.value, safe='-._~')}"]
    if morsel["expires"]:
        datetime.strptime(morsel["expires"], "%a, %d %b %Y %H:%M:%S GMT")  # noqa: DTZ007 - only its form matters
        parts.append(f"expires={morsel['expires']}")
    if morsel["max-age"]:
        parts.append(f"max-age={int(float(morsel['max-age']))}")
    if morsel["domain"]:
        parts.append(f"domain={morsel['domain']}")
    parts.append(f"path={morsel['path'] or '/'}")
    if morsel["secure"]:
        parts.append("secure")
    if morsel["samesite"]:
        parts.append(f"samesite={morsel['samesite'].lower()}")
    if morsel["httponly"]:
        parts.append("httponly")
    return "; ".join(parts)
