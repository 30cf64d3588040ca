"""At most so many alerts of a pattern in one hour are shown; one more alert counts the rest, as severe as the worst.

Of the alerts that are not superseded, those first in order of (first_seen, id) are shown, whatever their status and
whoever came first. One document for each pattern and hour holds which those are, and how many are beyond; it changes in
the batch of whatever changes an alert, with if_match, so each is counted once. Those beyond stay as they are but for
`overflowed_by`; should one that is shown be superseded, the first of them takes its place. What comes beyond after the
alert that counts was closed is counted by another one, which is named by the closing (docs/adr/0035).
"""

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import uuid5

from shared.audit.events.alert import AlertRaise, AlertUpdate
from shared.core.clock import parse_rfc3339, rfc3339
from shared.detection.alerts import ALERT_KIND, CLOSED, NAMES, WITHDRAWN, Change, Series, entry, noted, stored_form
from shared.detection.digests import hour_of
from shared.detection.model import SEVERITIES, AlertSeverity
from shared.storage.containers import ALERTS
from shared.storage.documents import BatchOperation, DocumentStore, Eq, Item, Query, Range, find_item
from shared.storage.documents import create as create_item
from shared.storage.documents import replace as replace_item

HOUR_KIND: Final = "alert_hour"

type Place = tuple[str, str]
"""`first_seen` and id: the order in which alerts are shown."""


@dataclass(slots=True)
class _Hour:
    """Which alerts of an hour are shown, and how many of each severity are not.

    `settled` are those that were counted by an alert which is closed, `counted_by` is the one that counts the others.
    """

    start: str
    overflow_id: str
    stored: Item | None
    kept: list[Place]
    beyond: Counter[AlertSeverity]
    settled: Counter[AlertSeverity]
    counted_by: str

    @classmethod
    def of(cls, start: str, overflow_id: str, stored: Item | None) -> "_Hour":
        """An hour as it is stored."""
        item = stored or {"kept": [], "beyond": {}, "settled": {}, "counted_by": overflow_id}
        kept = [(first_seen, alert_id) for first_seen, alert_id in item["kept"]]
        beyond: Counter[AlertSeverity] = Counter(item["beyond"])
        settled: Counter[AlertSeverity] = Counter(item["settled"])
        return cls(start, overflow_id, stored, kept, beyond, settled, item["counted_by"])


