"""A year of a working company's trail, made up: who does what, how often, from where. Reproducible from its seed.

Events have the stored form and size of real ones, index values included, but come without the recorder, which would
take longer than all the rest. Ids are those of their moments, so an event's period follows from its id.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.core.clock import SystemClock, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import MAX_BATCH_OPERATIONS, BatchOperation, DocumentStore, Item, create

DAYS = 400
"""More than a year: fourteen periods."""
PEOPLE, ADDRESSES, RECORDS = 400, 600, 5_000
_AT_ONCE = 8
_MIX: tuple[tuple[str, str, str, float], ...] = (
    ("data.read", "success", "phi", 30),
    ("profile.view", "success", "none", 22),
    ("auth.login", "success", "none", 14),
    ("auth.token_refresh", "success", "none", 10),
    ("data.update", "success", "phi", 8),
    ("auth.logout", "success", "none", 5),
    ("auth.login", "failure", "none", 3),
    ("user.view", "success", "none", 2.5),
    ("user.list", "success", "none", 2),
    ("access.denied", "denied", "none", 1.5),
    ("audit.search", "success", "none", 1.5),
    ("user.update", "success", "none", 0.4),
    ("user.role_change", "success", "none", 0.07),
    ("alert.raise", "success", "none", 0.03),
)
"""Type, outcome, class of the data and share of each kind of event, in percent."""
_BUSY = tuple(itertools.accumulate(1 / (rank + 5) for rank in range(PEOPLE)))
"""Shares of people, added up."""
_SEVERITY = {"denied": "low"}
_SEVERITY_OF_TYPE = {"user.role_change": "medium", "alert.raise": "high"}


@dataclass(frozen=True, slots=True)
class Person:
    """One user with what the blind index makes of the e-mail."""

    id: str
    email: str
    key: str


@dataclass
class Company:
    """One tenant: its people, busy ones first, and the addresses that they come from."""

    tenant_id: str
    seed: int
    start: datetime
    people: list[Person] = field(default_factory=list)
    addresses: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    async def of(cls, tenant_id: str, index: BlindIndex, seed: int, end: datetime) -> "Company":
        """The company of a seed, with index values under the store's key; the last of its days ends at `end`."""
        ids = IdFactory(SystemClock(), random.Random(seed).getrandbits)  # noqa: S311 - reproducible on purpose
        made = cls(tenant_id, seed, end - timedelta(days=DAYS))
        for number in range(PEOPLE):
            email = f"person-{number}@example.com"
            made.people.append(Person(ids.new(made.start), email, await index.for_email(tenant_id, email)))
        for number in range(ADDRESSES):
            ip = f"198.51.{number // 250}.{number % 250}"
            made.addresses.append((ip, await index.for_address(ip)))
        return made

    def events(self, count: int, *, phase: float = 0.0) -> Iterator[Item]:
        """So many events in the order of time, evenly over the days; `phase` moves them between each other's."""
        chance = random.Random(self.seed + count)  # noqa: S311 - reproducible on purpose
        step = timedelta(days=DAYS) / count
        return self.between(self.start + step * phase, step, count, chance)

    def between(self, start: datetime, step: timedelta, count: int, chance: random.Random) -> Iterator[Item]:
        """So many events from a moment on, one each step."""
        ids = IdFactory(SystemClock(), chance.getrandbits)
        kinds = chance.choices(_MIX, [share for *_, share in _MIX], k=count)
        people = chance.choices(self.people, cum_weights=_BUSY, k=count)
        for number, (kind, person) in enumerate(zip(kinds, people, strict=True)):
            address = self.home_of(person, chance.choice((0, 0, 0, 1, 7)))
            yield self._event(ids, start + step * number, kind, person, address, chance)

    def home_of(self, person: Person, away: int = 0) -> tuple[str, str]:
        """The address that a person mostly comes from, or one of the others."""
        return self.addresses[(int(person.id[-6:], 16) + away) % ADDRESSES]

    def _event(
        self,
        ids: IdFactory,
        at: datetime,
        kind: tuple[str, str, str, float],
        person: Person,
        address: tuple[str, str],
        chance: random.Random,
    ) -> Item:
        type_, outcome, data_class, _ = kind
        event_id, moment, (ip, ip_key) = ids.new(at), rfc3339(at), address
        session = f"{person.id}-{moment[8:10]}"
        failed = outcome == "failure"
        target, target_key, subjects = self._target(type_, person, chance)
        box: dict[str, Any] = {"form": "clear", "salt": "A" * 43 + "=", "data": {}}
        box["data"] = {"email": person.email, "ip": ip, "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko"}
        return {
            "id": event_id,
            "tenant_id": self.tenant_id,
            "period": period_of(at),
            "type": type_,
            "outcome": outcome,
            "reason": "bad_credentials" if failed else "role" if outcome == "denied" else None,
            "severity": _SEVERITY_OF_TYPE.get(type_) or _SEVERITY.get(outcome, "info"),
            "recorded_at": moment,
            "occurred_at": moment,
            "actor": {"kind": "anonymous", "id": None, "role": None}
            if failed
            else {"kind": "user", "id": person.id, "role": "user"},
            "target": target,
            "subjects": subjects,
            "source": {"kind": "session", "id": session},
            "context": {
                "request_id": event_id,
                "trace_id": None,
                "session_id": session,
                "route": "GET /v1/profile",
                "duration_ms": 7,
            },
            "data_class": data_class,
            "record_count": 1,
            "attributes": {"attempt_count": 0} if type_ == "auth.login" else {},
            "personal": {person.id: box},
            "commitments": {person.id: "c" * 43 + "="},
            "actor_key": person.key,
            "target_key": target_key,
            "ip_key": ip_key,
            "ua_key": ip_key,
            "schema": 1,
        }

    def _target(
        self, type_: str, person: Person, chance: random.Random
    ) -> tuple[dict[str, str] | None, str | None, list[str]]:
        """Target, its index value, and the persons concerned. Records are each about one person outside."""
        if type_.startswith("data."):
            number = chance.randrange(RECORDS)
            return {"kind": "record", "id": f"record-{number}"}, None, [person.id, f"patient-{number}"]
        if type_.startswith("user."):
            other = chance.choice(self.people)
            return {"kind": "user", "id": other.id}, other.key, [person.id, other.id]
        return {"kind": "user", "id": person.id}, person.key, [person.id]


async def load(store: DocumentStore, events: Iterator[Item]) -> int:
    """Write events through the port, in batches within their partitions, several at a time; how many they were."""
    waiting: set[asyncio.Task[Any]] = set()
    count = 0
    for partition, within in itertools.groupby(events, key=lambda event: (event["tenant_id"], event["period"])):
        for chunk in itertools.batched(within, MAX_BATCH_OPERATIONS, strict=False):
            steps: list[BatchOperation] = [create(event) for event in chunk]
            waiting.add(asyncio.create_task(store.batch(AUDIT_EVENTS, partition, steps)))
            count += len(chunk)
            if len(waiting) >= _AT_ONCE:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
    for each in waiting:
        await each
    return count
