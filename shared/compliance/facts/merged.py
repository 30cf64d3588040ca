"""The days of a period put together. What a day cannot know, because it began or ends within it, is found here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property

from shared.compliance.facts import midnight, signs
from shared.compliance.facts.bursts import CONCURRENT, CROSS, DENIED
from shared.compliance.facts.gone import Before, Gone, acted_after, persons_touched, used_after
from shared.compliance.facts.midnight import Day, Found
from shared.compliance.facts.named import Extract, Mark, extract_from, mark_of
from shared.compliance.facts.parts import rows_of, told, two_digits
from shared.compliance.facts.signs import Heard
from shared.compliance.selectors import Row, row_name, selectors

_BURSTS = frozenset({DENIED, CROSS, CONCURRENT})


class Facts:
    """The facts of a period: of its days in order, those without events left out.

    What began in the days before it and went on is joined (`midnight.py`): a report of one day tells of the burst that
    the midnight before it cut, as a report of both days does. What is left out for want of room and could matter to
    whoever reads is told within `noting`.
    """

    def __init__(
        self,
        days: Sequence[str],
        found: Mapping[str, Day],
        before: Before | None = None,
        *,
        lead: Sequence[str] = (),
        is_lead_whole: bool = True,
    ) -> None:
        """`days`: all of the period, YYYY-MM-DD, in order. `before`: what had ended when it began. `lead`: the days
        right before it, in order; whether what was sealed of them is among `found`."""
        self.days = tuple(days)
        self.place = {day: number for number, day in enumerate((*lead, *self.days), -len(lead))}
        self._found = [found[day] for day in self.days if day in found]
        self.lead = [found[day] for day in lead if day in found]
        """The documents of the days before the period, in order, those without events left out."""
        self.is_lead_whole = is_lead_whole
        self._with_lead = (*self.lead, *self._found)
        self._start = self.days[0] if self.days else ""
        self._matched: dict[str, frozenset[Row]] = {}
        self._candidates: dict[str, dict[str, str]] = {}
        self._extracts: dict[str, list[Extract]] = {}
        self._left: dict[str, tuple[int, int]] = {}
        self._before = before or Before()
        self._marked: dict[tuple[str, int], tuple[int, list[Mark], bool]] = {}
        self._idle: dict[int, Found] = {}
        self._cut: set[str] | None = None
        self._used_after: dict[str, Gone] = {}

    @contextmanager
    def noting(self) -> Iterator[set[str]]:
        """Within: the names of what is read although something that could matter is not among the facts."""
        self._cut = noted = set[str]()
        try:
            yield noted
        finally:
            self._cut = None

    def _note(self, name: str, left: object) -> None:
        if left and self._cut is not None:
            self._cut.add(name)

    @property
    def documents(self) -> Sequence[Day]:
        """The documents of the days that had events."""
        return self._found

    @cached_property
    def rows(self) -> dict[Row, int]:
        """Events by type, outcome, class and reason."""
        rows: dict[Row, int] = {}
        for day in self._found:
            for *row, n in day["counts"]:
                key = (row[0], row[1], row[2], row[3])
                rows[key] = rows.get(key, 0) + n
        return rows

    @cached_property
    def daily(self) -> dict[tuple[str, str, str, str | None], list[int]]:
        """The same by day of the period."""
        found: dict[Row, list[int]] = {}
        for day in self._found:
            place = self.place[day["day"]]
            for *row, n in day["counts"]:
                key = (row[0], row[1], row[2], row[3])
                found.setdefault(key, [0] * len(self.days))[place] += n
        return found

    @cached_property
    def events(self) -> int:
        """How many events there were."""
        return sum(day["events"] for day in self._found)

    def matched(self, text: str) -> frozenset[Row]:
        """The rows that the selectors of a text mean. Updates of alerts to a status are not among them."""
        found = self._matched.get(text)
        if found is None:
            plain = [each for each in selectors(text) if each.status is None]
            found = frozenset(row for row in self.rows if any(each.matches(row) for each in plain))
            self._matched[text] = found
        return found

    def count(self, text: str) -> int:
        """How many events the selectors of a text mean, each once."""
        total = sum(self.rows[row] for row in self.matched(text))
        if not any(each.status is None and each.names("alert.update") for each in selectors(text)):
            statuses = {each.status for each in selectors(text) if each.status is not None}
            total += sum(self.statuses.get(str(status), 0) for status in statuses)
        return total

    @cached_property
    def statuses(self) -> dict[str, int]:
        """Updates of alerts by the status that they came to."""
        return self.summed("statuses")

    def summed(self, name: str) -> dict[str, int]:
        """Counts by name, over all days; where a day has more names than it keeps, it is noted."""
        self._note(name, sum(day.get(f"{name}_left", 0) for day in self._found))
        total: dict[str, int] = {}
        for day in self._found:
            for key, n in day[name].items():
                total[key] = total.get(key, 0) + n
        return total

    def total(self, name: str) -> int:
        """One count, over all days."""
        return sum(day[name] for day in self._found)

    @cached_property
    def skew(self) -> list[int]:
        """Events by delay (`SKEW_MS`), over all days."""
        return [sum(each) for each in zip(*(day["skew"] for day in self._found), strict=True)]

    @cached_property
    def strata(self) -> list[tuple[str, Row, int]]:
        """The parts that samples are drawn from: day, row and how many events, in order."""
        found = []
        for day in self._found:
            rows = [((kind, outcome, data, reason), n) for kind, outcome, data, reason, n in day["counts"]]
            found += [(day["day"], row, n) for row, n in rows]
        return found

    def candidates(self, day: str, row: Row) -> list[str]:
        """From which samples of a day's row are drawn: `index id time [type]` of each."""
        held = self._candidates.get(day)
        if held is None:
            held = self._candidates[day] = dict(rows_of(self._by_day[day]["candidates"]))
        told = held.get(row_name(row))
        return told.split(",") if told else []

    @cached_property
    def _by_day(self) -> dict[str, Day]:
        return {day["day"]: day for day in self._found}

    def extracts(self, *types: str) -> list[Extract]:
        """The rare events of some types that are kept, in order: all that matter, if it is not noted."""
        self._note("extracts", self.lacks(*types))
        found = [each for kind in types for each in self._of_type(kind)]
        return sorted(found, key=lambda each: (each.ref.recorded_at, each.ref.event_id)) if len(types) > 1 else found

    def _of_type(self, kind: str) -> list[Extract]:
        if kind not in self._extracts:
            self._extracts[kind] = [
                extract_from(day["day"], row)
                for day in self._found
                if kind in day["extracts"]
                for row in day["extracts"][kind]["rows"]
            ]
        return self._extracts[kind]

    def listed(self, data_class: str) -> tuple[int, list[Extract]]:
        """How many uses of a class there were, and those that are kept with all their fields."""
        held = [(day["day"], day["listed"][data_class]) for day in self._found if data_class in day["listed"]]
        return sum(each["n"] for _, each in held), [
            extract_from(day, row) for day, each in held for row in each["rows"]
        ]

    def left_out(self, *types: str) -> int:
        """How many rare events of some types are counted but not kept."""
        return sum(self._left_of(kind)[0] for kind in types)

    def lacks(self, *types: str) -> int:
        """How many of them could matter to a rule."""
        return sum(self._left_of(kind)[1] for kind in types)

    def _left_of(self, kind: str) -> tuple[int, int]:
        if kind not in self._left:
            kept = [(each, len(each["rows"])) for day in self._found if (each := day["extracts"].get(kind))]
            of_any, of_mattering = (sum(max(0, each[of] - n) for each, n in kept) for of in ("n", "matter"))
            self._left[kind] = (of_any, of_mattering)
        return self._left[kind]

    def marked(self, kind: str, least: int = 1) -> tuple[int, list[Mark]]:
        """How many events are marked so with a size of at least `least`, and those that are named, in order.

        Sizes are counted to two digits: of those that may be smaller or not, the named ones count.
        """
        if (kind, least) not in self._marked:
            self._marked[kind, least] = self._marks_of(kind, least)
        count, marks, cut = self._marked[kind, least]
        self._note(kind, cut)
        return count, marks

    def _marks_of(self, kind: str, least: int) -> tuple[int, list[Mark], bool]:
        count, marks, unsure = 0, list[Mark](), 0
        floor = two_digits(least)
        for day in self._found:
            held = day["marks"].get(kind)
            if held is None:
                continue
            rows = [mark_of(day["day"], row) for row in held["rows"] if row[5] >= least]
            marks += rows
            for size, n in held["sizes"].items():
                if int(size) == floor < least:
                    count += sum(two_digits(mark.size) == floor for mark in rows)
                    unsure += n - sum(two_digits(row[5]) == floor for row in held["rows"])
                elif int(size) >= least:
                    count += n
        found = self._joined(kind, least)
        joined = found.marks(least)
        marks += joined
        marks.sort(key=lambda each: each.ref.recorded_at if each.ref else each.day)
        return count + len(joined), marks, unsure > 0 or found.hidden >= max(1, least)

    def each_marked(self, kind: str, least: int = 1) -> list[Mark]:
        """All events that are marked so, for a rule that judges each: noted where some are not named."""
        count, marks = self.marked(kind, least)
        self._note(kind, count > len(marks))
        return marks

    def _joined(self, kind: str, least: int) -> Found:
        """What midnight cut in two, of a kind of marks."""
        if kind in _BURSTS:
            return self._whole(midnight.bursts(self._with_lead, kind, least, self._start))
        if kind in ("run", "after_failures"):
            return self._sign_ins.runs if kind == "run" else self._sign_ins.failures
        return Found()

    def _whole(self, found: Found) -> Found:
        """What was joined; of anything that can be so large where nobody can tell what the days before left open."""
        if not self.is_lead_whole and self._found:
            found.may_hide(self._found[0], sys.maxsize)
        return found

    @cached_property
    def _sign_ins(self) -> midnight.SignIns:
        found = midnight.sign_ins(self._with_lead, self._start)
        for each in (found.runs, found.failures, found.locks):
            self._whole(each)
        return found

    def runs(self, longer_than: int) -> tuple[int, list[Mark]]:
        """Runs of failures of accounts that are longer than so many, also over midnight."""
        return self.marked("run", longer_than + 1)

    @cached_property
    def longest_run(self) -> int:
        """The longest of them."""
        sizes = [row[5] for day in self._found if "run" in day["marks"] for row in day["marks"]["run"]["rows"]]
        return max([*sizes, *self._sign_ins.runs.sizes], default=0)

    def after_lock(self, within_minutes: int) -> tuple[int, list[Mark]]:
        """Successes less than so many minutes after a lock that nobody undid, also over midnight."""
        count, marks = 0, list[Mark]()
        for day in self._found:
            held = day["marks"].get("after_lock", {"sizes": {}, "rows": []})
            count += sum(n for size, n in held["sizes"].items() if int(size) < within_minutes)
            marks += [mark_of(day["day"], row) for row in held["rows"] if row[5] < within_minutes]
        locks = self._sign_ins.locks
        joined = locks.marks(below=within_minutes)
        self._note("after_lock", locks.hidden)
        return count + len(joined), marks + joined

    def idle(self, minutes: int) -> tuple[int, list[Mark]]:
        """Sessions that went on after more than so many minutes, also over midnight."""
        if minutes not in self._idle:
            self._idle[minutes] = self._whole(midnight.idle(self._with_lead, minutes, self._start))
        found, (count, marks) = self._idle[minutes], self.marked("idle", minutes + 1)
        self._note("idle", found.hidden)
        joined = found.marks()
        return count + len(joined), marks + joined

    @property
    def after_exit(self) -> tuple[int, list[Mark]]:
        """Accounts that acted after they were suspended or deleted, be that in the period or before: once for each
        time that one was ended."""
        return self._of_gone("after_exit", self._after_exit)

    @cached_property
    def _after_exit(self) -> Gone:
        return acted_after(self._found, self._before)

    def used_after(self, since: str, among: str, mark: str) -> tuple[int, list[Mark]]:
        """Persons whose data was used after it was erased (`since` "erased", `among` "touched"), or relied upon after
        they withdrew ("withdrawn", "relied"), in the period or before: of what midnight lies between the day is known
        alone."""
        if mark not in self._used_after:
            self._used_after[mark] = used_after(self._found, since, among, mark, self._before)
        return self._of_gone(mark, self._used_after[mark])

    def _of_gone(self, kind: str, gone: Gone) -> tuple[int, list[Mark]]:
        _, marks = self.marked(kind, 0)
        self._note(kind, gone.cut)
        return gone.count, marks + gone.marks

    @cached_property
    def persons_touched(self) -> tuple[int, bool]:
        """How many persons data was read or changed of, and whether that is exact or the least."""
        return persons_touched(self._found)

    @property
    def endings(self) -> int:
        """How often accounts were suspended or deleted: at least, where a day has more than are kept."""
        return sum(int(each[5]) for day in self._found for each in rows_of(day["exits"]))

    @cached_property
    def actors(self) -> dict[str, str]:
        """Who acted, by id: of which kind. Of a day with very many, those who did most."""
        found: dict[str, str] = {}
        for day in self._found:
            found.update(told(day["actors"], day["actor_kinds"]))
        return found

    @property
    def heard(self) -> Heard:
        """When sources were heard, in the period and before it."""
        left = sum(day["sources_left"] for day in self._with_lead)
        self._note("sources", left or not self.is_lead_whole)
        return self._heard

    @cached_property
    def _heard(self) -> Heard:
        expiring = self._before.expiring
        return signs.heard(self.lead, self._found, self.place, expiring, is_lead_whole=self.is_lead_whole)

    @cached_property
    def checkpoints(self) -> int:
        """How many signed checkpoints are kept of the days."""
        return sum(day["checkpoints"]["n"] for day in self._found if "checkpoints" in day)

    @cached_property
    def checkpoint_gaps(self) -> list[tuple[str, str]]:
        """The longer times between two of them (RFC 3339), also from one day to another, and from the days before."""
        return signs.checkpoint_gaps(self.signed_before, self._found)

    @property
    def signed_before(self) -> str | None:
        """When the last checkpoint before the period was signed (RFC 3339), as far as the days before it tell."""
        self._note("checkpoints", not self.is_lead_whole)
        return signs.signed_last(self.lead)

    def has_events_between(self, start: datetime, end: datetime) -> bool:
        """Whether there are whole hours between two moments of which events were sealed."""
        by_day = {day["day"]: day["hours"] for day in self._with_lead}
        hour = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        while hour + timedelta(hours=1) <= end:
            hours = by_day.get(hour.date().isoformat(), {})
            if any(each[hour.hour] for each in hours.values()):
                return True
            hour += timedelta(hours=1)
        return False

    @cached_property
    def uses(self) -> dict[tuple[str, str, str, str, str, str], tuple[int, int]]:
        """Uses of data by day, actor, kind of actor, role, operation and class: events and records."""
        return {
            (day["day"], who, kind, role, op, data_class): (int(n), int(records))
            for day in self._found
            for who, kind, role, op, data_class, n, records in rows_of(day["uses"])
        }
