"""Who was there: actors, their sessions and what lay between two of their calls, accounts that were ended, sources."""

from __future__ import annotations

import base64
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any

from shared.compliance.facts.bursts import CONCURRENT, Bursts
from shared.compliance.facts.parts import Entry, Marks, Ref, hash_of, lines_of, most_of, ref_of, second_of

MOST_ACTORS, MOST_SESSIONS, MOST_SOURCES = 500, 2000, 500
MOST_PRESENT, MOST_ENDED = 8000, 2000
"""Actors beyond those that are named, by a hash each; accounts whose status changed."""
MOST_SILENCES = 3000
"""Of all sources, the longest; the longest of each source is kept beside them."""
LEAST_IDLE_MINUTES = 5
LEAST_SILENCE_SECONDS = 3600
"""No threshold is lower than an hour: what is shorter is no silence for anybody."""
ACTIVE, ENDED = "a", "e"
_RENEWED = "auth.token_refresh"
"""A program does it by itself: it is no sign that somebody is there."""
_SENT = ("data.", "custom.", "consent.")
"""Types of which API keys send events. What else they cause the service writes: it shows that they called."""


class _Session:
    __slots__ = ("actor", "again", "first", "last")

    def __init__(self, actor: str | None, at: int, *, again: bool) -> None:
        self.actor, self.first, self.last, self.again = actor, at, at, again


class _Actor:
    __slots__ = ("kind", "last", "ref", "times")

    def __init__(self, kind: str) -> None:
        self.kind, self.last = kind, -1.0
        self.times = array("d")
        self.ref: Ref = []


class _Source:
    __slots__ = ("first", "last", "longest", "n", "silences")

    def __init__(self, at: float) -> None:
        self.n, self.first, self.last = 1, at, at
        self.longest = (at, at)
        self.silences: list[tuple[float, float]] = []

    def add(self, at: float) -> None:
        self.n += 1
        self.first = min(self.first, at)
        if at <= self.last:
            return
        length = at - self.last
        if length >= LEAST_SILENCE_SECONDS:
            self.silences.append((self.last, at))
        if length > self.longest[1] - self.longest[0]:
            self.longest = (self.last, at)
        self.last = at


