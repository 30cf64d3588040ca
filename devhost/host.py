"""The host: one loaded app, its HTTP front, its feed and timer triggers, and their life from start to stop."""

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from devhost.admin import AdminApi
from devhost.bindings import CosmosTrigger, Function, HttpTrigger, TimerTrigger
from devhost.clock import SimulatedClock, build_on
from devhost.errors import FeedStuck, HostError
from devhost.feed import FeedTrigger, container_of, refuse_shared_leases
from devhost.http import HttpFront, build_router
from devhost.leases import Leases
from devhost.loops import Loop
from devhost.retry import Sleep
from devhost.runtime import Datum, Worker
from devhost.timers import Schedule, Timer
from shared.core.clock import Clock, SystemClock
from shared.storage.containers import Container
from shared.storage.documents import ChangeSource, DocumentStore

_log = logging.getLogger("devhost")
_MOST_BATCHES = 10_000


class _Services(Protocol):
    """What the app's module may expose as `services`.

    It may also tell `container_names` (what containers are called in the account, by our name) and `served_from`.
    """

    async def get(self) -> Any:
        """The app's services, built on first use; `.store` is its DocumentStore."""
        ...

    async def close(self) -> None:
        """Let go of everything that `get` built."""
        ...


class Host:
    """One function app, served. `functions` tells what it declares, `asgi` answers its HTTP.

    `load`, then `start`, then `stop`; a stopped host may be started again.
    """

    def __init__(
        self,
        worker: Worker,
        prefix: str,
        *,
        store: DocumentStore | None,
        clock: Clock,
        sleep: Sleep,
        start_timers: Sequence[str],
    ) -> None:
        self.functions = worker.functions
        self.prefix = prefix
        self.module = worker.module
        self._worker = worker
        self._clock = clock
        self._sleep = sleep
        self._start_timers = start_timers
        self._given_store = store
        self._services: _Services | None = getattr(worker.module, "services", None)
        self._feeds: list[FeedTrigger] = []
        self._timers: dict[str, Timer] = {}
        self._loops: list[Loop] = []
        self._by_hand: set[asyncio.Task[bool]] = set()
        self.feed_runs = False
        self._check_triggers()
        simulated = clock if isinstance(clock, SimulatedClock) else None
        admin = AdminApi(self.run_by_hand, simulated)
        routes = [Route("/admin/functions/{name}", admin.run_function, methods=["POST"])]
        if simulated is not None:
            routes.append(Route("/admin/clock", admin.clock, methods=["GET", "POST"]))
        self._front = HttpFront(worker, build_router(worker.functions, prefix))
        self._admin = Starlette(routes=routes)
        self._admin.router.redirect_slashes = False
        self._admin.router.default = self._front

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. What is no admin call goes to the functions straight, past Starlette's layers."""
        app = self._admin if scope["path"].startswith("/admin/") else self._front
        await app(scope, receive, send)

    @classmethod
    async def load(
        cls,
        app_dir: Path | str,
        store: DocumentStore | None = None,
        *,
        data: str | None = None,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        start_timers: Sequence[str] = (),
    ) -> Self:
        """Load the app in `app_dir`. HostError, with a one-line message, when it cannot be served.

        `store` stands in for the store of the app's own services; `data` is set as KRAFTD_DATA before the import.
        `start_timers` names timers to run once at every start, where the app has them.
        """
        directory = _absolute(app_dir)
        if data is not None:
            os.environ["KRAFTD_DATA"] = data
        used_clock = clock or SystemClock()
        prefix = _route_prefix(directory)
        worker = Worker.load(directory, used_clock)
        return cls(worker, prefix, store=store, clock=used_clock, sleep=sleep, start_timers=start_timers)

    async def start(self, *, background: bool = True) -> None:
        """Open the store and begin. `background=False` runs no loops: see `drain_feed` and `run_timer`."""
        store = await self._open_store()
        leases = Leases(store, self._clock)
        self._timers = {
            function.name: Timer(self._worker, function, trigger, leases, self._clock)
            for function, trigger in self._of_kind(TimerTrigger)
        }
        self.feed_runs = hasattr(store, "changes")
        if self.feed_runs:
            source = cast("ChangeSource", store)
            self._feeds = [
                FeedTrigger(self._worker, function, trigger, self._container_of(function, trigger), source, leases)
                for function, trigger in self._of_kind(CosmosTrigger)
            ]
        for feed in self._feeds:
            await feed.prepare()
        for name in self._start_timers:
            if name in self._timers:
                await self._timers[name].fire()
        if background:
            self._loops = [*map(self._loop, self._feeds), *map(self._loop, self._timers.values())]

    async def stop(self, *, grace_seconds: float = 30.0) -> None:
        """Stop the loops (a running invocation may finish, for `grace_seconds`), then close the app's services."""
        await asyncio.gather(*(loop.stop(grace_seconds) for loop in self._loops))
        if self._by_hand:
            await asyncio.wait(self._by_hand, timeout=grace_seconds)
        self._loops, self._feeds, self._timers = [], [], {}
        if self._services is not None:
            await self._services.close()

    async def __aenter__(self) -> Self:
        await self.start(background=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def drain_feed(self, *, attempts_limit: int = 25) -> int:
        """Handle everything pending until every feed function is at the end; the number of batches.

        Retries do not wait. FeedStuck when a batch fails `attempts_limit` times, or the functions feed each other
        without end.
        """
        batches = 0
        progress = True
        while progress:
            progress = False
            for feed in self._feeds:
                while await feed.step(None, attempts_limit=attempts_limit):
                    progress = True
                    batches += 1
                    if batches > _MOST_BATCHES:
                        raise FeedStuck(f"no end after {_MOST_BATCHES} batches; the last was for {feed.function.name}")
        return batches

    async def run_timer(self, name: str, *, past_due: bool = False) -> bool:
        """Run a timer once, now, without retries; True on success. KeyError for an unknown name."""
        return await self._timers[name].fire(past_due=past_due)

    async def run_by_hand(self, name: str, text: str | None) -> bool:
        """Start a timer or feed function (`text`: JSON of the items) without waiting for it. False if there is none."""
        function = next((each for each in self.functions if each.name.lower() == name.lower()), None)
        if function is None:
            return False
        match function.trigger:
            case TimerTrigger():
                task = asyncio.create_task(self.run_timer(function.name))
            case CosmosTrigger(parameter=parameter):
                task = asyncio.create_task(self._feed_by_hand(function, parameter, text))
            case HttpTrigger():
                return False
        self._by_hand.add(task)
        task.add_done_callback(self._finished_by_hand)
        return True

    def _finished_by_hand(self, task: asyncio.Task[bool]) -> None:
        self._by_hand.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("by_hand_failed error=%s", type(error).__name__)

    def describe(self, base_url: str = "") -> str:
        """What is served: one line per function, its name and its trigger in columns; then the store, if known."""
        width = max((len(function.name) for function in self.functions), default=0)
        lines = [f"  {each.name:<{width}}  {self._described(each, base_url)}" for each in self.functions]
        store = getattr(self._services, "served_from", None)
        return "\n".join([*lines, f"From {store}"] if store else lines)

    def _described(self, function: Function, base_url: str) -> str:
        match function.trigger:
            case HttpTrigger(route=route, methods=methods):
                path = f"{self.prefix}/{route.strip('/')}".strip("/")
                return f"{','.join(sorted(methods or {'*'}))} {base_url}/{path}"
            case CosmosTrigger(container=container, lease_prefix=prefix):
                note = "" if self.feed_runs else "  (not run here: the store has no change feed)"
                return f"change feed of {container}, lease prefix '{prefix}'{note}"
            case TimerTrigger(schedule=schedule):
                return f"timer {schedule}"

    def _of_kind[T](self, kind: type[T]) -> list[tuple[Function, T]]:
        return [(each, each.trigger) for each in self.functions if isinstance(each.trigger, kind)]

    def _check_triggers(self) -> None:
        feeds = self._of_kind(CosmosTrigger)
        for function, trigger in feeds:
            self._container_of(function, trigger)
        refuse_shared_leases(feeds)
        for function, timer in self._of_kind(TimerTrigger):
            try:
                Schedule(timer.schedule)
            except HostError as error:
                raise HostError(f"The '{function.name}' function is in error: {error}") from error

    def _container_of(self, function: Function, trigger: CosmosTrigger) -> Container:
        return container_of(function, trigger, getattr(self._services, "container_names", {}))

    def _loop(self, trigger: FeedTrigger | Timer) -> Loop:
        return Loop(lambda loop: trigger.run(loop, self._sleep))

    async def _open_store(self) -> DocumentStore | None:
        if self._given_store is not None:
            return self._given_store
        if self._services is not None:
            try:
                if isinstance(self._clock, SimulatedClock):
                    await build_on(self._clock, self._services)
                return cast("DocumentStore", (await self._services.get()).store)
            except HostError:
                raise
            except Exception as error:
                text = " ".join(str(error).split())
                raise HostError(f"the app's services cannot start: {type(error).__name__}: {text}") from error
        feeds = self._of_kind(CosmosTrigger)
        if feeds:
            raise HostError(f"The '{feeds[0][0].name}' function is in error: the app has no store to feed it.")
        return None

    async def _feed_by_hand(self, function: Function, parameter: str, text: str | None) -> bool:
        result = await self._worker.invoke(function, ((parameter, Datum(text or "[]", "json")),))
        if not result.ok:
            _log.error("function_failed function=%s error=%s", function.name, result.error)
        return result.ok


def _absolute(app_dir: Path | str) -> Path:
    return Path(app_dir).absolute()


def _route_prefix(app_dir: Path) -> str:
    """`extensions.http.routePrefix` of host.json; `api` when it says nothing."""
    try:
        settings = json.loads((app_dir / "host.json").read_text(encoding="utf-8"))
        prefix = settings.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    except FileNotFoundError:
        raise HostError(f"no host.json in {app_dir}") from None
    except (ValueError, AttributeError) as error:
        raise HostError(f"host.json cannot be read: {error}") from error
    return str(prefix).strip("/")
