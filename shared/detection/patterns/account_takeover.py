"""Somebody got into an account: after guessing its password, or from somewhere new and changed the password at once.

The first half is order-free by construction. The second stands on "never seen before", which is decided at once and
taken back should an earlier sign-in turn up late: see `familiarity.py`.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import Field

from shared.detection.engine import crossing, target_of, windows
from shared.detection.familiarity import visit
from shared.detection.model import Crossing, Observed, Parameters, Pattern, Question, Span, Visit
from shared.storage.documents import Item

_REASONS = frozenset({"bad_credentials", "locked", "mfa_failed"})


class AccountTakeoverParameters(Parameters):
    """A sign-in after `threshold` failures within `window_seconds`; or a password change within `window_seconds` of a
    sign-in from an address and a user agent that the account did not see for `familiar_days`."""

    threshold: int = Field(default=5, ge=3, le=100)
    window_seconds: int = Field(default=900, ge=60, le=3600)
    familiar_days: int = Field(default=30, ge=7, le=90)


def _matches(event: Item) -> bool:
    return event["outcome"] == "success" or event["reason"] in _REASONS


def _fact(event: Item) -> Visit | None:
    if event["outcome"] == "failure":
        return None
    return visit(event, "sign_in" if event["type"] == "auth.login" else "password")


def _questions(observed: Sequence[Observed], parameters: AccountTakeoverParameters) -> Iterator[Question]:
    """The sign-ins that a password change followed."""
    asked: set[int] = set()
    for position, since, event in windows(observed, parameters.window):
        if event.fact is None or event.fact.what != "password":
            continue
        for before in range(since, position):
            fact = observed[before].fact
            if before not in asked and fact is not None and fact.what == "sign_in":
                asked.add(before)
                at = observed[before].at
                yield Question(before, Span(at - timedelta(days=parameters.familiar_days), at))


def _crossings(observed: Sequence[Observed], parameters: AccountTakeoverParameters) -> Iterator[Crossing]:
    failures: list[int] = [0]
    """How many failures there are before each position."""
    news: list[int] = []
    """The positions of new visits."""
    for position, since, event in windows(observed, parameters.window):
        failures.append(failures[-1] + (event.fact is None))
        if event.fact is None:
            continue
        if event.fact.what == "sign_in":
            if event.fact.is_new:
                news.append(position)
            if failures[position] - failures[since] >= parameters.threshold:
                yield crossing(observed, since, position, "critical")
        elif news and news[-1] >= since:
            yield crossing(observed, since, position, "critical")


PATTERN = Pattern(
    id="account_takeover",
    title="An account may be taken over",
    severity="critical",
    attack=("T1078", "T1110"),
    description="A sign-in succeeded after many had failed; or the password was changed minutes after a sign-in "
    "from an "
    "address and a user agent that the account had not seen for weeks.",
    false_positives=(
        "A person who remembered the password in the end.",
        "A person with a new device at a new place who sets a new password at once.",
    ),
    runbook=(
        "Suspend the account: PUT /admin/users/<key> with status suspended. That ends all its sessions.",
        "Look through what it did since first_seen: GET /events?actor=<key>&from=<first_seen>.",
        "Ask the owner, by another channel than e-mail, whether it was they; if not, undo what was done in their name.",
        "Activate the account again once the owner has a new password and a second factor, and close the alert "
        "with a note.",
    ),
    parameters=AccountTakeoverParameters,
    selectors=(("auth.login", "failure"), ("auth.login", "success"), ("auth.password_change", "success")),
    key_path="target.id",
    fields=("reason", "target", "ua_key"),
    matches=_matches,
    key=target_of,
    crossings=_crossings,
    fact=_fact,
    questions=_questions,
)