class Presence:
    """Collects who acted when."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._actors: dict[str, _Actor] = {}
        self._sessions: dict[str, _Session] = {}
        self._together = Bursts(CONCURRENT, marks)
        self._changes: dict[str, list[tuple[float, str, str]]] = {}
        self._sources: dict[str, _Source] = {}

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        at = second_of(entry)
        self._source(entry, at)
        actor, ref = entry["actor"], ref_of(entry, index)
        if actor["id"] is not None and entry["outcome"] == "success":
            found = self._actors.get(actor["id"])
            if found is None:
                found = self._actors[actor["id"]] = _Actor(actor["kind"])
            found.times.append(at)
            if at >= found.last:
                found.last, found.ref = at, ref
        session = entry["context"]["session_id"]
        if session is not None and entry["type"] != _RENEWED:
            self._call(session, entry, int(at), ref)
        if entry["type"] in ("user.status_change", "user.delete") and entry["target"] is not None:
            is_ended = entry["type"] == "user.delete" or entry["attributes"].get("new_status") != "active"
            change = (at, entry["id"], ENDED if is_ended else ACTIVE)
            self._changes.setdefault(entry["target"]["id"], []).append(change)

    def _call(self, session: str, entry: Entry, at: int, ref: Ref) -> None:
        found = self._sessions.get(session)
        again = entry["type"] in ("auth.login", "mfa.challenge") and entry["outcome"] == "success"
        if found is None:
            found = self._sessions[session] = _Session(entry["actor"]["id"], at, again=again)
        minutes = (at - found.last) // 60
        if minutes >= LEAST_IDLE_MINUTES and not again:
            self._marks.add("idle", ref, minutes, about=found.actor)
        found.first, found.last = min(found.first, at), max(found.last, at)
        if found.actor is not None:
            self._together.add(found.actor, at, ref, session)

    def _source(self, entry: Entry, at: float) -> None:
        source = entry["source"]
        if source["kind"] == "api_key" and not entry["type"].startswith(_SENT):
            return
        name = "session" if source["kind"] == "session" else f"{source['kind']}:{source['id']}"
        found = self._sources.get(name)
        if found is None:
            self._sources[name] = _Source(at)
        else:
            found.add(at)

    def document(self) -> dict[str, Any]:
        """Actors, sessions, accounts whose status changed, and sources of the day. Names stand in texts of their own,
        what is told of them in the same order in others: names alone are looked through much faster."""
        actors, actors_left = most_of(self._actors, MOST_ACTORS, lambda each: len(each.times))
        sessions, sessions_left = most_of(self._sessions, MOST_SESSIONS, lambda each: each.last)
        sources, sources_left = most_of(self._sources, MOST_SOURCES, lambda each: each.n)
        silences, silence_left = _silences(sources)
        present = sorted(hash_of(name) for name in self._actors if name not in actors)
        exits = [self._exit(account, sorted(changes)) for account, changes in sorted(self._changes.items())]
        return {
            "actors": lines_of([name] for name in actors),
            "actor_kinds": lines_of([each.kind] for each in actors.values()),
            "actors_left": actors_left,
            "present": base64.b64encode(b"".join(present[:MOST_PRESENT])).decode(),
            "present_left": max(0, len(present) - MOST_PRESENT),
            "sessions": lines_of([name] for name in sessions),
            "session_times": lines_of((each.first, each.last, int(each.again)) for each in sessions.values()),
            "sessions_left": sessions_left,
            "sessions_n": len(self._sessions),
            CONCURRENT: self._together.document(),
            "exits": lines_of(exits[:MOST_ENDED]),
            "exits_left": max(0, len(exits) - MOST_ENDED),
            "sources": {
                name: [each.n, *(round(at) for at in (each.first, each.last, *each.longest, *silences.get(name, ())))]
                for name, each in sources.items()
            },
            "sources_left": sources_left,
            "silence_left": silence_left,
        }

    def _exit(self, account: str, changes: list[tuple[float, str, str]]) -> tuple[Any, ...]:
        """What became of an account: the first change, whether it acted before that, and whether while an ending that
        came first lasted; the last state, how often it was ended, and whether it acted since the last ending. Endings
        that do not come first are marked where it acted."""
        actor = self._actors.get(account)
        times = sorted(actor.times) if actor is not None else []
        spans: list[tuple[float, float]] = []
        for at, _, state in changes:
            if state == ENDED and (not spans or spans[-1][1] >= 0):
                spans.append((at, -1.0))
            elif state == ACTIVE and spans and spans[-1][1] < 0:
                spans[-1] = (spans[-1][0], at)
        first_at, _, first = changes[0]
        acted = [_has(times, start, end) for start, end in spans]
        own = acted[0] if first == ENDED else False
        for place, (start, _) in enumerate(spans):
            if acted[place] and (place or first != ENDED) and actor is not None:
                self._marks.add("after_exit", actor.ref, int(actor.last - start), about=account)
        open_acted = bool(spans) and spans[-1][1] < 0 and acted[-1]
        before = bool(times) and (times[0] <= first_at if first == ENDED else times[0] < first_at)
        ref = actor.ref[:3] if actor is not None and (own or before) else ("", "", "")
        kind = actor.ref[3:] if ref[1] and actor is not None else ("", "")
        return (account, first, int(before), int(own), changes[-1][2], len(spans), int(open_acted), *ref, *kind)


def _silences(sources: Mapping[str, _Source]) -> tuple[dict[str, list[float]], int]:
    """By source its silences of an hour and more beside the longest, from and until when one after the other, and how
    many seconds the longest lasted for which there is no room (0: none)."""
    spans = [(name, span) for name, each in sources.items() for span in each.silences if span != each.longest]
    if len(spans) > MOST_SILENCES:
        spans.sort(key=lambda each: each[1][0] - each[1][1])
    found: dict[str, list[float]] = {}
    for name, span in spans[:MOST_SILENCES]:
        found.setdefault(name, []).extend(span)
    left = spans[MOST_SILENCES:]
    return found, math.ceil(left[0][1][1] - left[0][1][0]) if left else 0


def _has(times: list[float], start: float, end: float) -> bool:
    """Whether there is a time after the start, and before the end (below 0: none)."""
    place = bisect_right(times, start)
    return place < (len(times) if end < 0 else bisect_left(times, end))
