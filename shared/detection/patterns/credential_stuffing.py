"""Many accounts tried from one address, counted across tenants. Order-free by construction.

What is counted are the signals that the consumer writes for each failed sign-in into a partition of the address, so
that one attack on several tenants is one. Each tenant that has an account among them gets an alert that names its own
events and no others; `platform` gets one that names all. Thresholds are the deployment's: what one tenant sets cannot
change what is counted for another.
"""

from collections.abc import Iterable, Sequence

from pydantic import Field

from shared.detection.engine import crossings_by_distinct
from shared.detection.model import Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item

_REASONS = frozenset({"bad_credentials", "locked", "unknown_account"})


class CredentialStuffingParameters(Parameters):
    """`threshold` different accounts tried in vain within `window_seconds` raise an alert."""

    threshold: int = Field(default=5, ge=3, le=100)
    window_seconds: int = Field(default=1200, ge=60, le=3600)


def _matches(event: Item) -> bool:
    return event["reason"] in _REASONS and _account(event) is not None


def _account(event: Item) -> str | None:
    """The account that was tried; of an unknown one the blind-index value of its e-mail."""
    target = event.get("target")
    account: str | None = target["id"] if target else event.get("actor_key")
    return account


def _key(event: Item) -> str | None:
    key: str | None = event.get("ip_key")
    return key


def _crossings(observed: Sequence[Observed], parameters: CredentialStuffingParameters) -> Iterable[Crossing]:
    return crossings_by_distinct(
        observed, threshold=parameters.threshold, window=parameters.window, severity_of=lambda _: "high"
    )


PATTERN = Pattern(
    id="credential_stuffing",
    title="One address tries many accounts",
    severity="high",
    attack=("T1110.003", "T1110.004"),
    description="Sign-ins to several accounts, of this organization or others, failed from one address within a few "
    "minutes: passwords from a leak are tried, or a few passwords on every account.",
    false_positives=(
        "An office or a mobile network whose people share one address, on a morning after many passwords changed.",
        "A monitoring or migration script with a list of outdated accounts.",
    ),
    runbook=(
        "List what was tried: GET /events/{id} for each of event_ids; their targets are the accounts.",
        "Look for a sign-in that succeeded: GET "
        "/admin/logs/authorization?type=auth.login&outcome=success&actor=<target> "
        "for each of them, from first_seen on. Whoever got in is taken over: suspend the account.",
        "Block the address at the edge; the log of the proxy has it in clear, at the times of the events.",
        "Have the accounts' owners set new passwords and a second factor, then close the alert with a note.",
    ),
    parameters=CredentialStuffingParameters,
    selectors=(("auth.login", "failure"),),
    key_path="ip_key",
    fields=("reason", "target", "actor_key"),
    matches=_matches,
    key=_key,
    crossings=_crossings,
    fact=_account,
    across_tenants=True,
)
