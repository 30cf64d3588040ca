"""The daily activity report of a tenant: what happened, what was refused, what raised an alert."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from shared.core.clock import rfc3339
from shared.storage.documents import Item

FRAMEWORK = "activity"
_NAMESPACE = UUID("0f0c1c1e-6c0e-5f0b-9d57-2b6f6c1d9a11")


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of `recorded_at`."""

    date: date

    @property
    def start(self) -> datetime:
        """The first moment of the day."""
        return datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment of the next day."""
        return self.start + timedelta(days=1)


@dataclass(slots=True)
class Activity:
    """Counts of one day's events."""

    events: int = 0
    by_type: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    denied_by_reason: Counter[str] = field(default_factory=Counter)
    alerts_by_pattern: Counter[str] = field(default_factory=Counter)

    def add(self, events: Iterable[Item]) -> None:
        """Count more events (type, outcome, reason and attributes are looked at)."""
        for event in events:
            self.events += 1
            self.by_type[event["type"]][event["outcome"]] += 1
            if event["type"].startswith("access."):
                self.denied_by_reason[event["reason"] or "unspecified"] += 1
            elif event["type"] == "alert.raise":
                self.alerts_by_pattern[event["attributes"]["pattern"]] += 1

    def counts(self) -> dict[str, Any]:
        """The counts as the report holds them. The report's own generation is left out: it would change with itself."""
        shown = {name: dict(sorted(n.items())) for name, n in sorted(self.by_type.items()) if name != "report.generate"}
        return {
            "events_in_period": sum(sum(outcomes.values()) for outcomes in shown.values()),
            "by_type": shown,
            "alerts_raised": {
                "total": sum(self.alerts_by_pattern.values()),
                "by_pattern": dict(sorted(self.alerts_by_pattern.items())),
            },
            "access_denied": {
                "total": sum(self.denied_by_reason.values()),
                "by_reason": dict(sorted(self.denied_by_reason.items())),
            },
        }


def report_id(tenant_id: str, day: Day) -> str:
    """The id of a tenant's report of a day: the same for every run that builds it."""
    return str(uuid5(_NAMESPACE, f"{FRAMEWORK}|{tenant_id}|{day.date.isoformat()}"))


def new_report(tenant_id: str, day: Day, activity: Activity, now: datetime, *, final: bool) -> Item:
    """The stored form of a report; `building` while its day can still grow."""
    return {
        "id": report_id(tenant_id, day),
        "tenant_id": tenant_id,
        "kind": "report",
        "framework": FRAMEWORK,
        "from": day.date.isoformat(),
        "to": day.end.date().isoformat(),
        "generated_at": rfc3339(now),
        "status": "ready" if final else "building",
        **activity.counts(),
    }


def same_content(held: Item, built: Item) -> bool:
    """Whether a report says the same as the one that is held, times of building aside."""
    ignored = {"generated_at"}
    return all(held.get(name) == value for name, value in built.items() if name not in ignored)


def shown_report(item: Item) -> dict[str, Any]:
    """A report as the API shows it, without what the store needs."""
    hidden = {"tenant_id", "kind", "ttl"}
    return {name: value for name, value in item.items() if name not in hidden and not name.startswith("_")}


def digest_of(item: Item) -> str:
    """SHA-256, hex, of the report as shown: keys sorted, no spaces, UTF-8."""
    text = json.dumps(shown_report(item), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
