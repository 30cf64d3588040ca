"""How good the record is: whether entries are complete and attributed, in time, seen by whom, refused in bursts."""

from __future__ import annotations

from typing import Any

from shared.compliance.facts.bursts import CROSS, DENIED, Bursts
from shared.compliance.facts.parts import Entry, Marks, ref_of, whole_second
from shared.core.clock import parse_rfc3339

ADMIN_ROLES = frozenset({"tenant_admin", "system_admin"})
READER_ROLES = ADMIN_ROLES | {"auditor"}
_LOG_VIEWS = frozenset({"audit.search", "audit.export", "report.read"})
_ADMIN_TYPES = frozenset(
    {
        *("user.list", "user.view", "user.update", "user.role_change", "user.status_change", "user.unlock"),
        *("user.delete", "user.invite", "user.invite_revoke", "apikey.create", "apikey.revoke", "config.change"),
        *("review.complete", "incident.record"),
    }
)
SKEW_MS = (0, 10, 100, 1_000, 10_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 86_400_000)
"""Upper bounds of the classes in which delays are counted; one class more for what is later."""
BACKWARDS_SECONDS = 600
"""Entries follow the order of sealing; so much disorder is that of machines that work side by side."""


class Quality:
    """Collects what is wrong with entries, and who looked at them."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._skew = [0] * (len(SKEW_MS) + 1)
        self._latest = ""
        self._reversals = 0
        self._complete = 0
        self._views: dict[str, int] = {}
        self._denied, self._cross = Bursts(DENIED, marks), Bursts(CROSS, marks)
        self._by_people = 0

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        kind, actor, at = entry["type"], entry["actor"], whole_second(entry)
        self._times(entry, index)
        self._by_people += actor["kind"] == "user"
        if _is_complete(entry):
            self._complete += 1
        else:
            self._marks.add("incomplete", ref_of(entry, index), of=kind)
        if _is_unattributed(entry):
            self._marks.add("unattributed", ref_of(entry, index), of=kind)
        if kind in _LOG_VIEWS:
            role = actor["role"] or actor["kind"]
            self._views[role] = self._views.get(role, 0) + 1
            if actor["kind"] == "user" and actor["role"] not in READER_ROLES:
                self._marks.add("log_view", ref_of(entry, index), about=actor["id"], of=role)
        elif kind in _ADMIN_TYPES and actor["kind"] == "user" and actor["role"] not in ADMIN_ROLES:
            self._marks.add("role", ref_of(entry, index), about=actor["id"], of=f"{actor['role']} {kind}")
        elif kind == "access.denied":
            self._denied.add(actor["id"] or actor["kind"], at, ref_of(entry, index))
        elif kind == "access.cross_tenant_denied":
            self._cross.add(actor["id"] or actor["kind"], at, ref_of(entry, index))

    def pass_by(self, entry: Entry) -> None:
        """Look at an event of another day that was sealed between those of this one: time can run back over it."""
        self._latest = max(self._latest, entry["recorded_at"])

    def _times(self, entry: Entry, index: int) -> None:
        at = entry["recorded_at"]
        if at < self._latest:
            back = (parse_rfc3339(self._latest) - parse_rfc3339(at)).total_seconds()
            if back > BACKWARDS_SECONDS:
                self._reversals += 1
                self._marks.add("backwards", ref_of(entry, index), int(back))
        else:
            self._latest = at
        recorded, occurred = entry["recorded_at"], entry["occurred_at"]
        if recorded == occurred:
            self._skew[0] += 1
            return
        late = abs(int((parse_rfc3339(recorded) - parse_rfc3339(occurred)).total_seconds() * 1000))
        self._skew[sum(late > bound for bound in SKEW_MS)] += 1
        if late >= SKEW_MS[5]:
            self._marks.add("late", ref_of(entry, index), late // 60_000)

    def document(self) -> dict[str, Any]:
        """The counts, and the bursts that midnight may cut."""
        return {
            DENIED: self._denied.document(),
            CROSS: self._cross.document(),
            "skew": self._skew,
            "backwards": self._reversals,
            "complete": self._complete,
            "by_people": self._by_people,
            "log_views": dict(sorted(self._views.items())),
        }


def _is_complete(entry: Entry) -> bool:
    """Whether it says who, what, when, how it ended, from where, and what it was about.

    Times, type and outcome are part of every event. Nobody is named where nobody is known: at signing in, and for what
    the service does by itself. What has no target was about the part of the service that its route names.
    """
    actor = entry["actor"]
    named = actor["id"] is not None or actor["kind"] in ("anonymous", "system")
    about = entry["target"] is not None or (entry["context"]["route"] and not entry["type"].startswith("data."))
    return bool(named and entry["source"]["id"] and about)


def _is_unattributed(entry: Entry) -> bool:
    """Whether a person caused it and nobody can tell which one."""
    actor = entry["actor"]
    if actor["kind"] == "user":
        return actor["id"] is None
    return (
        actor["kind"] == "anonymous"
        and entry["outcome"] == "success"
        and not entry["type"].startswith(("auth.", "mfa."))
    )
