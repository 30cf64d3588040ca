"""The reconciliation timers in the app as it is wired: dead letters of detection, and sweeps of very many tenants."""

from collections import Counter
from typing import Any

import pytest

from functions.timers import TIMERS
from shared.audit.rounds import RUN
from shared.detection.evaluation import CONSUMER
from shared.storage.containers import DEAD_LETTERS, IDENTITY
from shared.storage.documents import Item, Query
from tests.api.test_sweep import leave_entry, published
from tests.app import Account, App


async def letters(app: App, account: Account) -> list[Item]:
    return (await app.store.query(DEAD_LETTERS, (account.tenant_id,), Query())).items


async def test_an_event_that_detection_failed_on_raises_its_alert_when_it_is_retried(
    app: App, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect that a new version mends: nothing of what was delivered meanwhile is lost."""

    async def broken(*_: object) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("shared.detection.views.Evaluator.crossings", broken)
        for _ in range(5):
            await app.login(ada.email, "wrong")
        await app.host.drain_feed()
        app.clock.advance(minutes=2)
        assert await app.host.run_timer("retry_dead_letters")
    held = await letters(app, ada)
    assert [(each["consumer"], each["error"], each["attempts"]) for each in held] == [
        (CONSUMER, "ZeroDivisionError", 1)
    ] * 5
    assert (await app.client.get("/v1/alerts", headers=ada.auth)).json()["items"] == []
    app.clock.advance(minutes=5)
    assert await app.host.run_timer("retry_dead_letters")
    assert await letters(app, ada) == []
    token = (await app.login(ada.email)).json()["access_token"]
    answer = await app.client.get("/v1/alerts", headers={"Authorization": f"Bearer {token}"})
    (alert,) = answer.json()["items"]
    assert (alert["pattern"], alert["count"]) == ("brute_force", 5)


async def test_a_sweep_that_runs_out_of_time_goes_on_at_the_next(
    app: App, ada: Account, grace: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = {}
    for account in (ada, grace):
        events[account.id] = await leave_entry(app, account, IDENTITY)
    app.clock.advance(minutes=2)
    sweep = app.services.outbox.sweep_tenant

    async def slow(*arguments: Any) -> int:
        app.clock.advance(seconds=RUN.total_seconds())
        return await sweep(*arguments)

    monkeypatch.setattr(app.services.outbox, "sweep_tenant", slow)
    for _ in range(3):  # platform, and the two
        assert await app.host.run_timer("sweep_outbox")
    for account in (ada, grace):
        assert await published(app, account) == {events[account.id]}


async def test_a_tenant_whose_first_batch_failed_holds_up_nobody(app: App, ada: Account) -> None:
    await app.services.directory.enroll_tenant("0195c000-0000-7000-8000-00000000000e")
    entry = await leave_entry(app, ada, IDENTITY)
    app.clock.advance(minutes=2)
    for name in TIMERS:
        assert await app.host.run_timer(name), name
    assert await published(app, ada) == {entry}


def test_timers_do_not_begin_at_the_same_second() -> None:
    begins = [tuple(schedule.split()[:2]) for schedule, _ in TIMERS.values()]
    assert len(set(begins)) == len(begins)


async def test_a_clock_that_was_set_back_brings_about_no_endless_statements(app: App, ada: Account) -> None:
    """What is recorded before its tenant registered is reported, also alerts about that; the reports are not."""
    await app.host.drain_feed()
    before = await app.types(ada.tenant_id)
    app.clock.advance(minutes=-10)
    for _ in range(2):
        await app.login(ada.email, "not the password")
    await app.host.drain_feed()
    since = Counter(await app.types(ada.tenant_id)) - Counter(before)
    reports = since.pop("ledger.verify_failed")
    assert since["auth.login"] == 2
    assert reports == since.total()
