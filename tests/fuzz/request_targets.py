"""What the app reads of strangers' requests: bodies, queries, headers, cursors, tokens. Whatever it is, it is taken or
refused with an error of ours that names what is wrong."""

import contextlib
import json
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from functions import ENDPOINTS
from functions._api import Call, ListQuery, Nothing
from functions._cursors import read_place, write_place
from functions._event_search import EventQuery
from functions._http import client_address
from functions._parsing import parse_body, parse_query
from functions.events_ingest import EventsBody, Sent
from shared.audit.model import RequestContext
from shared.audit.producer import read_event
from shared.core.errors import Invalid, KraftdError
from shared.detection.imports import Mapped, imported, read_mapping
from shared.identity.model import Principal, Role
from shared.identity.secret_links import API_KEY, INVITATION, new_secret, read_secret
from shared.identity.tokens import AccessTokens, Claims, TokenRejected
from shared.privacy.secrets import MemorySecrets
from tests.app import ROOT, registration
from tests.fakes import ManualClock
from tests.fuzz.evidence_targets import Target

_CLOCK = ManualClock()
_SECRETS = MemorySecrets(lambda count: b"\5" * count)
_FOLDER = Path(tempfile.mkdtemp(prefix="kraftd-fuzz-"))
_IDS = ("0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb")
_BODIES = [each.body for each in ENDPOINTS if each.body is not Nothing]
_QUERIES = [each.query for each in ENDPOINTS if each.query is not Nothing]


def _now[T](waits_for_nothing: Coroutine[Any, Any, T]) -> T:
    try:
        waits_for_nothing.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")


def _refused(error: KraftdError) -> None:
    """Invalid names fields; whatever is refused has a code, and can be sent as it is."""
    if not error.code or (isinstance(error, Invalid) and not error.errors):
        raise AssertionError(f"{error!r} names nothing")
    json.dumps([[each.field, each.code, each.message] for each in error.errors]).encode()


def body(data: bytes) -> None:
    """The body of a call, by its place."""
    model = _BODIES[data[0] % len(_BODIES)] if data else _BODIES[0]
    try:
        parse_body(data[1:], model)
    except KraftdError as error:
        _refused(error)


def query(data: bytes) -> None:
    """The query of a call, by its place."""
    model = _QUERIES[data[0] % len(_QUERIES)] if data else _QUERIES[0]
    try:
        parse_query(f"http://localhost/api/v1/x?{data[1:].decode('utf-8', 'replace')}", model)
    except KraftdError as error:
        _refused(error)


def events(data: bytes) -> None:
    """Events of a producer: each is taken, or has its faults."""
    try:
        sent = parse_body(data, EventsBody)
    except KraftdError as error:
        _refused(error)
        return
    assert isinstance(sent, Sent)
    for value in sent.values:
        found = read_event(value, _CLOCK.now())
        if isinstance(found, list) and not (found and all(each.code and each.message for each in found)):
            raise AssertionError("refused without a reason")


_CALLER = Principal("user-1", "tenant-1", "session-1", Role.AUDITOR, "ada@example.com", {}, {}, {})
_REQUEST = RequestContext("request-1", "GET /v1/events", "list_events", _CLOCK.now())
_WIRED: Any = SimpleNamespace(secrets=_SECRETS, clock=_CLOCK)
_CALL: Call[Nothing, ListQuery] = Call(_WIRED, _REQUEST, Nothing(), EventQuery(), {}, _CALLER)
_PLACE = ["2026-03-15T12:00:00.000000Z", "an-id"]
_CURSOR = _now(write_place(_CALL, _PLACE))


def cursor(data: bytes) -> None:
    """A cursor: the one that was given out leads back, and no other text leads anywhere."""
    text = data.decode("utf-8", "replace")
    asked = _CALL.query.model_copy(update={"cursor": text})
    try:
        place = _now(read_place(replace(_CALL, query=asked)))
    except Invalid as error:
        _refused(error)
    else:
        if text != _CURSOR or place != _PLACE:
            raise AssertionError(f"{text!r} leads to {place!r}")


