"""The judge of a campaign: it knows the final store and the clients' log, and nothing that the app says of itself.

It uses no service of the app; only the published verifier of ledgers, and the oracle of the detection's tests.
"""

from collections.abc import Sequence

from tests.chaos.checks.alerts import check_alerts
from tests.chaos.checks.calls import check_calls
from tests.chaos.checks.ledger import check_bundle, check_ledgers
from tests.chaos.checks.model import Finding, Snapshot, read_sqlite
from tests.chaos.checks.own_work import check_own_work
from tests.chaos.checks.state import check_state
from tests.chaos.checks.trail import check_trail
from tests.chaos.journal import Attempt

__all__ = ["Finding", "Snapshot", "check", "check_bundle", "read_sqlite"]


def check(snapshot: Snapshot, attempts: Sequence[Attempt], starts: int, faults: int) -> list[Finding]:
    """All that is wrong; nothing, if the app kept its promises. `starts`: how often a process of it was started;
    `faults`: how many were injected, times processes."""
    return [
        *check_trail(snapshot, attempts),
        *check_calls(snapshot, attempts),
        *check_own_work(snapshot, attempts, starts, faults),
        *check_state(snapshot, attempts),
        *check_ledgers(snapshot, attempts),
        *check_alerts(snapshot),
    ]
