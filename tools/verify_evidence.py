#!/usr/bin/env python3
"""Check an evidence bundle offline: `python verify_evidence.py PART.zip [PART.zip ...] --vkey VKEY`.

One file, on its own: it needs Python 3.11 or newer and the package `cryptography`, nothing of the service that made
the bundle, and no network. What it checks:

- the parts are complete, belong together, and are exactly what the signed manifest says;
- each month is whole: its entries 0 to size-1, hashed into the Merkle tree of RFC 9162, give the signed root;
- nothing in it belongs to another tenant or month, appears twice, or has an id made at another time than it claims;
- nothing was sealed long after the time that it says it was recorded, and no failed check of the service is on record;
- the daily totals are those of the entries, counted again;
- a report that is in it is the one that the manifest names, stands on months as they are in the bundle, and counts
  events, evidence and samples as the entries give them; what its rules make of these is not run again;
- closing statements of earlier months, proof files and checkpoints kept from before agree with the entries;
- personal data that is shown is what was committed to when it was recorded;
- with `--events`, an export of the trail: every event is what was sealed, none is there that was not, and none lacks.

Exit status: 0 all of it is verified, 1 something is wrong, 2 something could not be checked. Memory stays small, at
some twenty bytes an entry, and forty more an exported event; of a report, hundred bytes for each of up to 32 entries
of a day, type, outcome, class and reason. The format is described in evidence-format.md.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # modules that lie beside this file, perhaps unpacked from a bundle, are not to be imported

import argparse
import base64
import binascii
import bisect
import functools
import hashlib
import heapq
import itertools
import json
import os
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

FORMAT = "kraftd-audit-evidence/1"
MANIFEST_TITLE = "kraftd-audit evidence manifest"
FIELDS = frozenset(
    {
        *("schema", "id", "tenant_id", "period", "type", "outcome", "reason", "severity", "recorded_at", "occurred_at"),
        *("actor", "target", "subjects", "source", "context", "data_class", "record_count", "attributes"),
        "commitments",
    }
)
REPORT = frozenset(("id", "framework", "generated_at"))
WIDTH = 256
MAX_ENTRY_BYTES = 65_535
MAX_FILES = 200_000
MAX_DIRECTORY_BYTES = 64 << 20
MAX_RATIO = 250  # how often a bundle can be larger unpacked; Deflate itself reaches 1,032
MAX_OPEN = 32
MAX_ACTORS = 1000
MAX_SHOWN = 5
MAX_LINE = 4 << 20
SEALED_AFTER = timedelta(minutes=15)  # so young when the bundle was made, an event may not have been sealed yet
# So long after it was recorded an event is sealed at the latest: the service's own, and those of others
BEHIND_OWN, BEHIND_PRODUCED = 24 * 3600, 8 * 24 * 3600
PRODUCED = ("data.", "consent.", "custom.")
# How large a file of a bundle can be, by its name. Nothing else may be in there.
KINDS: tuple[tuple[str, int], ...] = (
    (r"README\.txt", 1 << 20),
    (r"verify_evidence\.py", 1 << 20),
    (r"manifest\.json", 64 << 20),
    (r"manifest\.note", 1 << 20),
    (r"shards/[0-9]{4}-[0-9]{2}/checkpoint", 1 << 20),
    (r"shards/[0-9]{4}-[0-9]{2}/rollups\.jsonl", 64 << 20),
    (
        r"shards/[0-9]{4}-[0-9]{2}/tile/entries/(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[0-9]{1,3})?",
        WIDTH * (MAX_ENTRY_BYTES + 2),
    ),
    (r"shards/[0-9]{4}-[0-9]{2}/disclosed/(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[0-9]{1,3})?\.jsonl", 64 << 20),
    (r"shards/[0-9]{4}-[0-9]{2}/proofs/[0-9]{1,18}\.tlog-proof", 1 << 20),
    (r"report/([A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/){0,2}[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", 64 << 20),
)
_KINDS = [(re.compile(pattern), limit) for pattern, limit in KINDS]
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_EMPTY_ROOT = hashlib.sha256(b"").digest()
_ROW = ("outcome", "data_class", "reason")
# What zipfile raises for bytes that are no ZIP file, or a broken one: more than it says
_UNREADABLE = (
    *(OSError, EOFError, ValueError, OverflowError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)

OK, WRONG, UNKNOWN = "ok", "wrong", "not checked"


class Wrong(Exception):
    """Something does not hold."""


class Unchecked(Exception):
    """Something cannot be checked with what is there."""


def require(condition: object, message: str) -> None:
    """Wrong, unless the condition holds."""
    if not condition:
        raise Wrong(message)


@dataclass
class Check:
    """One line of the answer."""

    subject: str
    result: str
    detail: str


@dataclass
class Checks:
    """Everything that was looked at."""

    lines: list[Check] = field(default_factory=list)

    def add(self, subject: str, result: str, detail: str) -> None:
        """Note a result."""
        self.lines.append(Check(subject, result, printable(detail)))

    def attempt(self, subject: str, what: Callable[[], str]) -> bool:
        """Run one check, which returns its detail, and note how it went."""
        try:
            self.add(subject, OK, what())
        except Wrong as wrong:
            self.add(subject, WRONG, str(wrong))
        except Unchecked as unchecked:
            self.add(subject, UNKNOWN, str(unchecked))
        except RecursionError:
            self.add(subject, WRONG, "something in it is nested deeper than can be followed")
        return self.lines[-1].result == OK

    @property
    def result(self) -> str:
        """The worst of all results."""
        found = {line.result for line in self.lines}
        return WRONG if WRONG in found else UNKNOWN if UNKNOWN in found or not found else OK


def printable(text: str) -> str:
    """Text that cannot move the cursor or hide anything on a terminal, at most 500 characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= 500 else shown[:497] + "..."


# ---- keys and signed notes (c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature) ------------------------------


def strict_base64(text: str) -> bytes:
    """Decode base64 in its only spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("something that should be base64 is not") from None
    if base64.b64encode(data).decode() != text:
        raise Wrong("base64 in an unusual spelling")
    return data


def decimal(text: str) -> int:
    """A number from 0 to 2^63-1 without leading zeros."""
    if not _DECIMAL.fullmatch(text) or int(text) > 2**63 - 1:
        raise Wrong("something that should be a number is not")
    return int(text)


@dataclass(frozen=True)
class Key:
    """A public key: type 1 signs notes, type 4 cosigns checkpoints."""

    name: str
    public: bytes
    type: int = 1

    @property
    def id(self) -> bytes:
        """What tells keys apart within a name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:4]

    def renamed(self, name: str) -> Key:
        """The same key under another name: the service signs each month under the month's name."""
        return Key(name, self.public, self.type)

    @property
    def fingerprint(self) -> str:
        """What people compare: SHA-256 of the public key."""
        digest = hashlib.sha256(self.public).hexdigest()
        return " ".join(digest[at : at + 8] for at in range(0, 64, 8))


def parse_vkey(text: str, kind: int = 1) -> Key:
    """A key from `<name>+<id>+<base64>`."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    data = strict_base64(encoded)
    if not good_name(name) or len(data) != 33 or data[0] != kind:
        raise Wrong("not the form of a verifier key")
    key = Key(name, data[1:], kind)
    if key.id.hex() != key_id:
        raise Wrong("the id in the verifier key is not that of name and key")
    return key


def good_name(name: str) -> bool:
    """Whether a key may have this name."""
    return bool(name) and not any(c.isspace() or c < " " or c == "+" or "\ud800" <= c <= "\udfff" for c in name)


def open_note(data: bytes, keys: Sequence[Key]) -> tuple[str, list[Key]]:
    """The text of a signed note and which of the keys signed it. Wrong when one of them signed something else."""
    try:
        text, separator, lines = data.decode("utf-8").rpartition("\n\n")
    except UnicodeDecodeError:
        raise Wrong("a signed note is not UTF-8") from None
    text += "\n"
    if not separator or not lines.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise Wrong("not the form of a signed note")
    signatures = lines[:-1].split("\n")
    if len(signatures) > 100:
        raise Wrong("a signed note with more than 100 signatures")
    known = {(key.name, key.id): key for key in keys}
    signers: list[Key] = []
    for line in signatures:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        payload = strict_base64(encoded)
        if dash != "\u2014" or not good_name(name) or len(payload) < 5:
            raise Wrong("not the form of a signature line")
        key = known.get((name, payload[:4]))
        if key is not None:
            check_signature(key, payload[4:], text)
            if key not in signers:
                signers.append(key)
    return text, signers


def check_signature(key: Key, signature: bytes, text: str) -> None:
    """Wrong unless the key signed (or cosigned, at the time that is in front) the text."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    message = text.encode()
    if key.type == 4:
        at = int.from_bytes(signature[:8], "big")
        if len(signature) != 72 or at > 2**63 - 1:
            raise Wrong(f"the cosignature of {key.name} is malformed")
        message, signature = b"cosignature/v1\ntime %d\n" % at + message, signature[8:]
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Wrong(f"the signature of {key.name} does not hold") from None


def parse_checkpoint(text: str) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not good_name(lines[0]):
        raise Wrong("not the form of a checkpoint")
    size, root = decimal(lines[1]), strict_base64(lines[2])
    if len(root) != 32 or (size == 0 and root != _EMPTY_ROOT):
        raise Wrong("not the form of a checkpoint")
    return lines[0], size, root


def looks_like_a_checkpoint(data: bytes) -> bool:
    """Whether somebody may have kept this as a checkpoint: three lines, an empty one, and signatures."""
    text, separator, signatures = data.partition(b"\n\n")
    return len(data) <= 1 << 20 and text.count(b"\n") == 2 and bool(separator) and signatures.endswith(b"\n")


# ---- canonical JSON (RFC 8785) ------------------------------------------------------------------------------------

