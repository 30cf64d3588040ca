"""Password guessing against one account: failed sign-ins in a sliding window. Order-free by construction."""

from collections.abc import Iterable, Sequence

from pydantic import Field

from shared.detection.engine import crossings_by_count, target_of
from shared.detection.model import AlertSeverity, Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item

_REASONS = frozenset({"bad_credentials", "locked"})


class BruteForceParameters(Parameters):
    """`threshold` failures within `window_seconds` raise an alert; `critical_from` in one window make it critical."""

    threshold: int = Field(default=5, ge=3, le=100)
    window_seconds: int = Field(default=900, ge=60, le=3600)
    critical_from: int = Field(default=20, ge=3, le=500)


def _matches(event: Item) -> bool:
    return event["reason"] in _REASONS


def _crossings(observed: Sequence[Observed], parameters: BruteForceParameters) -> Iterable[Crossing]:
    def severity_of(count: int) -> AlertSeverity:
        return "critical" if count >= parameters.critical_from else "high"

    return crossings_by_count(
        observed, threshold=parameters.threshold, window=parameters.window, severity_of=severity_of
    )


PATTERN = Pattern(
    id="brute_force",
    title="Password guessing against one account",
    severity="high",
    attack=("T1110.001",),
    description="Many sign-ins to one account failed within a few minutes, because the password was wrong or the "
    "account was locked already.",
    false_positives=(
        "A person who forgot the password, or types it with Caps Lock on.",
        "A device or script that goes on with the old password after a change.",
    ),
    runbook=(
        "Search the trail: GET /admin/logs/authorization?type=auth.login&target=<key>, with from and to around "
        "first_seen and last_seen.",
        "If a sign-in succeeded after the failures, treat the account as taken over: suspend it, and look through what "
        "it did since (the same search with actor=<key> and without type).",
        "Otherwise ask the account's owner, by another channel than e-mail, whether it was they who tried.",
        "If not, have them set a new password and a second factor, then close the alert with a note of what was found.",
    ),
    parameters=BruteForceParameters,
    selectors=(("auth.login", "failure"),),
    key_path="target.id",
    fields=("reason", "target"),
    matches=_matches,
    key=target_of,
    crossings=_crossings,
)
