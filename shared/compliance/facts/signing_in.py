"""Signing in, by account: runs of failures, locks, and successes that came soon after either.

A day knows nothing of the one before. So each account tells how the day found it and how it leaves it, and days are put
together from that (`midnight.py`): a run over midnight is as long as if there were no midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.compliance.facts.parts import DAY_SECONDS, Entry, Marks, Ref, lines_of, most_of, ref_of, second_of

MOST_ACCOUNTS, MOST_STEPPED, MOST_EARLY = 300, 1000, 400
"""Accounts that midnight may matter to; those with a step that ends a run; of these with a success right after
midnight."""
BURST_SECONDS, LEAST_BURST = 3600, 2
FAILURE, SUCCESS, LOCK, UNLOCK = "f", "s", "l", "u"
_COUNTED = (None, "bad_credentials", "mfa_failed")
"""Failures that count toward a lock: one that met a lock does not."""

type Step = tuple[int, str, Ref]
"""When (whole second of the day), what, and the event."""


class SigningIn:
    """Collects sign-ins, locks and unlocks of a day."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._seen: dict[str, list[tuple[float, str, str, Ref]]] = {}

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        step = self._step(entry)
        target = entry["target"]
        if step is None or target is None:
            return
        at = (second_of(entry), entry["id"], step, ref_of(entry, index))
        self._seen.setdefault(target["id"], []).append(at)

    @staticmethod
    def _step(entry: Entry) -> str | None:
        if entry["type"] == "auth.login":
            if entry["outcome"] == "success":
                return SUCCESS
            return FAILURE if entry["reason"] in _COUNTED else None
        return {"auth.account_locked": LOCK, "user.unlock": UNLOCK}.get(entry["type"])

    def document(self) -> dict[str, Any]:
        """Accounts as midnight found and left them."""
        accounts = {account: _Account(account, steps, self._marks) for account, steps in sorted(self._seen.items())}
        open_ones = {account: each for account, each in accounts.items() if each.weight}
        kept, left = most_of(open_ones, MOST_ACCOUNTS, lambda each: each.weight)
        hidden = [each for account, each in open_ones.items() if account not in kept]
        for each in hidden:
            each.mark_alone(self._marks)
        return {
            "accounts": lines_of(each.row() for each in kept.values()),
            "accounts_most": _most(open_ones.values()),
            "accounts_hidden": _most(hidden),
            "accounts_left": left,
            **_stepped(accounts),
        }


