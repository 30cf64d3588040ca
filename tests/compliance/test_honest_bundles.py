"""Bundles as the app's own services make them: whatever the period is, the verifier never calls one wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from shared.audit.model import SYSTEM, Draft
from shared.audit.search import exported
from shared.compliance.catalogue import FRAMEWORKS
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.storage.containers import IDENTITY, LEDGER
from shared.storage.documents import PatchSet
from shared.storage.sqlite import SqliteStore
from shared.wiring import build_services
from tests.audit.support import TENANT
from tests.compliance.bureau import SAID, Bureau
from tests.fakes import ManualClock
from tools import verify_evidence as verifier

BEGAN = datetime(2026, 2, 20, 8, tzinfo=UTC)
START, END = date(2026, 2, 20), date(2026, 3, 4)
NOW = datetime(2026, 3, 4, 6, tzinfo=UTC)
AFTER = datetime(2026, 4, 2, 6, tzinfo=UTC)
"""When February is kept no more, if events are kept for 31 days."""


@asynccontextmanager
async def opened(retention_days: int | None = None, days: int = 11) -> AsyncIterator[Bureau]:
    """An organization with so many days of events over two months, sealed and checked."""
    clock = ManualClock(BEGAN)
    store = await SqliteStore.open(None, clock=clock)
    settings = Settings(kraftd_data=":memory:")
    if retention_days is not None:
        settings = Settings(kraftd_data=":memory:", cosmos_db_ttl_days=retention_days)
    services = await build_services(settings, clock=clock, store=store)
    bureau = Bureau(services, clock)
    await store.create(IDENTITY, (TENANT,), new_tenant(TENANT, "Example", BEGAN))
    for day in range(days):
        if BEGAN.date() + timedelta(days=day) != date(2026, 2, 28):
            await bureau.record(BEGAN + timedelta(days=day, hours=1), *SAID)
    await bureau.seal()
    clock.set(NOW)
    await bureau.check()
    yield bureau
    await services.close()


async def verified(bureau: Bureau, framework: str, start: date, end: date, folder: Path) -> verifier.Checks:
    """What the verifier says of the bundle of a report."""
    head = await bureau.services.compliance.build(TENANT, framework, start, end, bureau.request())
    draft = Draft(TENANT, exported("bundle", {"report": head["id"]}, by_person=False), bureau.request(), actor=SYSTEM)
    (key, *_) = await bureau.services.ledger.vkeys(TENANT, bureau.services.ledger.present, bureau.request())
    paths = []
    async for part in bureau.services.framework_reports.delivery.parts(head, draft):
        path = folder / f"{framework}-{part.number}.zip"
        path.write_bytes(part.body)
        paths.append(str(path))
    return verifier.verify(paths, (key.vkey,))


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_of_two_months_of_an_empty_day_and_of_a_failed_gate_it_is_verified(
    tmp_path: Path, framework: str
) -> None:
    async with opened() as bureau:
        for start, end in ((START, END), (date(2026, 2, 28), date(2026, 3, 1)), (date(2026, 1, 1), END)):
            checks = await verified(bureau, framework, start, end, tmp_path)
            assert checks.result == verifier.OK, verifier.table(checks)
        finding = {"id": "finding|edited|x", "tenant_id": TENANT, "period": "2026-03", "kind": "finding"}
        await bureau.store.create(LEDGER, (TENANT, "2026-03"), finding)
        checks = await verified(bureau, framework, START, date(2026, 3, 3), tmp_path)
        assert checks.result == verifier.OK, verifier.table(checks)


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_of_an_organization_without_any_event_it_is_verified(tmp_path: Path, framework: str) -> None:
    async with opened(days=0) as bureau:
        checks = await verified(bureau, framework, START, date(2026, 2, 21), tmp_path)
        assert checks.result == verifier.OK, verifier.table(checks)


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_of_a_month_after_its_retention_it_is_not_checked(tmp_path: Path, framework: str) -> None:
    """Whether the report was made when the month was kept no more, or before."""
    async with opened(retention_days=31) as bureau:
        before = await verified(bureau, framework, START, date(2026, 3, 3), tmp_path)
        assert before.result == verifier.OK, verifier.table(before)
        bureau.clock.set(AFTER)
        await bureau.check()
        for end in (END, date(2026, 3, 3)):
            checks = await verified(bureau, framework, START, end, tmp_path)
            assert checks.result == verifier.UNKNOWN, verifier.table(checks)
            found = {line.subject: line.result for line in checks.lines}
            assert found["Report: month 2026-02"] == found["Month 2026-02"] == verifier.UNKNOWN
            assert found["Report: month 2026-03"] == found["Report: controls"] == verifier.OK
            assert found["Report: figures"] == found["Report: evidence"] == verifier.UNKNOWN


async def test_days_before_a_period_that_are_kept_no_more_tell_nothing() -> None:
    """They are no silence: what is not kept is held against nobody."""
    async with opened(retention_days=31) as bureau:
        await bureau.store.patch(
            IDENTITY,
            (TENANT,),
            "tenant",
            [PatchSet("settings", {"expected_sources": ["0195c000-0000-7000-8000-00000000a91e"]})],
        )
        bureau.clock.set(AFTER)
        await bureau.check()
        head = await bureau.services.compliance.build(
            TENANT, "pci_dss", date(2026, 3, 1), date(2026, 3, 3), bureau.request()
        )
        report = await bureau.services.compliance.report(head)
        assert report.gate.passed, report.gate
        silent = [each.text for each in report.exceptions if each.rule == "INT-06"]
        assert silent == [], "of February nothing is known"
