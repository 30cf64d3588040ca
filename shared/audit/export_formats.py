"""The forms in which the trail is exported: one event in, the bytes of its line out, and no state in between.

What a reader gets for one event depends on that event alone, so parts can be joined byte by byte, in any format.
"""

import csv
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from shared.audit.ocsf import to_ocsf

type Shown = dict[str, Any]

NDJSON: Final = "application/x-ndjson"
_LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}
"""Legal inside JSON text, and the end of a line to many a reader of lines."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode
_RISKY = frozenset("=+-@\t\r\n＝＋－＠'")
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV injection), and the mark that we set against it."""

COLUMNS: Final = (
    *("id", "tenant_id", "period", "type", "outcome", "reason", "severity", "recorded_at", "occurred_at"),
    *("actor.kind", "actor.id", "actor.role", "actor.email", "target.kind", "target.id", "target.email"),
    *("ip", "user_agent", "subjects", "source.kind", "source.id"),
    *("context.request_id", "context.trace_id", "context.session_id", "context.route", "context.duration_ms"),
    *("data_class", "record_count", "attributes", "personal", "commitments"),
    *("actor_key", "target_key", "ip_key", "ua_key", "schema", "erased_at"),
)
"""The columns of CSV. Published: new ones go to the end."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format. `header`: what the first part begins with. `line`: an event, as the API shows it, with its end."""

    name: str
    media_type: str
    extension: str
    header: bytes
    line: Callable[[Shown], bytes]


def json_line(value: Any) -> bytes:
    """One JSON value on one line of UTF-8, names in order; no byte in it ends a line but the last."""
    text = _encode(value)
    if not text.isascii():
        text = text.translate(_LINE_ENDS)
    return _utf8(text) + b"\n"


def ocsf_line(event: Shown) -> bytes:
    """An event as one OCSF event on one line."""
    return json_line(to_ocsf(event))


def csv_line(event: Shown) -> bytes:
    """An event as one record of RFC 4180, safe to open in a spreadsheet."""
    return csv_record(_values(event))


def csv_record(values: Iterable[Any]) -> bytes:
    """Any values as one record of RFC 4180, safe to open in a spreadsheet."""
    return _record([_cell(value) for value in values])


def _values(event: Shown) -> tuple[Any, ...]:
    actor, target, source = event["actor"], event["target"] or {}, event["source"]
    context, personal = event["context"], event["personal"]
    first = [held for held in (personal.get(actor["id"]), personal.get(target.get("id"))) if held]
    return (
        *(event[name] for name in COLUMNS[:9]),
        *(actor["kind"], actor["id"], actor["role"], personal.get(actor["id"], {}).get("email")),
        *(target.get("kind"), target.get("id"), personal.get(target.get("id"), {}).get("email")),
        next((held["ip"] for held in first if "ip" in held), None),
        next((held["user_agent"] for held in first if "user_agent" in held), None),
        " ".join(event["subjects"]),
        *(source["kind"], source["id"]),
        *(context[name] for name in ("request_id", "trace_id", "session_id", "route", "duration_ms")),
        *(event[name] for name in ("data_class", "record_count", "attributes", "personal", "commitments")),
        *(event[name] for name in ("actor_key", "target_key", "ip_key", "ua_key", "schema")),
        event.get("erased_at"),
    )


def _cell(value: Any) -> str:
    """A cell's text. An apostrophe goes before what could be a formula, and before an apostrophe: who reads the file
    by program takes one away wherever a cell begins with one, and has the value as it was."""
    if isinstance(value, str):
        return value if value[:1].isalnum() or not _is_risky(value) else f"'{value}"
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else json_line(value)[:-1].decode()


def _is_risky(text: str) -> bool:
    """Whether a spreadsheet could take the text for a formula, also behind spaces and characters that nobody sees."""
    if not text:
        return False
    return text[0] in _RISKY or unicodedata.category(text[0]) in ("Cc", "Cf") or text.lstrip()[:1] in _RISKY


class _Sink:
    """Takes what the csv module writes: one record."""

    __slots__ = ("text",)

    def write(self, text: str) -> None:
        """Keep the record."""
        self.text = text


def _record(cells: list[str]) -> bytes:
    sink = _Sink()
    csv.writer(sink, lineterminator="\r\n").writerow(cells)
    return _utf8(sink.text)


def _utf8(text: str) -> bytes:
    """UTF-8; a surrogate without its other half becomes U+FFFD, for it has no UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


FORMATS: Final[dict[str, ExportFormat]] = {
    each.name: each
    for each in (
        ExportFormat("csv", "text/csv", "csv", _record(list(COLUMNS)), csv_line),
        ExportFormat("jsonl", NDJSON, "jsonl", b"", json_line),
        ExportFormat("ocsf", NDJSON, "ocsf.jsonl", b"", ocsf_line),
    )
}
"""Every format by its name in the API."""
