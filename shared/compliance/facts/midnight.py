"""What midnight cuts in two, put together again: bursts, runs of failures, locks, idle sessions.

Each function goes over the days of a period in order. Those of the week before it may come first: they count for
nothing of their own, and what began in them and went on is as large as it is (`start`: the first day of the period).
What a day left out for want of room is bounded: `hidden` is the largest that could be among it, so that a rule knows
whether its threshold could be reached there (docs/adr/0059).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

from shared.compliance.facts.bursts import MOST_MOMENTS, WITHIN_SECONDS
from shared.compliance.facts.named import Mark, event_ref
from shared.compliance.facts.parts import DAY_SECONDS, rows_of, told
from shared.compliance.facts.signing_in import BURST_SECONDS, LEAST_BURST, SUCCESS
from shared.compliance.report_model import EventRef

type Day = Mapping[str, Any]


@dataclass(slots=True)
class Found:
    """What was put together from `start` (a day) on, and how large what is hidden could be (0: nothing is)."""

    start: str = ""
    sizes: list[int] = field(default_factory=list)
    hidden: int = 0
    _told: list[tuple[Day, Sequence[Any], str, str]] = field(default_factory=list)

    def add(self, day: Day, place: Sequence[Any], size: int, about: str, failure: str = "") -> None:
        """Take in something of a day. `place`: index, id, time, type and outcome of its event, the first three apart or
        with spaces between; nothing: no event. What ended before the start is left out."""
        if day["day"] < self.start:
            return
        self.sizes.append(size)
        self._told.append((day, place, about, failure))

    def marks(self, least: int = 0, below: int | None = None) -> list[Mark]:
        """Marks of those of a size: many more are small."""
        return [
            Mark(day["day"], _event(day, place), size, about, "", failure)
            for size, (day, place, about, failure) in zip(self.sizes, self._told, strict=True)
            if size >= least and (below is None or size < below)
        ]

    def may_hide(self, day: Day, size: int) -> None:
        """Something of a day that is not among the facts could be so large."""
        if day["day"] >= self.start:
            self.hidden = max(self.hidden, size)


def _event(day: Day, place: Sequence[Any]) -> EventRef | None:
    parts = [*str(place[0]).split(" "), *place[1:]] if place and place[0] != "" else []
    return event_ref(day["day"], parts) if parts else None


def number_of(day: Day) -> int:
    """The day's place among all days."""
    return date.fromisoformat(day["day"]).toordinal()


def follows(day: Day, before: Day | None) -> bool:
    """Whether a day is the one after another."""
    return before is not None and number_of(day) - number_of(before) == 1


# ---- bursts


@dataclass(slots=True)
class _Open:
    """A burst that a day ended in."""

    day: Day
    size: int
    last: int
    tail: list[tuple[int, str]]
    place: list[str]


def bursts(days: Sequence[Day], kind: str, least: int, start: str = "") -> Found:
    """Bursts at the edges of days, of at least a size, joined where one goes on after midnight."""
    found, within = Found(start), WITHIN_SECONDS[kind]
    pairs = [(before if follows(day, before) else None, day) for before, day in pairwise([None, *days]) if day]
    for before, day in pairs:
        if before is not None:
            _bound(found, before, day, kind, least)
    if not any(_could_reach(before, day, kind, least) for before, day in pairs):
        return found
    held: dict[str, _Open] = {}
    for before, day in pairs:
        if before is None:
            _end(found, held, least)
        held = _joined(found, held, day, within, least, rows_of(day[kind]["lines"]))
    _end(found, held, least)
    return found


def _could_reach(before: Day | None, day: Day, kind: str, least: int) -> bool:
    size, head, _ = day[kind]["most"]
    return bool(max(size, head + before[kind]["most"][2] if before is not None else 0) >= least)


def _bound(found: Found, before: Day, day: Day, kind: str, least: int) -> None:
    """What could have gone on over midnight beside what is kept."""
    (_, _, tail), (_, head, _) = before[kind]["most"], day[kind]["most"]
    (_, _, left_tail), (_, left_head, _) = before[kind]["left"], day[kind]["left"]
    found.may_hide(day, max(left_tail and left_tail + head, left_head and left_head + tail))
    if least > MOST_MOMENTS:
        found.may_hide(day, (tail > MOST_MOMENTS or head > MOST_MOMENTS) and tail + head)