class Overflow:
    """Applies the limit to what an evaluation is about to write for one tenant and pattern."""

    def __init__(self, store: DocumentStore, series: Series, most: int, now: str) -> None:
        self._store = store
        self._series = series
        self._partition = (series.tenant_id,)
        self._most = most
        self._now = now
        self._hours: dict[str, _Hour] = {}
        self._changes: dict[str, Change] = {}

    async def apply(
        self, changes: Sequence[Change], stored: Sequence[Item]
    ) -> tuple[list[Change], list[BatchOperation]]:
        """The changes, with those that follow from them, and what has to be written beside the alerts."""
        before = {alert["id"]: alert for alert in stored}
        self._changes = {change.item["id"]: change for change in changes}
        for change in changes:
            await self._weigh(before.get(change.item["id"]), change.item)
        for change in changes:
            was, new = _place(before.get(change.item["id"])), _place(change.item)
            if was == new:
                continue
            if was is not None:
                await self._remove(was)
            if new is not None:
                await self._insert(new)
        for hour in self._hours.values():
            await self._count(hour)
        return list(self._changes.values()), [self._written(hour) for hour in self._hours.values()]

    async def _hour(self, place: Place) -> _Hour:
        start = rfc3339(hour_of(parse_rfc3339(place[0])))
        if start not in self._hours:
            overflow_id = self._named(start)
            self._hours[start] = _Hour.of(start, overflow_id, await self._read(f"hour|{overflow_id}"))
        return self._hours[start]

    def _named(self, *what: str) -> str:
        return str(uuid5(NAMES, "\n".join((self._series.tenant_id, self._series.pattern.id, "|overflow", *what))))

    async def _read(self, item_id: str) -> Item | None:
        return await find_item(self._store, ALERTS, self._partition, item_id)

    async def _weigh(self, before: Item | None, after: Item) -> None:
        """Count an alert that is beyond under the severity that it has now."""
        place = _place(before)
        if before is None or place is None or before["severity"] == after["severity"]:
            return
        hour = await self._hour(place)
        if place not in hour.kept:
            hour.beyond[before["severity"]] -= 1
            hour.beyond[after["severity"]] += 1

    async def _remove(self, place: Place) -> None:
        hour = await self._hour(place)
        if place not in hour.kept:
            await self._mark(place[1], hour, is_shown=True)
            return
        hour.kept.remove(place)
        if hour.beyond.total() > 0:
            heir = await self._first_beyond(hour)
            if heir is not None:
                insort(hour.kept, heir)
                await self._mark(heir[1], hour, is_shown=True)

    async def _insert(self, place: Place) -> None:
        hour = await self._hour(place)
        insort(hour.kept, place)
        if len(hour.kept) > self._most:
            last = hour.kept.pop()
            await self._mark(last[1], hour)

    async def _first_beyond(self, hour: _Hour) -> Place | None:
        end = rfc3339(parse_rfc3339(hour.start) + timedelta(hours=1))
        within = Range("first_seen", ge=hour.start, lt=end)
        where = (Eq("kind", ALERT_KIND), Eq("overflowed_by", hour.overflow_id), within)
        found = await self._store.query(ALERTS, self._partition, Query(where, order_by="first_seen", limit=100))
        changed = {change.item["id"] for change in self._changes.values()}
        stored = [(each["first_seen"], each["id"]) for each in found.items if each["id"] not in changed]
        ours = [
            (change.item["first_seen"], change.item["id"])
            for change in self._changes.values()
            if change.item.get("overflowed_by") == hour.overflow_id and _place(change.item) is not None
        ]
        return min([*stored, *ours], default=None)

    async def _mark(self, alert_id: str, hour: _Hour, *, is_shown: bool = False) -> None:
        """Have an alert shown, or counted among those beyond; its item is that of a change, or is read."""
        change = self._changes.get(alert_id)
        if change is None:
            alert = await self._read(alert_id)
            if alert is None:
                return
            change = Change(stored_form(alert), alert["_etag"], None)
        item = {name: value for name, value in change.item.items() if name != "overflowed_by"}
        pattern, severity = item["pattern"], item["severity"]
        hour.beyond[severity] += -1 if is_shown else 1
        event = change.event
        if not is_shown:
            item["overflowed_by"] = hour.overflow_id
            shown_before = change.etag is not None and "overflowed_by" not in change.item
            event = (
                AlertUpdate(pattern=pattern, severity=severity, old_status=item["status"], new_status="overflowed")
                if shown_before
                else None
            )
        elif item.get("superseded_by") is None and change.etag is not None:
            event = AlertRaise(pattern=pattern, severity=severity)
        self._changes[alert_id] = replace(change, item=item, event=event)

    async def _count(self, hour: _Hour) -> None:
        """The alert that counts those beyond."""
        former = Counter(hour.stored["beyond"] if hour.stored else {})
        if hour.beyond == former:
            return
        held = await self._read(hour.counted_by)
        if held is not None and held["status"] in CLOSED and hour.beyond - former:
            hour.settled, held = former, None
            hour.counted_by = self._named(hour.start, hour.counted_by, "closed")
        hour.settled &= hour.beyond
        fresh = hour.beyond - hour.settled
        severity = max(fresh, key=SEVERITIES.index, default=None)
        if held is not None:
            self._changes[hour.counted_by] = self._recounted(held, fresh.total(), severity or held["severity"])
        elif severity is not None:
            self._changes[hour.counted_by] = self._raised(hour, fresh.total(), severity)

    def _raised(self, hour: _Hour, count: int, severity: AlertSeverity) -> Change:
        pattern, start = self._series.pattern, parse_rfc3339(hour.start)
        item: dict[str, Any] = {
            "id": hour.counted_by,
            "tenant_id": self._series.tenant_id,
            "kind": ALERT_KIND,
            "series": f"{pattern.id}||overflow",  # no key begins like this
            "pattern": pattern.id,
            "key": "overflow",
            "title": f"More alerts than are shown: {pattern.title}",
            "severity": severity,
            "status": "open",
            "first_seen": hour.start,
            "last_seen": rfc3339(start + timedelta(hours=1) - timedelta.resolution),
            "count": count,
            "event_ids": [],
            "attack": list(pattern.attack),
            "runbook": list(pattern.runbook),
            "history": [entry(self._now, None, "open", "raised")],
            "created_at": self._now,
        }
        return Change(item, None, AlertRaise(pattern=pattern.id, severity=severity))

    def _recounted(self, held: Item, count: int, severity: AlertSeverity) -> Change:
        """The alert with another count: worth an event when it comes, goes, or is of another severity."""
        changed = {name: value for name, value in held.items() if name != "superseded_by"}
        changed |= {"count": count, "severity": severity} | ({} if count else {"superseded_by": WITHDRAWN})
        notes = [f"severity {held['severity']} to {severity}"] if held["severity"] != severity else []
        if ("superseded_by" in held) != ("superseded_by" in changed):
            notes.append("reinstated" if count else "withdrawn: none is beyond any more")
        if not notes:
            return Change(stored_form(changed), held["_etag"], None)
        return noted(self._series, held, changed, ", ".join(notes), self._now)

    def _written(self, hour: _Hour) -> BatchOperation:
        item: Item = {
            "id": f"hour|{hour.overflow_id}",
            "tenant_id": self._series.tenant_id,
            "kind": HOUR_KIND,
            "pattern": self._series.pattern.id,
            "kept": [list(place) for place in hour.kept],
            "beyond": dict(+hour.beyond),
            "settled": dict(+hour.settled),
            "counted_by": hour.counted_by,
        }
        return create_item(item) if hour.stored is None else replace_item(item, hour.stored["_etag"])


def _place(alert: Item | None) -> Place | None:
    """Where an alert stands in its hour; None when it does not count."""
    if alert is None or alert.get("superseded_by") is not None:
        return None
    return alert["first_seen"], alert["id"]
