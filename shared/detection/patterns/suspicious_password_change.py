"""A password that somebody else may have changed: after failed tries, or from where the account was never seen.

The count of failures is order-free by construction. "Never seen" is decided at once and taken back should an earlier
sign-in turn up late: see `familiarity.py`. A sign-in within the window before the change makes nothing known: whoever
signed in from somewhere new to change the password is just who is meant.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import Field

from shared.detection.engine import crossing, target_of, windows
from shared.detection.familiarity import visit
from shared.detection.model import Crossing, Observed, Parameters, Pattern, Question, Span, Visit
from shared.storage.documents import Item

_REASONS = frozenset({"wrong_password", "locked"})
"""Who was refused for the new password, or met another change, had shown the old one."""


class SuspiciousPasswordChangeParameters(Parameters):
    """`threshold` failed changes within `window_seconds`; or a change from an address and a user agent that the account
    did not see for `familiar_days`, unless it was registered within `fresh_hours`."""

    threshold: int = Field(default=3, ge=2, le=50)
    window_seconds: int = Field(default=900, ge=60, le=3600)
    familiar_days: int = Field(default=30, ge=7, le=90)
    fresh_hours: int = Field(default=24, ge=1, le=168)


def _matches(event: Item) -> bool:
    return event["outcome"] == "success" or event["reason"] in _REASONS


def _fact(event: Item) -> Visit | None:
    return visit(event, "password") if event["outcome"] == "success" else None


def _questions(observed: Sequence[Observed], parameters: SuspiciousPasswordChangeParameters) -> Iterator[Question]:
    """Every change that succeeded."""
    for position, event in enumerate(observed):
        if event.fact is not None:
            known = Span(event.at - timedelta(days=parameters.familiar_days), event.at - parameters.window)
            yield Question(position, known, event.at - timedelta(hours=parameters.fresh_hours))


def _crossings(observed: Sequence[Observed], parameters: SuspiciousPasswordChangeParameters) -> Iterator[Crossing]:
    failures: list[int] = [0]
    """How many failures there are before each position."""
    for position, since, event in windows(observed, parameters.window):
        failures.append(failures[-1] + (event.fact is None))
        failed = failures[-1] - failures[since]
        if event.fact is None:
            if failed >= parameters.threshold:
                yield crossing(observed, since, position, "medium")
        elif failed >= parameters.threshold or event.fact.is_new:
            yield crossing(observed, since, position, "high" if failed else "medium")


PATTERN = Pattern(
    id="suspicious_password_change",
    title="A password change that the owner may not have made",
    severity="medium",
    attack=("T1098", "T1531"),
    description="Changes of an account's password failed several times within a few minutes, or one succeeded "
    "from an address "
    "and a user agent that the account had not seen for weeks; high when it succeeded after failures.",
    false_positives=(
        "A person who forgot the old password.",
        "A person who sets a new password on a new device, at a new place.",
    ),
    runbook=(
        "See where it came from: GET /events?target=<key>&type=auth.password_change, with from and to around "
        "first_seen and "
        "last_seen; the addresses and user agents are in the events.",
        "Ask the owner, by another channel than e-mail, whether it was they.",
        "If not: suspend the account (that ends its sessions), and go on as for account_takeover.",
        "Close the alert with a note of who it was.",
    ),
    parameters=SuspiciousPasswordChangeParameters,
    selectors=(("auth.password_change", "failure"), ("auth.password_change", "success")),
    key_path="target.id",
    fields=("reason", "target", "ua_key"),
    matches=_matches,
    key=target_of,
    crossings=_crossings,
    fact=_fact,
    questions=_questions,
)
