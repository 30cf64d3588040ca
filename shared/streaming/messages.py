"""Messages: sealed events of one month in order, as one JSON body. The same events give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.audit.export_formats import json_line
from shared.audit.ocsf import to_ocsf
from shared.streaming.model import MOST_BYTES, Format, Position

EVENTS = "audit.events"
TEST = "webhook.test"


@dataclass(frozen=True, slots=True)
class Placed:
    """A sealed event as it leaves, in JSON, its index in its month, and when it was recorded (RFC 3339)."""

    index: int
    recorded_at: str
    text: bytes

    @classmethod
    def of(cls, index: int, event: Mapping[str, Any], form: Format) -> Placed:
        """An event, as the API shows it, in the form that a webhook wants."""
        text = json_line(to_ocsf(dict(event)) if form == "ocsf" else event)[:-1]
        return cls(index, event["recorded_at"], b'{"event":%b,"index":%d}' % (text, index))


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `oldest`: recorded_at (RFC 3339) of the first event. `used`: how many of the events it was composed
    of are in it."""

    id: str
    body: bytes
    first: Position
    last: Position
    oldest: str
    used: int


def compose(
    tenant_id: str, period: str, placed: Sequence[Placed], form: Format, generation: int, *, kind: str = EVENTS
) -> Message:
    """The message of the first of these events that fit into one; at least one. ValueError without any.

    Its id follows from what it holds and `generation`, so that a retry has the same.
    """
    if not placed:
        raise ValueError("a message has events")
    size, used = 0, 0
    for each in placed:
        size += len(each.text) + 1
        if used and size > MOST_BYTES:
            break
        used += 1
    sent = placed[:used]
    about = {"format": form, "period": period, "tenant_id": tenant_id}
    envelope = {"timestamp": sent[-1].recorded_at, "type": kind}
    events = b",".join(each.text for each in sent)
    body = b'{"data":{"events":[%b],%b,%b' % (events, _members(about), _members(envelope))
    named = hashlib.sha256(f"{tenant_id}|{generation}|".encode() + body).hexdigest()[:32]
    first, last = (Position(period, each.index) for each in (sent[0], sent[-1]))
    return Message(f"msg_{named}", body, first, last, sent[0].recorded_at, used)


def _members(values: Mapping[str, str]) -> bytes:
    """The members of a JSON object, and its end."""
    return json.dumps(values, separators=(",", ":"))[1:].encode()