_FAST = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def canonical(value: Any) -> str:
    """RFC 8785 text of a JSON value."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_FAST.encode(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        return canonical_float(value)
    return _FAST.encode(value)


def canonical_float(value: float) -> str:
    """A number as ECMAScript writes it (RFC 8785 §3.2.2.3)."""
    if value == 0:
        return "0"
    sign, digits, exponent = "-" if value < 0 else "", *scientific(abs(value))
    point = exponent + 1
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if exponent > 0 else '-'}{abs(exponent)}"


def scientific(value: float) -> tuple[str, int]:
    """The shortest digits that give the number back, and its decimal exponent."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, part = mantissa.partition(".")
    shift = len(whole) - 1 + int(exponent or 0)
    digits = whole + part
    leading = len(digits) - len(digits.lstrip("0"))
    return digits.strip("0"), shift - leading


def parse_json(data: bytes, what: str) -> Any:
    """A JSON value, in which no name appears twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name appears twice")
        return found

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{what} is not JSON: {error}") from None


def _no_constant(_: str) -> None:
    raise ValueError("a number that is none")


def _only_spelling(text: str) -> float:
    value = float(text)
    if canonical_float(value) != text:
        raise ValueError("a number in an unusual spelling")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_only_spelling)


def parse_entry(entry: bytes) -> dict[str, Any]:
    """An entry's fields. Wrong unless it is the canonical JSON of one object with exactly the fields of an entry."""
    try:
        text = entry.decode("utf-8")
        value = _DECODER.decode(text)
        if _FAST.encode(value) != text and canonical(value) != text:
            raise Wrong("is not in canonical form")
    except (ValueError, RecursionError):
        raise Wrong("is not canonical JSON") from None
    if not isinstance(value, dict) or value.keys() != FIELDS:
        raise Wrong("has not the fields of an entry")
    return value


# ---- files --------------------------------------------------------------------------------------------------------


class Part:
    """One ZIP file of a bundle, read without trusting any of it and without writing anything to disk."""

    opened: ClassVar[dict[str, zipfile.ZipFile]] = {}

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        try:
            with open(path, "rb") as file:
                check_directory(file)
            files = self.zip().infolist()
        except _UNREADABLE as error:
            raise Unchecked(f"{self.name}: cannot be read as a ZIP file ({error}); is it whole?") from None
        self.infos = {info.filename: info for info in files}
        require(len(self.infos) == len(files), f"{self.name}: a file name appears twice")
        self.check_names()
        self.manifest: dict[str, Any] = {}

    def zip(self) -> zipfile.ZipFile:
        """The open file. Few are open at a time: a bundle can have more parts than a process may open files."""
        found = self.opened.pop(self.path, None) or zipfile.ZipFile(self.path)
        self.opened[self.path] = found
        if len(self.opened) > MAX_OPEN:
            self.opened.pop(next(iter(self.opened))).close()
        return found

    @classmethod
    def close_all(cls) -> None:
        """Close what is open."""
        while cls.opened:
            cls.opened.popitem()[1].close()

    def check_names(self) -> None:
        """Wrong for names, flags and sizes that a bundle cannot have."""
        for name, info in self.infos.items():
            limit = limit_of(name)
            if limit is None or info.orig_filename != name:
                raise Wrong(f"{self.name}: a file that does not belong into a bundle: {name!r}")
            if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Wrong(f"{self.name}: {name} is encrypted or compressed in an unusual way")
            if info.file_size > limit:
                raise Wrong(f"{self.name}: {name} is larger than such a file can be")
        unpacked = sum(info.file_size for info in self.infos.values())
        require(
            unpacked <= MAX_RATIO * os.path.getsize(self.path), f"{self.name}: unpacks to {unpacked:,} bytes, a trap"
        )
        for name in ("manifest.json", "manifest.note"):
            require(name in self.infos, f"{self.name}: there is no {name}")

    def read(self, name: str) -> bytes:
        """The content of a file: never more than it claims, and what the manifest says it is."""
        info = self.infos[name]
        try:
            with self.zip().open(info) as file:
                data = file.read(info.file_size + 1)
        except _UNREADABLE as error:
            raise Wrong(f"{self.name}: {name} cannot be unpacked ({error})") from None
        if len(data) != info.file_size:
            raise Wrong(f"{self.name}: {name} is not as long as it claims")
        if name not in ("manifest.json", "manifest.note"):
            listed = self.manifest["files"][name]
            if listed["sha256"] != hashlib.sha256(data).hexdigest():
                raise Wrong(f"{self.name}: {name} is not what the signed manifest lists")
        return data

    def open_manifest(self, keys: Sequence[Key] | None) -> list[Key]:
        """Read the manifest, once a key has signed it, and hold the files against it. Without keys: its own is used."""
        data = self.read("manifest.json")
        manifest = check_manifest(parse_json(data, f"{self.name}: manifest.json"), self.name)
        own = parse_vkey(manifest["key"])
        name = f"{manifest['origin']}/bundle"
        trusted = [own] if keys is None else [key.renamed(name) for key in keys]
        text, signers = open_note(self.read("manifest.note"), trusted)
        if not signers or own.name != name:
            raise Wrong(f"{self.name}: the manifest is not signed by the key that you gave for {manifest['origin']}")
        if text != f"{MANIFEST_TITLE}\nsha256 {hashlib.sha256(data).hexdigest()}\n":
            raise Wrong(f"{self.name}: manifest.json was changed after it was signed")
        listed = manifest["files"]
        if listed.keys() != self.infos.keys() - {"manifest.json", "manifest.note"}:
            raise Wrong(f"{self.name}: the files are not those that the manifest lists")
        for each, entry in listed.items():
            if entry["bytes"] != self.infos[each].file_size:
                raise Wrong(f"{self.name}: {each} has not the size that the manifest lists")
        self.manifest = manifest
        for each in ("README.txt", "verify_evidence.py"):
            require(each in listed, f"{self.name}: there is no {each}")
            self.read(each)
        return signers


def check_directory(file: Any) -> None:
    """Refuse a ZIP whose list of files alone would fill the memory, before anything reads that list."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(max(0, end - 65_557))
    tail = file.read(65_557)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise zipfile.BadZipFile("the end of the file is missing")
    count, size = struct.unpack("<10xHI", tail[at : at + 16])
    if count == 0xFFFF or size == 0xFFFFFFFF:
        wide = tail.rfind(b"PK\6\6", 0, at)
        if wide < 0 or wide + 48 > len(tail):
            raise zipfile.BadZipFile("the end of the file is missing")
        count, size = struct.unpack("<32xQQ", tail[wide : wide + 48])
    if count > MAX_FILES or size > MAX_DIRECTORY_BYTES:
        raise Wrong("a ZIP file that lists more files than a part of a bundle can have")


@functools.lru_cache(maxsize=1024)
def seconds_of(second: str) -> int:
    """The POSIX time of `YYYY-MM-DDTHH:MM:SS` in UTC. ValueError for a time that is none."""
    return int(datetime.fromisoformat(second).replace(tzinfo=UTC).timestamp())


@functools.lru_cache(maxsize=16)
def tile_name(number: int, width: int) -> str:
    """`tile/entries/…` of tlog-tiles for entry bundle `number`."""
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{each}" for each in groups[:-1]), groups[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


def limit_of(name: str) -> int | None:
    """How large a file of this name can be; None when no bundle has one."""
    return next((limit for pattern, limit in _KINDS if pattern.fullmatch(name)), None)


def check_manifest(manifest: Any, where: str) -> dict[str, Any]:
    """The manifest, if it has the form that evidence-format.md describes."""
    kinds = {"format": str, "bundle_id": str, "part": int, "last": bool, "origin": str, "tenant_id": str}
    kinds |= {"from": str, "to": str, "made_at": str, "key": str, "shards": list, "files": dict}
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Wrong(f"{where}: the manifest is not of the format {FORMAT}")
    if any(type(manifest.get(name)) is not kind for name, kind in kinds.items()) or not good_name(manifest["origin"]):
        raise Wrong(f"{where}: the manifest lacks a field")
    shard_kinds = {"period": str, "size": int, "root": str, "expired": bool}
    for shard in manifest["shards"]:
        if not isinstance(shard, dict) or any(type(shard.get(name)) is not kind for name, kind in shard_kinds.items()):
            raise Wrong(f"{where}: a month in the manifest lacks a field")
    for entry in manifest["files"].values():
        if not isinstance(entry, dict) or type(entry.get("bytes")) is not int or type(entry.get("sha256")) is not str:
            raise Wrong(f"{where}: a file in the manifest lacks a field")
    report = manifest.get("report", dict.fromkeys(REPORT, ""))
    if (
        not isinstance(report, dict)
        or report.keys() != REPORT
        or any(type(each) is not str for each in report.values())
    ):
        raise Wrong(f"{where}: what the manifest says of a report is malformed")
    if manifest["origin"].rpartition("/")[2] != manifest["tenant_id"]:
        raise Wrong(f"{where}: the manifest is of one tenant and the log of another")
    months_of(manifest)
    return manifest


def months_of(manifest: dict[str, Any]) -> list[str]:
    """The months that the period touches. Wrong unless they are exactly those of the manifest's shards."""
    try:
        require(_DAY.fullmatch(manifest["from"]) and _DAY.fullmatch(manifest["to"]), "a day is YYYY-MM-DD")
        start, end = date.fromisoformat(manifest["from"]), date.fromisoformat(manifest["to"])
    except ValueError:
        raise Wrong("the period of the manifest is not two days") from None
    months: list[str] = []
    day = start.replace(day=1)
    while day < min(end, date(9999, 12, 1)):
        months.append(day.isoformat()[:7])
        day = (day + timedelta(days=32)).replace(day=1)
    if start >= end or [shard["period"] for shard in manifest["shards"]] != months:
        raise Wrong("the months in the manifest are not those of its period")
    return months


# ---- one month ----------------------------------------------------------------------------------------------------