def _joined(
    found: Found, held: dict[str, _Open], day: Day, within: int, least: int, rows: Iterable[list[str]]
) -> dict[str, _Open]:
    """The bursts that a day leaves open, once those that it began with are joined to the ones before."""
    still: dict[str, _Open] = {}
    for who, size, first, last, head, tail, *place in rows:
        new = _Open(day, int(size), int(last), _moments(tail), place)
        if head:
            old = held.get(who)
            if old is not None and int(first) + DAY_SECONDS - old.last <= within:
                del held[who]
                together = _together(old.tail, _moments(head), within)
                if old.size > new.size and old.day["day"] >= found.start:
                    new.day, new.size, new.place = old.day, old.size, old.place
                new.size = max(new.size, together)
        if new.last >= DAY_SECONDS - within:
            still[who] = new
        elif new.size >= least:
            found.add(new.day, new.place, new.size, who)
    _end(found, held, least)
    return still


def _end(found: Found, held: dict[str, _Open], least: int) -> None:
    for who, each in held.items():
        if each.size >= least:
            found.add(each.day, each.place, each.size, who)
    held.clear()


def _moments(text: str) -> list[tuple[int, str]]:
    """Moments near midnight, each with what counts once."""
    return [(int(at), what) for at, _, what in (each.partition(":") for each in text.split(" ") if each)]


def _together(tail: list[tuple[int, str]], head: list[tuple[int, str]], within: int) -> int:
    """The most that came within the time, of moments before a midnight and after it."""
    most = 0
    for number, (at, _) in enumerate(head, 1):
        earlier = [what for moment, what in tail if moment - DAY_SECONDS > at - within]
        names = {what for what in (*earlier, *(name for _, name in head[:number])) if what}
        most = max(most, len(names) if names else len(earlier) + number)
    return most


# ---- signing in


@dataclass(slots=True)
class SignIns:
    """Runs of failures, successes after failures and after locks, as far as midnight touched them. `minutes` of a mark
    on a lock is its size."""

    runs: Found
    failures: Found
    locks: Found


@dataclass(slots=True)
class _State:
    """What the days so far leave open. `runs`: length, day and place of the last failure. `locks`: absolute second.
    `tails`: moments of failures before the last midnight, and the last one's id. `hidden`: of accounts not kept.
    `locks_hidden`: whether some of these were locked."""

    runs: dict[str, tuple[int, Day, str]] = field(default_factory=dict)
    locks: dict[str, int] = field(default_factory=dict)
    tails: dict[str, tuple[list[int], str]] = field(default_factory=dict)
    hidden: int = 0
    locks_hidden: bool = False
    unsure: set[str] = field(default_factory=set)


def sign_ins(days: Sequence[Day], start: str = "") -> SignIns:
    """What midnight touched of signing in."""
    found, state = SignIns(Found(start), Found(start), Found(start)), _State()
    before: Day | None = None
    for day in days:
        rows = {row[0]: row[1:] for row in rows_of(day["accounts"])}
        steps: dict[str, str] = {}
        if state.runs or state.locks or state.tails:
            steps = told(day["stepped"], day["steps"])
        if not follows(day, before):
            state.tails = {}
            before = None
        _early(found.failures, state, day, before, rows, steps)
        _locked(found.locks, state, day, rows, steps)
        _runs(found.runs, state, day, rows, steps)
        before = day
    for account, (length, day, place) in state.runs.items():
        found.runs.add(day, _login(place, "failure"), length, account)
    return found


def _early(
    found: Found, state: _State, day: Day, before: Day | None, rows: dict[str, list[str]], steps: dict[str, str]
) -> None:
    """Successes within an hour after midnight, with the failures on either side of it."""
    tails, state.tails = state.tails, {}
    for account, row in rows.items():
        moments, last = row[6], row[7]
        if len(row) > 8:
            earlier, failure = _before(tails.pop(account, ([], "")), int(row[8]))
            size = int(row[9]) + earlier
            if size >= LEAST_BURST:
                found.add(day, _login(row[11], "success"), size, account, row[10] or failure)
        if moments:
            state.tails[account] = ([int(each) for each in moments.split(" ")], last)
    for account, tail in tails.items():
        step = steps.get(account, "").split("\t")
        if len(step) > 2:
            size, failure = _before(tail, int(step[2]))
            if size >= LEAST_BURST:
                found.add(day, _login(step[3], "success"), size, account, failure)
    if before is not None:
        _hide_early(found, before, day, any_today=bool(rows or day["stepped"]))


