"""The faults of a campaign: what each does to the app's processes, and how one sees that they got over it."""

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from time import monotonic
from typing import Any

import httpx

from tests.chaos.app import ROOT
from tests.chaos.places import EmbeddedPlace, SharedPlace
from tests.chaos.process import AppProcess, DidNotStart
from tests.chaos.store import OF_CALLS, OF_FEED

RECOVER_SECONDS = 45.0
MOST_BACK_SECONDS = 240.0
"""A clock that goes back by more than five minutes looks like a forged past, and the ledger has to say so."""
FORWARD_SECONDS = (30.0, 1200.0, 7200.0, 46_800.0)
SKEW_SECONDS = 100.0
IN_USE = "another process has the database"

type Fault = Callable[[], Awaitable[None]]


class NotRecovered(Exception):
    """The app did not serve again after a fault was over."""


@dataclass
class Tally:
    """What was injected: `faults` by kind, as episodes (of these, those that the app `survived`); `calls`: store calls
    and deliveries that were hit, by kind."""

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

    async def run(self, seconds: float) -> None:
        """Inject for so long, in an order that follows from the seed; or what was chosen, once. NotRecovered."""
        if self._chosen:
            return await self._inject(self.kinds)
        until = monotonic() + seconds
        while monotonic() < until:
            kinds = list(self.kinds)
            self._random.shuffle(kinds)
            await self._inject(kinds, until)
        return None

    async def _inject(self, kinds: Iterable[str], until: float = inf) -> None:
        for kind in kinds:
            await asyncio.sleep(self._random.uniform(0.2, 0.8))
            if monotonic() >= until:
                return
            self._tally.faults[kind] += 1
            await self.kinds[kind]()
            await self.recovered(kind)
            self._tally.survived[kind] += 1

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

    async def _kill(self) -> None:
        app = self._one()
        await app.kill()
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self._start(app)

    async def _kill_twice(self) -> None:
        """Kill it again before it serves: what a start does may end at any instruction, too."""
        app = self._one()
        await app.kill()
        starting = asyncio.create_task(self._start(app))
        await asyncio.sleep(self._random.uniform(0.3, 1.5))
        await app.kill()
        with contextlib.suppress(DidNotStart):
            await starting
        if not app.runs:
            await self._start(app)

    async def _everything(self) -> None:
        app = self._one()
        await app.tell(rates=dict.fromkeys((*OF_CALLS, *OF_FEED), 0.15))
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        await app.kill()
        await self._start(app)

    async def _die(self, kind: str) -> None:
        """Let it die at a write of its own choice; without one, by a plain kill."""
        app = self._one()
        await app.tell(rates={kind: 0.05})
        try:
            async with asyncio.timeout(5):
                await app.ended()
        except TimeoutError:
            await app.kill()
        await self._start(app)

    async def _rates(self, **rates: float) -> None:
        chosen = self._apps if self._random.random() < 0.5 else [self._one()]
        for app in chosen:
            await app.tell(rates=rates)
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        for app in chosen:
            await app.tell(rates={})

    async def _disk_full(self, place: EmbeddedPlace) -> None:
        (app,) = self._apps
        await place.fill(app)
        try:
            await asyncio.sleep(self._random.uniform(0.5, 2.0))
            if self._random.random() < 0.5:
                await app.kill()
                with contextlib.suppress(DidNotStart):  # it may as well say that it cannot
                    await self._start(app)
        finally:
            await place.free(app)
        if not app.runs:
            await self._start(app)

    async def _clock_forward(self) -> None:
        (app,) = self._apps
        self._high = app.offset_seconds + self._random.choice(FORWARD_SECONDS)
        await app.tell(offset_seconds=self._high)

    async def _clock_back(self) -> None:
        (app,) = self._apps
        lowest = self._high - MOST_BACK_SECONDS
        await app.tell(offset_seconds=self._random.uniform(lowest, max(lowest, app.offset_seconds - 1)))

    async def _clocks_apart(self) -> None:
        for app in self._apps:
            await app.tell(offset_seconds=self._base + self._random.uniform(-SKEW_SECONDS, SKEW_SECONDS))

    async def _wire(self, place: SharedPlace) -> None:
        for kind in await asyncio.to_thread(place.disturb, self._random):
            self._tally.calls[f"wire {kind}"] += 1
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        await asyncio.to_thread(place.mend)

    async def _second(self, place: EmbeddedPlace) -> None:
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


async def _serves(http: httpx.AsyncClient, app: AppProcess) -> bool:
    """Whether a process takes writes and reads its feed."""
    try:
        ready = await http.get(f"{app.url}/api/v1/health/ready")
    except httpx.TransportError:
        return False
    body: Any = ready.json() if ready.status_code == 200 else {}
    return bool(body) and body["checks"]["feed"]["status"] != "failed"
