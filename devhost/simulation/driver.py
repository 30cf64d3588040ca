"""Carries a plan out over HTTP: in the order of time, each person's calls one after the other.

On a simulated clock it moves time forward as it goes. Ordinary calls within four minutes are made together, at the
first one's time; whatever a case is made of happens at its very moment. Events of other services wait for up to an
hour, as those would batch them, and keep the time at which they occurred.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import httpx

from devhost.simulation.actions import SETUP, Action, Call, Record
from devhost.simulation.people import Person
from devhost.simulation.plan import Plan
from devhost.simulation.requests import Json, Known, SimulationError, event_of, headers_of, request_of
from shared.core.clock import Clock, rfc3339

TOGETHER = timedelta(minutes=4)
_AT_ONCE = 8
_BATCH = 500
_WAIT = timedelta(hours=1)
_TOKEN = timedelta(minutes=14)
_TIMERS = ("flush_rejections", "daily_reports")
_TRIES, _PAUSE_SECONDS = 8, 0.25


@dataclass(frozen=True, slots=True)
class Trace:
    """What a case left: when, and the id of its request or of its event."""

    at: datetime
    request_id: str | None = None
    event_id: str | None = None


class Time(Protocol):
    """The server's time. `simulated`: it moves when it is told to."""

    simulated: bool

    async def reach(self, moment: datetime) -> datetime:
        """Go forward to a moment, where that can be done; the time that it is then."""
        ...


class RealTime:
    """A server whose clock is its machine's: what is to happen happens now."""

    simulated = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def reach(self, moment: datetime) -> datetime:
        """The present moment, whatever the plan says."""
        return self._clock.now()


class MovedTime:
    """A devhost with a simulated clock, at `root`. Timers run once a day, by hand."""

    simulated = True

    def __init__(self, root: httpx.AsyncClient, now: datetime) -> None:
        self._root = root
        self._now = now
        self._due = now.replace(hour=0, minute=5, second=0, microsecond=0) + timedelta(days=1)

    async def reach(self, moment: datetime) -> datetime:
        """Move the clock, stopping where timers are due."""
        while self._due <= moment:
            await self._move(self._due)
            for name in _TIMERS:
                await self._asked(f"admin/functions/{name}", {})
            self._due += timedelta(days=1)
        if self._now < moment:
            await self._move(moment)
        return self._now

    async def _move(self, moment: datetime) -> None:
        await self._asked("admin/clock", {"now": rfc3339(moment)})
        self._now = moment

    async def _asked(self, path: str, body: Json) -> None:
        answer = await self._root.post(path, json=body)
        if answer.status_code not in (200, 202):
            raise SimulationError(f"POST /{path} answered {answer.status_code}")


