"""Which faults a campaign has: each kind of its place, whatever the seed and the time; what did not come is told."""

from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import pytest

from shared.storage.containers import IDENTITY
from shared.storage.errors import NotFound, Unavailable
from tests.chaos import __main__ as chaos
from tests.chaos.campaign import Outcome
from tests.chaos.checks import Finding
from tests.chaos.faults import TRIES, Faults, Tally
from tests.chaos.places import EmbeddedPlace
from tests.chaos.process import AppProcess, DidNotStart
from tests.chaos.report import as_json, as_table
from tests.chaos.store import NOT_WRITTEN, ChaosStore


class Made(Faults):
    """Faults that do nothing: each kind comes about at the try that `at` says."""

    def __init__(self, folder: Path, seed: int, tally: Tally, at: dict[str, int]) -> None:
        app = AppProcess(0, {}, folder / "log", tally.calls)
        super().__init__(EmbeddedPlace(folder, mounted=False), [app], Random(seed), tally)  # noqa: S311 - repeatable
        self.tried: list[str] = []
        self._at = at
        self.kinds = {kind: partial(self._try, kind) for kind in self.kinds}

    async def _try(self, kind: str) -> bool:
        self.tried.append(kind)
        return self.tried.count(kind) >= self._at.get(kind, 1)

    async def recovered(self, kind: str) -> None:
        """At once."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_seconds: float) -> None:
        """No pause between faults that do nothing."""

    monkeypatch.setattr("tests.chaos.faults.asyncio.sleep", at_once)


async def test_every_kind_comes_once_whatever_the_time(tmp_path: Path) -> None:
    orders = []
    for seed in range(5):
        tally = Tally()
        faults = Made(tmp_path, seed, tally, {})
        await faults.run(0)
        assert tally.faults == tally.survived == Counter(faults.kinds.keys())
        orders.append(tuple(faults.tried))
    assert len(set(orders)) > 1
    again = Made(tmp_path, 0, Tally(), {})
    await again.run(0)
    assert tuple(again.tried) == orders[0]


async def test_a_kind_that_did_not_come_about_is_tried_again(tmp_path: Path) -> None:
    tally = Tally()
    faults = Made(tmp_path, 1, tally, {"died after a write": TRIES, "store: slow": TRIES + 1})
    await faults.run(0)
    assert tally.faults["died after a write"] == tally.survived["died after a write"] == 1
    assert faults.tried.count("store: slow") == TRIES
    outcome = Outcome("a store", "a note", 1, 1.0, tally, [])
    assert outcome.lost == 0
    assert outcome.not_injected == ["store: slow"]
    assert "**Not injected: store: slow.**" in as_table([outcome])
    assert as_json([outcome])["campaigns"][0]["not_injected"] == ["store: slow"]


def test_what_nobody_got_to_is_not_injected(tmp_path: Path) -> None:
    tally = Tally()
    faults = Made(tmp_path, 1, tally, {})
    assert Outcome("a store", "a note", 1, 1.0, tally, []).not_injected == sorted(faults.kinds)


@pytest.mark.parametrize(
    ("left_out", "findings", "code"), [(0, [], 0), (1, [], 1), (0, [Finding("dead_letter", "one")], 1)]
)
def test_a_run_without_one_of_its_kinds_fails(
    monkeypatch: pytest.MonkeyPatch, left_out: int, findings: list[Finding], code: int
) -> None:
    tally = Tally(Counter({"kill -9": 1, "disk full": 1 - left_out}))
    outcome = Outcome("a store", "a note", 1, 1.0, tally, findings)
    monkeypatch.setattr(chaos, "_run", lambda *_: outcome)
    assert chaos.main(["--seed", "1", "--store", "embedded"]) == code


class Full(EmbeddedPlace):
    """A disk that is full: the app cannot do so many writes."""

    def __init__(self, folder: Path, tally: Tally, writes: int) -> None:
        super().__init__(folder, mounted=False)
        self._tally = tally
        self._writes = writes

    async def fill(self, app: AppProcess) -> None:
        self._tally.calls[NOT_WRITTEN] += self._writes

    async def free(self, app: AppProcess) -> None:
        """Nothing to give back."""


class Process(AppProcess):
    """A process whose first starts fail: so many as `failing` says."""

    failing = 0
    runs = True

    async def kill(self) -> None:
        self.runs = False

    async def start(self, seed: int) -> None:
        self.failing -= 1
        if self.failing >= 0:
            raise DidNotStart
        self.runs = True


class Kills(Random):
    """Always kills where it could."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize(("writes", "failing", "came_about"), [(0, 0, False), (1, 0, True), (0, 1, True)])
async def test_a_full_disk_counts_if_something_ran_into_it(
    tmp_path: Path, writes: int, failing: int, *, came_about: bool
) -> None:
    tally = Tally()
    app = Process(0, {}, tmp_path / "log", tally.calls)
    app.failing = failing
    faults = Faults(Full(tmp_path, tally, writes), [app], Kills(), tally, ["disk full"])
    assert await faults.kinds["disk full"]() is came_about
    assert app.runs


class Broken:
    """A store that can neither read nor write."""

    async def upsert(self, *_: object) -> None:
        raise Unavailable("full")

    async def read(self, *_: object) -> None:
        raise NotFound("nothing")


async def test_a_store_tells_of_what_it_could_not_write() -> None:
    told: list[str] = []
    store = ChaosStore(Broken(), Random(1), told.append)  # noqa: S311 - repeatable
    with pytest.raises(NotFound):
        await store.read(IDENTITY, ("t",), "one")
    assert told == []
    with pytest.raises(Unavailable):
        await store.upsert(IDENTITY, ("t",), {"id": "one"})
    assert told == [NOT_WRITTEN]
