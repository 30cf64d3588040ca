"""A part of a person's export as a page to read and to print: HTML in one file, without scripts or anything from
elsewhere. Every text in it that is not ours is escaped, and isolated from the direction of what stands around it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from shared.subject_rights.export_document import ABOUT, KINDS, Kind, Scope

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #111;
  background: #fff; }
h1, h2 { line-height: 1.2; }
h3 { margin: 0 0 .3rem; font-size: 1rem; }
article { border: 1px solid #767676; border-radius: .3rem; padding: .8rem 1rem; margin: .8rem 0; }
dl { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; gap: .2rem 1rem; margin: 0; }
dt { font-weight: 600; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
dl dl { border-left: 2px solid #767676; padding-left: .6rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; }
th, td { border: 1px solid #767676; padding: .2rem .5rem; text-align: left; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } article, tr { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""
_HEADINGS: Mapping[Kind, str] = {
    "account": "Account",
    "consents": "What you agreed to",
    "sessions": "Sessions",
    "requests": "Requests about your data",
    "alerts": "Alerts about you",
    "events": "Events",
}
_PROOF = {
    "sealed": "in the ledger, unchanged; its proof is in the JSON form of this export",
    "not_sealed": "not in the ledger yet when this export began",
    "expired": "the ledger of its month is no longer kept",
    "broken": "INTEGRITY FAILURE: the ledger of its month is not as it was sealed",
    "changed": "INTEGRITY FAILURE: it is not as it was sealed",
}
_LOST = {"erased": "erased", "damaged": "INTEGRITY FAILURE: what is stored does not open, or is not what was recorded"}
_TITLES: Mapping[Kind, str] = {"consents": "purpose", "sessions": "created_at", "requests": "kind", "alerts": "title"}


class HtmlDocument:
    """A part as HTML."""

    def __init__(self) -> None:
        self._pieces: dict[Kind, list[bytes]] = {kind: [] for kind in KINDS}

    def piece(self, kind: Kind, record: Mapping[str, Any], text: bytes) -> bytes:
        """One article."""
        return (_event(record) if kind == "events" else _plain(kind, record)).encode("utf-8", "replace")

    def add(self, kind: Kind, piece: bytes) -> None:
        """Put a record into the part."""
        self._pieces[kind].append(piece)

    def finish(self, scope: Scope, part: int, statement: str, *, last: bool) -> bytes:
        """The page."""
        title = f"Your data, part {part}"
        first = [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n",
            *(f"<p>{escape(each)}</p>\n" for each in ABOUT),
            _definitions(scope.shown(part, last=last)),
        ]
        body = [text for kind in KINDS for text in self._section(kind)]
        rows = "".join(
            f"<tr><td>{each.period}</td><td>{escape(each.state)}</td>"
            f"<td>{'' if each.checkpoint is None else each.checkpoint.size}</td></tr>\n"
            for each in scope.months
        )
        end = (
            "<h2>Ledger</h2>\n<table>\n<caption>Months of the ledger when this export began</caption>\n"
            '<thead><tr><th scope="col">Month</th><th scope="col">State</th><th scope="col">Entries</th></tr></thead>\n'
            f"<tbody>\n{rows}</tbody>\n</table>\n<h2>Signed statement</h2>\n<pre>{escape(statement)}</pre>\n"
            "</main>\n</body>\n</html>\n"
        )
        return b"".join([*(each.encode("utf-8", "replace") for each in first), *body, end.encode("utf-8", "replace")])

    def _section(self, kind: Kind) -> list[bytes]:
        pieces = self._pieces[kind]
        nothing = [] if pieces else [b"<p>Nothing in this part.</p>\n"]
        return [f"<section>\n<h2>{_HEADINGS[kind]}</h2>\n".encode(), *pieces, *nothing, b"</section>\n"]


def _plain(kind: Kind, record: Mapping[str, Any]) -> str:
    named = record.get(_TITLES.get(kind, ""))
    title = f"<h3>{_text(named)}</h3>\n" if named is not None else ""
    return f"<article>\n{title}{_definitions(record)}</article>\n"


def _event(record: Mapping[str, Any]) -> str:
    event = record["event"]
    head = f"<h3>{_text(event['type'])} <time>{escape(str(event['recorded_at']))}</time></h3>\n"
    known = {name: event[name] for name in ("id", "outcome", "reason", "occurred_at", "actor", "target", "subjects")}
    known |= {"request": event["context"], "attributes": event["attributes"]}
    for subject, data in record["personal"].items():
        lost = next((said for name, said in _LOST.items() if subject not in record["salts"] and name in data), None)
        known[f"personal data of {subject}"] = data if lost is None else lost
    return f"<article>\n{head}{_definitions({**known, 'proof': _PROOF[record['proof']['state']]})}</article>\n"


def _definitions(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_value(value)}</dd>\n" for name, value in values.items())
    return f"<dl>\n{rows}</dl>\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _definitions(value) if value else "none"
    if isinstance(value, list):
        if any(isinstance(each, Mapping | list) for each in value):
            return "".join(_value(each) for each in value)
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else _text(value)


def _text(value: object) -> str:
    return f"<bdi>{escape(str(value))}</bdi>"
