"""The trail against the clients' log: nothing acknowledged without its event, no event without its cause."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from tests.chaos.checks.fields import follow
from tests.chaos.checks.model import Finding, Item, Snapshot
from tests.chaos.checks.rules import AWAKE, NOTHING, REJECTED, RULES, fits
from tests.chaos.journal import Attempt

type ByTrace = dict[str, list[Item]]


def check_trail(snapshot: Snapshot, attempts: Sequence[Attempt]) -> list[Finding]:
    """All of it."""
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
        produced = [event for event in left if (event["type"], event["outcome"]) not in (REJECTED, AWAKE)]
        wanted = len(tries[0].told["events"])
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
