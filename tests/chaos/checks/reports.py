"""Reports: what was ordered is there, made once; its text is what its digest says, and its head what its text says."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.journal import Attempt
from tools import verify_evidence as verifier

ACTIVITY = "activity"
SUMMARY = {
    "satisfied": "satisfied",
    "exceptions": "exception",
    "not_evidenced": "not_evidenced",
    "not_applicable": "not_applicable",
}
"""What the event calls the numbers of a summary, and what the report does."""


def check_reports(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
    made: dict[str, list[Item]] = defaultdict(list)
    for event in snapshot.events:
        if (event["type"], event["outcome"]) == ("report.generate", "success"):
            made[event["target"]["id"]].append(event)
    heads = {each["id"]: each for kind in ("compliance_report", "report") for each in snapshot.of("reports", kind)}
    return [
        *_once(made, attempts),
        *(
            Finding("event_without_change", f"report {each} is not there")
            for each in sorted(made.keys() - heads.keys())
        ),
        *(
            Finding("change_without_event", f"report {each} was never made")
            for each in sorted(heads.keys() - made.keys())
        ),
        *(
            Finding("report_otherwise", f"report {each}: {wrong}")
            for each in sorted(made.keys() & heads.keys())
            for wrong in _wrong(snapshot, heads[each], made[each])
        ),
    ]


def _once(made: Mapping[str, list[Item]], attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """A day's activity is told anew only when there is more of it; anything else is made once."""
    for each in attempts:
        if each.call == "report_order" and each.acknowledged and each.seen["id"] not in made:
            yield Finding("acknowledged_and_lost", f"report {each.seen['id']} was ordered, and never made")
    for report, events in made.items():
        said = [each["attributes"] for each in events]
        times = Counter(each["digest"] if each["framework"] == ACTIVITY else "" for each in said)
        if max(times.values()) > 1:
            yield Finding("event_doubled", f"report {report} was made {max(times.values())} times")


def _wrong(snapshot: Snapshot, head: Item, events: Sequence[Item]) -> Iterator[str]:
    said = events[-1]["attributes"]
    if head["tenant_id"] != events[-1]["tenant_id"]:
        yield "it is another organization's"
    if [head[name] for name in ("framework", "from", "to")] != [
        said[name] for name in ("framework", "period_from", "period_to")
    ]:
        yield "it is not of the framework and the period that its event says"
    if said["framework"] == ACTIVITY:
        yield from _of_a_day(head, [each["attributes"]["digest"] for each in events])
    else:
        yield from _of_a_framework(snapshot, head, said)


def _of_a_day(head: Item, digests: Sequence[str]) -> Iterator[str]:
    shown = {name: head[name] for name in head if name not in ("tenant_id", "kind", "ttl") and not name.startswith("_")}
    if hashlib.sha256(verifier.canonical(shown).encode()).hexdigest() not in digests:
        yield "no event says its digest"
    if head["events_in_period"] != sum(sum(each.values()) for each in head["by_type"].values()):
        yield "it counts other events than it names"


def _of_a_framework(snapshot: Snapshot, head: Item, said: Item) -> Iterator[str]:
    prefix = f"part|{head['id']}|{head['digest'][:16]}|"
    parts = sorted(
        (each for each in snapshot.of("reports", "report_part") if each["id"].startswith(prefix)),
        key=lambda each: str(each["id"]),
    )
    text = "".join(each["text"] for each in parts).encode()
    if (len(parts), len(text)) != (head["parts"], head["bytes"]):
        return (yield "it has not the parts that it says")
    if not hashlib.sha256(text).hexdigest() == head["digest"] == said["digest"]:
        return (yield "its text has another digest than it says, or its event")
    told = json.loads(text)
    wanted = {
        **{"id": told["id"], "tenant_id": told["tenant_id"], "framework": told["framework"]["id"]},
        **{"from": told["from_day"], "to": told["to_day"], "status": "ready", "summary": told["summary"]},
        **{name: told[name] for name in ("generated_at", "generated_by", "events_in_period")},
        "gate_passed": told["gate"]["passed"],
        "exceptions": [each["oscal_id"] for each in told["controls"] if each["status"] == "exception"],
        "gate_failed": [each["id"] for each in told["gate"]["checks"] if not each["passed"]],
    }
    yield from (f"{name} is {head.get(name)!r}" for name in wanted if head.get(name) != wanted[name])
    counted = {name: told["summary"][own] for name, own in SUMMARY.items()} | {"gate_passed": told["gate"]["passed"]}
    if any(said.get(name) != value for name, value in counted.items()):
        yield "its event counts otherwise"
