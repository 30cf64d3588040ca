"""A part of a person's export as a file: JSON, and what every form says of itself (docs/privacy.md, "Export").

Records are written as they come, each as its canonical JSON (RFC 8785). The statement is a signed note over their
SHA-256, in order, each with a line feed behind it; so it can be made, and checked, without holding the whole part.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.core.canonical import canonical
from shared.ledger.checkpoint import Checkpoint
from shared.ledger.note import Signer

FORMAT = "kraftd-audit-subject-export/1"
TITLE = "kraftd-audit subject export"

type Kind = Literal["account", "consents", "sessions", "requests", "alerts", "events"]
KINDS: tuple[Kind, ...] = ("account", "consents", "sessions", "requests", "alerts", "events")
"""What an export has of a person, in the order of its records."""

ABOUT = (
    "These are your data in this service: your account, what you agreed to, your sessions, your requests, alerts about "
    "you, and every event of the audit trail that names you as the person who acted or who is concerned.",
    "Of an event that concerns several persons only your own part is opened. Other persons appear by their ids alone.",
    "Each sealed event can be proven to stand in the ledger unchanged: `event`, as canonical JSON (RFC 8785), is the "
    "leaf at `index`, and `path` leads from there to the root of the checkpoint of its month, which is signed.",
    "What was personal is proven, too: SHA-256 of the salt and the canonical JSON of `personal` is the commitment that "
    "the event carries.",
    "That no event about you was left out cannot be proven to you alone, for it takes the entries of everybody. The "
    "signed statement says how many events name you under each checkpoint. Whoever may see the whole ledger (an "
    "auditor, a supervisory authority) counts them again: each entry names the persons concerned in `subjects`.",
    "An event of the last seconds may not be sealed yet, and an event that is recorded after `received_at` is not in "
    "this export.",
)


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the ledger. `sealed`: its checkpoint, and that as a signed note. Of an `expired` month only these are
    left; of a `broken` one what is stored is not what was sealed, and there is nothing to prove with."""

    period: str
    state: Literal["sealed", "expired", "broken"]
    checkpoint: Checkpoint | None = None
    note: str | None = None

    def shown(self) -> dict[str, Any]:
        """The JSON of an export."""
        found = self.checkpoint
        return {
            "period": self.period,
            "state": self.state,
            "size": None if found is None else found.size,
            "root": None if found is None else base64_text(found.root),
            "checkpoint": self.note,
        }


@dataclass(frozen=True, slots=True)
class Scope:
    """What an export is; the same in all of its parts. `ids`: the person's, that of the invitation included. `keys`:
    every key that signs or signed, as verifier keys under the name of exports."""

    export_id: str
    tenant_id: str
    subject: str
    ids: tuple[str, ...]
    by: str
    received_at: str
    due_at: str
    months: tuple[Month, ...]
    keys: tuple[str, ...]

    def month(self, period: str) -> Month | None:
        """A month of the ledger, if anything was sealed in it."""
        return next((each for each in self.months if each.period == period), None)

    def shown(self, part: int, *, last: bool) -> dict[str, Any]:
        """What a part says of the export."""
        return {
            "id": self.export_id,
            "part": part,
            "last": last,
            "tenant_id": self.tenant_id,
            "subject": self.subject,
            "ids": list(self.ids),
            "requested_by": self.by,
            "received_at": self.received_at,
            "due_at": self.due_at,
        }


class Tally:
    """What is in a part: how many records of each kind, their hash, and how many events of each month."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.events: dict[str, int] = {}
        self._digest = hashlib.sha256()

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(self.counts.values())

    def add(self, kind: Kind, text: bytes, period: str | None) -> None:
        """Count a record; `text`: its canonical JSON. `period`: of an event."""
        self.counts[kind] += 1
        self._digest.update(text + b"\n")
        if period is not None:
            self.events[period] = self.events.get(period, 0) + 1

    def statement(self, scope: Scope, part: int, signer: Signer, *, last: bool) -> str:
        """The signed statement of a part."""
        lines = [
            TITLE,
            f"export {scope.export_id}",
            f"tenant {scope.tenant_id}",
            f"subject {scope.subject}",
            f"until {scope.received_at}",
            f"part {part} {'last' if last else 'more'}",
            f"records {self.records} sha256 {self._digest.hexdigest()}",
        ]
        known = {each.period: each for each in scope.months}
        for period in sorted({*known, *self.events}):
            found = known[period].checkpoint if period in known else None
            sealed = "none" if found is None else f"{found.size} {base64_text(found.root)}"
            lines.append(f"month {period} events {self.events.get(period, 0)} checkpoint {sealed}")
        return signer.sign("".join(f"{line}\n" for line in lines)).encode()


class Document(Protocol):
    """A part that is being written."""

    def piece(self, kind: Kind, record: Mapping[str, Any], text: bytes) -> bytes:
        """The bytes of a record; `text`: its canonical JSON."""
        ...

    def add(self, kind: Kind, piece: bytes) -> None:
        """Put a record into the part."""
        ...

    def finish(self, scope: Scope, part: int, statement: str, *, last: bool) -> bytes:
        """The whole file."""
        ...


class JsonDocument:
    """A part as JSON; docs/subject-export.schema.json describes it."""

    def __init__(self) -> None:
        self._pieces: dict[Kind, list[bytes]] = {kind: [] for kind in KINDS}

    def piece(self, kind: Kind, record: Mapping[str, Any], text: bytes) -> bytes:
        """The record as it is."""
        return text

    def add(self, kind: Kind, piece: bytes) -> None:
        """Put a record into the part."""
        self._pieces[kind].append(piece)

    def finish(self, scope: Scope, part: int, statement: str, *, last: bool) -> bytes:
        """The JSON object. The account, of which there is one at most, is in the first part."""
        head: dict[str, Any] = {
            "format": FORMAT,
            "about": list(ABOUT),
            "export": scope.shown(part, last=last),
            "months": [each.shown() for each in scope.months],
            "keys": list(scope.keys),
            "statement": statement,
        }
        fields = [canonical(head)[1:-1], b'"account":' + b"".join(self._pieces["account"] or [b"null"])]
        fields += [f'"{kind}":['.encode() + b",\n".join(self._pieces[kind]) + b"]" for kind in KINDS[1:]]
        return b"{" + b",\n".join(fields) + b"}\n"


def base64_text(raw: bytes) -> str:
    """Bytes as an export writes them."""
    return base64.b64encode(raw).decode()


def number_of(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of an export as the register has them."""
    items: Sequence[int] = [counts[kind] for kind in KINDS if kind not in ("account", "events")]
    return {"accounts": counts["account"], "events": counts["events"], "items": sum(items)}
