"""The judge of a campaign: it knows the final store and the clients' log, and nothing that the app says of itself.

It uses no service of the app; only the published verifier of ledgers, and the oracle of the detection's tests.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from tests.chaos.checks.alerts import check_alerts
from tests.chaos.checks.calls import check_calls
from tests.chaos.checks.ledger import check_bundle, check_ledgers
from tests.chaos.checks.model import Finding, Snapshot, read_sqlite
from tests.chaos.checks.own_work import check_own_work
from tests.chaos.checks.state import check_state
from tests.chaos.checks.trail import check_trail
from tests.chaos.journal import Attempt

__all__ = ["Finding", "Snapshot", "check", "check_bundle", "checks", "read_sqlite"]


def check(snapshot: Snapshot, attempts: Sequence[Attempt], starts: int, faults: int) -> list[Finding]:
    """All that is wrong; nothing, if the app kept its promises. `starts`: how often a process of it was started;
    `faults`: how many were injected, times processes."""
    return list(chain.from_iterable(checks(snapshot, attempts, starts, faults)))


def checks(snapshot: Snapshot, attempts: Sequence[Attempt], starts: int, faults: int) -> Iterator[list[Finding]]:
    """What each part finds, one after the other; those that take long come last."""
    parts: tuple[Callable[[], list[Finding]], ...] = (
        lambda: check_trail(snapshot, attempts),
        lambda: check_calls(snapshot, attempts),
        lambda: check_own_work(snapshot, attempts, starts, faults),
        lambda: check_state(snapshot, attempts),
        lambda: check_ledgers(snapshot, attempts),
        lambda: check_alerts(snapshot),
    )
    for part in parts:
        try:
            yield part()
        except Exception:  # noqa: BLE001 - anything may lie in a store that was damaged
            yield [Finding("unreadable", traceback.format_exc(limit=-1))]
