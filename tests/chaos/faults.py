"""The faults of a campaign: what each does to the app's processes, and how one sees that they got over it."""

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

import httpx

from tests.chaos.app import ROOT
from tests.chaos.places import EmbeddedPlace, SharedPlace
from tests.chaos.process import AppProcess, DidNotStart
from tests.chaos.store import NOT_WRITTEN, OF_CALLS, OF_FEED

RECOVER_SECONDS = 45.0
MOST_BACK_SECONDS = 240.0
"""A clock that goes back by more than five minutes looks like a forged past, and the ledger has to say so."""
FORWARD_SECONDS = (30.0, 1200.0, 7200.0, 46_800.0)
SKEW_SECONDS = 100.0
TRIES = 4
"""So often a kind is tried that did not come about: nothing was written by the process that was to die at a write."""
IN_USE = "another process has the database"

type Fault = Callable[[], Awaitable[bool]]
"""Injects it, and waits until it is over; whether it came about."""


class NotRecovered(Exception):
    """The app did not serve again after a fault was over."""


@dataclass
class Tally:
    """What was injected: `faults` by kind, as episodes (of these, those that the app `survived`), 0 for kinds that did
    not come about; `calls`: store calls, deliveries and requests that were hit, by kind."""

    faults: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)


class Faults:
    """Injects faults into the processes of one place, one after the other."""

    def __init__(
        self,
        place: EmbeddedPlace | SharedPlace,
        apps: Sequence[AppProcess],
        random: Random,
        tally: Tally,
        kinds: Sequence[str] | None = None,
    ) -> None:
        self._place = place
        self._apps = apps
        self._random = random
        self._tally = tally
        self._high = apps[0].offset_seconds
        self._base = self._high
        own: dict[str, Fault] = {
            "kill -9": self._kill,
            "kill -9 while starting": self._kill_twice,
            "everything at once, kill -9": self._everything,
            "died before a write": lambda: self._die("die_before"),
            "died after a write": lambda: self._die("die_after"),
            "store: refused before": lambda: self._rates(before=0.3),
            "store: answer lost": lambda: self._rates(after=0.3),
            "store: gone": lambda: self._rates(before=1.0, feed_fails=1.0),
            "store: throttled (429)": lambda: self._rates(throttled=0.4),
            "store: slow": lambda: self._rates(slow=0.3),
            "feed: repeated and disordered": lambda: self._rates(feed_repeats=0.5, feed_disorders=0.7, feed_fails=0.2),
        }
        if isinstance(place, EmbeddedPlace):
            own |= {
                "disk full": lambda: self._disk_full(place),
                "clock stepped forward": self._clock_forward,
                "clock stepped back": self._clock_back,
                "second process on the file": lambda: self._second(place),
            }
        else:
            own |= {
                "wire: 429, 503, dropped": lambda: self._wire(place),
                "clocks apart": self._clocks_apart,
            }
        self.kinds: Mapping[str, Fault] = own if kinds is None else {kind: own[kind] for kind in kinds}
        self._chosen = kinds is not None
        tally.faults.update(dict.fromkeys(self.kinds, 0))

    async def run(self, seconds: float) -> None:
        """Inject every kind once, however long it takes, in an order that follows from the seed (or that was chosen);
        then any, until there were faults for so long. NotRecovered."""
        until = monotonic() + seconds
        kinds = list(self.kinds)
        if not self._chosen:
            self._random.shuffle(kinds)
        for kind in kinds:
            for _ in range(TRIES):
                if await self._inject(kind):
                    break
        while monotonic() < until:
            await self._inject(self._random.choice(kinds))

    async def _inject(self, kind: str) -> bool:
        """Whether it came about; only then it counts."""
        await asyncio.sleep(self._random.uniform(0.2, 0.8))
        self._tally.faults[kind] += 1
        came_about = await self.kinds[kind]()
        await self.recovered(kind)
        if came_about:
            self._tally.survived[kind] += 1
        else:
            self._tally.faults[kind] -= 1
        return came_about

    async def set_clocks(self, offset_seconds: float) -> None:
        """Put the clocks of all processes, and of the store, so far from the machine's."""
        self._high = self._base = offset_seconds
        await self._place.later(offset_seconds)
        for app in self._apps:
            await app.tell(offset_seconds=offset_seconds)

    async def recovered(self, kind: str) -> None:
        """Wait until every process serves. NotRecovered."""
        deadline = monotonic() + RECOVER_SECONDS
        async with httpx.AsyncClient(timeout=10) as http:
            for app in self._apps:
                while not await _serves(http, app):
                    if not app.runs or monotonic() > deadline:
                        raise NotRecovered(f"after: {kind}\n{app.last_words()}")
                    await asyncio.sleep(0.05)

    def _one(self) -> AppProcess:
        return self._random.choice(self._apps)

    async def _start(self, app: AppProcess) -> None:
        await app.start(self._random.getrandbits(32))

    def _hits(self, kinds: Iterable[str]) -> int:
        return sum(self._tally.calls[kind] for kind in kinds)

    async def _kill(self) -> bool:
        app = self._one()
        await app.kill()
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self._start(app)
        return True

    async def _kill_twice(self) -> bool:
        """Kill it again before it serves: what a start does may end at any instruction, too."""
        app = self._one()
        await app.kill()
        starting = asyncio.create_task(self._start(app))
        await asyncio.sleep(self._random.uniform(0.3, 1.5))
        in_time = not starting.done()
        await app.kill()
        with contextlib.suppress(DidNotStart):
            await starting
        if not app.runs:
            await self._start(app)
        return in_time

    async def _everything(self) -> bool:
        app = self._one()
        await app.tell(rates=dict.fromkeys((*OF_CALLS, *OF_FEED), 0.15))
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        await app.kill()
        await self._start(app)
        return True

    async def _die(self, kind: str) -> bool:
        """Let it die at a write of its own choice; without one, by a plain kill, which is no such fault."""
        app, before = self._one(), self._tally.calls[kind]
        await app.tell(rates={kind: 0.05})
        try:
            async with asyncio.timeout(5):
                await app.ended()
        except TimeoutError:
            await app.kill()
        await self._start(app)
        return self._tally.calls[kind] > before

    async def _rates(self, **rates: float) -> bool:
        wanted = [kind for kind in rates if kind != "feed_fails"]  # which is beside something else
        before = self._hits(wanted)
        chosen = self._apps if self._random.random() < 0.5 else [self._one()]
        for app in chosen:
            await app.tell(rates=rates)
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        for app in chosen:
            await app.tell(rates={})
        return self._hits(wanted) > before

    async def _disk_full(self, place: EmbeddedPlace) -> bool:
        """It came about if something could not be written; a start on a full disk may as well fail."""
        (app,) = self._apps
        before = self._tally.calls[NOT_WRITTEN]
        await place.fill(app)
        try:
            await asyncio.sleep(self._random.uniform(0.5, 2.0))
            if self._random.random() < 0.5:
                await app.kill()
                with contextlib.suppress(DidNotStart):
                    await self._start(app)
        finally:
            await place.free(app)
        if app.runs:
            return self._tally.calls[NOT_WRITTEN] > before
        await self._start(app)
        return True

    async def _clock_forward(self) -> bool:
        (app,) = self._apps
        self._high = app.offset_seconds + self._random.choice(FORWARD_SECONDS)
        return await app.tell(offset_seconds=self._high)

    async def _clock_back(self) -> bool:
        (app,) = self._apps
        before, lowest = app.offset_seconds, self._high - MOST_BACK_SECONDS
        told = await app.tell(offset_seconds=self._random.uniform(lowest, max(lowest, before - 1)))
        return told and app.offset_seconds < before

    async def _clocks_apart(self) -> bool:
        apart = [self._base + self._random.uniform(-SKEW_SECONDS, SKEW_SECONDS) for _ in self._apps]
        told = [await app.tell(offset_seconds=offset) for app, offset in zip(self._apps, apart, strict=True)]
        return all(told)

    async def _wire(self, place: SharedPlace) -> bool:
        await asyncio.to_thread(place.disturb, self._random)
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        hit = await asyncio.to_thread(place.mend)
        self._tally.calls.update({f"wire {kind}": number for kind, number in hit.items()})
        return bool(hit)

    async def _second(self, place: EmbeddedPlace) -> bool:
        """Start a second process on the same file: it has to refuse, and the first to go on."""
        command = [sys.executable, "-m", "devhost", "--port", "0", "--data", place.environment["KRAFTD_DATA"]]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(RECOVER_SECONDS):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NotRecovered("a second process was let at the file") from None
        if process.returncode != 1 or IN_USE not in said.decode():
            raise NotRecovered(f"a second process ended with {process.returncode}: {said.decode()[-500:]}")
        return True


async def _serves(http: httpx.AsyncClient, app: AppProcess) -> bool:
    """Whether a process takes writes and reads its feed."""
    try:
        ready = await http.get(f"{app.url}/api/v1/health/ready")
    except httpx.TransportError:
        return False
    body: Any = ready.json() if ready.status_code == 200 else {}
    return bool(body) and body["checks"]["feed"]["status"] != "failed"
