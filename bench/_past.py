"""Organizations that have a past: set up and written to under devhost's simulated clock, day by day until yesterday."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from bench._servers import ROOT, Server, ask, devhost
from bench.ingest import event, new_key, settle
from bench.requests import Account, register
from shared.core.clock import SystemClock, rfc3339

DAYS = 8
EVENTS_A_DAY = 500
"""Of each organization, in one batch at noon; what a batch holds at most."""
PEOPLE = 997
"""Of each organization, of whom the events tell."""
_TIMERS = ("verify_ledger", "tell_of_life", "daily_reports")


def days() -> list[date]:
    """The days of the past, the first of which is that of the setting-up, and today."""
    today = SystemClock().now().date()
    return [today - timedelta(days=number) for number in range(DAYS, -1, -1)]


def live(data: str, tenants: int) -> tuple[list[Account], list[str]]:
    """Found organizations and let them live until yesterday; their accounts, whose tokens are over, and API keys."""
    past = days()[:-1]
    began = datetime.combine(past[0], time(8), UTC)
    with devhost(ROOT, data, "--simulated-clock", rfc3339(began)) as app:
        accounts = [register(app, number) for number in range(tenants)]
        keys = [new_key(app, account) for account in accounts]
        for day in past:
            _reach(app, datetime.combine(day, time(12), UTC))
            _report(app, keys)
            settle(app)
            _reach(app, datetime.combine(day, time(20), UTC))
            for timer in _TIMERS:
                ask(f"http://127.0.0.1:{app.port}/admin/functions/{timer}", {})
    return accounts, keys


def _report(app: Server, keys: Sequence[str]) -> None:
    """A day's events of each organization."""
    for key in keys:
        ask(f"{app.url}/v1/events", {"events": [event(number, people=PEOPLE) for number in range(EVENTS_A_DAY)]}, key)


def _reach(app: Server, moment: datetime) -> None:
    ask(f"http://127.0.0.1:{app.port}/admin/clock", {"now": rfc3339(moment)})