def _hide_early(found: Found, before: Day, day: Day, *, any_today: bool) -> None:
    """How many failures could lie before a success, of which a part is of an account that a day does not name."""
    hidden, most = before["accounts_hidden"], before["accounts_most"]
    if hidden[4] and any_today:
        found.may_hide(day, hidden[4] + day["accounts_most"][6])
    if most[4] and (day["accounts_hidden"][0] or day["early_left"]):
        found.may_hide(day, most[4] + day["accounts_hidden"][6])


def _login(place: str, outcome: str) -> tuple[str, str, str]:
    """A sign-in, by index, id and time with spaces between: read apart once it is named."""
    return place, "auth.login", outcome


def _before(tail: tuple[list[int], str], at: int) -> tuple[int, str]:
    """How many failures before midnight lie within an hour before a second of the next day; the id of the last."""
    moments, failure = tail
    return sum(each - DAY_SECONDS >= at - BURST_SECONDS for each in moments), failure


def _locked(found: Found, state: _State, day: Day, rows: dict[str, list[str]], steps: dict[str, str]) -> None:
    """Successes on a later day than the lock; the size is the minutes between."""
    today = number_of(day) * DAY_SECONDS
    for account, since in list(state.locks.items()):
        step = steps.get(account, "").split("\t")
        if not step[0]:
            if day["stepped_left"]:
                found.may_hide(day, 1)
            continue
        del state.locks[account]
        if step[0] == SUCCESS:
            found.add(day, [], (today + int(step[1]) - since) // 60, account)
    for account, row in rows.items():
        if row[5]:
            state.locks[account] = today + int(row[5])
    if day["accounts_hidden"][5] or state.locks_hidden:
        state.locks_hidden = True
        found.may_hide(day, 1)


def _runs(found: Found, state: _State, day: Day, rows: dict[str, list[str]], steps: dict[str, str]) -> None:
    """Runs of failures that touch a midnight, each once it ended."""
    longest = max((length for length, *_ in state.runs.values()), default=0)
    for account in [name for name in state.runs if name not in rows]:
        if account in steps:
            length, since, place = state.runs.pop(account)
            found.add(since, _login(place, "failure"), length, account)
        elif day["stepped_left"]:
            state.unsure.add(account)
    for account, row in rows.items():
        begins, ends, is_whole = int(row[0]), int(row[2]), row[4] == "1"
        length, since, place = state.runs.pop(account, (0, day, ""))
        if account in state.unsure:
            found.may_hide(day, length + begins)
            length, place = 0, ""
            state.unsure.discard(account)
        if begins:
            length, since, place = length + begins, day, row[1]
        if is_whole:
            state.runs[account] = (length, since, place)
            continue
        if length:
            found.add(since, _login(place, "failure"), length, account)
        if ends:
            state.runs[account] = (ends, day, row[3])
    _hide(found, state, day, longest)


def _hide(found: Found, state: _State, day: Day, longest: int) -> None:
    """How long a run could be of which a part is of an account that a day does not name."""
    count, begins, ends, whole, *_ = day["accounts_hidden"]
    carried = max(longest, state.hidden)
    if count and carried:
        found.may_hide(day, begins + carried)
    if state.hidden:
        found.may_hide(day, day["accounts_most"][1] + state.hidden)
    state.hidden = max(state.hidden, ends, whole and whole + carried)


# ---- sessions


def idle(days: Sequence[Day], minutes: int, start: str = "") -> Found:
    """Sessions that went on after more than so many minutes with a midnight between."""
    found = Found(start)
    times = [told(day["sessions"], day["session_times"]) for day in days]
    left: dict[str, int] = {}
    is_hidden = False
    for place, (day, seen) in enumerate(zip(days, times, strict=True)):
        for session in sorted(seen.keys() & left.keys()):
            before = left[session]
            first, _, again = seen[session].split("\t")
            apart = (number_of(day) - number_of(days[before])) * DAY_SECONDS
            gap = (apart + int(first) - int(times[before][session].split("\t")[1])) // 60
            if gap > minutes and again == "0":
                found.add(day, [], gap, session)
        left |= dict.fromkeys(seen, place)
        is_hidden = is_hidden or (day["sessions_left"] > 0 and len(days) > 1)
        if is_hidden:
            found.may_hide(day, minutes + 1)
    return found
