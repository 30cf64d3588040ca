"""Whether an account knew an address and a user agent. "Never seen before" is not order-free: this says what we do.

What was seen are the account's successful sign-ins, and its registration. Both are events of our own endpoints: they
are stored as they happen, so that whoever evaluates a later event of the account reads them. The condition is decided
at once. Should a sign-in turn up late all the same (a crash kept it in an outbox, a delivery waited in the dead
letters), its own delivery has every later alert of the account that stands on news evaluated again; one that falls
with it is withdrawn, and an evaluation under way at that moment starts over. So the alerts that remain follow from the
events alone.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from shared.detection.engine import event_time
from shared.detection.model import Crossing, Observed, Pattern, Question, Selector, Span, Visit
from shared.storage.documents import Item

SELECTORS: tuple[Selector, ...] = (("auth.login", "success"), ("auth.register", "success"))
FIELDS = ("outcome", "target", "ip_key", "ua_key")
MOST = 10_000
"""Sign-ins of an account that are looked at, the latest ones."""
LONGEST = timedelta(days=90)
"""The furthest that any pattern's question may reach back."""
_KEYED = re.compile(r"([^:]+):[0-9a-f]{64}")


class Sighting(NamedTuple):
    """A sign-in of an account, or its registration."""

    at: datetime
    id: str
    ip_key: str | None
    ua_key: str | None
    is_registration: bool


def is_sighting(event: Item) -> bool:
    """Whether an event is one that makes an address known."""
    return (event["type"], event["outcome"]) in SELECTORS and event.get("erased_at") is None


def sighting(event: Item) -> Sighting:
    """What an event makes known. KeyError, TypeError or ValueError for an event that is not formed as one."""
    registration = event["type"] == "auth.register"
    return Sighting(event_time(event), event["id"], event.get("ip_key"), event.get("ua_key"), registration)


def visit(event: Item, what: str) -> Visit:
    """From where an event was done."""
    return Visit(what, event.get("ip_key"), event.get("ua_key"))


def latest(found: Iterable[Sighting]) -> list[Sighting]:
    """The sightings that are looked at, in order."""
    return sorted(found)[-MOST:]


def answered[P: Any](
    pattern: Pattern[Any], observed: Sequence[Observed], parameters: P, seen: Sequence[Sighting]
) -> list[Crossing]:
    """A pattern's crossing points, its questions answered from what was seen."""
    told = list(observed)
    if pattern.questions is not None:
        for question in pattern.questions(observed, parameters):
            each = told[question.position]
            told[question.position] = each._replace(fact=each.fact._replace(is_new=_is_new(each, question, seen)))
    return list(pattern.crossings(told, parameters))


def asked(pattern: Pattern[Any], observed: Sequence[Observed], parameters: Any) -> Span | None:
    """The span of what has to be known to answer a pattern's questions; None when it asks nothing."""
    questions = [] if pattern.questions is None else list(pattern.questions(observed, parameters))
    if not questions:
        return None
    starts = [each.span.start for each in questions]
    starts += [each.fresh_since for each in questions if each.fresh_since is not None]
    return Span(min(starts), max(observed[each.position].at for each in questions))


def _is_new(observed: Observed, question: Question, seen: Sequence[Sighting]) -> bool:
    before = [each for each in seen if (each.at, each.id) < observed.moment]
    fresh = question.fresh_since
    if fresh is not None and any(each.is_registration and each.at >= fresh for each in before):
        return False
    visited: Visit = observed.fact
    within = [each for each in before if question.span.holds(each.at)]
    if within and not any(_is_comparable(each, visited) for each in within):
        return False
    return not any(each.ip_key == visited.ip_key or each.ua_key == visited.ua_key for each in within)


def _is_comparable(each: Sighting, visited: Visit) -> bool:
    """Whether they can meet at all: hashes under different versions of the index secret say nothing of each other."""
    return _under(each.ip_key) == _under(visited.ip_key) or _under(each.ua_key) == _under(visited.ua_key)


def _under(key: str | None) -> str | None:
    """The version of a keyed hash; None for what is none."""
    found = _KEYED.fullmatch(key or "")
    return found and found[1]
