"""The trail against the clients' log: nothing acknowledged without its event, no event without its cause."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from tests.chaos.checks.fields import follow
from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.checks.rules import NOTHING, OWN_WORK, REJECTED, RULES, fits
from tests.chaos.journal import Attempt

type ByTrace = dict[str, list[Item]]


def check_trail(snapshot: Snapshot, attempts: Sequence[Attempt], starts: int) -> list[Finding]:
    """All of it. `starts`: how often a process of the app was started."""
    by_trace: ByTrace = defaultdict(list)
    for event in snapshot.events:
        trace = event["context"]["trace_id"]
        if trace is not None:
            by_trace[trace].append(event)
    idle = follow(snapshot.events, attempts).idle
    return [
        *_ids(snapshot.events),
        *_attempts(by_trace, [each for each in attempts if each.call != "ingest"], idle),
        *_deliveries(by_trace, [each for each in attempts if each.call == "ingest"]),
        *_strangers(by_trace, attempts),
        *_own_work(snapshot, starts),
        *_rejections(snapshot, attempts),
    ]


def _ids(events: Sequence[Item]) -> Iterator[Finding]:
    for event_id, number in Counter(event["id"] for event in events).items():
        if number > 1:
            yield Finding("event_doubled", f"{event_id} is there {number} times")


def _attempts(by_trace: ByTrace, attempts: Sequence[Attempt], idle: Collection[str]) -> Iterator[Finding]:
    """Each has left what its answer says. `idle`: those that had nothing to change."""
    for each in attempts:
        if each.status == 500:
            yield Finding("internal_error", f"{each.call} ({each.id})")
        rule = RULES[each.call]
        if each.acknowledged and not rule.done:
            yield Finding("acknowledged_wrongly", f"{each.call} {each.status} ({each.id})")
            continue
        left = Counter((event["type"], event["outcome"]) for event in by_trace.get(each.id, ()))
        if each.acknowledged:
            allowed, check = set(rule.acknowledgments(idle=each.id in idle)), "acknowledged_without_event"
        elif each.unsent:
            allowed, check = {NOTHING}, "event_without_cause"
        elif each.refused:
            allowed, check = set(rule.refusals(each.status)), "refused_without_event"
        else:
            allowed, check = rule.any, "half_done"
        if fits(left, allowed):
            continue
        if sum(left.values()) > max((len(some) for some in allowed), default=0):
            check = "event_without_cause"
        yield Finding(check, f"{each.call} {each.status} ({each.id}) left {_shown(left)}")


def _shown(left: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{number} × {'/'.join(told)}" for told, number in sorted(left.items())) or "nothing"


def _deliveries(by_trace: ByTrace, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    """Reports of producers: all attempts under one key are one delivery, whose events are there once."""
    deliveries: dict[str, list[Attempt]] = defaultdict(list)
    for each in attempts:
        deliveries[each.told["delivery"]].append(each)
    for name, tries in deliveries.items():
        left = [event for each in tries for event in by_trace.get(each.id, ())]
        produced = [event for event in left if (event["type"], event["outcome"]) != REJECTED]
        wanted = tries[0].told["events"]
        records = Counter((event["target"] or {}).get("id") for event in produced)
        if len(produced) > wanted or any(number > 1 for number in records.values()):
            yield Finding("event_doubled", f"delivery {name}: {len(produced)} events of {wanted}")
        for each in tries:
            told = {item for item, status in each.seen.get("items", ()) if status in ("created", "duplicate")}
            missing = told - {event["id"] for event in produced}
            if missing or (each.acknowledged and len(told) != wanted):
                yield Finding("acknowledged_without_event", f"delivery {name}: {len(missing)} of {wanted} are missing")
        if any(event["source"]["kind"] != "api_key" for event in produced):
            yield Finding("event_without_cause", f"delivery {name}: an event that no key wrote")


def _strangers(by_trace: ByTrace, attempts: Sequence[Attempt]) -> Iterator[Finding]:
    known = {each.id for each in attempts}
    for trace, events in by_trace.items():
        if trace not in known:
            yield Finding("event_without_cause", f"{events[0]['type']} {events[0]['id']}: nobody asked for it")


def _own_work(snapshot: Snapshot, starts: int) -> Iterator[Finding]:
    """What no call asked for: only kinds that the app tells of itself, each about something that is there."""
    alerts = {alert["id"] for alert in snapshot.of("alerts", "alert")}
    there = {"alert": alerts, "report": {report["id"] for report in snapshot.of("reports")}}
    for event in snapshot.events:
        kind = event["type"]
        if kind == "ledger.verify_failed":
            yield Finding("ledger_doubted", f"{event['id']}: {event['attributes']}")
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
    told = sum(event["type"] == "system.start" for event in snapshot.events)
    if told > starts:
        yield Finding("event_without_cause", f"{told} starts are told, and there were {starts}")


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
    if counted > most + sure:
        yield Finding("event_without_cause", f"{counted} refused tokens are counted, {most} can have been")