class Driver:
    """Carries out one plan. `progress` is told how many actions are done."""

    def __init__(self, http: httpx.AsyncClient, plan: Plan, time: Time, progress: Callable[[int], None]) -> None:
        self.known = Known(plan.options.seed, plan.tenants)
        self.calls: Counter[str] = Counter()
        self.events = 0
        self.traces: dict[int, list[Trace]] = defaultdict(list)
        self._http = http
        self._plan = plan
        self._time = time
        self._progress = progress
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting: dict[int, list[Record]] = defaultdict(list)
        self._now = plan.options.start

    async def run(self) -> None:
        """Do everything. SimulationError when a call is not answered as planned."""
        done = 0
        for turn in rounds(self._plan.actions):
            self._now = await self._time.reach(turn[0].at)
            await self._report(everything=False)
            by_person: dict[Person, list[Call]] = defaultdict(list)
            for action in turn:
                if isinstance(action, Record):
                    self._waiting[action.who.tenant].append(action)
                else:
                    by_person[action.who].append(action)
            await _all(self._in_order(calls) for calls in by_person.values())
            done += len(turn)
            self._progress(done)
        self._now = await self._time.reach(self._plan.options.end)
        await self._report(everything=True)

    async def _in_order(self, calls: Sequence[Call]) -> None:
        for call in calls:
            async with self._slots:
                await self._do(call)

    async def _do(self, call: Call) -> None:
        method, path, body = request_of(call, self.known)
        token = None if call.verb in ("found", "join", "login") else await self._token(call)
        answer = await self._send(method, path, body, headers_of(call.client, token))
        self.calls[call.verb] += 1
        if answer.status_code not in call.expected:
            raise SimulationError(_unexpected(f"{call.verb} of {call.who.name}", answer))
        if answer.is_success:
            self.known.take(call, answer.json() if answer.content else {}, self._now)
        if call.case is not None:
            at = call.at if self._time.simulated else self._now
            self.traces[call.case].append(Trace(at, request_id=answer.headers["x-request-id"]))

    async def _token(self, call: Call) -> str:
        """The access token of a call's session, renewed in time."""
        session = self.known.sessions[call.who, call.session]
        if self._now - session.issued_at >= _TOKEN:
            body = {"refresh_token": session.refresh}
            answer = await self._send("POST", "v1/token/refresh", body, headers_of(call.client))
            self.calls["refresh"] += 1
            if answer.status_code != 200:
                raise SimulationError(_unexpected(f"refresh of {call.who.name}", answer))
            found = answer.json()
            session.access, session.refresh, session.issued_at = (
                found["access_token"],
                found["refresh_token"],
                self._now,
            )
        return session.access

    async def _report(self, *, everything: bool) -> None:
        """Send the events that have waited long enough, or that fill a batch."""
        for tenant, records in self._waiting.items():
            while records and (everything or len(records) >= _BATCH or records[0].at <= self._now - _WAIT):
                batch, records[:] = records[:_BATCH], records[_BATCH:]
                await self._post(tenant, batch)

    async def _post(self, tenant: int, batch: Sequence[Record]) -> None:
        step = timedelta(microseconds=1)
        times = [each.at if self._time.simulated else self._now + turn * step for turn, each in enumerate(batch)]
        events = [event_of(each, self.known, at) for each, at in zip(batch, times, strict=True)]
        headers = {"Authorization": f"Bearer {self.known.keys[tenant]}"}
        answer = await self._send("POST", "v1/events", {"events": events}, headers)
        self.calls["report_events"] += 1
        if answer.status_code != 201:
            raise SimulationError(_unexpected(f"{len(batch)} events of tenant {tenant}", answer))
        self.events += len(batch)
        for each, at, item in zip(batch, times, answer.json()["items"], strict=True):
            if each.case is not None:
                self.traces[each.case].append(Trace(at, event_id=item["id"]))

    async def _send(self, method: str, path: str, body: Json | None, headers: dict[str, str]) -> httpx.Response:
        for turn in range(1, _TRIES + 1):
            answer = await self._http.request(method, path, json=body, headers=headers)
            if answer.status_code != 503 or turn == _TRIES:
                break
            await asyncio.sleep(_PAUSE_SECONDS * turn)  # it is busy: what it asks for would be the machine's time
        return answer


def rounds(actions: Sequence[Action]) -> Iterator[Sequence[Action]]:
    """The actions in the groups in which they are carried out: exact calls alone, others with those of some minutes."""
    turn: list[Action] = []
    for action in actions:
        alone = isinstance(action, Call) and action.exact
        if turn and (alone or action.at - turn[0].at > TOGETHER or _parts(turn[-1], action)):
            yield turn
            turn = []
        turn.append(action)
        if alone:
            yield turn
            turn = []
    if turn:
        yield turn


def _parts(before: Action, action: Action) -> bool:
    """Whether the setting-up goes over into another step, on which it depends."""
    verbs = [each.verb if isinstance(each, Call) else None for each in (before, action)]
    return verbs[0] != verbs[1] and any(verb in SETUP for verb in verbs)


async def _all(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do them together; the first failure ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _unexpected(what: str, answer: httpx.Response) -> str:
    hint = ""
    if answer.status_code == 429:
        hint = "; the server has to tell addresses apart: TRUSTED_PROXY_HOPS one higher there, for this program is one"
    elif answer.status_code == 409:
        hint = "; the accounts of this --seed exist there"
    return f"{what} was answered {answer.status_code} {_reason(answer)}{hint}"


def _reason(answer: httpx.Response) -> str:
    """The code of a refusal, and the first field that is at fault; never a value."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    faults = body.get("errors") or [fault for item in body.get("items", ()) for fault in item.get("errors") or ()]
    first = f"{faults[0]['field']}: {faults[0]['code']}" if faults else ""
    return " ".join(filter(None, (body.get("code", ""), first)))
