"""What no call asked for: only what the app tells of itself, about something that is there, as often as it can be."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.checks.rules import OWN_WORK, REJECTED
from tests.chaos.journal import Attempt

PLATFORM = "platform"
PULSES = {"service": 13, "policy": 10, "detect_threats": 10, "api_key": 27}
"""How much of a time says which hour or day a sign of life is of."""
EARLY = {"service": ":00", "policy": "T00:00"}
"""What the time goes on with where it may be of the hour or day before: it was due then, and told a moment later."""
CLOCK_MILLISECONDS = 5000


def check_own_work(snapshot: Snapshot, attempts: Sequence[Attempt], starts: int, faults: int) -> list[Finding]:
    """All of it. `starts`: how often a process of the app was started; `faults`: how many were injected, times
    processes."""
    told: dict[str, list[Item]] = defaultdict(list)
    for event in snapshot.events:
        told[event["type"]].append(event)
    return [
        *_causes(snapshot),
        *_starts(told["system.start"], starts),
        *_heartbeats(told["system.heartbeat"]),
        *_errors(told["system.error"], told["system.heartbeat"], faults),
        *_checkpoints(told["ledger.checkpoint"], snapshot),
        *_rejections(snapshot, attempts),
    ]


def _causes(snapshot: Snapshot) -> Iterator[Finding]:
    alerts = {alert["id"] for alert in snapshot.of("alerts", "alert")}
    there = {"alert": alerts, "report": {report["id"] for report in snapshot.of("reports")}}
    for event in snapshot.events:
        kind = event["type"]
        if kind == "ledger.verify_failed":
            yield Finding("ledger_doubted", f"{event['id']}: {event['attributes']}")
        elif kind in ("system.start", "system.error") and event["target"] is None and event["tenant_id"] != PLATFORM:
            yield Finding("event_without_cause", f"{kind} {event['id']}: it is not the organization's")
        elif event["context"]["trace_id"] is None:
            about = there.get(kind.partition(".")[0])
            if (kind, event["outcome"]) not in OWN_WORK:
                yield Finding("event_without_cause", f"{kind} {event['id']}: no part of the app's own work")
            elif about is not None and event["target"]["id"] not in about:
                yield Finding("event_without_cause", f"{kind} {event['id']}: what it is about is not there")
    raised = Counter(event["target"]["id"] for event in snapshot.events if event["type"] == "alert.raise")
    for alert in alerts:
        if raised[alert] != 1:
            yield Finding("change_without_event", f"alert {alert} was raised by {raised[alert]} events")


def _starts(events: Sequence[Item], starts: int) -> Iterator[Finding]:
    if len(events) > starts:
        yield Finding("event_without_cause", f"{len(events)} starts are told, and there were {starts}")


def _heartbeats(events: Sequence[Item]) -> Iterator[Finding]:
    """One of the service in an hour, of an organization one of each kind of a day."""
    beats: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
    for event in events:
        said = event["attributes"]
        source = said.get("source", "")
        if source not in PULSES:
            yield Finding("event_without_cause", f"a sign of life of {source!r}: {event['id']}")
            continue
        of = said.get("window_from") or event["recorded_at"]
        whose = event["target"]["id"] if source == "api_key" else event["tenant_id"]
        beats[whose, source, of[: PULSES[source]]].append(event)
    for (whose, source, of), found in beats.items():
        early = [each for each in found if each["recorded_at"][len(of) :].startswith(EARLY.get(source, "never"))]
        if len(found) > (2 if early else 1):
            yield Finding("event_doubled", f"{len(found)} signs of life of {source}, {whose}, {of}")


def _errors(events: Sequence[Item], heartbeats: Sequence[Item], faults: int) -> Iterator[Finding]:
    """Outages, of which there are no more than faults; clocks that are off; services that fell silent."""
    beats = {each["context"]["request_id"] for each in heartbeats if each["attributes"].get("source") == "service"}
    outages = 0
    for event in events:
        said = event["attributes"]
        kind = (said.get("source"), said.get("error_code"))
        if kind == ("audit_writer", "store_unreachable"):
            outages += 1
            is_right = said["count"] > 0
        elif kind == ("service", "clock_offset"):
            is_right = abs(said["clock_offset_ms"]) > CLOCK_MILLISECONDS and event["context"]["request_id"] in beats
        else:
            is_right = kind == ("api_key", "source_silent") and event["target"]["kind"] == "api_key"
        if not is_right:
            yield Finding("event_without_cause", f"system.error {event['id']}: {said}")
    if outages > faults:
        yield Finding("event_without_cause", f"{outages} outages are told, and there were {faults} faults")


def _checkpoints(events: Sequence[Item], snapshot: Snapshot) -> Iterator[Finding]:
    """Of a month that is over: what was signed of it, told once for each size."""
    signed = {
        (each["tenant_id"], each["period"], each["size"], each["note"].split("\n")[2])
        for each in snapshot.of("ledger", "checkpoint")
    }
    told = Counter(
        (event["tenant_id"], *(event["attributes"].get(name) for name in ("period", "size", "root")))
        for event in events
    )
    for each, number in told.items():
        if number > 1 or each not in signed:
            yield Finding("event_without_cause", f"ledger.checkpoint of {each[:3]}, {number} times")


def _rejections(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """Tokens that were refused are counted, each at least once; and not more than there can have been."""
    events = [e["attributes"]["count"] for e in snapshot.events if (e["type"], e["outcome"]) == REJECTED]
    waiting = [each["pending"] for each in snapshot.of("identity", "token_rejections")]
    counted = sum(events) + sum(waiting)
    sure = sum(each.status == 401 and each.call not in ("login", "refresh") for each in attempts)
    # One attempt in doubt may have been counted twice: the store took the count, and its answer was lost.
    most = sure + 20 * sum(each.in_doubt or each.call == "refresh" for each in attempts)
    if counted < sure:
        yield Finding("acknowledged_without_event", f"{sure} tokens were refused, {counted} are counted")
    if counted > most:
        yield Finding("event_without_cause", f"{counted} refused tokens are counted, {most} can have been")
