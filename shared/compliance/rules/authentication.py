"""Rules on signing in: locks, bursts of failures, idle sessions, passwords and second factors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache

from shared.compliance.evidence import Account, Evidence, midnight_of, moment_after
from shared.compliance.facts.card_use import card_users
from shared.compliance.facts.logins import one_factor
from shared.compliance.facts.named import Extract
from shared.compliance.rules.model import (
    NOTHING,
    Found,
    Result,
    bounded,
    missing,
    of_extracts,
    of_marks,
    rule,
    whole_period,
)
from shared.core.clock import parse_rfc3339

_GUESSED = frozenset({"brute_force", "account_takeover", "credential_stuffing"})
"""Patterns of alerts that failures, and a success after them, raise."""


@rule("AUTH-01", "high", "More failures in a row than may be, before a lock or without one", "lockout_max_attempts")
def locks(evidence: Evidence) -> Result:
    """Runs of failures of an account that are longer than allowed."""
    count, marks = evidence.facts.runs(evidence.at_least("lockout_max_attempts"))
    return Result(of_marks(count, marks, "Account {about}: {size} failures in a row"))


@rule("AUTH-02", "high", "A success sooner after a lock than may be, with no unlock between", "lockout_minutes")
def stays_locked(evidence: Evidence) -> Result:
    """Successes within the time of a lock."""
    count, marks = evidence.facts.after_lock(evidence.at_least("lockout_minutes"))
    return Result(of_marks(count, marks, "Account {about}: a success {size} minutes after a lock"))


@rule("AUTH-03", "high", "A success within an hour after a burst of failures, and no alert", "failure_burst")
def watched(evidence: Evidence) -> Result:
    """Successes after bursts that nothing alerted of."""
    marks = evidence.facts.each_marked("after_failures", evidence.at_least("failure_burst"))
    if not marks:
        return NOTHING
    if evidence.alerts is None:
        return missing("alerts")
    silent = []
    for mark in marks:
        ids = {mark.ref.event_id if mark.ref else "", mark.failure}
        if not evidence.is_alerted(_GUESSED, ids, mark.about, mark.ref.recorded_at if mark.ref else ""):
            silent.append(mark)
    return Result(of_marks(len(silent), silent, "Account {about}: a success after {size} failures, and no alert"))


@rule("AUTH-04", "medium", "A session went on after too long without a call", "idle_minutes")
def not_idle(evidence: Evidence) -> Result:
    """Sessions that were resumed. Renewals of tokens do not count as calls."""
    count, marks = evidence.facts.idle(evidence.at_least("idle_minutes"))
    return Result(of_marks(count, marks, "A session of {about} went on after {size} minutes"))


@rule("AUTH-05", "medium", "A login with a password alone that is too old", "password_max_age_days")
def passwords_fresh(evidence: Evidence) -> Result:
    """Logins with one factor alone and a password that was too old then, whatever became of it later. HIPAA sets no
    age: not run there."""
    if evidence.framework == "hipaa":
        return NOTHING
    if evidence.accounts is None:
        return missing("accounts")
    days, single = evidence.at_least("password_max_age_days"), one_factor(evidence.facts.documents)
    limits = {day: (date.fromisoformat(day) - timedelta(days)).isoformat() for day in evidence.facts.days}
    found, is_unsure = list[Found](), False
    for account in sorted(evidence.accounts, key=lambda each: each.id):
        logins = [each for each in single.get(account.id, ()) if _is_old(account, each.day, limits)]
        old = _too_old(account, [(each.day, each.last) for each in logins], days)
        if old:
            text = f"Account {account.id}: signed in with a password older than {days} days"
            found.append(Found(text, len(old), _moment(*old[0]), _moment(*old[-1])))
        is_unsure = is_unsure or bool(_too_old(account, [(each.day, each.last_unsure) for each in logins], days))
    gaps = ["factors"] if is_unsure else []
    if any(day["single_factor"]["left"] for day in evidence.facts.documents):
        gaps.append("facts")  # of whom nobody can tell when they signed in
    return Result(bounded(found), tuple(gaps))


def _is_old(account: Account, day: str, limits: Mapping[str, str]) -> bool:
    """Whether a password could be too old on a day: most are not, and nothing else is asked of them."""
    return account.password_at(day)[:10] <= limits[day]


def _too_old(account: Account, logins: Iterable[tuple[str, float | None]], days: int) -> list[tuple[str, float]]:
    """When an account signed in with a password older than so many days (day, and second of it): of each day the last
    login before the password was changed on it (None: there was none)."""
    return [(day, at) for day, at in logins if at is not None and (day, at) > _ages_at(account.password_at(day), days)]


@lru_cache(maxsize=4096)
def _ages_at(since: str, days: int) -> tuple[str, float]:
    """When what was set at a moment is so many days old: the day, and the second of it."""
    at = parse_rfc3339(since) + timedelta(days)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return at.date().isoformat(), (at - midnight).total_seconds()


def _moment(day: str, second: float) -> str:
    return moment_after(midnight_of(day), second)


@rule("AUTH-06", "high", "Card data was used by somebody who signed in with one factor alone")
def two_factors(evidence: Evidence) -> Result:
    """Uses of card data that only a login with one factor covers: one before it, on its day or the day before. Where no
    login covers a use, nobody can tell how its user signed in: to another system, or longer ago."""
    people = card_users(evidence.facts)
    found = [
        Found(
            f"Account {who}: {sum(days.values())} uses of card data after a login with one factor alone",
            sum(days.values()),
            midnight_of(min(days)),
            midnight_of(max(days)),
        )
        for who, days in sorted(people.alone.items())
    ]
    gaps = ["two_factors"] if people.uncovered else []
    if people.left or people.is_cut:
        gaps.append("facts")  # of whom nobody can tell how they signed in
    return Result(bounded(found), tuple(gaps))


@rule("AUTH-07", "medium", "One account in several sessions at one time", "concurrent_sessions")
def alone(evidence: Evidence) -> Result:
    """Accounts with overlapping sessions. Addresses and devices are sealed with their person, and not looked at."""
    count, marks = evidence.facts.marked("concurrent", evidence.at_least("concurrent_sessions"))
    return Result(of_marks(count, marks, "Account {about}: {size} sessions at one time"))


def in_force(evidence: Evidence, name: str, now: int | None) -> list[tuple[int, Extract | None]]:
    """The values of a setting: as it is now, and as the signs of life of the period told it day by day."""
    told: list[tuple[int, Extract | None]] = [] if now is None else [(now, None)]
    for each in evidence.facts.extracts("system.heartbeat"):
        policy = each.attributes.get("policy")
        if isinstance(policy, dict) and isinstance(policy.get(name), int):
            told.append((policy[name], each))
    return told


def _weak(evidence: Evidence, told: Sequence[tuple[int, Extract | None]], text: str) -> tuple[Found, ...]:
    """A finding of settings that were too weak: of those that were told day by day, and of the one of now."""
    found = list(of_extracts((each for _, each in told if each is not None), lambda _: text))
    return (*found, *(whole_period(evidence, text) if any(each is None for _, each in told) else ()))


@rule("PWD-01", "medium", "Passwords may be shorter than allowed", "password_min_length")
def long_enough(evidence: Evidence) -> Result:
    """The setting in force."""
    return _least(evidence, "password_min_length", evidence.policies.password_min_length, "{} characters are enough")


@rule("PWD-02", "medium", "Former passwords may be used again", "password_history")
def not_again(evidence: Evidence) -> Result:
    """The setting in force."""
    return _least(evidence, "password_history", evidence.policies.password_history, "{} former passwords are refused")


def _least(evidence: Evidence, name: str, now: int | None, text: str) -> Result:
    told, wanted = in_force(evidence, name, now), evidence.at_least(name)
    if not told:
        return missing("policies")
    weak = [each for each in told if each[0] < wanted]
    return Result(_weak(evidence, weak, text.format(min(value for value, _ in weak)))) if weak else NOTHING


@rule("LCK-01", "high", "Accounts lock later or for less than asked for", "lockout_max_attempts", "lockout_minutes")
def lock_settings(evidence: Evidence) -> Result:
    """The settings in force, where they are known."""
    failures = in_force(evidence, "lockout_max_attempts", evidence.policies.lockout_failures)
    minutes = in_force(evidence, "lockout_minutes", evidence.policies.lockout_minutes)
    late = [each for each in failures if each[0] > evidence.at_least("lockout_max_attempts")]
    brief = [each for each in minutes if each[0] < evidence.at_least("lockout_minutes")]
    found = _weak(evidence, late, f"{max(value for value, _ in late)} failures before a lock") if late else ()
    return Result((*found, *(_weak(evidence, brief, f"{min(v for v, _ in brief)} minutes of a lock") if brief else ())))


@rule("IDL-01", "medium", "Sessions may go on after a longer time without a call than asked for", "idle_minutes")
def idle_settings(evidence: Evidence) -> Result:
    """The setting in force."""
    told = in_force(evidence, "session_idle_minutes", evidence.policies.session_idle_minutes)
    if not told:
        return missing("policies")
    long = [each for each in told if each[0] > evidence.at_least("idle_minutes")]
    return (
        Result(_weak(evidence, long, f"{max(value for value, _ in long)} minutes without a call")) if long else NOTHING
    )


RULES = (
    idle_settings,
    lock_settings,
    locks,
    stays_locked,
    watched,
    not_idle,
    passwords_fresh,
    two_factors,
    alone,
    long_enough,
    not_again,
)
