"""Signing in, by account: runs of failures, locks, and successes that came soon after either.

A day knows nothing of the one before. So each account tells how its run began and how it ends, and days are put
together from that: a run over midnight is as long as if there were no midnight.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from shared.compliance.facts.parts import Entry, Marks, Ref, most_of, ref_of, second_of

MOST_ACCOUNTS = 200
MOST_NAMED, LEAST_NAMED = 100, 3
"""Of so many accounts an event of their longest run is named, if it is so long."""
EARLY_SECONDS = 3600
"""Successes so early in the day may be soon after a lock of the day before."""
BURST_SECONDS, LEAST_BURST = 3600, 2
_FAILURE, _SUCCESS, _LOCK, _UNLOCK = "f", "s", "l", "u"
_COUNTED = (None, "bad_credentials", "mfa_failed")
"""Failures that count toward a lock: one that met a lock does not."""


class SigningIn:
    """Collects sign-ins, locks and unlocks of a day."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._seen: dict[str, list[tuple[float, str, str, Ref]]] = {}
        self._shown: set[str] = set()
        self._logins: list[tuple[str, str]] = []

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        kind, outcome = entry["type"], entry["outcome"]
        if kind in ("mfa.challenge", "mfa.recovery_used"):
            if outcome == "success":
                self._shown.add(entry["context"]["request_id"])
            return
        step = self._step(entry)
        target = entry["target"]
        if step is None or target is None:
            return
        if step == _SUCCESS:
            self._logins.append((target["id"], entry["context"]["request_id"]))
        at = (second_of(entry), entry["id"], step, ref_of(entry, index))
        self._seen.setdefault(target["id"], []).append(at)

    @staticmethod
    def _step(entry: Entry) -> str | None:
        if entry["type"] == "auth.login":
            if entry["outcome"] == "success":
                return _SUCCESS
            return _FAILURE if entry["reason"] in _COUNTED else None
        return {"auth.account_locked": _LOCK, "user.unlock": _UNLOCK}.get(entry["type"])

    def document(self) -> dict[str, Any]:
        """Accounts with failures or locks, and how often accounts signed in with one factor alone."""
        runs: dict[str, list[Any]] = {}
        refs: dict[str, Ref] = {}
        early: dict[str, list[Any]] = {}
        for account, steps in self._seen.items():
            steps.sort(key=lambda each: each[:2])
            self._early(account, steps)
            first = next((each for each in steps if each[2] in (_SUCCESS, _UNLOCK)), None)
            if first is not None and first[0] < EARLY_SECONDS:
                early[account] = [first[2], round(first[0])]
            if any(step in (_FAILURE, _LOCK) for _, _, step, _ in steps):
                runs[account], ref = run_of(steps)
                if ref is not None and runs[account][1] >= LEAST_NAMED:
                    refs[account] = ref

        def longest(account: str) -> tuple[int, str]:
            return -runs[account][1], account

        accounts, left = most_of(runs, MOST_ACCOUNTS, lambda run: run[1])
        single: dict[str, int] = {}
        for account, request in self._logins:
            if request not in self._shown:
                single[account] = single.get(account, 0) + 1
        named, unnamed = most_of(single, MOST_ACCOUNTS, lambda n: n)
        return {
            "accounts": accounts,
            "accounts_left": left,
            "run_refs": {account: refs[account] for account in sorted(refs, key=longest)[:MOST_NAMED]},
            "early": dict(sorted(early.items())[:MOST_ACCOUNTS]),
            "single_factor": {"n": sum(single.values()), "accounts": named, "left": unnamed},
        }

    def _early(self, account: str, steps: list[tuple[float, str, str, Ref]]) -> None:
        """Mark successes soon after a lock, or after several failures."""
        locked: float | None = None
        failures: deque[tuple[float, Ref]] = deque()
        for at, _, step, ref in steps:
            if step == _FAILURE:
                failures.append((at, ref))
            elif step == _LOCK:
                locked = at
            elif step == _UNLOCK:
                locked = None
            else:
                while failures and failures[0][0] < at - BURST_SECONDS:
                    failures.popleft()
                if len(failures) >= LEAST_BURST:
                    self._marks.add("after_failures", ref, len(failures), about=account, failure=failures[-1][1][1])
                if locked is not None:
                    self._marks.add("after_lock", ref, int((at - locked) // 60), about=account)
                failures.clear()
                locked = None


def run_of(steps: list[tuple[float, str, str, Ref]]) -> tuple[list[Any], Ref | None]:
    """The failures of an account: of the run that the day begins with, the longest one, and the one that it ends with.
    Then whether nothing ended the first run (1), so that the day is one, and the second of a lock that nothing
    followed. Beside it the last failure of the longest run.
    """
    begins: int | None = None
    longest, current = 0, 0
    locked: int | None = None
    last: Ref | None = None
    for at, _, step, ref in steps:
        if step == _FAILURE:
            current += 1
            if current > longest:
                longest, last = current, ref
            continue
        if begins is None:
            begins = current
        current = 0
        locked = round(at) if step == _LOCK else None
    whole = begins is None
    return [current if begins is None else begins, longest, current, int(whole), locked], last