_TOKENS = AccessTokens(_SECRETS, _CLOCK, timedelta(minutes=15))
_CLAIMS = Claims(_IDS[0], _IDS[1], _IDS[0])
_TOKEN = _now(_TOKENS.issue(_CLAIMS))


def token(data: bytes) -> None:
    """An access token: the one that was given out is good, and no other text."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(TokenRejected):
        if _now(_TOKENS.check(text)) != _CLAIMS or text != _TOKEN:
            raise AssertionError(f"{text!r} is taken for a token")


_LINKS = [new_secret(kind, *_IDS, lambda _: "s" * 43)[0] for kind in (INVITATION, API_KEY)]


def link(data: bytes) -> None:
    """An invitation or a key: what is read says it all, in one spelling."""
    text = data.decode("utf-8", "replace")
    for kind in (INVITATION, API_KEY):
        read = read_secret(kind, text)
        if read is not None and f"{kind}_{read.tenant_id}.{read.record_id}.{read.secret}" != text:
            raise AssertionError(f"{text!r} is read as {read!r}")


def address(data: bytes) -> None:
    """X-Forwarded-For: an address that can be recorded, or none; never more than one entry of it."""
    text = data.decode("utf-8", "replace")
    for hops in (1, 2):
        found = client_address(text, hops)
        if found is not None and client_address(found, 1) != found:
            raise AssertionError(f"{found!r} is no address")


_MAPPINGS = [path.read_bytes() for path in sorted((ROOT / "docs" / "mappings").glob("*.toml"))]
_LOGS = {path.suffix: path.read_bytes()[:1200] for path in (ROOT / "tests" / "detection" / "logs").iterdir()}
_MAPPED = {".jsonl": "okta.toml", ".csv": "microsoft-365.toml", ".log": "sshd.toml"}
_MAPS = {suffix: read_mapping(ROOT / "docs" / "mappings" / name) for suffix, name in _MAPPED.items()}


def mapping(data: bytes) -> None:
    """A mapping of logs: it is one, or ValueError says that it is none."""
    path = _FOLDER / "map.toml"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        read_mapping(path)


def log(data: bytes) -> None:
    """A log of another system: every row is counted as something."""
    maps: list[Mapped] = list(_MAPS.values())
    mapped = maps[data[0] % len(maps)] if data else maps[0]
    lines = data[1:].decode("utf-8", "replace").splitlines(keepends=True)
    found = imported(lines, mapped)
    if found.rows != len(found.events) + found.repeated + found.left_out + found.unreadable:
        raise AssertionError(f"{found.rows} rows, and something else became of them: {found!r}")


_EVENT = {
    "type": "data.read",
    "actor": {"kind": "user", "id": "u-1"},
    "target": {"kind": "record", "id": "r-1"},
    "occurred_at": "2026-03-15T11:59:00Z",
    "data_class": "phi",
    "record_count": 3,
    "attributes": {"note": "a"},
    "personal": {"u-1": {"email": "a@example.com", "ip": "203.0.113.7"}},
}
_FILTERS = b"type=auth.*&outcome=denied&ip=203.0.113.7&email=a%40example.com&from=2026-03-01T00:00:00Z&limit=7&cursor=x"

REQUESTS: dict[str, tuple[Target, list[bytes]]] = {
    "body": (body, [bytes([at]) + json.dumps(registration()).encode() for at in range(len(_BODIES))]),
    "query": (query, [bytes([at]) + _FILTERS for at in range(len(_QUERIES))]),
    "events": (events, [json.dumps(_EVENT).encode(), json.dumps({"events": [_EVENT, _EVENT]}).encode()]),
    "cursor": (cursor, [_CURSOR.encode()]),
    "token": (token, [_TOKEN.encode()]),
    "link": (link, [each.encode() for each in _LINKS]),
    "address": (address, [b"203.0.113.7", b"10.0.0.1, [2001:db8::1]:443", b"a, ::ffff:203.0.113.7"]),
    "mapping": (mapping, _MAPPINGS),
    "log": (log, [bytes([at]) + _LOGS[suffix] for at, suffix in enumerate(_MAPS)]),
}
"""By name: what is called with any bytes, and bytes that it takes, to begin from."""
