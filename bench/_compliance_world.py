"""What a report reads beside facts, for its benchmark: accounts, alerts, requests of persons, checkpoints, and what was
sealed of people before the period. Reproducible; written as the app leaves it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import batched

from bench._trail import Company
from shared.core.clock import SystemClock, period_of, rfc3339
from shared.core.ids import IdFactory
from shared.ledger.shards import checkpoint_id
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, LEDGER, Container
from shared.storage.documents import MAX_BATCH_OPERATIONS, BatchOperation, DocumentStore, Item, create

IDLE, ALERTS_RAISED, REQUESTS, LEAVERS, ERASED, WITHDRAWN = 60, 200, 50, 120, 50, 100
"""Accounts beside the company's people that nobody signs in to; the others: of the month, or before it."""
CHECKPOINTS_A_DAY = 48
_START, _DAYS = datetime(2026, 3, 1, tzinfo=UTC), 31
_BEFORE = datetime(2026, 2, 1, tzinfo=UTC)


async def furnish(store: DocumentStore, company: Company, count: int) -> None:
    """Write it all. `count`: how many entries the month's ledger has, evenly over its days."""
    tenant = company.tenant_id
    await _write(store, IDENTITY, (tenant,), accounts(company, _START))
    await _write(store, IDENTITY, (tenant,), _requests(tenant))
    await _write(store, ALERTS, (tenant,), _alerts(company))
    await _write(store, LEDGER, (tenant, "2026-03"), _checkpoints(tenant, count))
    await _write(store, AUDIT_EVENTS, (tenant, "2026-02"), _earlier(company))


async def _write(store: DocumentStore, container: Container, partition: tuple[str, ...], items: Iterator[Item]) -> None:
    for chunk in batched(items, MAX_BATCH_OPERATIONS, strict=False):
        steps: list[BatchOperation] = [create(item) for item in chunk]
        await store.batch(container, partition, steps)


def accounts(company: Company, start: datetime) -> Iterator[Item]:
    """The people of a company, and idle accounts, as they were some time before `start`."""
    names = [each.id for each in company.people] + [f"0195c000-0000-7000-9000-{n:012}" for n in range(IDLE)]
    for number, name in enumerate(names):
        yield {
            **{"id": f"user|{name}", "tenant_id": company.tenant_id, "kind": "user", "user_id": name},
            **{"role": "tenant_admin" if number < 3 else "user", "status": "active", "mfa": number % 3 > 0},
            "created_at": rfc3339(start - timedelta(days=300 - number % 200)),
        }


def _requests(tenant: str) -> Iterator[Item]:
    for number in range(REQUESTS):
        at = _START - timedelta(days=20) + timedelta(days=40) * (number / REQUESTS)
        done = {"executed_at": rfc3339(at + timedelta(days=3))} if number % 5 else {}
        yield {
            **{"id": f"subject_request|r-{number}", "tenant_id": tenant, "kind": "subject_request"},
            **{"request_id": f"r-{number}", "about": "erasure", "subject": f"gone-{number}", "extended": False},
            **{"state": "executed" if done else "received", "created_at": rfc3339(at)},
            **{"due_at": rfc3339(at + timedelta(days=30)), **done},
        }


def _alerts(company: Company) -> Iterator[Item]:
    ids = IdFactory(SystemClock(), random.Random(3).getrandbits)  # noqa: S311 - reproducible on purpose
    for number in range(ALERTS_RAISED):
        at = _START + timedelta(days=_DAYS) * (number / ALERTS_RAISED)
        moment, seen = rfc3339(at), rfc3339(at + timedelta(hours=2))
        history = [{"at": moment, "by": "system", "from": None, "to": "open", "note": None}]
        if number % 4:
            history.append({"at": seen, "by": company.people[0].id, "from": "open", "to": "acknowledged", "note": None})
        yield {
            **{"id": ids.new(at), "tenant_id": company.tenant_id, "kind": "alert", "pattern": "brute_force"},
            **{"severity": ("medium", "high")[number % 2], "status": "acknowledged" if number % 4 else "open"},
            **{"key": company.people[number % 40].id, "title": "Failures", "series": f"brute_force|{number % 40}"},
            **{"created_at": moment, "first_seen": moment, "last_seen": moment, "count": 20, "closed_at": None},
            **{"event_ids": [ids.new(at) for _ in range(20)], "history": history, "incident": None},
        }


def _checkpoints(tenant: str, count: int) -> Iterator[Item]:
    total = min(count, CHECKPOINTS_A_DAY * _DAYS)
    for number in range(1, total):
        size, at = count * number // total, _START + timedelta(days=_DAYS) * (number / total) - timedelta(seconds=1)
        own = {"id": checkpoint_id(size), "tenant_id": tenant, "period": "2026-03", "kind": "checkpoint"}
        yield own | {"note": "", "signed_at": rfc3339(at)}


def _earlier(company: Company) -> Iterator[Item]:
    """People who left, persons who were erased, consents that were withdrawn: in the month before."""
    ids = IdFactory(SystemClock(), random.Random(4).getrandbits)  # noqa: S311 - reproducible on purpose
    kinds = ["user.delete"] * LEAVERS + ["privacy.erasure"] * ERASED + ["consent.withdraw"] * WITHDRAWN
    logins = [f"0195c000-0000-7000-9000-{n:012}" for n in range(IDLE)]
    for number, kind in enumerate([*kinds, *["auth.login"] * IDLE]):
        at = _BEFORE + timedelta(minutes=number)
        moment, who = rfc3339(at), f"former-{number}" if kind != "auth.login" else logins[number - len(kinds)]
        yield {
            **{"id": ids.new(at), "tenant_id": company.tenant_id, "period": period_of(at), "type": kind, "schema": 1},
            **{"outcome": "success", "reason": "executed" if kind == "privacy.erasure" else None, "severity": "info"},
            **{"recorded_at": moment, "occurred_at": moment, "target": {"kind": "user", "id": who}, "subjects": [who]},
            **{"actor": {"kind": "user", "id": who, "role": "user"}, "source": {"kind": "session", "id": who}},
            **{"context": {"request_id": str(number), "session_id": None}, "attributes": {"purpose": "news"}},
            **{"data_class": "none", "record_count": 1, "personal": {}, "commitments": {}},
        }