class Tree:
    """The right edge of a growing Merkle tree (RFC 9162 §2.1)."""

    def __init__(self) -> None:
        self.size = 0
        self.nodes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        ones = self.size
        while ones & 1:
            leaf = hashlib.sha256(b"\x01" + self.nodes.pop() + leaf).digest()
            ones >>= 1
        self.nodes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of what there is."""
        if not self.nodes:
            return _EMPTY_ROOT
        current = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            current = hashlib.sha256(b"\x01" + left + current).digest()
        return current


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162 §2.1.3.2)."""
    below = (index ^ (size - 1)).bit_length()
    if not 0 <= index < size or len(path) != below + (index >> below).bit_count():
        raise Wrong("a proof has the wrong length, or its index is outside the tree")
    for level, sibling in enumerate(path):
        left = level >= below or index >> level & 1
        leaf = hashlib.sha256(b"\x01" + (sibling + leaf if left else leaf + sibling)).digest()
    return leaf


class Day:
    """What is counted of one day; evidence-format.md says how."""

    def __init__(self) -> None:
        self.first = -1
        self.last = -1
        self.counts: dict[tuple[Any, ...], int] = {}
        self.hours: dict[str, list[int]] = {}
        self.actors: set[int] = set()
        self.largest: list[int] = []
        self.exact = True

    def add(self, event: dict[str, Any], index: int) -> None:
        """Count one event."""
        kind = "custom.*" if event["type"].startswith("custom.") else event["type"]
        row = (kind, event["outcome"], event["data_class"], event["reason"])
        if any(type(part) is not str for part in row[:3]) or type(row[3] or "") is not str:
            raise Wrong("has a field of the wrong form")
        self.counts[row] = self.counts.get(row, 0) + 1
        self.hours.setdefault(kind, [0] * 24)[int(event["recorded_at"][11:13])] += 1
        self.first = index if self.first < 0 else self.first
        self.last = index
        actor = event["actor"]
        if actor["id"] is not None:
            self.add_actor(f"{actor['kind']}\n{actor['id']}")

    def add_actor(self, actor: str) -> None:
        """Count an actor, by the smallest hashes."""
        value = int.from_bytes(hashlib.sha256(actor.encode()).digest()[:8], "big")
        if value in self.actors:
            return
        if len(self.actors) < MAX_ACTORS:
            heapq.heappush(self.largest, -value)
            self.actors.add(value)
            return
        self.exact = False
        if value < -self.largest[0]:
            self.actors.add(value)
            self.actors.remove(-heapq.heapreplace(self.largest, -value))

    def totals(self) -> dict[str, Any]:
        """In the form of the bundle."""
        rows = sorted(self.counts, key=lambda row: tuple(part or "" for part in row))
        estimate = len(self.actors) if self.exact else (MAX_ACTORS - 1) * 2**64 // max(1, -self.largest[0])
        return {
            "events": sum(self.counts.values()),
            "first": self.first,
            "last": self.last,
            "counts": [[*row, self.counts[row]] for row in rows],
            "hours": self.hours,
            "distinct_actors": estimate,
            "distinct_actors_exact": self.exact,
        }


@dataclass
class Claim:
    """A statement that a month had this root at this size, what it comes from, and how it held.

    Without a root nothing is stated of the month, and `detail` says why.
    """

    subject: str
    root: bytes
    detail: str
    result: str = UNKNOWN


class Claims:
    """All that is claimed of months. It is answered in the order in which it was claimed, whatever the sizes are."""

    def __init__(self, months: Sequence[str]) -> None:
        self.at: dict[str, dict[int, list[Claim]]] = {month: {} for month in months}
        self.made: list[tuple[str, Claim]] = []

    def add(self, month: str, size: int, claim: Claim) -> None:
        """Take in a claim of a month that is there."""
        self.at[month].setdefault(size, []).append(claim)
        self.made.append((month, claim))

    def answer(self, checks: Checks) -> None:
        """Note how each held, once all months were checked."""
        for month, claim in self.made:
            unknown = f"the entries of {month} could not be checked" if claim.root else claim.detail
            checks.add(claim.subject, claim.result, unknown if claim.result == UNKNOWN else claim.detail)


