"""Hunting for values where they must not be: in whatever form software may have put them there.

A `Net` knows some values and tells which of them some bytes hold: as they are, in other case, composed or decomposed,
escaped for JSON, HTML or a URL, in hexadecimal, in base64 (at each of its three offsets) and in UTF-16; also inside
what is packed: zip, gzip, zlib, base64, one in the other.
"""

import base64
import binascii
import gzip
import html
import io
import json
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from shared.privacy.declared import declared, kind_of, leaves
from shared.storage.containers import CONTAINERS
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import FEED_START, DocumentStore, Item, Position
from shared.storage.sqlite import SqliteStore

_PACKED = re.compile(rb"[A-Za-z0-9+/_=-]{24,}")
_DEEPEST = 4
_LARGEST = 64 << 20


class Net:
    """The values, by name, and every form of each; `plain`: only as text, for what is large and holds text."""

    def __init__(self, values: Mapping[str, str], *, plain: bool = False) -> None:
        self._names: dict[bytes, set[str]] = {}
        for name, value in values.items():
            for form in _plain(value) if plain else _forms(value):
                self._names.setdefault(form, set()).add(name)

    def found(self, data: bytes | str | Any) -> set[str]:
        """Names of the values that are in some bytes, some text or some JSON."""
        raw = data if isinstance(data, bytes) else (data if isinstance(data, str) else _text(data)).encode()
        return {name for each in unpacked(raw) for name in self._look(each)}

    def _look(self, raw: bytes) -> Iterator[str]:
        for each in {raw, _lower(raw)}:
            for form, names in self._names.items():
                if form in each:
                    yield from names


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _lower(raw: bytes) -> bytes:
    """In lower case, composed; bytes that are no text stay as they are."""
    return unicodedata.normalize("NFC", raw.decode("utf-8", "surrogateescape").lower()).encode(
        "utf-8", "surrogateescape"
    )


def _plain(value: str) -> set[bytes]:
    return {unicodedata.normalize(form, text).encode() for text in (value, value.lower()) for form in ("NFC", "NFD")}


def _forms(value: str) -> set[bytes]:
    """What a value may look like. Other case is seen to by whoever looks, but where a form does not keep it."""
    found: set[bytes] = set()
    for text in {value, value.lower()}:
        for form in ("NFC", "NFD"):
            normal = unicodedata.normalize(form, text)
            raw = normal.encode()
            found |= {raw, raw.hex().encode(), normal.encode("utf-16-le"), normal.encode("utf-16-be")}
            found |= {quote(normal).encode(), quote(normal, safe="").encode(), quote_plus(normal).encode()}
            found |= {html.escape(normal).encode(), normal.encode("ascii", "xmlcharrefreplace")}
            found.add(json.dumps(normal)[1:-1].encode())
            found |= set(_in_base64(raw))
            found.add(raw[::-1])
    return {form for form in found | {_lower(form) for form in found} if len(form) >= 6}


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """What base64 makes of a value wherever it begins: the characters that hang on it alone."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        start = (0, 2, 3)[before]
        end = len(encoded) - (4 if (before + len(raw)) % 3 else 0)
        if end - start >= 8:
            yield encoded[start:end]
            yield encoded[start:end].translate(bytes.maketrans(b"+/", b"-_"))


def unpacked(raw: bytes, depth: int = 0) -> Iterator[bytes]:
    """Some bytes, and whatever is packed in them."""
    yield raw
    if depth >= _DEEPEST:
        return
    for inner in _inside(raw):
        yield from unpacked(inner, depth + 1)


def _inside(raw: bytes) -> Iterator[bytes]:
    if raw[:2] == b"PK" and zipfile.is_zipfile(io.BytesIO(raw)):  # other bytes may begin so, too
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            for info in file.infolist():
                yield info.filename.encode()
                yield file.read(info)
    for opened in (gzip.decompress, zlib.decompress, lambda data: zlib.decompress(data, -15)):
        if raw[:1] in (b"\x1f", b"\x78") or raw[:2] == b"PK":
            try:
                yield opened(raw)
            except (OSError, EOFError, zlib.error):
                continue
    for match in _PACKED.finditer(raw):
        text = match[0].translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            inner = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        if inner[:1] in (b"\x1f", b"\x78") or inner[:2] == b"PK":
            yield inner


async def stored(store: DocumentStore) -> list[tuple[str, Item]]:
    """Every item of every container with the container's name, whatever its partition: around the port, or from the
    feed, which has the latest of each."""
    if isinstance(store, SqliteStore):
        connection: Any = store._resources.point_reader
        rows = [(n, body) for n in CONTAINERS for (body,) in connection.execute(f"SELECT body FROM items_{n}")]  # noqa: S608
        return [(name, json.loads(body)) for name, body in rows]
    assert isinstance(store, CosmosStore)
    found = []
    for name, container in CONTAINERS.items():
        position: Position = FEED_START
        while changes := await store.changes(container, position, 1000):
            found += [(name, each.item) for each in changes]
            position = changes[-1].position
    return found


def astray(items: list[tuple[str, Item]], net: Net) -> set[tuple[str, str, str]]:
    """Where values are in fields that are not declared as personal and clear: container and kind, path, name."""
    by_kind: dict[tuple[str, str], dict[str, Item]] = {}
    for container, item in items:
        by_kind.setdefault((container, kind_of(item)), {})[_text(item)] = item
    found = set()
    for (container, kind), texts in by_kind.items():
        if net.found("\n".join(texts)):
            for item in texts.values():
                found |= {(f"{container}/{kind}", path, name) for path, name in _astray(container, kind, item, net)}
    return found


def _astray(container: str, kind: str, item: Item, net: Net) -> Iterator[tuple[str, str]]:
    rest = [
        (".".join(path), str(value))
        for path, value in leaves(item)
        if declared(container, kind, path) != ("personal", "clear")
    ]
    if net.found(rest):
        for path, value in rest:
            yield from ((path, name) for name in net.found(f"{path}\n{value}"))
