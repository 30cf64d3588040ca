"""Who was there: actors, their sessions and what lay between two of their calls, accounts that were ended, sources."""

from __future__ import annotations

from typing import Any

from shared.compliance.facts.parts import Entry, Marks, Ref, lines_of, most_of, ref_of, second_of

MOST_ACTORS, MOST_SESSIONS, MOST_SOURCES = 500, 300, 100
LEAST_IDLE_MINUTES = 5
LEAST_CONCURRENT = 3
_RENEWED = "auth.token_refresh"
"""A program does it by itself: it is no sign that somebody is there."""


class _Session:
    __slots__ = ("actor", "first", "last", "ref")

    def __init__(self, actor: str | None, at: float, ref: Ref) -> None:
        self.actor, self.first, self.last, self.ref = actor, at, at, ref


class _Actor:
    __slots__ = ("events", "first", "kind", "last", "ref")

    def __init__(self, kind: str, at: float) -> None:
        self.kind, self.events, self.first, self.last = kind, 0, at, at
        self.ref: Ref = []


class Presence:
    """Collects who acted when."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._actors: dict[str, _Actor] = {}
        self._sessions: dict[str, _Session] = {}
        self._ended: dict[str, tuple[float, Ref]] = {}
        self._back: dict[str, float] = {}
        self._sources: dict[str, list[float]] = {}

    def add(self, entry: Entry, index: int) -> None:
        """Look at one event."""
        at = second_of(entry)
        self._source(entry, at)
        actor, ref = entry["actor"], None
        if actor["id"] is not None and entry["outcome"] == "success":
            found = self._actors.get(actor["id"])
            if found is None:
                found = self._actors[actor["id"]] = _Actor(actor["kind"], at)
            found.events += 1
            found.first = min(found.first, at)
            if at >= found.last:
                found.last = at
                found.ref = ref = ref_of(entry, index)
        session = entry["context"]["session_id"]
        if session is not None and entry["type"] != _RENEWED:
            self._call(session, entry, at, ref or ref_of(entry, index))
        if entry["type"] in ("user.status_change", "user.delete"):
            self._status(entry, at, index)

    def _call(self, session: str, entry: Entry, at: float, ref: Ref) -> None:
        found = self._sessions.get(session)
        if found is None:
            self._sessions[session] = _Session(entry["actor"]["id"], at, ref)
            return
        minutes = int((at - found.last) // 60)
        again = entry["type"] in ("auth.login", "mfa.challenge") and entry["outcome"] == "success"
        if minutes >= LEAST_IDLE_MINUTES and not again:
            self._marks.add("idle", ref, minutes, about=found.actor)
        found.first, found.last = min(found.first, at), max(found.last, at)

    def _status(self, entry: Entry, at: float, index: int) -> None:
        target = entry["target"]
        if target is None:
            return
        if entry["type"] == "user.delete" or entry["attributes"].get("new_status") != "active":
            self._ended[target["id"]] = (at, ref_of(entry, index))
        else:
            self._ended.pop(target["id"], None)
            self._back[target["id"]] = at

    def _source(self, entry: Entry, at: float) -> None:
        source = entry["source"]
        name = "session" if source["kind"] == "session" else f"{source['kind']}:{source['id']}"
        found = self._sources.get(name)
        if found is None:
            self._sources[name] = [1, at, at, at, at]
            return
        found[0] += 1
        found[1] = min(found[1], at)
        if at > found[2]:
            if at - found[2] > found[4] - found[3]:
                found[3:] = [found[2], at]
            found[2] = at

    def document(self) -> dict[str, Any]:
        """Actors, sessions, ended accounts and sources of the day."""
        for account, (ended, _) in self._ended.items():
            actor = self._actors.get(account)
            if actor is not None and actor.last > ended:
                self._marks.add("after_exit", actor.ref, int(actor.last - ended), about=account)
        self._concurrent()
        actors, actors_left = most_of(self._actors, MOST_ACTORS, lambda each: each.events)
        sessions, sessions_left = most_of(self._sessions, MOST_SESSIONS, lambda each: each.last)
        sources, sources_left = most_of(self._sources, MOST_SOURCES, lambda each: each[0])
        return {
            "actors": lines_of(
                (name, each.kind, each.events, round(each.first), round(each.last)) for name, each in actors.items()
            ),
            "actors_left": actors_left,
            "sessions": lines_of((name, round(each.first), round(each.last)) for name, each in sessions.items()),
            "sessions_left": sessions_left,
            "sessions_n": len(self._sessions),
            "ended": {name: [round(at, 6), ref] for name, (at, ref) in sorted(self._ended.items())[:MOST_ACTORS]},
            "back": {name: round(at, 6) for name, at in sorted(self._back.items())[:MOST_ACTORS]},
            "sources": {name: [int(n), *(round(at) for at in times)] for name, (n, *times) in sources.items()},
            "sources_left": sources_left,
        }

    def _concurrent(self) -> None:
        """Mark accounts that had several sessions in use at one time."""
        spans: dict[str, list[_Session]] = {}
        for each in self._sessions.values():
            if each.actor is not None:
                spans.setdefault(each.actor, []).append(each)
        for account, held in sorted(spans.items()):
            if len(held) < LEAST_CONCURRENT:
                continue
            edges = sorted(
                [(each.first, 0, each) for each in held] + [(each.last, 1, each) for each in held], key=_edge
            )
            now, most, ref = 0, 0, held[0].ref
            for _, ends, session in edges:
                now += -1 if ends else 1
                if now > most:
                    most, ref = now, session.ref
            if most >= LEAST_CONCURRENT:
                self._marks.add("concurrent", ref, most, about=account)


def _edge(edge: tuple[float, int, _Session]) -> tuple[float, int]:
    return edge[:2]
