"""The rule on reports: those that were due and were made late or not at all, and those that nobody signed off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from shared.compliance.evidence import SETTLED, Edition, Evidence, day_after, edition_of, midnight_of, moment_after
from shared.compliance.facts.named import Extract
from shared.compliance.rules.model import Found, Result, bounded, of_extracts, rule

ACTIVITY = "activity"


@rule("RPT-01", "low", "A report that was due was made late or not at all, or nobody signed one off")
def reported(evidence: Evidence) -> Result:
    """The daily activity reports, those of schedules, and sign-offs of the others. What was made after the period is
    late; what was replaced needs no sign-off, but the one that stands in its place does."""
    told = evidence.facts.extracts("report.generate")
    made = [each for each in told if each.ref.outcome == "success"]
    times = _times(evidence, made)
    there = {each.target for each in made} | {
        target for _, target, _ in (*evidence.reports_before, *evidence.reports_after)
    }
    failed = [each for each in told if each.target not in there]
    return Result(
        (
            *_activity(evidence, times),
            *of_extracts(
                _unsigned(evidence, made),
                lambda each: f"{each.attributes.get('framework')} report {each.target} not signed",
            ),
            *of_extracts(failed, lambda e: f"{e.attributes.get('framework')} report {e.target} could not be made"),
            *_of_schedules(evidence, times),
        )
    )


def _times(evidence: Evidence, made: Sequence[Extract]) -> dict[Edition, str]:
    """When each was made first, right before the period, in it or after it."""
    times: dict[Edition, str] = {}
    for edition, at in (
        *((edition_of(e.attributes), e.at) for e in made),
        *((e, at) for e, _, at in (*evidence.reports_before, *evidence.reports_after)),
    ):
        times[edition] = min(at, times.get(edition, at))
    return times


def _activity(evidence: Evidence, times: dict[Edition, str]) -> Iterator[Found]:
    """Days without an activity report, and days whose report came late."""
    first = evidence.organization.enrolled_at[:10]
    by_day: dict[str, str] = {}
    for (framework, day, _), at in times.items():
        if framework == ACTIVITY:
            by_day[day] = min(at, by_day.get(day, at))
    days = [day for day in evidence.period.days if day >= first]
    lost = [day for day in days if day not in by_day]
    late = [day for day in days if day in by_day and by_day[day] > _by(day_after(day))]
    if lost:
        yield Found(
            f"No activity report of {', '.join(lost[:10])}",
            len(lost),
            midnight_of(lost[0]),
            midnight_of(day_after(lost[-1])),
        )
    if late:
        last = max(by_day[day] for day in late)
        text = f"The activity report of {', '.join(late[:10])} was made late"
        yield Found(text, len(late), midnight_of(late[0]), last, remedied_at=last)


def _unsigned(evidence: Evidence, made: Sequence[Extract]) -> list[Extract]:
    """The reports that stand, of each edition the last one, and that nobody signed off."""
    signed = {each.target for each in evidence.facts.extracts("report.sign_off")}
    standing = {edition_of(each.attributes): each.target for each in sorted(made, key=lambda each: each.at)}
    standing |= {edition: target for edition, target, _ in evidence.reports_after}
    return [
        each
        for each in made
        if each.attributes.get("framework") != ACTIVITY
        and standing[edition_of(each.attributes)] == each.target
        and each.target not in signed
    ]


def _of_schedules(evidence: Evidence, times: dict[Edition, str]) -> tuple[Found, ...]:
    """The reports of schedules whose time ran out within the period, and that were made late or not."""
    found = []
    for schedule in evidence.policies.schedules:
        for start, end in _due(evidence, schedule.every):
            at = times.get((schedule.framework, start, end))
            what = f"{schedule.every} {schedule.framework} report of {start} to {end}"
            if at is None:
                found.append(Found(f"No {what} was made", 1, midnight_of(end), evidence.period.end))
            elif at > _by(end):
                found.append(Found(f"The {what} was made late", 1, midnight_of(end), at, remedied_at=at))
    return bounded(found)


def _due(evidence: Evidence, every: str) -> Iterator[tuple[str, str]]:
    """The periods (first day, day after the last) whose reports had to be there by a time within this one, or at its
    end, since the schedules are as they are: each of one report alone."""
    since, period = evidence.policies.schedules_since or "", evidence.period
    for number in range(1, len(period.days) + 1):
        end = period.from_day + timedelta(days=number) - SETTLED
        day = end.isoformat()
        is_end = every == "daily" or (end.weekday() == 0 if every == "weekly" else end.day == 1)
        start = end - timedelta(days=7 if every == "weekly" else 1)
        start = start.replace(day=1) if every == "monthly" else start
        known = midnight_of(day) >= since and start.isoformat() >= evidence.organization.enrolled_at[:10]
        if is_end and known:
            yield start.isoformat(), day


def _by(end: str) -> str:
    """Until when the report of what ended with a day (excluded) is in time."""
    return moment_after(midnight_of(end), SETTLED.total_seconds())


RULES = (reported,)
