"""The webhook gets no more events: whoever watches there sees nothing. Order-free by construction: every pause crosses.

Like `ledger_integrity` not one of the eight threat patterns, which watch what people do (docs/adr/0046).
"""

from collections.abc import Iterator, Sequence

from pydantic import Field

from shared.detection.engine import crossing, target_of, windows
from shared.detection.model import Crossing, Observed, Parameters, Pattern
from shared.storage.documents import Item


class WebhookPausedParameters(Parameters):
    """Every pause raises an alert; pauses less than `window_seconds` apart are one."""

    window_seconds: int = Field(default=3600, ge=60, le=86_400)


def _matches(_event: Item) -> bool:
    return True


def _crossings(observed: Sequence[Observed], parameters: WebhookPausedParameters) -> Iterator[Crossing]:
    for position, since, _ in windows(observed, parameters.window):
        yield crossing(observed, since, position, "high")


PATTERN = Pattern(
    id="webhook_paused",
    title="Events no longer reach the webhook",
    severity="high",
    attack=("T1562.008",),
    description="The webhook was paused: for a day every attempt to deliver failed, or the receiver said that it is "
    "gone (410). What is recorded since then is not seen by whoever watches there; it waits, and none of it is lost.",
    false_positives=(
        "A receiver that was moved or switched off on purpose, and whose webhook was left.",
        "An outage of the receiver, or of the way to it, of more than a day.",
    ),
    runbook=(
        "See what comes back: GET /webhook for state and position, GET /webhook/deliveries for the last attempts, "
        "POST /webhook/test for one now.",
        "Find out whether the receiver, its certificate, its name or what is before it was changed, and by whom.",
        "Repair it, then PUT /webhook: the stream goes on where it stopped. Wait until `backlog` is 0.",
        "Look at what happened meanwhile: GET /events and GET /alerts from failing_since on.",
    ),
    parameters=WebhookPausedParameters,
    selectors=(("webhook.pause", "failure"),),
    key_path="target.id",
    fields=("target",),
    matches=_matches,
    key=target_of,
    crossings=_crossings,
    settable=False,  # whoever blinds the watchers could otherwise hide that it was noticed
)
