"""The ledgers, read from the store and hashed anew with the published verifier's own code."""

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.journal import Attempt
from tools import verify_evidence as verifier

type Shard = tuple[str, str]
"""Tenant and month."""


def check_ledgers(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """Every event is sealed once, as it is, in one order without gaps; and what was signed is what is there, under the
    keys that clients were told."""
    keys = [
        verifier.parse_vkey(each.seen["text"]) for each in attempts if each.call == "ledger_key" and each.acknowledged
    ]
    marks = {each["tenant_id"]: each["signed"] for each in snapshot.of("directory") if "signed" in each}
    events: dict[Shard, dict[str, Item]] = defaultdict(dict)
    for event in snapshot.events:
        events[event["tenant_id"], event["period"]][event["id"]] = event
    shards: dict[Shard, list[Item]] = defaultdict(list)
    for item in snapshot.of("ledger"):
        shards[item["tenant_id"], item["period"]].append(item)
    found = [finding for shard in sorted({*events, *shards}) for finding in _check(shard, events[shard], shards[shard])]
    for shard, items in sorted(shards.items()):
        found += _signed(shard, items, keys, marks.get(shard[0], {}).get(shard[1]))
    return found


def _check(shard: Shard, events: dict[str, Item], items: Sequence[Item]) -> Iterator[Finding]:
    name = "/".join(shard)
    entries = sorted((each for each in items if each["kind"] == "entry"), key=lambda each: each["index"])
    sealed = Counter(each["id"] for each in entries)
    for event_id in sorted(events.keys() - sealed.keys()):
        yield Finding("not_sealed", f"{name}: {events[event_id]['type']} {event_id}")
    for event_id in sorted(sealed.keys() - events.keys()):
        yield Finding("event_lost", f"{name}: {event_id} is sealed and not in the trail")
    for event_id, number in sealed.items():
        if number > 1:
            yield Finding("sealed_twice", f"{name}: {event_id}")
    indexes = [each["index"] for each in entries]
    if indexes != list(range(len(entries))):
        place = next(n for n, index in enumerate(indexes) if n != index)
        yield Finding("ledger_gap", f"{name}: entry {place} is missing or there twice")
    roots, days = _hashed(entries)
    for each in entries:
        event = events.get(each["id"])
        if event is not None and each["entry"] != _entry_of(event):
            yield Finding("sealed_otherwise", f"{name}: {each['id']}")
    yield from _heads(name, items, roots)
    yield from _days(name, items, days)


def _entry_of(event: Item) -> str:
    return verifier.canonical({field: event.get(field) for field in verifier.FIELDS})


def _hashed(entries: Sequence[Item]) -> tuple[list[bytes], dict[str, verifier.Day]]:
    """The root after each number of entries, from none; and what is counted of each day."""
    tree, days = verifier.Tree(), dict[str, verifier.Day]()
    roots = [tree.root()]
    for number, each in enumerate(entries):
        text = each["entry"].encode()
        tree.append(hashlib.sha256(b"\x00" + text).digest())
        roots.append(tree.root())
        event = verifier.parse_entry(text)
        days.setdefault(event["recorded_at"][:10], verifier.Day()).add(event, number)
    return roots, days


def _heads(name: str, items: Sequence[Item], roots: Sequence[bytes]) -> Iterator[Finding]:
    """The head is as large as the ledger, and each signed checkpoint says the root that it had then."""
    heads = [each for each in items if each["kind"] == "head"]
    if [each["size"] for each in heads] != ([len(roots) - 1] if len(roots) > 1 or heads else []):
        yield Finding("ledger_gap", f"{name}: the head says {[each['size'] for each in heads]}, of {len(roots) - 1}")
    for note in _notes(items):
        size, root = _said(note)
        if not 0 <= size < len(roots) or roots[size] != root:
            yield Finding("signed_otherwise", f"{name}: the checkpoint of {size}")


def _said(note: str) -> tuple[int, bytes]:
    """Size and root of a checkpoint; a size below zero of what is none."""
    try:
        _, size, root = verifier.parse_checkpoint(note.partition("\n\n")[0] + "\n")
    except verifier.Wrong:
        return -1, b""
    return size, root


def _notes(items: Sequence[Item]) -> list[str]:
    """What was signed: each checkpoint, and the one that the head has."""
    return [each["note"] for each in items if each["kind"] in ("checkpoint", "head") and each["note"] is not None]


def _signed(shard: Shard, items: Sequence[Item], keys: Sequence[verifier.Key], mark: Item | None) -> Iterator[Finding]:
    """Each checkpoint bears the signature of a published key under the ledger's name. The last one is that of the head;
    and the one that is remembered beside the ledger, which a crash may have left behind, is among them."""
    name = "/".join(shard)
    for note in _notes(items):
        origin = note.partition("\n")[0]
        try:
            _, signers = verifier.open_note(note.encode(), [key.renamed(origin) for key in keys])
        except verifier.Wrong as wrong:
            yield Finding("signature_wrong", f"{name}: {wrong}")
            continue
        if not signers or not origin.endswith(f"/{name}"):
            yield Finding("signature_wrong", f"{name}: no published key signed it, or not for this ledger")
    signed = {each["size"]: each["note"] for each in items if each["kind"] == "checkpoint"}
    for head in (each for each in items if each["kind"] == "head"):
        if not signed or mark is None or head["note"] is None:
            yield Finding("checkpoint_missing", f"{name}: nothing was signed, or is remembered")
            continue
        last = max(signed)
        if (head["note"], head["signed_size"], _said(head["note"])[0]) != (signed[last], last, last):
            yield Finding("checkpoint_missing", f"{name}: the head has another one than that of {last}")
        if _said(signed.get(mark["size"], "")) != (mark["size"], base64.b64decode(mark["root"])):
            yield Finding("checkpoint_missing", f"{name}: that of {mark['size']}, which is remembered")


def _days(name: str, items: Sequence[Item], days: dict[str, verifier.Day]) -> Iterator[Finding]:
    """What reports read is what the entries say."""
    stored = {each["day"]: each for each in items if each["kind"] == "rollup"}
    for day in sorted(stored.keys() | days.keys()):
        counted: dict[str, Any] = {}
        if day in days:
            counted = days[day].totals() | {"actors": [f"{each:016x}" for each in sorted(days[day].actors)]}
        if day not in stored or not counted or any(stored[day].get(name) != counted[name] for name in counted):
            yield Finding("rollup_differs", f"{name}: {day}")


def check_bundle(parts: Sequence[Path], vkeys: Sequence[str]) -> list[Finding]:
    """An evidence bundle as an auditor checks it, with keys that were fetched apart from it."""
    checks = verifier.verify([str(each) for each in parts], vkeys)
    return [
        Finding("bundle_not_verified", f"{line.subject}: {line.detail}")
        for line in checks.lines
        if line.result != verifier.OK
    ]