class Month:
    """Checks one month: everything that stands on its entries is checked in one pass over them."""

    def __init__(self, bundle: Bundle, shard: dict[str, Any], claims: dict[int, list[Claim]]) -> None:
        self.bundle = bundle
        self.period: str = shard["period"]
        self.size: int = shard["size"]
        self.root = strict_base64(shard["root"])
        self.claims = claims
        self.tree = Tree()
        self.days: dict[str, Day] = {}
        self.ids = [array("Q") for _ in range(WIDTH)]
        self.leaves: dict[int, bytes] = {}
        self.disclosed = 0
        self.committed = 0
        self.in_period = 0
        self.faults: list[str] = []
        self.disclosure_faults: list[str] = []
        self.closings: list[tuple[int, Any]] = []
        self.closed_events = 0
        self.newest = ""
        self.behind: list[int] = []
        self.failed: list[tuple[int, Any]] = []

    @property
    def folder(self) -> str:
        """Where the month's files are."""
        return f"shards/{self.period}/"

    def run(self, checks: Checks) -> None:
        """Check all of it."""
        label = f"Month {self.period}"
        if not checks.attempt(f"{label}: signed checkpoint", self.check_checkpoint):
            return
        proofs = self.proof_files()
        if not checks.attempt(f"{label}: complete and unchanged", self.check_entries):
            return
        checks.attempt(f"{label}: entries make sense", self.check_meaning)
        checks.attempt(f"{label}: sealed when recorded", self.check_order)
        checks.attempt(f"{label}: the service's own check", self.check_failed)
        checks.attempt(f"{label}: daily totals", self.check_rollups)
        if self.disclosed or self.disclosure_faults:
            checks.attempt(f"{label}: disclosed personal data", self.check_disclosures)
        if proofs:
            checks.attempt(f"{label}: proof files", functools.partial(self.check_proofs, proofs))

    def check_checkpoint(self) -> str:
        """The checkpoint is signed, of this month, the same in every part, and what the manifest says."""
        data = self.bundle.same_everywhere(f"{self.folder}checkpoint")
        origin = f"{self.bundle.origin}/{self.period}"
        size, root, cosigned = self.bundle.signed_checkpoint(data, origin)
        require((size, root) == (self.size, self.root), "the checkpoint is not that of the manifest")
        self.bundle.cosigned.append(cosigned)
        return f"{self.size:,} entries, root {self.root.hex()[:16]}…"

    def check_entries(self) -> str:
        """Entries 0 to size-1, and no others, give the signed root."""
        expected = set()
        self.pass_marks()
        for number in range(-(-self.size // WIDTH)):
            width = min(WIDTH, self.size - number * WIDTH)
            name = tile_name(number, width)
            expected |= {f"{self.folder}tile/entries/{name}", f"{self.folder}disclosed/{name}.jsonl"}
            entries = self.split(self.bundle.only(f"{self.folder}tile/entries/{name}"), width)
            shown = self.disclosures(f"{self.folder}disclosed/{name}.jsonl", number, width)
            for entry in entries:
                self.take(entry, shown)
                if self.tree.size in self.claims:
                    self.pass_marks()
        if self.tree.root() != self.root:
            raise Wrong("the entries do not give the signed root: some were changed, dropped, added or moved")
        for size in [size for size in self.claims if size > self.size]:
            for claim in self.claims.pop(size):
                claim.result = WRONG
                claim.detail = f"it had {size:,} entries then and has {self.size:,} in the bundle"
        surplus = (self.bundle.names(f"{self.folder}tile/") | self.bundle.names(f"{self.folder}disclosed/")) - expected
        require(not surplus, f"there are entries beyond the signed size: {min(surplus, default='')}")
        if self.bundle.exported is not None:
            self.bundle.exported.checked[self.period] = True
        if self.bundle.reported is not None:
            self.bundle.reported.counted.add(self.period)
        return f"entries 0 to {self.size - 1:,} give the signed root" if self.size else "no entries, as signed"

    def pass_marks(self) -> None:
        """Hold what was claimed of the tree at this size against it."""
        root = self.tree.root()
        for claim in self.claims.pop(self.tree.size, []):
            claim.result = OK
            if root != claim.root:
                claim.result, claim.detail = WRONG, "history was rewritten since"

    def split(self, data: bytes, width: int) -> list[bytes]:
        """The entries of an entry bundle."""
        entries, at = [], 0
        while at < len(data):
            start = at + 2
            at = start + int.from_bytes(data[at:start], "big")
            if at > len(data) or start > len(data):
                raise Wrong("an entry bundle ends in the middle of an entry")
            entries.append(data[start:at])
        if len(entries) != width:
            raise Wrong(f"an entry bundle has {len(entries)} entries and should have {width}")
        return entries

    def take(self, entry: bytes, shown: dict[int, list[dict[str, Any]]]) -> None:
        """Hash one entry, and note what is in it."""
        index = self.tree.size
        leaf = hashlib.sha256(b"\x00" + entry).digest()
        self.tree.append(leaf)
        if index in self.leaves:
            self.leaves[index] = leaf
        try:
            event = parse_entry(entry)
            self.check_event(event, index)
        except Wrong as wrong:
            self.faults.append(f"entry {index:,} {wrong}")
        except (KeyError, TypeError, ValueError, AttributeError):
            self.faults.append(f"entry {index:,} has a field of the wrong form")
        else:
            for line in shown.pop(index, []):
                self.check_disclosure(event, line, index)
            is_wanted = self.bundle.start <= event["recorded_at"][:10] < self.bundle.end
            if self.bundle.exported is not None:
                self.bundle.exported.match(event["id"], leaf, is_wanted)
            if self.bundle.reported is not None and is_wanted:
                self.bundle.reported.add(event, index, entry)
        del self.faults[MAX_SHOWN:]

    def check_event(self, event: dict[str, Any], index: int) -> None:
        """Wrong for an event that cannot be here; counts it otherwise."""
        at, event_id = event["recorded_at"], event["id"]
        if event["tenant_id"] != self.bundle.tenant_id or event["period"] != self.period:
            raise Wrong("belongs to another tenant or month")
        if not _TIME.fullmatch(at) or at[:7] != self.period or not _UUID7.fullmatch(event_id):
            raise Wrong("was not recorded in this month, or its id or time is malformed")
        if int(event_id[:8] + event_id[9:13], 16) != seconds_of(at[:19]) * 1000 + int(at[20:23]):
            raise Wrong("has an id that was made at another time than it says it was recorded")
        digest = hashlib.sha256(event_id.encode()).digest()
        self.ids[digest[0]].append(int.from_bytes(digest[1:9], "big"))
        self.committed += len(event["commitments"])
        day = at[:10]
        if day not in self.days:
            self.days[day] = Day()
        self.days[day].add(event, index)
        if self.bundle.start <= day < self.bundle.end:
            self.in_period += 1
        if event["type"] == "ledger.checkpoint":
            self.closings.append((index, event["attributes"]))
        elif event["type"] == "ledger.verify_failed":
            self.failed.append((index, event["attributes"]))
        if at >= self.newest:
            self.newest = at
        else:
            lag = BEHIND_PRODUCED if event["type"].startswith(PRODUCED) else BEHIND_OWN
            if seconds_of(self.newest[:19]) - seconds_of(at[:19]) > lag:
                self.behind.append(index)

    def disclosures(self, name: str, number: int, width: int) -> dict[int, list[dict[str, Any]]]:
        """What is disclosed of an entry bundle's events, by index."""
        found: dict[int, list[dict[str, Any]]] = {}
        if name not in self.bundle.where:
            return found
        for line in self.bundle.only(name).splitlines():
            value = parse_json(line, "a disclosure")
            index = value.get("index") if isinstance(value, dict) else None
            if type(index) is not int or not number * WIDTH <= index < number * WIDTH + width:
                raise Wrong("a disclosure is of an entry that is elsewhere")
            found.setdefault(index, []).append(value)
        return found

    def check_disclosure(self, event: dict[str, Any], line: dict[str, Any], index: int) -> None:
        """Hold disclosed personal data against the commitment in the entry."""
        self.disclosed += 1
        try:
            salt = strict_base64(line["salt"])
            digest = hashlib.sha256(salt + canonical(line["personal"]).encode()).digest()
            commitment = event["commitments"].get(line["subject"])
            require(len(salt) == 32 and line["event_id"] == event["id"], "is of another event")
            require(base64.b64encode(digest).decode() == commitment, "does not match")
        except (Wrong, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            if len(self.disclosure_faults) < MAX_SHOWN:
                self.disclosure_faults.append(f"entry {index:,}")

    def check_disclosures(self) -> str:
        """Wrong when something that is shown was not committed to."""
        if self.disclosure_faults:
            raise Wrong(f"not what was committed to when it was recorded: {', '.join(self.disclosure_faults)}")
        return f"{self.disclosed:,} of {self.committed:,} are shown, and are what was recorded"

    def check_meaning(self) -> str:
        """Every entry is an event of this tenant and month, once."""
        if self.faults:
            raise Wrong("; ".join(self.faults))
        for bucket in self.ids:
            ordered = sorted(bucket)
            require(all(one < two for one, two in itertools.pairwise(ordered)), "an event appears twice")
        return f"{self.size:,} different events of this tenant and month; {self.in_period:,} within the period"

    def check_order(self) -> str:
        """No entry stands behind others that were recorded long after it."""
        if self.behind:
            first = ", ".join(f"{index:,}" for index in self.behind[:MAX_SHOWN])
            raise Wrong(f"{len(self.behind):,} were put in long after the time that they name, the first: {first}")
        return "none was put in long after the time that it names"

    def check_failed(self) -> str:
        """The service has not recorded that its own check failed."""
        if self.failed:
            shown = []
            for index, attributes in self.failed[:MAX_SHOWN]:
                named = attributes if isinstance(attributes, dict) else {}
                shown.append(f"entry {index:,}: {named.get('what')} of {named.get('period')}, {named.get('index')}")
            raise Wrong(f"it failed {len(self.failed):,} times, as the trail says: {'; '.join(shown)}")
        return "the trail says of no failure"

    def check_rollups(self) -> str:
        """The totals of each day are those of its entries."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.bundle.only(f"{self.folder}rollups.jsonl").splitlines():
            totals = parse_json(line, "a day's totals")
            if not isinstance(totals, dict) or not isinstance(totals.get("day"), str) or totals["day"] in found:
                raise Wrong("a day's totals are malformed or there twice")
            found[totals["day"]] = totals
        for day in sorted(found.keys() | self.days.keys()):
            if day not in found or day not in self.days:
                raise Wrong(f"{day}: there are {'entries' if day in self.days else 'totals'} alone")
            for name, value in ({"day": day} | self.days[day].totals()).items():
                require(name in found[day], f"{day}: the totals lack {name}")
                same = canonical(found[day].pop(name)) == canonical(value)
                require(same, f"{day}: the totals say another {name} than the entries")
            require(not found[day], f"{day}: the totals say more than can be counted")
        return f"{len(found)} days, counted again from the entries"

    def proof_files(self) -> dict[str, int]:
        """The month's proof files and which entries they are of, so that those leaves are kept."""
        names = self.bundle.names(f"{self.folder}proofs/")
        found = {name: int(name.rpartition("/")[2].partition(".")[0]) for name in sorted(names)}
        self.leaves = dict.fromkeys(found.values(), b"")
        return found

    def check_proofs(self, proofs: dict[str, int]) -> str:
        """Each proof file leads from its entry to a signed root that this month had."""
        for name, index in proofs.items():
            head, _, note = self.bundle.only(name).partition(b"\n\n")
            lines = head.decode("utf-8", "replace").split("\n")
            if lines[:2] != ["c2sp.org/tlog-proof@v1", f"index {index}"]:
                raise Wrong(f"{name} is malformed")
            size, root, _ = self.bundle.signed_checkpoint(note, f"{self.bundle.origin}/{self.period}")
            path = [strict_base64(line) for line in lines[2:]]
            require((size, root) == (self.size, self.root), f"{name} is under another checkpoint than the bundle")
            if any(len(each) != 32 for each in path) or not self.leaves[index]:
                raise Wrong(f"{name} is malformed")
            if root_from_path(self.leaves[index], index, self.size, path) != self.root:
                raise Wrong(f"{name} does not lead to the root")
        return f"{len(proofs):,} lead from their entries to the signed root"


# ---- the figures of a report ---------------------------------------------------------------------------------------

_SELECTOR = re.compile(
    r"(?P<type>[a-z_]+\.(?:[a-z_]+|\*))(?:\+(?P<outcome>[a-z]+))?(?::(?P<data_class>[a-z]+))?"
    r"(?:=(?P<reason>[a-z_]+))?(?:@(?P<status>[a-z]+))?"
)
SAMPLING = (
    "Simple random sample without replacement: places by SHA-256(seed, number) modulo the population, which is ordered "
    "by day, type, outcome, class and reason; within these, events by SHA-256(seed, event id) among the 32 with the "
    "smallest entry hashes"
)
MOST_CANDIDATES, MOST_OF_A_ROW = 3600, 32
MOST_ROWS, MOST_DAYS = 1000, 366
STATUSES = {
    "satisfied": "satisfied",
    "exception": "exception",
    "not-evidenced": "not_evidenced",
    "not-applicable": "not_applicable",
}

GATE = ("checkpoint", "counted", "facts", "unbroken", "checked", "chained", "retained")
NOT_RUN = "not run, or not wholly, for want of"
_OCCASIONS = re.compile(r"(?:^|; )([0-9]+|unknown) occasions: ")

Row = tuple[Any, ...]  # type, outcome, class, reason


def selectors_of(text: str) -> list[dict[str, str | None]]:
    """What says which events are meant; evidence-format.md has the form."""
    found = [_SELECTOR.fullmatch(word) for word in text.split()]
    require(all(found), f"{text} does not say which events are meant")
    return [each.groupdict() for each in found if each is not None]


def is_meant(row: Row, wanted: dict[str, str | None]) -> bool:
    """Whether the events of a row are."""
    kind = wanted["type"] or ""
    named = row[0].startswith(kind[:-1]) if kind.endswith("*") else row[0] == kind
    return named and all(wanted[n] in (None, row[at]) for at, n in enumerate(("outcome", "data_class", "reason"), 1))


class Candidates:
    """Of each day and row the entries with the smallest hashes: samples are drawn from these."""

    def __init__(self) -> None:
        self.held: dict[str, dict[Row, list[bytes]]] = {}

    def add(self, day: str, row: Row, index: int, event_id: str, entry: bytes) -> None:
        """Take an entry in, if its hash is small enough."""
        turned = bytes(255 - byte for byte in hashlib.sha256(entry).digest()[:8])
        told = turned + index.to_bytes(8, "big") + event_id.encode()
        held = self.held.setdefault(day, {}).setdefault(row, [])
        if len(held) < MOST_OF_A_ROW:
            heapq.heappush(held, told)
        elif turned > held[0][:8]:
            heapq.heapreplace(held, told)

    def of(self, day: str, row: Row, seed: str, count: int) -> list[tuple[str, int]]:
        """Month and index of those that a seed draws."""
        most = max(1, min(MOST_OF_A_ROW, MOST_CANDIDATES // len(self.held[day])))
        keyed = [
            (hashlib.sha256(seed.encode() + b"\n" + told[16:]).digest(), int.from_bytes(told[8:16], "big"))
            for told in sorted(self.held[day][row], reverse=True)[:most]
        ]
        return [(day[:7], index) for _, index in sorted(keyed)[:count]]


def places_of(seed: str, population: int, size: int) -> set[int]:
    """The places in a population that a seed draws."""
    if size >= population:
        return set(range(population))
    found: set[int] = set()
    for number in itertools.count():
        if len(found) == size:
            break
        found.add(int.from_bytes(hashlib.sha256(f"{seed}\n{number}".encode()).digest()[:16], "big") % population)
    return found


class Reported:
    """What a report says was counted, and what it names, held against the entries of its period.

    Counted are the entries that were there when the report was made: those up to the size that it stands on, or to the
    last one of the period that it knew.
    """

    def __init__(self, report: dict[str, Any]) -> None:
        """LookupError, TypeError, ValueError, AttributeError: it has not the form of a report. Wrong: a seed is not."""
        self.report = report
        shards = report["population"]
        self.limits = {s["period"]: max(s["size"], -1 if s["last"] is None else s["last"] + 1) for s in shards}
        self.silent = {s["period"] for s in shards if s["checkpoint"] == ""}  # it stands on nothing of these
        for shard in shards:
            stands_on = [shard[name] for name in ("size", "root", "events", "first", "last")]
            is_none = stands_on == [0, "", 0, None, None] and not report["gate"]["passed"]
            require(shard["checkpoint"] or is_none, f"it counts events of {shard['period']} without a checkpoint")
        self.days: dict[str, Day] = {}
        self.updates: dict[str, dict[str, int]] = {}
        self.months = {s["period"]: [0, None, None] for s in shards}
        self.counted: set[str] = set()
        self.faults: list[str] = []
        self.named: dict[tuple[str, int], set[tuple[str, ...]]] = {}
        self.controls = report["controls"]
        self.sampled = [control for control in self.controls if control["samples"]]
        shown = [ref for control in self.sampled for ref in control["samples"]["events"]]
        for ref in (*shown, *(each for finding in report["exceptions"] for each in finding["events"])):
            told = tuple(str(ref[name]) for name in ("event_id", "recorded_at", "type", "outcome"))
            self.named.setdefault((ref["period"], int(ref["index"])), set()).add(told)
        self.tables = {table["id"]: table for table in report["tables"]}
        self.seed = self.read_seed(dict(report["method"]["parameters"]))
        self.made = seconds_of(str(report["generated_at"])[:19])
        self.span = [date.fromisoformat(report[name]) for name in ("from_day", "to_day")]
        require(0 < (self.span[1] - self.span[0]).days <= MOST_DAYS, "the report is of more days than one can be")
        self.candidates = Candidates()

    def read_seed(self, parameters: dict[str, Any]) -> tuple[str, int, bytes] | None:
        """Month, size and root that samples are drawn by; None where there are no samples."""
        if "sampling_root" not in parameters:
            require(not self.sampled, "it does not say what its samples are drawn by")
            return None
        root = parameters["sampling_root"]
        for control in self.sampled:
            drawn = hashlib.sha256(f"{root}\n{control['oscal_id']}".encode()).hexdigest()
            require(control["samples"]["seed"] == drawn, f"the sample of {control['oscal_id']} has another seed")
        size = parameters["sampling_size"]
        require(type(size) is int and size > 0, "the size that samples are drawn by is none")
        return str(parameters["sampling_month"]), size, strict_base64(root)

    def add(self, event: dict[str, Any], index: int, entry: bytes) -> None:
        """Count an entry of the period."""
        period, day, kind = event["period"], event["recorded_at"][:10], event["type"]
        if period in self.silent:
            return
        if index >= self.limits.get(period, 0):
            lag = BEHIND_PRODUCED if kind.startswith(PRODUCED) else BEHIND_OWN
            if self.made - seconds_of(event["recorded_at"][:19]) > lag:
                self.faults.append(f"entry {index:,} of {period} was there when it was made, and it leaves it out")
            return
        self.days.setdefault(day, Day()).add(event, index)
        if kind == "alert.update":
            status, updates = str(event["attributes"].get("new_status")), self.updates.setdefault(day, {})
            updates[status] = updates.get(status, 0) + 1
        if self.sampled:
            row = ("custom.*" if kind.startswith("custom.") else kind, *(event[n] for n in _ROW))
            self.candidates.add(day, row, index, event["id"], entry)
        month = self.months[period]
        month[:] = [(month[0] or 0) + 1, index if month[1] is None else month[1], index]
        told = (event["id"], event["recorded_at"], kind, event["outcome"])
        if self.named.pop((period, index), {told}) != {told}:
            self.faults.append(f"entry {index:,} of {period} is not the event that it names")

    def checks(self) -> dict[str, Callable[[], str]]:
        """The checks of it, by what they are about."""
        return {"figures": self.check_figures, "evidence": self.check_evidence, "controls": self.check_agreement}

    def check(self, what: Callable[[], str]) -> str:
        """Run one of the checks below."""
        try:
            return what()
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Wrong("report/report.json has figures that are none") from None

    @functools.cached_property
    def absent(self) -> set[str]:
        """The months that it counts and whose entries could not be checked. Ask once all months were."""
        return set(self.months) - self.counted - self.silent

    def is_counted(self, day: str) -> bool:
        """Whether there are events of a day, and they could be counted."""
        return day in self.days and day[:7] not in self.absent

    def as_far_as(self, detail: str, unseen: str) -> str:
        """The detail of a check that found nothing wrong. Unchecked where there are months that it could not look at.
        `unseen`: what it could not check for want of their entries."""
        if self.absent:
            which = ", ".join(sorted(self.absent))
            raise Unchecked(f"the entries of {which} could not be checked; nor, for want of them, {unseen}")
        if self.silent:
            which = ", ".join(sorted(self.silent))
            raise Unchecked(f"it stands on nothing of {which}; of the other months: {detail}")
        return detail

    @functools.cached_property
    def days_of_period(self) -> list[str]:
        """The days that the report is of."""
        first, end = self.span
        return [(first + timedelta(days=number)).isoformat() for number in range((end - first).days)]

    def check_figures(self) -> str:
        """What it counts is what the entries give, and everything that it names is among them."""
        months = list(dict.fromkeys(day[:7] for day in self.days_of_period))
        require([each["period"] for each in self.report["population"]] == months, "it does not stand on all its months")
        require(not self.faults, "; ".join(self.faults[:MAX_SHOWN]))
        for period, index in sorted(self.named):
            where = f"entry {index:,} of {period}"
            require(period in self.absent, f"{where}, which it names, is not among those of its period")
        total, told = 0, self.report["events_in_period"]
        for shard in self.report["population"]:
            period, own = shard["period"], [shard["events"], shard["first"], shard["last"]]
            total += own[0] if period in self.absent else self.months[period][0] or 0
            is_so = period in self.absent or own == self.months[period]
            require(is_so, f"it counts other events of {period} than there are")
        require(told == total, f"it counts {told} events in the period, and there are {total}")
        self.check_days()
        self.check_counts()
        detail = f"{total:,} events by day, type, outcome, class and reason: counted again from the entries"
        return self.as_far_as(detail, "how many there are of each type")

    def check_days(self) -> None:
        """The table of days: each day once, its events, first and last index, and different actors."""
        rows = self.tables.get("days", {"rows": []})["rows"]
        for day, row in itertools.zip_longest(self.days_of_period, rows):
            expected = [day, 0, None, None, 0]
            if row is not None and day is not None and day[:7] in self.absent:
                expected = [day, *row[1:5]]
            elif day in self.days:
                totals = self.days[day].totals()
                expected = [day, *(totals[name] for name in ("events", "first", "last", "distinct_actors"))]
            require(row is not None and row[:5] == expected, f"it counts other events of {day} than there are")

    def check_counts(self) -> None:
        """The table of counts by type, outcome, class and reason."""
        if "counts" not in self.tables:
            raise Unchecked("the report has no table of counts by type")
        if self.absent:
            return
        table, rows = self.tables["counts"], self.rows
        for *row, count in table["rows"]:
            shown = " ".join(map(str, row))
            there = sum(rows.get(tuple(row), ()))
            require(count == there, f"it counts {count} events of {shown}, and there are {there}")
        require(table["total"] == len(rows), "it counts events of other types than there are")
        require(len({tuple(row[:4]) for row in table["rows"]}) == len(table["rows"]), "a type is counted twice")
        require(len(table["rows"]) == min(len(rows), MOST_ROWS), "its table of counts was cut short")

    @functools.cached_property
    def rows(self) -> dict[Row, list[int]]:
        """Events by type, outcome, class and reason, of each day."""
        found: dict[Row, list[int]] = {}
        for place, day in enumerate(self.days_of_period):
            for row, count in self.days[day].counts.items() if self.is_counted(day) else ():
                found.setdefault(row, [0] * len(self.days_of_period))[place] += count
        return dict(sorted(found.items(), key=lambda each: tuple(part or "" for part in each[0])))

    def check_evidence(self) -> str:
        """What each control stands on, and its sample, are exactly what the entries give."""
        if "evidence" not in self.tables:
            raise Unchecked("the report does not say which events speak to each control")
        said = self.tables["evidence"]["rows"]
        ids = [control["oscal_id"] for control in self.controls]
        require(any(row[1] for row in said), "no events speak to any of its controls")
        self.check_seed()
        require([row[0] for row in said] == ids, "its table of evidence is of other controls than it has")
        for control, (name, text, told) in zip(self.controls, said, strict=True):
            wanted = selectors_of(text)
            plain = [each for each in wanted if each["status"] is None]
            meant = [row for row in self.rows if any(is_meant(row, each) for each in plain)]
            evidence = self.evidence_of(wanted, meant)
            if self.absent:
                self.check_seen(name, control["evidence"], evidence)
                continue
            for one, two in itertools.zip_longest(control["evidence"], evidence):
                kind = (two or one)["type"]
                require(one == two, f"{name} stands on other events of {kind} than there are")
            total = sum(each["total"] for each in evidence)
            require(told == total, f"{name} stands on {told} events, and there are {total}")
            figures = [each["value"] for each in control["metrics"] if each["id"] == "evidence_events"]
            require(figures in ([], [total]), f"a figure of {name} is another than its evidence")
            self.check_occasions(control)
            self.check_sample(control, meant)
        detail = (
            f"{len(ids)} controls stand on exactly the events that there are, and the samples are those of the seeds"
        )
        return self.as_far_as(detail, "totals and samples")

    def check_occasions(self, control: dict[str, Any]) -> None:
        """Where occasions of a control are events alone, there are as many as it says."""
        _, *parts = _OCCASIONS.split(control["population"])
        for told, text in zip(parts[::2], parts[1::2], strict=True):
            if all(map(_SELECTOR.fullmatch, text.split(", "))):
                wanted = selectors_of(text.replace(", ", " "))
                plain = [each for each in wanted if each["status"] is None]
                meant = [row for row in self.rows if any(is_meant(row, each) for each in plain)]
                total = sum(each["total"] for each in self.evidence_of(wanted, meant))
                name = control["oscal_id"]
                require(told == str(total), f"{name} tells of {told} occasions ({text}), and there are {total}")

    def check_seen(self, name: str, told: Sequence[dict[str, Any]], evidence: Sequence[dict[str, Any]]) -> None:
        """What a control stands on, on the days that could be looked at."""
        there, said = ({each["type"]: each["by_day"] for each in all_of} for all_of in (evidence, told))
        none = [0] * len(self.days_of_period)
        seen = [place for place, day in enumerate(self.days_of_period) if day[:7] not in self.absent]
        for kind in there.keys() | said.keys():
            one, two = ([of.get(kind, none)[place] for place in seen] for of in (there, said))
            require(one == two, f"{name} stands on other events of {kind} than there are")

    def evidence_of(self, wanted: Sequence[dict[str, str | None]], meant: Sequence[Row]) -> list[dict[str, Any]]:
        """The evidence of a control: by type, and updates of alerts by what they came to."""
        found: dict[str, tuple[dict[str, int], list[int]]] = {}
        for row in meant:
            outcomes, by_day = found.setdefault(row[0], ({}, [0] * len(self.days_of_period)))
            outcomes[row[1]] = outcomes.get(row[1], 0) + sum(self.rows[row])
            by_day[:] = [one + two for one, two in zip(by_day, self.rows[row], strict=True)]
        if "alert.update" not in found:
            for status in sorted({each["status"] for each in wanted if each["status"] is not None}):
                by_day = [self.updates.get(day, {}).get(status, 0) for day in self.days_of_period]
                if any(by_day):
                    found[f"alert.update to {status}"] = ({"success": sum(by_day)}, by_day)
        return [
            {"type": kind, "total": sum(by_day), "by_outcome": [[*each] for each in sorted(outcomes.items())]}
            | {"by_day": by_day}
            for kind, (outcomes, by_day) in found.items()
        ]

    def check_seed(self) -> None:
        """Samples are drawn by the root that there was once the period's last entry was in, and by no other."""
        lasts = [(each["period"], each["last"] + 1) for each in self.report["population"] if each["last"] is not None]
        if self.seed is not None:
            require([self.seed[:2]] == lasts[-1:], "its samples are not drawn by the last entry of its period")
        elif lasts and self.report["gate"]["passed"]:
            raise Wrong("it does not say what its samples are drawn by")

    def check_sample(self, control: dict[str, Any], meant: Sequence[Row]) -> None:
        """The sample of a control is the one that its seed draws of these rows."""
        name, sample = control["oscal_id"], control["samples"]
        strata = [
            (day, row, self.rows[row][place])
            for place, day in enumerate(self.days_of_period)
            for row in meant
            if self.rows[row][place]
        ]
        ends = list(itertools.accumulate(count for *_, count in strata))
        if sample is None:
            unread = control["reason"] == "gate-failed" or control["status"] == "not-applicable"
            if not unread and ends and self.seed is None:
                raise Unchecked("it has no samples, nor says what they would be drawn by: its gate failed")
            require(unread or not ends, f"{name} has no sample")
            return
        require(ends and sample["population"] == ends[-1], f"the sample of {name} is of another population")
        if sample["method"] != SAMPLING:
            raise Unchecked(f"the sample of {name} was drawn in a way that this verifier does not know")
        size = next(value for key, value, *_ in self.report["method"]["thresholds"] if key == "sample_size")
        require(type(size) is int and 0 < size <= MOST_OF_A_ROW, "the size of its samples is none")
        counts: dict[int, int] = {}
        for place in places_of(sample["seed"], ends[-1], size):
            stratum = bisect.bisect_right(ends, place)
            counts[stratum] = counts.get(stratum, 0) + 1
        drawn = [each for at, n in counts.items() for each in self.candidates.of(*strata[at][:2], sample["seed"], n)]
        told = [(ref["period"], ref["index"]) for ref in sample["events"]]
        require(sorted(told) == sorted(drawn), f"the sample of {name} is not the one that its seed draws")

    def check_agreement(self) -> str:
        """Gate, statuses, rules, findings and the register say the same. That rules were run rightly is not seen."""
        gate, findings = self.report["gate"], self.report["exceptions"]
        held = {each["id"] for each in gate["checks"]}
        for each in GATE:
            require(each in held, f"its gate lacks the check {each}")
        require(gate["passed"] == all(each["passed"] for each in gate["checks"]), "its gate is not that of its checks")
        ids = [each["id"] for each in findings]
        named = {name for control in self.controls for name in control["findings"]}
        require(len(set(ids)) == len(ids), "a finding is there twice")
        require(named == set(ids), "its register has other findings than its controls")
        by_rule: dict[str, int] = {}
        for each in findings:
            require(each["count"] >= max(1, len(each["events"])), f"{each['id']} names more events than it counts")
            by_rule[each["rule"]] = by_rule.get(each["rule"], 0) + each["count"]
        summary = dict.fromkeys(STATUSES.values(), 0)
        for control in self.controls:
            name, status, told = control["oscal_id"], control["status"], control["findings"]
            summary[STATUSES[status]] += 1
            fired = [each["rule"] for each in control["rules"] if each["findings"]]
            own = sorted(each["id"] for each in findings if each["rule"] in fired)
            for each in control["rules"]:
                there = by_rule.get(each["rule"], 0)
                require(each["findings"] == there, f"{name}: {each['rule']} found {each['findings']}, not {there}")
            require(sorted(told) == own, f"{name} has other findings than its rules")
            require(not fired or status == "exception", f"{name} is {status}, and a rule fired")
            self.check_status(control, bool(fired))
        require(self.report["summary"] == summary, "its summary counts other statuses than its controls have")
        return (
            "statuses, findings and register agree; not checked: which controls, selectors and rules there have to be, "
            "and what rules find"
        )

    def check_status(self, control: dict[str, Any], is_fired: bool) -> None:
        """A status is one that can come of what the control says beside it: the first of these that holds decides."""
        name, status, reason = control["oscal_id"], control["status"], control["reason"]
        told = f"{name} is {status}" + (f" ({reason})" if reason else "")
        is_declared = status == "not-applicable"
        require(is_declared == bool(control["declared"]), f"{told}: not-applicable is what was declared so")
        require((status == "not-evidenced") == bool(reason), f"{told}: only what is not evidenced has a reason")
        if is_declared:
            return
        if not self.report["gate"]["passed"]:
            is_so = status == "exception" or reason in ("gate-failed", "manual-only")
            require(is_so, f"{told}, and the gate failed")
            return
        require(reason != "gate-failed", f"{told}, and the gate passed")
        require(is_fired == (status == "exception"), f"{told}, and no rule fired")
        if is_fired:
            return
        is_external = control["pattern"] == "external"
        require(is_external == (reason == "manual-only"), f"{told}, and its pattern is {control['pattern']}")
        if is_external:
            return
        is_empty = self.report["events_in_period"] == 0
        require(is_empty == (reason == "no-source"), f"{told}, of {self.report['events_in_period']} events in all")
        lacking = [each["rule"] for each in control["rules"] if dict(each["parameters"]).get(NOT_RUN)]
        require(
            not lacking or is_empty or reason == "data-missing",
            f"{told}, and {lacking[0] if lacking else ''} was not run wholly",
        )
        if status == "satisfied" and control["pattern"] in ("activity", "violation"):
            counts = _OCCASIONS.findall(control["population"])
            has_all = bool(counts) and not {"0", "unknown"} & set(counts)
            is_setting = any(each["rule"] == "LCK-01" for each in control["rules"])  # settings may show it alone
            require(has_all or is_setting, f"{told}, and there were no occasions for it")


# ---- an export of the trail ----------------------------------------------------------------------------------------


class Names:
    """How many ids, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, name: str) -> None:
        """Count one."""
        self.count += 1
        if self.count <= MAX_SHOWN:
            self.first.append(name)

    def none(self, what: str) -> None:
        """Wrong, unless there is none."""
        more = ", …" if self.count > MAX_SHOWN else ""
        number = f"{self.count:,} {'is' if self.count == 1 else 'are'}"
        require(not self.count, f"{number} {what}: {', '.join(self.first)}{more}")


class Exported:
    """Events as `GET /events/export` gives them in JSON lines, to be held against the entries of the same months."""

    def __init__(self, paths: Sequence[str], months: Sequence[str], tenant_id: str) -> None:
        self.paths = paths
        self.tenant_id = tenant_id
        self.checked: dict[str, bool] = dict.fromkeys(months, False)
        self.columns = [[array("Q") for _ in range(4)] for _ in range(WIDTH)]  # id, leaf (two), where its line is
        self.matched: list[bytearray] = []
        self.total = 0
        self.same = 0
        self.changed = Names()
        self.missing = Names()

    def load(self) -> str:
        """Read all of it, keeping of each event what tells it apart."""
        for number, path in enumerate(self.paths):
            for at, event in self.lines(path):
                require(event["tenant_id"] == self.tenant_id, f"event {event['id']} is of another tenant")
                bucket, key = self.place(event["id"])
                leaf = exported_leaf(event)
                for column, value in zip(self.columns[bucket], (key, *leaf, number << 48 | at), strict=True):
                    column.append(value)
                self.total += 1
        for bucket, columns in enumerate(self.columns):
            rows = sorted(zip(*columns, strict=True))
            require(all(one[0] != two[0] for one, two in itertools.pairwise(rows)), "an event is exported twice")
            self.columns[bucket] = [array("Q", (row[n] for row in rows)) for n in range(4)]
            self.matched.append(bytearray(len(rows)))
        return f"{self.total:,} events"

    def lines(self, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The events of a file, with the place of each."""
        name = os.path.basename(path)
        try:
            with open(path, "rb") as file:
                at = 0
                while line := file.readline(MAX_LINE + 1):
                    try:
                        event = parse_json(line, "it")
                        form = [type(event[each]) is str for each in ("id", "tenant_id", "period", "recorded_at")]
                    except (Wrong, KeyError, TypeError):
                        form = [False]
                    if not all(form) or not line.endswith(b"\n"):
                        raise Unchecked(f"{name}: at byte {at:,} there is no event as the service exports them")
                    yield at, event
                    at += len(line)
        except OSError as error:
            raise Unchecked(f"{name}: cannot be read: {error.strerror}") from None

    @staticmethod
    def place(event_id: str) -> tuple[int, int]:
        """Where an event is kept, and what for its id."""
        digest = hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).digest()
        return digest[0], int.from_bytes(digest[1:9], "big")

    def match(self, event_id: str, leaf: bytes, is_wanted: bool) -> None:
        """Hold an entry against the event of its id. `is_wanted`: it has to be there."""
        bucket, key = self.place(event_id)
        ids, high, low, _ = self.columns[bucket]
        at = bisect.bisect_left(ids, key)
        if at == len(ids) or ids[at] != key:
            if is_wanted:
                self.missing.add(event_id)
            return
        self.matched[bucket][at] = 1
        if (high[at], low[at]) == struct.unpack(">QQ", leaf[:16]):
            self.same += 1
        else:
            self.changed.add(event_id)

    def check_unchanged(self) -> str:
        """No event is another than was sealed."""
        self.changed.none("not what was sealed")
        return f"{self.same:,} of {self.total:,} are exactly what was sealed"

    def check_present(self) -> str:
        """No event of the period lacks."""
        self.missing.none("sealed, and not in the export")
        if not all(self.checked.values()):
            raise Unchecked("the entries of a month could not be checked")
        return "every event that was sealed in the period is there"

    def check_sealed(self, made_at: str) -> str:
        """No event is there that was not sealed."""
        never, young, elsewhere = Names(), 0, 0
        for event in self.unmatched():
            if not self.checked.get(event["period"], False):
                elsewhere += 1
            elif event["recorded_at"] >= made_at:
                young += 1
            else:
                never.add(event["id"])
        never.none("in the export, and never sealed")
        if elsewhere:
            raise Unchecked(f"{elsewhere:,} are of months that this bundle does not show")
        if young:
            raise Unchecked(f"{young:,} were too young to be sealed when the bundle was made")
        return "every event that is there was sealed"

    def unmatched(self) -> Iterator[dict[str, Any]]:
        """The events that no entry was found for, read again."""
        places = sorted(
            columns[3][at]
            for columns, matched in zip(self.columns, self.matched, strict=True)
            for at, found in enumerate(matched)
            if not found
        )
        for number, group in itertools.groupby(places, key=lambda place: place >> 48):
            with open(self.paths[number], "rb") as file:
                for place in group:
                    file.seek(place & (1 << 48) - 1)
                    event: dict[str, Any] = parse_json(file.readline(MAX_LINE + 1), "an event")
                    yield event

    def run(self, made_at: str, checks: Checks) -> None:
        """Say how it went, once all months were checked."""
        try:
            require(_TIME.fullmatch(made_at), "it is no time")
            latest = datetime.fromisoformat(made_at) - SEALED_AFTER
        except (Wrong, ValueError, OverflowError):
            checks.add("Events of the export", WRONG, "the manifest does not say when the bundle was made")
            return
        bound = latest.isoformat(timespec="microseconds").replace("+00:00", "Z")
        checks.attempt("Events of the export: unchanged", self.check_unchanged)
        checks.attempt("Events of the export: none is missing", self.check_present)
        checks.attempt("Events of the export: none was added", functools.partial(self.check_sealed, bound))


def exported_leaf(event: dict[str, Any]) -> tuple[int, int]:
    """The beginning of the leaf that an event has as it is now: of its entry, recomputed."""
    try:
        entry = canonical({name: event[name] for name in FIELDS if name in event}).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return 0, 0  # of no entry
    high, low = struct.unpack(">QQ", hashlib.sha256(b"\x00" + entry).digest()[:16])
    return high, low


# ---- the bundle ---------------------------------------------------------------------------------------------------


class Bundle:
    """All parts together."""

    def __init__(self, parts: list[Part], keys: Sequence[Key], witnesses: Sequence[Key]) -> None:
        self.parts = sorted(parts, key=lambda part: part.manifest["part"])
        self.keys = keys
        self.witnesses = witnesses
        self.exported: Exported | None = None
        self.reported: Reported | None = None
        self.cosigned: list[int] = []
        first = self.parts[0].manifest
        self.origin: str = first["origin"]
        self.tenant_id: str = first["tenant_id"]
        self.start: str = first["from"]
        self.end: str = first["to"]
        self.shards: list[dict[str, Any]] = first["shards"]
        self.where: dict[str, list[Part]] = {}
        for part in self.parts:
            for name in part.manifest["files"]:
                self.where.setdefault(name, []).append(part)

    def check_parts(self) -> str:
        """The parts are of one bundle, each there once, from the first to the last."""
        scopes = [
            {name: value for name, value in part.manifest.items() if name not in ("part", "last", "files")}
            for part in self.parts
        ]
        if any(scope != scopes[0] for scope in scopes):
            raise Wrong("the parts are of different bundles")
        numbers = [part.manifest["part"] for part in self.parts]
        if len(set(numbers)) != len(numbers) or any(part.manifest["last"] for part in self.parts[:-1]):
            raise Wrong("a part is there twice, or follows the last")
        there = set(numbers)
        absent = (number for number in range(1, numbers[-1] + 1) if number not in there)
        missing = list(itertools.islice(absent, 20))
        if missing or numbers[0] < 1 or not self.parts[-1].manifest["last"]:
            which = ", ".join(map(str, missing)) or f"those after {numbers[-1]}"
            raise Unchecked(f"parts are missing: {which}")
        return f"{len(numbers)} of {len(numbers)}, {self.start} up to {self.end} (excluded), tenant {self.tenant_id}"

    def names(self, prefix: str) -> set[str]:
        """All files below a folder."""
        return {name for name in self.where if name.startswith(prefix)}

    def only(self, name: str) -> bytes:
        """The content of a file that one part has."""
        parts = self.where.get(name, [])
        if len(parts) != 1:
            raise Wrong(f"{name} is {'there twice' if parts else 'missing'}")
        return parts[0].read(name)

    def same_everywhere(self, name: str) -> bytes:
        """The content of a file that every part has alike."""
        contents = {part.read(name) for part in self.where.get(name, [])}
        if len(contents) != 1 or len(self.where[name]) != len(self.parts):
            raise Wrong(f"{name} is missing in a part, or differs between parts")
        return contents.pop()

    def signed_checkpoint(self, data: bytes, origin: str) -> tuple[int, bytes, int]:
        """Size and root of a checkpoint that a trusted key signed under its origin, and how many witnesses cosigned."""
        text, signers = open_note(data, [*(key.renamed(origin) for key in self.keys), *self.witnesses])
        found, size, root = parse_checkpoint(text)
        if found != origin:
            raise Wrong(f"a checkpoint is of {found}, not of {origin}")
        own = {key.public for key in signers if key.type == 1}
        require(own, f"the checkpoint of {origin} is not signed by the key")
        return size, root, len({key.public for key in signers if key.type == 4} - own)

    def run(self, since: Sequence[str], checks: Checks) -> None:
        """Check every month, the newest first: later months hold closing statements of earlier ones."""
        claims = Claims([shard["period"] for shard in self.shards])
        for path in since:
            self.claim_since(path, claims, checks)
        if "report" in self.parts[0].manifest or self.names("report/"):
            checks.attempt("Report", functools.partial(self.check_report, claims))
        for shard in reversed(self.shards):
            period = shard["period"]
            if shard["expired"]:
                checks.add(f"Month {period}", UNKNOWN, "its retention has ended: the checkpoint is left, no entries")
                continue
            try:
                month = Month(self, shard, claims.at[period])
                month.run(checks)
            except Wrong as wrong:
                checks.add(f"Month {period}", WRONG, str(wrong))
                continue
            for index, attributes in month.closings:
                self.claim_closing(period, index, attributes, claims, checks)
        claims.answer(checks)
        if self.reported is not None:
            for name, what in self.reported.checks().items():
                checks.attempt(f"Report: {name}", functools.partial(self.reported.check, what))

    def claim_since(self, path: str, claims: Claims, checks: Checks) -> None:
        """Take in a checkpoint that someone kept."""
        subject = f"Checkpoint kept in {os.path.basename(path)}"
        try:
            with open(path, "rb") as file:
                data = file.read((1 << 20) + 1)
            if not looks_like_a_checkpoint(data):
                checks.add(subject, UNKNOWN, "this is no checkpoint: is it the file, and is it whole?")
                return
            origin = data.split(b"\n", 1)[0].decode("utf-8", "replace")
            log, _, period = origin.rpartition("/")
            require(log == self.origin, f"it is of {log}, the bundle of {self.origin}")
            size, root, _ = self.signed_checkpoint(data, origin)
        except OSError as error:
            checks.add(subject, UNKNOWN, f"cannot be read: {error.strerror}")
            return
        except Wrong as wrong:
            checks.add(subject, WRONG, str(wrong))
            return
        if period not in claims.at:
            checks.add(subject, UNKNOWN, f"the bundle does not have the month {period}")
        else:
            detail = f"{period} had {size:,} entries then; the bundle begins with exactly those"
            claims.add(period, size, Claim(subject, root, detail))

    def check_report(self, claims: Claims) -> str:
        """The report is the one that the manifest names; what it stands on is claimed of the months."""
        named = self.parts[0].manifest.get("report", {})
        require(named, "there are files of a report, and the manifest names none")
        files = {name: self.only(name) for name in sorted(self.names("report/"))}
        require("report/report.json" in files, "there is no report/report.json")
        try:
            report = parse_json(files["report/report.json"], "report/report.json")
            said = {name: report[name] for name in ("id", "generated_at")} | {"framework": report["framework"]["id"]}
            about = [report[name] for name in ("tenant_id", "from_day", "to_day")]
            shards = [(f"{s['period']}", s["size"], strict_base64(s["root"])) for s in report["population"]]
            notes = [s["checkpoint"].encode() for s in report["population"]]
            reported = Reported(report)
        except (LookupError, TypeError, AttributeError, ValueError):
            raise Wrong("report/report.json has not the form of a report") from None
        require(said == named, "report/report.json is another report than the manifest names")
        require(about == [self.tenant_id, self.start, self.end], "the report is of another tenant or period")
        for (period, size, root), note in zip(shards, notes, strict=True):
            require(period in claims.at, f"the report stands on {period}, which the bundle does not have")
            if period in reported.silent:
                detail = f"there was no checkpoint of {period} when it was made, and its gate failed"
                claims.add(period, -1, Claim(f"Report: month {period}", b"", detail))
                continue
            signed = self.signed_checkpoint(note, f"{self.origin}/{period}")[:2]
            require(signed == (size, root), f"the report's figures of {period} are not those of its checkpoint")
            detail = f"it stands on the first {size:,} entries of {period}, and they are these"
            claims.add(period, size, Claim(f"Report: month {period}", root, detail))
        if reported.seed is not None:
            period, size, root = reported.seed
            require(period in claims.at, f"samples are drawn by {period}, which the bundle does not have")
            detail = f"the root that they are drawn by is that of the first {size:,} entries of {period}"
            claims.add(period, size, Claim("Report: samples", root, detail))
        self.reported = reported
        what = f"{named['framework']}, report {named['id']}, generated {named['generated_at']}"
        return f"{what}; {len(files)} files, as signed"

    def claim_closing(self, period: str, index: int, attributes: Any, claims: Claims, checks: Checks) -> None:
        """Take in a closing statement of an earlier month, found in a later one."""
        subject = f"Month {period}: closing statement in entry {index:,}"
        try:
            closed, size, root = attributes["period"], attributes["size"], strict_base64(attributes["root"])
            require(type(closed) is str and type(size) is int and size >= 0 and closed < period, "it is malformed")
        except (Wrong, KeyError, TypeError, AttributeError):
            checks.add(subject, WRONG, "it is malformed, or not of an earlier month")
            return
        if closed in claims.at and not next(each["expired"] for each in self.shards if each["period"] == closed):
            claims.add(closed, size, Claim(subject, root, f"it agrees with the {size:,} entries of {closed}"))

    def check_witnesses(self, quorum: int) -> str:
        """Every checkpoint is cosigned by enough of the witnesses' keys."""
        least = min(self.cosigned, default=0)
        if least < quorum:
            raise Wrong(f"a checkpoint is cosigned by {least} of the witnesses, {quorum} are required")
        return f"every checkpoint is cosigned by {least} or more"


def verify(*args: Any, **options: Any) -> Checks:
    """Check a bundle and everything around it; the arguments are those of `check_bundle`."""
    try:
        return check_bundle(*args, **options)
    finally:
        Part.close_all()


def check_bundle(
    paths: Sequence[str],
    vkeys: Sequence[str] = (),
    since: Sequence[str] = (),
    witness_vkeys: Sequence[str] = (),
    quorum: int | None = None,
    trust_bundled_key: bool = False,
    events: Sequence[str] = (),
) -> Checks:
    """Check the files of a bundle against keys and checkpoints that the user has from elsewhere."""
    checks = Checks()
    try:
        given = [parse_vkey(vkey) for vkey in vkeys]
        witnesses = [parse_vkey(vkey, kind=4) for vkey in witness_vkeys]
    except Wrong as wrong:
        checks.add("Keys given", UNKNOWN, str(wrong))
        return checks
    parts = list(open_parts(paths, checks))
    if checks.lines:
        return checks
    keys = open_manifests(parts, given or None, checks)
    if keys is None:
        return checks
    say_whose_key(given, keys, trust_bundled_key, checks)
    log = parts[0].manifest["origin"]
    bundle = Bundle(parts, keys_of(log, given) or keys, witnesses)
    if checks.attempt("Parts of the bundle", bundle.check_parts):
        if events:
            exported = Exported(events, [shard["period"] for shard in bundle.shards], bundle.tenant_id)
            if checks.attempt("Events of the export", exported.load):
                bundle.exported = exported
        bundle.run(since, checks)
        if bundle.exported is not None:
            bundle.exported.run(parts[0].manifest["made_at"], checks)
        if witnesses:
            required = len(witnesses) if quorum is None else quorum
            checks.attempt("Witnesses", functools.partial(bundle.check_witnesses, required))
    checks.lines.sort(key=lambda line: line.subject[: len("Month YYYY-MM")] if line.subject.startswith("Month") else "")
    return checks


def keys_of(log: str, keys: Sequence[Key]) -> list[Key]:
    """The keys that were given for a log: a key counts for what its name says, whatever else it could sign."""
    return [key for key in keys if key.name.rpartition("/")[0] == log]


def open_parts(paths: Sequence[str], checks: Checks) -> Iterator[Part]:
    """Open every file; those that cannot be are noted."""
    for path in paths:
        try:
            yield Part(path)
        except (Wrong, Unchecked) as error:
            checks.add("File", WRONG if isinstance(error, Wrong) else UNKNOWN, str(error))


def open_manifests(parts: Sequence[Part], given: Sequence[Key] | None, checks: Checks) -> list[Key] | None:
    """Open every manifest, and return the keys that signed them; None when one does not hold."""
    keys: list[Key] = []
    for part in parts:
        try:
            manifest_keys = given
            if given is not None:
                origin = check_manifest(parse_json(part.read("manifest.json"), "manifest.json"), part.name)["origin"]
                manifest_keys = keys_of(origin, given)
                require(manifest_keys, f"{part.name}: it is of {origin}, for which you gave no key")
            keys += part.open_manifest(manifest_keys)
        except Wrong as wrong:
            checks.add("Signed manifest", WRONG, str(wrong))
            return None
    checks.add("Signed manifest", OK, f"{len(parts)} signed, and the files are those that they list")
    return list(dict.fromkeys(keys))


def say_whose_key(given: Sequence[Key], keys: Sequence[Key], trusted: bool, checks: Checks) -> None:
    """Note whether the signing key is one that the user knows from elsewhere."""
    shown = "; ".join(sorted({key.fingerprint for key in keys}))
    if given:
        checks.add("Who signed", OK, "the key that you gave")
    elif trusted:
        checks.add("Who signed", OK, f"the key in the bundle, which you chose to trust: {shown}")
    else:
        why = "give --vkey with the key as you have it from elsewhere; the bundle's own has the fingerprint"
        checks.add("Who signed", UNKNOWN, f"{why} {shown}")


# ---- the answer ---------------------------------------------------------------------------------------------------

WORDS = {OK: "OK", WRONG: "WRONG", UNKNOWN: "NOT CHECKED"}
SENTENCES = {
    OK: "Everything in this bundle is verified.",
    WRONG: "Do not rely on this bundle: something in it is wrong.",
    UNKNOWN: "Nothing wrong was found, but not everything could be checked.",
}
EXITS = {OK: 0, WRONG: 1, UNKNOWN: 2}


def table(checks: Checks) -> str:
    """The answer for people."""
    width = max(len(line.subject) for line in checks.lines)
    rows = [f"{line.subject:<{width}}  {WORDS[line.result]:<11}  {line.detail}" for line in checks.lines]
    return "\n".join([*rows, "", SENTENCES[checks.result], ""])


def as_json(checks: Checks) -> str:
    """The answer for programs."""
    answer = {"result": checks.result, "exit": EXITS[checks.result], "checks": [asdict(line) for line in checks.lines]}
    return json.dumps(answer, indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Check an evidence bundle offline.",
        epilog="Exit status: 0 all of it is verified, 1 something is wrong, 2 something could not be checked.",
    )
    parser.add_argument("parts", nargs="+", metavar="PART.zip", help="the files of one bundle, all of them")
    parser.add_argument("--vkey", action="append", default=[], help="the service's verifier key, from elsewhere")
    parser.add_argument("--since", action="append", default=[], metavar="FILE", help="a checkpoint kept from before")
    parser.add_argument(
        "--events",
        action="append",
        default=[],
        metavar="FILE",
        help="an export of the trail of the same period, as JSON lines",
    )
    parser.add_argument("--witness-vkey", action="append", default=[], help="the key of a witness that must cosign")
    parser.add_argument("--quorum", type=int, help="how many of the witnesses must have (default: all)")
    parser.add_argument("--trust-bundled-key", action="store_true", help="take the key from the bundle itself")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    options = parser.parse_args(arguments)
    if options.quorum is not None and not 1 <= options.quorum <= len(options.witness_vkey):
        parser.error("--quorum is from 1 to the number of --witness-vkey")
    try:
        import cryptography  # noqa: F401 - said clearly, rather than in the middle
    except ImportError:
        sys.stderr.write('The Python package "cryptography" is needed: python -m pip install cryptography\n')
        return 2
    try:
        checks = verify(
            options.parts,
            options.vkey,
            options.since,
            options.witness_vkey,
            options.quorum,
            options.trust_bundled_key,
            options.events,
        )
    except Exception as error:  # noqa: BLE001 - a fault of this program is not one of the bundle
        sys.stderr.write(f"The check could not be completed ({type(error).__name__}: {printable(str(error))}).\n")
        return EXITS[UNKNOWN]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(as_json(checks) if options.json else table(checks))
    return EXITS[checks.result]


if __name__ == "__main__":
    sys.exit(main())
