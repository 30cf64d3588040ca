"""The days of a period put together. What a day cannot know, because it began or ends within it, is found here."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Container, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

from shared.compliance.facts.data_use import hash_of
from shared.compliance.facts.named import Extract, Mark, event_ref, extract_from, mark_of
from shared.compliance.facts.parts import DAY_SECONDS, rows_of
from shared.compliance.selectors import Row, row_name, selectors

type Day = Mapping[str, Any]


def days_between(first: str, second: str) -> int:
    """How many days lie from one day to another one."""
    return (date.fromisoformat(second) - date.fromisoformat(first)).days


class Facts:
    """The facts of a period: of its days in order, those without events left out."""

    def __init__(self, days: Sequence[str], found: Mapping[str, Day]) -> None:
        """`days`: all of the period, YYYY-MM-DD, in order."""
        self.days = tuple(days)
        self.place = {day: number for number, day in enumerate(self.days)}
        self._found = [found[day] for day in self.days if day in found]
        self._matched: dict[str, frozenset[Row]] = {}
        self._candidates: dict[str, dict[str, str]] = {}
        self._extracts: dict[str, list[Extract]] = {}
        self._idle: dict[int, tuple[int, list[Mark]]] = {}

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
        """Counts by name, over all days."""
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
        """The rare events of some types that are kept, in order."""
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
        kept = [day["extracts"][kind] for day in self._found for kind in types if kind in day["extracts"]]
        return sum(each["n"] - len(each["rows"]) for each in kept)

    def marked(self, kind: str, least: int = 1) -> tuple[int, list[Mark]]:
        """How many events are marked so with a size of at least `least`, and those that are named, in order."""
        count, marks = 0, []
        for day in self._found:
            held = day["marks"].get(kind)
            if held is None:
                continue
            count += sum(n for size, n in held["sizes"].items() if int(size) >= least)
            marks += [mark_of(day["day"], row) for row in held["rows"] if row[5] >= least]
        marks.sort(key=lambda each: each.ref.recorded_at if each.ref else each.day)
        return count, marks

    @cached_property
    def runs(self) -> dict[str, tuple[int, Mark | None]]:
        """The longest run of failures of each account, also over midnight, and an event of it."""
        longest: dict[str, tuple[int, Mark | None]] = {}
        open_runs: dict[str, int] = {}
        for day in self._found:
            for account in [name for name in day["early"] if name in open_runs and name not in day["accounts"]]:
                del open_runs[account]
            for account, (first, most, ends, whole, _) in day["accounts"].items():
                begins = open_runs.get(account, 0) + first
                open_runs[account] = begins if whole else ends
                if max(begins, most) > longest.get(account, (0, None))[0]:
                    ref = day["run_refs"].get(account)
                    mark = Mark(day["day"], ref and event_ref(day["day"], ref), max(begins, most), account)
                    longest[account] = (mark.size, mark)
        return longest

    def after_lock(self, within_minutes: int) -> tuple[int, list[Mark]]:
        """Successes less than so many minutes after a lock that nobody undid, also over midnight."""
        total, marks = self.marked("after_lock", 0)
        count = total - self.marked("after_lock", within_minutes)[0]
        found = [each for each in marks if each.size < within_minutes]
        locked: dict[str, int] = {}
        for before, day in pairwise([{}, *self._found]):
            if not before or days_between(before["day"], day["day"]) != 1:
                locked = {}
            for account in [name for name in locked if name in day["early"]]:
                step, at = day["early"][account]
                minutes = (DAY_SECONDS + at - locked[account]) // 60
                if step == "s" and minutes < within_minutes:
                    count += 1
                    found.append(Mark(day["day"], None, minutes, account))
            locked = {name: run[4] for name, run in day["accounts"].items() if run[4] is not None}
        return count, found

    def idle(self, minutes: int) -> tuple[int, list[Mark]]:
        """Sessions that went on after more than so many minutes, also over midnight."""
        if minutes not in self._idle:
            self._idle[minutes] = self._idle_of(minutes)
        return self._idle[minutes]

    def _idle_of(self, minutes: int) -> tuple[int, list[Mark]]:
        count, marks = self.marked("idle", minutes + 1)
        left: dict[str, tuple[str, str]] = {}
        for day in self._found:
            seen = dict(line.split("\t", 1) for line in day["sessions"].split("\n") if line)
            for session in seen.keys() & left.keys():
                before, last = left[session]
                first = int(seen[session].partition("\t")[0])
                gap = (days_between(before, day["day"]) * DAY_SECONDS + first - int(last)) // 60
                if gap > minutes:
                    count += 1
                    marks.append(Mark(day["day"], None, gap, session))
            left |= {session: (day["day"], times.partition("\t")[2]) for session, times in seen.items()}
        marks.sort(key=lambda mark: (mark.day, mark.about))
        return count, marks

    @cached_property
    def after_exit(self) -> tuple[int, list[Mark]]:
        """Accounts that acted after they were suspended or deleted, also on later days."""
        count, marks = self.marked("after_exit", 0)
        ended: dict[str, str] = {}
        for day in self._found:
            for account, _, _, first, _ in rows_of(day["actors"]) if ended else ():
                back = day["back"].get(account)
                if account in ended and (back is None or int(first) < int(back)):
                    count += 1
                    marks.append(Mark(day["day"], None, 1, account))
            for account in day["back"]:
                ended.pop(account, None)
            ended |= dict.fromkeys(day["ended"], day["day"])
        return count, marks

    def used_after(self, since: str, among: str, mark: str) -> tuple[int, list[Mark]]:
        """Uses of what was erased (`since` "erased", `among` "touched") or withdrawn ("withdrawn", "relied"), of the
        same day and of later ones; of these the day alone is known."""
        count, marks = self.marked(mark)
        gone: set[int] = set()
        for day in self._found:
            if gone:
                used = gone & _hashes(day[among]["hashes"])
                count += len(used)
                marks += [Mark(day["day"], None)] * len(used)
            gone -= {int(each, 16) for each in day["granted"]}
            gone |= {int(each, 16) if since == "withdrawn" else int.from_bytes(hash_of(each)) for each in day[since]}
        return count, marks

    @cached_property
    def persons_touched(self) -> tuple[int, bool]:
        """How many persons data was read or changed of, and whether that is exact or the least."""
        days = [day["touched"] for day in self._found]
        return len(set[int]().union(*(_hashes(each["hashes"]) for each in days))), all(each["whole"] for each in days)

    @cached_property
    def actors(self) -> dict[str, str]:
        """Who acted, by id: of which kind."""
        found: dict[str, str] = {}
        for day in self._found:
            found.update(line.split("\t", 2)[:2] for line in day["actors"].split("\n") if line)
        return found

    @cached_property
    def sources(self) -> dict[str, tuple[int, float, tuple[float, float]]]:
        """By source: its events, when it was last heard, and its longest silence; in seconds since the first day."""
        found: dict[str, tuple[int, float, tuple[float, float]]] = {}
        for day in self._found:
            start = self.place[day["day"]] * DAY_SECONDS
            for name, (n, first, last, gap_from, gap_to) in day["sources"].items():
                before = found.get(name)
                gaps = [(start + gap_from, start + gap_to)]
                if before is not None:
                    gaps += [before[2], (before[1], start + first)]
                longest = max(gaps, key=lambda gap: gap[1] - gap[0])
                found[name] = (n + (before[0] if before else 0), start + last, longest)
        return found

    @cached_property
    def checkpoints(self) -> int:
        """How many signed checkpoints are kept of the days."""
        return sum(day["checkpoints"]["n"] for day in self._found if "checkpoints" in day)

    @cached_property
    def checkpoint_gaps(self) -> list[tuple[str, str]]:
        """The longer times between two of them (RFC 3339), also from one day to another."""
        gaps: list[tuple[str, str]] = []
        last: str | None = None
        for day in self._found:
            signed = day.get("checkpoints")
            if signed is None or not signed["n"]:
                continue
            if last is not None and signed["first"] > last:
                gaps.append((last, signed["first"]))
            gaps += [(since, until) for since, until in signed["gaps"]]
            last = signed["last"]
        return gaps

    def has_events_between(self, start: datetime, end: datetime) -> bool:
        """Whether there are whole hours between two moments of which events were sealed."""
        by_day = {day["day"]: day["hours"] for day in self._found}
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

    def users_of(self, classes: Container[str]) -> set[str]:
        """Who used data of some classes."""
        return {use[1] for use in self.uses if use[5] in classes}

    @cached_property
    def single_factor(self) -> dict[str, int]:
        """Logins with one factor alone, by account."""
        found: dict[str, int] = {}
        for day in self._found:
            for account, n in day["single_factor"]["accounts"].items():
                found[account] = found.get(account, 0) + n
        return found


def _hashes(text: str) -> set[int]:
    found = array("Q", base64.b64decode(text))
    if sys.byteorder == "little":
        found.byteswap()
    return set(found)
