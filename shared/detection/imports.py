"""Sign-in logs of other systems as events, for evaluation alone: nothing of it is ever stored.

A mapping (TOML, see docs/backtest.md) says where time, account, address and user agent stand, and by which fields a
row is told to be a failure or a success: the first rule whose conditions all hold decides, and a row that no rule
takes is left out. So a log that calls a bad password "Success" in one field and names it in another is read by the
other. Rows that come twice count once: by their id, or where there is none by all they hold.
"""

import csv
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.core.clock import parse_rfc3339, rfc3339
from shared.storage.documents import Item

IMPORTED = "imported"
"""The tenant of imported events."""


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text} is no regular expression: {error}") from None
    return text


def _text(text: str) -> str:
    if text.startswith("~"):
        _expression(text[1:])
    return text


class Rule(BaseModel):
    """What rows of a kind are. `when`: dotted field to the texts of which it must have one; `~` begins a regular
    expression, `*` is any text, and an empty list means that the field is absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: dict[str, list[Annotated[str, AfterValidator(_text)]]]
    type: Literal["auth.login", "auth.password_change", "auth.register"] = "auth.login"
    outcome: Literal["success", "failure"]
    reason: str | None = None


class Mapped(BaseModel):
    """A mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["jsonl", "csv", "text"]
    pattern: Annotated[str, AfterValidator(_expression)] | None = Field(
        default=None, description="text: a regular expression whose named groups are the fields."
    )
    time: str
    time_format: str | None = Field(default=None, description="As of strptime; RFC 3339 without one.")
    year: int | None = Field(default=None, description="Of times that do not name theirs.")
    account: str
    address: str | None = None
    user_agent: str | None = None
    id: str | None = None
    nested: list[str] = Field(default=[], description="Fields that hold JSON as text.")
    rules: list[Rule]


@dataclass(slots=True)
class Imported:
    """The events of a log, and what became of its rows."""

    events: dict[str, Item] = field(default_factory=dict)
    rows: int = 0
    repeated: int = 0
    left_out: int = 0
    unreadable: int = 0


def read_mapping(path: Path) -> Mapped:
    """A mapping file. ValueError for one that is none."""
    return Mapped.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def imported(lines: Iterable[str], mapped: Mapped) -> Imported:
    """The events that a log's lines tell of."""
    found = Imported()
    for row in _rows(lines, mapped):
        found.rows += 1
        if row is None:
            found.unreadable += 1
            continue
        rule = next((each for each in mapped.rules if _matches(row, each)), None)
        if rule is None:
            found.left_out += 1
            continue
        try:
            event = _event(row, rule, mapped)
        except ValueError:
            found.unreadable += 1
            continue
        if event["id"] in found.events:
            found.repeated += 1
        found.events[event["id"]] = event
    return found


def _rows(lines: Iterable[str], mapped: Mapped) -> Iterator[Mapping[str, Any] | None]:
    """The rows of a log; None for one that cannot be read."""
    if mapped.format == "csv":
        yield from (row and _unnested(row, mapped) for row in _csv_rows(lines))
        return
    shape = re.compile(mapped.pattern or "")
    for line in lines:
        if not line.strip():
            continue
        if mapped.format == "text":
            match = shape.search(line)
            if match is not None:
                yield {**match.groupdict(), "line": line.strip()}
            continue
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        yield _unnested(told, mapped) if isinstance(told, dict) else None


def _unnested(row: Mapping[str, Any], mapped: Mapped) -> Mapping[str, Any] | None:
    try:
        return {**row, **{name: json.loads(row[name]) for name in mapped.nested if isinstance(row.get(name), str)}}
    except (ValueError, RecursionError):
        return None


def _csv_rows(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """The rows of a CSV file by its header; None for one with more cells than that, or a cell that is too long."""
    rows = csv.DictReader(line.replace("\0", "") for line in lines)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield None
            continue
        yield None if None in row else row


def _value(row: Any, path: str | None) -> str | None:
    """The text at a dotted path; numbers are places in lists."""
    for part in path.split(".") if path else ():
        if isinstance(row, Mapping):
            row = row.get(part)
        elif isinstance(row, list) and part.isdigit() and int(part) < len(row):
            row = row[int(part)]
        else:
            return None
    if path is None or row is None or isinstance(row, Mapping | list):
        return None
    return json.dumps(row) if isinstance(row, bool) else str(row)


def _matches(row: Mapping[str, Any], rule: Rule) -> bool:
    return all(_is_one_of(_value(row, path), wanted) for path, wanted in rule.when.items())


def _is_one_of(value: str | None, wanted: list[str]) -> bool:
    if value is None or not wanted:
        return value is None and not wanted
    return any(
        each == "*" or (re.search(each[1:], value) is not None if each.startswith("~") else each == value)
        for each in wanted
    )


def _event(row: Mapping[str, Any], rule: Rule, mapped: Mapped) -> Item:
    """A stored event as far as the patterns look at it. Addresses stay in clear: it never leaves the process."""
    account = _value(row, mapped.account)
    moment = _time(_value(row, mapped.time) or "", mapped)
    if not MINYEAR < moment.year < MAXYEAR:
        raise ValueError("a time that windows fit around")
    at = rfc3339(moment)
    user = None if account is None else {"kind": "user", "id": account.strip().lower()}
    return {
        "id": _value(row, mapped.id) or hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest(),
        "tenant_id": IMPORTED,
        "type": rule.type,
        "outcome": rule.outcome,
        "reason": rule.reason,
        "occurred_at": at,
        "recorded_at": at,
        "actor": {"kind": "anonymous", "id": None, "role": None}
        if rule.outcome == "failure"
        else {**(user or {}), "role": None},
        "target": user,
        "actor_key": None,
        "ip_key": _value(row, mapped.address),
        "ua_key": _value(row, mapped.user_agent),
        "attributes": {},
    }


def _time(text: str, mapped: Mapped) -> datetime:
    if mapped.time_format is None:
        return parse_rfc3339(text if re.search(r"(?:[Zz]|[+-]\d\d:\d\d)$", text) else f"{text}Z")
    text, shape = (f"{mapped.year} {text}", f"%Y {mapped.time_format}") if mapped.year else (text, mapped.time_format)
    found = datetime.strptime(text, shape)  # noqa: DTZ007 - UTC unless it says so
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("a time within the years 1 to 9999 in UTC") from None
