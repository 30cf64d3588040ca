"""Where a campaign's app keeps its data: a disk of its own that can be full, or an account that two processes share."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from functions.change_feed import CONSUMERS
from shared.core.clock import SystemClock
from shared.storage.containers import CONTAINERS, LEASES
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import FEED_START, Position
from shared.storage.errors import NotFound
from tests.chaos.app import ROOT
from tests.chaos.checks import Snapshot, read_sqlite
from tests.chaos.checks.model import index_secret
from tests.chaos.process import AppProcess
from tests.cosmos_emulator.emulator import KEY, Emulator

DISK_BYTES = 192 << 20
TICK_SECONDS = 0.2
DATABASE = "chaos"
PAGE = 1000


class EmbeddedPlace:
    """A folder; on a small file system of its own where one may be mounted."""

    name = "embedded store (SQLite), one process"
    apps = 1

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.mounted = mounted
        self.notes = (
            f"full disk: {'a tmpfs of its own' if mounted else 'RLIMIT_FSIZE, for no file system may be mounted'}"
        )
        self.environment: Mapping[str, str] = {"KRAFTD_DATA": str(folder / "data")}
        self._file = folder / "data" / "kraftd.sqlite"
        self._ballast = folder / "ballast"

    async def fill(self, app: AppProcess) -> None:
        """Leave no room on the disk."""
        if not self.mounted:
            wal = self._file.with_name(self._file.name + "-wal")
            await app.tell(file_bytes=wal.stat().st_size if wal.exists() else 0)
            return
        await asyncio.to_thread(self._fill)

    def _fill(self) -> None:
        """Write until nothing fits any more; the app writes meanwhile."""
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    async def free(self, app: AppProcess) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)
        if not self.mounted:
            await app.tell(file_bytes=None)

    async def later(self, offset_seconds: float) -> None:
        """Nothing: its clock is the app's."""

    def keep(self, folder: Path) -> None:
        """Copy what is there."""
        shutil.copytree(self._file.parent, folder)

    async def snapshot(self) -> Snapshot:
        return await asyncio.to_thread(read_sqlite, self._file)

    async def is_drained(self) -> bool:
        return True

    @asynccontextmanager
    async def ticking(self, app: AppProcess) -> AsyncIterator[None]:
        """The store goes by the app's clock."""
        yield


class SharedPlace:
    """An account of the emulator of Cosmos DB."""

    name = "Cosmos DB (emulator), two processes"
    apps = 2
    notes = "faults also on the wire, between SDK and emulator"

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.emulator = emulator
        self._offset = 0.0
        self._ticking = asyncio.Lock()
        self.environment: Mapping[str, str] = {
            "KRAFTD_DATA": str(folder / "data"),
            "COSMOS_DB_ENDPOINT": emulator.endpoint,
            "COSMOS_DB_KEY": KEY,
            "COSMOS_DB_EMULATOR": "true",
            "COSMOS_DB_NAME": DATABASE,
            "COSMOS_DB_THROUGHPUT": "400",
        }

    def provision(self) -> None:
        """Make the containers, as an operator does."""
        command = [sys.executable, "-m", "shared.storage.provision"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **self.environment}, check=True, capture_output=True)  # noqa: S603

    def disturb(self, random: Random) -> None:
        """Have some of the next requests fail on the wire."""
        scripted = []
        for kind in random.choices(("429", "503", "drop", "apply-then-drop"), k=6):
            how: dict[str, Any] = {"status": int(kind)} if kind.isdigit() else {"action": kind}
            if kind == "429":
                how["headers"] = {"x-ms-retry-after-ms": "50"}
            scripted.append({**how, "skip": random.randrange(20), "times": random.randint(1, 6)})
        self.emulator.faults(DATABASE, *scripted)

    def mend(self) -> Counter[str]:
        """End the trouble on the wire; how many requests ran into each kind of it."""
        hit = Counter[str]()
        for each in self.emulator.faults(DATABASE):
            hit[str(each.get("action") or each["status"])] += each["hit"]
        return +hit

    @asynccontextmanager
    async def ticking(self, app: AppProcess) -> AsyncIterator[None]:
        """The account has a clock of its own, which is right: it goes on by itself from where the app's clock began."""
        await self.later(app.offset_seconds)

        async def tick() -> None:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                await self._tick()

        ticks = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticks.cancel()
            await asyncio.wait({ticks})

    async def later(self, offset_seconds: float) -> None:
        """Move its clock; it is there when this returns. Nothing may seem to be recorded after it was stored."""
        self._offset = offset_seconds
        await self._tick()

    async def _tick(self) -> None:
        async with self._ticking:
            now = SystemClock().now() + timedelta(seconds=self._offset)
            await asyncio.to_thread(self.emulator.clock, DATABASE, now)

    def keep(self, folder: Path) -> None:
        """Nothing: it is gone with its process."""

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[CosmosStore]:
        endpoint = self.environment["COSMOS_DB_ENDPOINT"]
        store = await CosmosStore.open(
            endpoint, clock=SystemClock(), database=DATABASE, key=KEY, accept_self_signed=True
        )
        try:
            yield store
        finally:
            await store.close()

    async def snapshot(self) -> Snapshot:
        async with self._store() as store:
            found: dict[str, list[Any]] = {}
            for name, container in CONTAINERS.items():
                position: Position = FEED_START
                found[name] = []
                while changes := await store.changes(container, position, PAGE):
                    found[name] += [change.item for change in changes]
                    position = changes[-1].position
            return Snapshot(found, index_secret(Path(self.environment["KRAFTD_DATA"])))

    async def is_drained(self) -> bool:
        async with self._store() as store:
            for name, (container, _) in CONSUMERS.items():
                try:
                    lease = await store.read(LEASES, (f"{name}|{name}",), f"{name}|{name}")
                except NotFound:
                    return False
                if await store.changes(container, lease["position"], 1):
                    return False
        return True


@contextmanager
def embedded(folder: Path) -> Iterator[EmbeddedPlace]:
    """A place in `folder`, mounted if this user may."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        mounted = False
    try:
        yield EmbeddedPlace(disk, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=False, capture_output=True)  # noqa: S603, S607


@contextmanager
def shared(folder: Path) -> Iterator[SharedPlace]:
    """An account of its own."""
    with ExitStack() as stack:
        emulator = Emulator.start(folder)
        stack.callback(emulator.stop)
        place = SharedPlace(folder, emulator)
        place.provision()
        yield place