class _Account:
    """What the steps of an account come to: what lies wholly within the day is marked, what does not is kept."""

    def __init__(self, account: str, steps: list[tuple[float, str, str, Ref]], marks: Marks) -> None:
        self.account = account
        self.first: Step | None = None
        """The first step that ends a run of failures."""
        self.begins, self.ends, self.locked = 0, 0, -1
        self.begins_ref: Ref = []
        self.ends_ref: Ref = []
        self.tail: list[int] = []
        self.early: Step | None = None
        """A success so soon after midnight that failures of the day before count; with those of the day, and the id of
        the last of them."""
        self.early_failures, self.early_failure = 0, ""
        self.last_failure = ""
        self._marks = marks
        self._is_first_success = True
        for at, _, step, ref in sorted(steps, key=lambda each: each[:2]):
            self._take((int(at), step, ref))
        edge = DAY_SECONDS - BURST_SECONDS
        self.tail = [at for at in self.tail if at >= edge]
        if self.first is None:
            self.begins, self.begins_ref = self.ends, self.ends_ref

    def _take(self, each: Step) -> None:
        at, step, ref = each
        if step == FAILURE:
            self.ends, self.ends_ref = self.ends + 1, ref
            self.tail.append(at)
            self.last_failure = ref[1]
            return
        if self.first is None:
            self.first = each
            self.begins, self.begins_ref = self.ends, self.ends_ref
        elif self.ends:
            self._marks.add("run", self.ends_ref, self.ends, about=self.account)
        self.ends, self.ends_ref = 0, []
        if step == SUCCESS:
            self._succeed(each)
        if step == LOCK:
            self.locked = at
        else:
            self.locked = -1

    def _succeed(self, each: Step) -> None:
        at, _, ref = each
        if self.locked >= 0:
            self._marks.add("after_lock", ref, (at - self.locked) // 60, about=self.account)
        recent = [failed for failed in self.tail if failed >= at - BURST_SECONDS]
        if self._is_first_success and at < BURST_SECONDS:
            self.early, self.early_failures, self.early_failure = each, len(recent), self.last_failure
        else:
            self._burst(ref, len(recent), self.last_failure)
        self._is_first_success = False
        self.tail, self.last_failure = [], ""

    def _burst(self, ref: Ref, failures: int, failure: str) -> None:
        if failures >= LEAST_BURST:
            self._marks.add("after_failures", ref, failures, about=self.account, failure=failure)

    @property
    def weight(self) -> int:
        """How much midnight may matter to it; 0: not at all. A lock may be met on any later day."""
        size = max(self.begins, self.ends, len(self.tail), self.early_failures)
        return size + (DAY_SECONDS if self.locked >= 0 else 0)

    @property
    def is_whole(self) -> bool:
        """Whether nothing ended the run that the day began with."""
        return self.first is None

    def mark_alone(self, marks: Marks) -> None:
        """Mark what the day alone knows, where the account is not kept."""
        for ref, size in [(self.begins_ref, self.begins), (self.ends_ref, self.ends)][: 1 if self.is_whole else 2]:
            if size:
                marks.add("run", ref, size, about=self.account)
        if self.early is not None:
            self._burst(self.early[2], self.early_failures, self.early_failure)

    def row(self) -> tuple[Any, ...]:
        """Account; first run, and index, id and time of its last event; the same of the last run; whether they are one;
        second of a lock that nothing followed; moments of failures shortly before midnight, and the id of the last one.
        Where there was an early success: its second, failures before it, the id of the last one, index, id and time."""
        early: tuple[Any, ...] = ()
        if self.early is not None:
            at, _, ref = self.early
            early = (at, self.early_failures, self.early_failure, _place(ref))
        return (
            self.account,
            *(self.begins, _place(self.begins_ref), self.ends, _place(self.ends_ref), int(self.is_whole)),
            *("" if self.locked < 0 else self.locked, " ".join(map(str, self.tail)), self.last_failure),
            *early,
        )


def _place(ref: Ref) -> str:
    return " ".join(map(str, ref[:3]))


def _most(found: Any) -> list[int]:
    """Of accounts: how many; the longest first and last run, the longest that is both; most failures before midnight;
    how many are locked; most failures before an early success."""
    each = list(found)
    return [
        len(each),
        max((one.begins for one in each), default=0),
        max((one.ends for one in each), default=0),
        max((one.begins for one in each if one.is_whole), default=0),
        max((len(one.tail) for one in each), default=0),
        sum(one.locked >= 0 for one in each),
        max((one.early_failures for one in each if one.early is not None), default=0),
    ]


def _stepped(accounts: dict[str, _Account]) -> dict[str, Any]:
    """Accounts with a step that ends a run, a line each; in the same order the first such step and when, and of an
    early success second, index, id and time. Where there are too many, how many are left out of either."""
    found = [(each.first, each) for each in accounts.values() if each.first is not None]
    found.sort(key=lambda pair: (pair[0][0], pair[1].account))
    steps: list[Sequence[Any]] = []
    early = 0
    for (at, step, _), each in found[:MOST_STEPPED]:
        early += each.early is not None
        is_kept = each.early is not None and early <= MOST_EARLY
        steps.append((step, at, *((each.early[0], _place(each.early[2])) if each.early and is_kept else ())))
    return {
        "stepped": lines_of([each.account] for _, each in found[:MOST_STEPPED]),
        "steps": lines_of(steps),
        "stepped_left": len(found) - len(steps),
        "early_left": sum(each.early is not None for _, each in found) - min(early, MOST_EARLY),
    }
