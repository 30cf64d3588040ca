"""Guards on every adapter: one winner, never more than the limit, and nothing in clear."""

import asyncio
import json
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.settings import Settings
from shared.privacy.blind_index import BlindIndex
from shared.privacy.guards import MARGIN_SECONDS, SKEW, Claimed, Guards, Taken
from shared.privacy.index_versions import SETTLING, IndexVersions, KeptVersion, Ring
from shared.privacy.secrets import MemorySecrets, SecretsError
from shared.storage.containers import Container
from shared.storage.documents import DocumentStore, Item, Partition
from shared.storage.errors import Conflict, TooLarge, Unavailable
from shared.storage.sqlite import SqliteStore
from shared.wiring import build_services
from tests.fakes import ManualClock
from tests.faults import FaultyStore, Mode
from tests.privacy.test_key_check import Versions
from tests.storage.conftest import Harness

INDEX = BlindIndex(MemorySecrets(lambda count: bytes(range(count))), "v1")
EMAIL = "ada@example.com"
MODES: tuple[Mode, ...] = ("before", "after")
HOSTILE = ["", " ", "x" * 1_000_000, "ünï", "\0", "\ud800", "a/b?c#d\\e", "203.0.113.9", "\U0001f512" * 999, "|"]
MARCH, APRIL = datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 4, 9, tzinfo=UTC)
MONTH_S_END = datetime(2026, 4, 1, tzinfo=UTC)
PLAIN = settings(max_examples=80)
moves_the_clock = pytest.mark.moves_the_clock


class Written(FaultyStore):
    """Remembers every item that is written."""

    def __init__(self, inner: DocumentStore) -> None:
        super().__init__(inner)
        self.items: list[Item] = []

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        self.items.append(item)
        return await super().create(container, partition, item)

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        self.items.append(item)
        return await super().replace(container, partition, item, if_match)


def guards(harness: Harness, store: DocumentStore | None = None) -> Guards:
    """The guards of one instance of the app."""
    return Guards(store or harness.store, INDEX, harness.clock)


@asynccontextmanager
async def embedded(start: datetime = datetime(2026, 3, 15, 12, tzinfo=UTC)) -> AsyncIterator[Harness]:
    clock = ManualClock(start)
    store = await SqliteStore.open(None, clock=clock)
    try:
        yield Harness(store, clock)
    finally:
        await store.close()


# Claims


async def test_the_first_claim_holds_for_all(harness: Harness) -> None:
    one, two = guards(harness), guards(harness)
    assert await one.claim("idempotency", "k", {"events": ["a"]}, 3600) == Claimed(True, {"events": ["a"]})
    assert await two.claim("idempotency", "k", {"events": ["b"]}, 3600) == Claimed(False, {"events": ["a"]})
    assert await one.claim("idempotency", "k", None, 3600) == Claimed(False, {"events": ["a"]})
    assert (await one.claim("idempotency", "K", None, 3600)).mine
    assert (await one.claim("producer", "k", None, 3600)).mine


@pytest.mark.parametrize("at", [MARCH, MONTH_S_END], ids=["amid", "at-a-turn"])
async def test_a_marker_is_read_without_being_set(at: datetime) -> None:
    async with embedded(at) as harness:
        assert await guards(harness).held("producer", "k", 3600) is None
        assert await guards(harness).claim("producer", "k", 7, 3600) == Claimed(True, 7)
        assert await guards(harness).held("producer", "k", 3600) == 7


async def test_of_many_at_once_one_wins(harness: Harness) -> None:
    claims = await asyncio.gather(*(guards(harness).claim("producer", "k", n, 3600) for n in range(50)))
    (winner,) = [claim.value for claim in claims if claim.mine]
    assert {claim.value for claim in claims} == {winner}


@moves_the_clock
async def test_a_claim_holds_as_long_as_it_says_and_is_gone_soon_after(harness: Harness) -> None:
    guard = guards(harness)
    await guard.claim("producer", "k", 1, 3600)
    harness.clock.advance(seconds=3600)
    assert await guard.claim("producer", "k", 2, 3600) == Claimed(False, 1)
    harness.clock.advance(seconds=MARGIN_SECONDS + 1)
    assert await guard.claim("producer", "k", 3, 3600) == Claimed(True, 3)


@moves_the_clock
@pytest.mark.parametrize("ttl", [60, 86_400, 14 * 86_400])
@pytest.mark.parametrize("amid", [False, True], ids=["begun-at-its-end", "ending-after-it"])
async def test_a_claim_outlives_the_month(harness: Harness, ttl: int, amid: bool) -> None:
    guard = guards(harness)
    start = MONTH_S_END - timedelta(seconds=ttl - 10 if amid else 10)
    harness.clock.set(start)
    await guard.claim("producer", "k", 1, ttl)
    for share in [1] if amid else [0.2, 0.5, 1]:  # who asks in between would copy it
        harness.clock.set(start + share * timedelta(seconds=ttl))
        assert await guard.claim("producer", "k", 2, ttl) == Claimed(False, 1)
    harness.clock.advance(seconds=MARGIN_SECONDS + 1)
    assert (await guard.claim("producer", "k", 3, ttl)).mine, "what was copied to the new key lives no longer"


@PLAIN
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), max_size=25), st.integers(-80, 40))
async def test_claims_are_what_a_dictionary_with_times_would_say(steps: list[tuple[int, str]], start: int) -> None:
    """Across the turn of a month; within the margin after its time a marker may be there or not."""
    ttl = 3600
    held: dict[str, tuple[int, datetime]] = {}
    async with embedded(MONTH_S_END + timedelta(minutes=start)) as harness:
        for number, (minutes, key) in enumerate(steps):
            now = harness.clock.advance(minutes=minutes)
            claimed = await guards(harness).claim("producer", key, number, ttl)
            value, since = held.get(key, (None, now))
            age = (now - since).total_seconds()
            if value is None or age > ttl + MARGIN_SECONDS + 1:
                assert claimed.mine
            elif age <= ttl:
                assert claimed == Claimed(False, value)
            if claimed.mine:
                held[key] = (number, now)


@pytest.mark.parametrize("minutes", [-6, -5, -4, 0, 4, 5, 6, 64, 65, 66])
async def test_instances_whose_clocks_differ_have_one_winner_at_the_turn_of_a_month(minutes: int) -> None:
    """Whatever keys each of them knows."""
    for ahead in (timedelta(), SKEW / 2, SKEW):
        async with embedded(MONTH_S_END + timedelta(minutes=minutes)) as harness:
            quick = Guards(harness.store, INDEX, ManualClock(harness.clock.now() + ahead))
            for key in "abcdefgh":
                each = [guards(harness), quick, guards(harness), quick]
                claims = await asyncio.gather(*(g.claim("producer", key, n, 3600) for n, g in enumerate(each)))
                late = [await g.claim("producer", key, None, 3600) for g in each]
                assert sum(claim.mine for claim in claims) == 1
                assert len({claim.value for claim in [*claims, *late]}) == 1


async def test_an_instance_whose_clock_is_ahead_does_not_let_go_early() -> None:
    """Claimed in the last second of a month, asked for at the end of its time."""
    async with embedded(MONTH_S_END - timedelta(seconds=1)) as harness:
        await guards(harness).claim("producer", "k", 1, 3600)
        harness.clock.advance(seconds=3600)
        quick = Guards(harness.store, INDEX, ManualClock(harness.clock.now() + SKEW))
        assert await quick.claim("producer", "k", 2, 3600) == Claimed(False, 1)


@pytest.mark.parametrize("at", [datetime(2026, 3, 15, tzinfo=UTC), MONTH_S_END])
@pytest.mark.parametrize("mode", MODES)
async def test_a_claim_is_never_lost_whatever_call_fails(mode: Mode, at: datetime) -> None:
    """What was said once is said ever after; a call that failed may have set the value of nobody else."""
    for k in range(1, 6):
        async with embedded(at) as harness:
            store = FaultyStore(harness.store, k, mode)
            told: list[Claimed] = []
            for number in range(4):
                try:
                    told.append(await guards(harness, store).claim("producer", "k", number, 3600))
                except Unavailable:
                    assert store.failed
            assert len({claim.value for claim in told}) == 1
            assert sum(claim.mine for claim in told) <= 1
            if mode == "after":
                assert len(told) >= 3
                assert sum(claim.mine for claim in told) == 1 or len(told) == 3


async def test_a_claim_whose_answer_was_lost_is_known_again(harness: Harness) -> None:
    store = FaultyStore(harness.store, 1, "after")
    assert await guards(harness, store).claim("producer", "k", 1, 3600) == Claimed(True, 1)
    assert store.failed == 1


async def test_a_claim_that_cannot_be_kept_is_an_error(harness: Harness) -> None:
    with pytest.raises(Unavailable):
        await guards(harness, FaultyStore(harness.store, 1, times=None)).claim("producer", "k", 1, 3600)
    silent = FaultyStore(harness.store, 1, times=None, counts=lambda call: call.operation == "create")
    with pytest.raises(Unavailable, match="made to fail"):
        await guards(harness, silent).claim("producer", "k", 1, 3600)
    assert len(silent.calls) == 2, "looked for once, not tried again"
    with pytest.raises(TooLarge):
        await guards(harness).claim("producer", "k", "x" * 3_000_000, 3600)
    assert (await guards(harness).claim("producer", "k", 2, 3600)).mine


# Rate limits


def allowed_by_hand(takes: list[datetime], now: datetime, limit: int, window: int) -> bool:
    """The sliding counter in fractions: takes of this window, and the share of those before that still weighs."""
    number, into = divmod(Fraction(now.timestamp()).limit_denominator(10**6), window)
    counts = Counter(int(Fraction(at.timestamp()).limit_denominator(10**6) // window) for at in takes)
    before = min(counts[int(number) - 1], limit)
    return Fraction(before) * (window - into) / window + counts[int(number)] <= limit


@PLAIN
@given(
    st.lists(st.tuples(st.integers(0, 90_000), st.sampled_from("ab")), max_size=40),
    st.integers(1, 6),
    st.sampled_from([1, 60, 3600]),
)
async def test_takes_are_what_the_counter_by_hand_allows(steps: list[tuple[int, str]], limit: int, window: int) -> None:
    granted: dict[str, list[datetime]] = defaultdict(list)
    async with embedded(MONTH_S_END - timedelta(seconds=window)) as harness:
        for thousandths, key in steps:  # steps from nothing to one and a half windows
            now = harness.clock.advance(seconds=round(window * thousandths / 60_000, 3))
            taken = await guards(harness).take("login", key, limit, window)
            assert taken.allowed == allowed_by_hand([*granted[key], now], now, limit, window)
            assert (taken.retry_after_seconds == 0) == taken.allowed
            if taken.allowed:
                granted[key].append(now)
    for times in granted.values():
        per_window = Counter(at.timestamp() // window for at in times)
        assert max(per_window.values(), default=0) <= limit


@PLAIN
@given(st.lists(st.integers(0, 90_000), max_size=30), st.integers(1, 6), st.sampled_from([1, 60, 3600]))
async def test_who_waits_as_told_is_let_in(steps: list[int], limit: int, window: int) -> None:
    async with embedded() as harness:
        guard = guards(harness)
        for thousandths in steps:
            harness.clock.advance(seconds=round(window * thousandths / 60_000, 3))
            taken = await guard.take("login", "k", limit, window)
            if not taken.allowed:
                assert 0 < taken.retry_after_seconds <= 2 * window
                harness.clock.advance(seconds=taken.retry_after_seconds - 0.000001)
                assert not (await guards(harness).take("login", "k", limit, window)).allowed, "and no sooner"
                harness.clock.advance(seconds=0.000001)
                assert (await guard.take("login", "k", limit, window)).allowed


async def test_fifty_at_once_never_exceed_the_limit(harness: Harness) -> None:
    for limit in (1, 10, 49):
        takes = await asyncio.gather(*(guards(harness).take("login", f"k{limit}", limit, 60) for _ in range(50)))
        assert sum(taken.allowed for taken in takes) == limit


@moves_the_clock
async def test_there_is_no_second_burst_at_the_edge_of_a_window(harness: Harness) -> None:
    guard = guards(harness)
    harness.clock.set(datetime(2026, 3, 15, 12, 0, 59, tzinfo=UTC))
    assert [(await guard.take("login", "k", 10, 60)).allowed for _ in range(12)] == [True] * 10 + [False] * 2
    harness.clock.advance(seconds=1)
    assert not (await guard.take("login", "k", 10, 60)).allowed
    allowed = 0
    for _ in range(59):
        harness.clock.advance(seconds=1)
        allowed += (await guard.take("login", "k", 10, 60)).allowed
    assert allowed == 9


@moves_the_clock
async def test_a_window_spans_the_month_and_the_day(harness: Harness) -> None:
    harness.clock.set(MONTH_S_END - timedelta(seconds=1))
    for _ in range(10):
        assert (await guards(harness).take("register", "k", 10, 3600)).allowed
    harness.clock.advance(seconds=2)
    assert not (await guards(harness).take("register", "k", 10, 3600)).allowed
    harness.clock.advance(hours=2)
    assert (await guards(harness).take("register", "k", 10, 3600)).allowed


async def test_a_limit_that_was_lowered_weighs_the_window_before_as_full() -> None:
    async with embedded() as harness:
        for _ in range(10):
            await guards(harness).take("login", "k", 10, 60)
        harness.clock.advance(seconds=60 + 36)
        assert (await guards(harness).take("login", "k", 2, 60)).allowed


async def test_the_allowed_take_is_one_call_and_a_refusal_that_is_known_none(harness: Harness) -> None:
    store = FaultyStore(harness.store)
    guard = guards(harness, store)
    calls = []
    for _ in range(6):
        store.calls.clear()
        await guard.take("login", "k", 3, 60)
        calls.append(len(store.calls))
    assert calls == [3, 1, 1, 2, 0, 0]


async def test_a_refusal_that_is_known_says_how_long_it_holds() -> None:
    """Two windows at most: for one take of one at the very beginning of a window."""
    async with embedded() as harness:
        store = FaultyStore(harness.store)
        guard = guards(harness, store)
        assert (await guard.take("login", "k", 1, 60)).allowed
        assert await guard.take("login", "k", 1, 60) == Taken(False, 120)
        store.calls.clear()
        assert await guard.take("login", "k", 1, 60) == Taken(False, 120)
        harness.clock.advance(seconds=7)
        assert await guard.take("login", "k", 1, 60) == Taken(False, 113)
        assert store.calls == []


async def test_a_refusal_that_stays_counted_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with embedded() as harness:
        guard = guards(harness, FaultyStore(harness.store, 5))
        assert [(await guard.take("login", "k", 1, 60)).allowed for _ in range(2)] == [True, False]
    assert caplog.messages == ['refusal_stays_counted {"error_type": "Unavailable"}']


async def test_what_is_remembered_is_bounded_and_is_not_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.privacy.guards._REMEMBERED", 5)
    async with embedded() as harness:
        store = FaultyStore(harness.store)
        guard = guards(harness, store)
        for number in range(20):
            for _ in range(2):
                await guard.take("login", str(number), 1, 60)
        assert len(guard._refused) == 5
        store.calls.clear()
        for number in range(15, 20):
            assert not (await guard.take("login", str(number), 1, 60)).allowed
        assert store.calls == [], "the latest are known"
        assert (await guard.take("login", "19", 2, 60)).allowed
        assert (await guard.take("login", "20", 1, 60)).allowed
        assert (await guard.take("register", "19", 1, 60)).allowed


@pytest.mark.parametrize("seconds", [1, 5 * 3600])
async def test_a_clock_that_is_set_back_does_not_refuse_for_ever(seconds: int) -> None:
    async with embedded() as harness:
        guard = guards(harness)
        for _ in range(2):
            await guard.take("login", "k", 1, 60)
        harness.clock.advance(seconds=-seconds)
        assert (await guard.take("login", "k", 1, 60)).allowed


@pytest.mark.parametrize("mode", MODES)
async def test_a_fault_at_any_call_allows_no_more_than_the_limit(mode: Mode) -> None:
    for k in range(1, 12):
        async with embedded() as harness:
            store = FaultyStore(harness.store, k, mode)
            allowed = failed = 0
            for _ in range(12):
                try:
                    allowed += (await guards(harness, store).take("login", "k", 5, 60)).allowed
                except Unavailable:
                    failed += 1
            assert allowed <= 5
            assert allowed >= 5 - failed
            assert failed <= store.failed == 1


# All of them


async def test_nothing_stands_in_clear_and_everything_ends(harness: Harness) -> None:
    store = Written(harness.store)
    guard = guards(harness, store)
    for key in (EMAIL, "203.0.113.9"):
        await guard.claim("producer", key, None, 3600)
        await guard.take("login", key, 1, 60)
    assert len(store.items) == 4
    for item in store.items:
        text = json.dumps(item)
        assert EMAIL not in text
        assert "ada@" not in text
        assert "203.0.113.9" not in text
    purpose = {"producer": 3600, "login": 2 * 60}
    beyond = [item["ttl"] - purpose[item["id"].partition("|")[0]] for item in store.items]
    assert all(0 < seconds <= MARGIN_SECONDS + 1 for seconds in beyond)


@pytest.mark.parametrize("key", HOSTILE, ids=lambda key: ascii(key)[:16])
async def test_any_text_is_a_key(harness: Harness, key: str) -> None:
    guard = guards(harness)
    assert (await guard.claim("producer", key, 1, 60)).mine
    assert not (await guard.claim("producer", key, 1, 60)).mine
    assert (await guard.take("login", key, 1, 60)).allowed
    assert not (await guards(harness).take("login", key, 1, 60)).allowed


async def test_keys_kinds_and_months_are_told_apart() -> None:
    async with embedded() as harness:
        guard = guards(harness)
        ids = {await guard._id(kind, month, key) for kind in "ab" for month in (MARCH, APRIL) for key in "xy"}
        assert len(ids) == 8
        other = Guards(harness.store, BlindIndex(MemorySecrets(), "v1"), harness.clock)
        assert await other._id("a", MARCH, "x") not in ids


async def test_instances_that_see_different_newest_versions_of_the_index_secret_agree() -> None:
    """One version is pinned; a newer one reaches the instances at different times, and changes nothing."""
    async with embedded() as harness:
        made = [
            await build_services(
                Settings(kraftd_data=":memory:"), clock=harness.clock, store=harness.store, secrets=Versions(*names)
            )
            for names in (("v1",), ("v2", "v1"), ("v3", "v2", "v1"))
        ]
        instances = [each.guards for each in made]
        claimed = [await each.claim("idempotency", "k", number, 60) for number, each in enumerate(instances)]
        assert claimed == [Claimed(True, 0), Claimed(False, 0), Claimed(False, 0)]
        taken = [await each.take("login", "k", 2, 60) for each in instances * 2]
        assert [each.allowed for each in taken] == [True, True, False, False, False, False]
        for each in made:
            each.passwords.close()


async def test_without_its_version_of_the_index_secret_a_guard_answers_nothing() -> None:
    """Under another one every marker would be free again, and every count zero."""
    async with embedded() as harness:
        assert (
            await Guards(harness.store, BlindIndex(Versions("v1"), "v1"), harness.clock).claim("a", "k", 1, 60)
        ).mine
        store = FaultyStore(harness.store)
        gone = Guards(store, BlindIndex(Versions("v3", "v2"), "v1"), harness.clock)
        for call in (
            gone.claim("a", "k", 1, 60),
            gone.take("a", "k", 1, 60),
        ):
            with pytest.raises(SecretsError, match=r"secret index: .* under version v1"):
                await call
        assert store.calls == []


async def test_misuse_is_refused_before_the_store_is_asked() -> None:
    async with embedded() as harness:
        guard = guards(harness, FaultyStore(harness.store, 1, times=None))
        for kind in ("", "Login", "a|b", "x" * 41, "ümlaut"):
            with pytest.raises(ValueError, match="kind"):
                await guard.claim(kind, "k", 1, 60)
            with pytest.raises(ValueError, match="kind"):
                await guard.take(kind, "k", 1, 60)
        for seconds in (0, -1, 14 * 86_400 + 1):
            with pytest.raises(ValueError, match="holds for"):
                await guard.claim("a", "k", 1, seconds)
        for limit, window in ((0, 60), (1_000_001, 60), (1, 0), (1, 86_401)):
            with pytest.raises(ValueError, match=r"limit is|holds for"):
                await guard.take("a", "k", limit, window)
        usable = guards(harness)
        assert (await usable.take("a", "k", 1_000_000, 86_400)).allowed
        assert (await usable.claim("a", "k", 1, 14 * 86_400)).mine


async def test_a_store_in_which_items_come_and_go_is_an_error_and_no_endless_loop() -> None:
    """Conflict on creation, nothing to be read: such a store lies, or an item expires each time."""

    class Lying(FaultyStore):
        async def create(self, container: Container, partition: Partition, item: Item) -> Item:
            await asyncio.sleep(0)
            raise Conflict

    async with embedded() as harness:
        guard = guards(harness, Lying(harness.store))
        with pytest.raises(Unavailable, match=r"^a marker came and went too often$"):
            await guard.claim("a", "k", 1, 60)
        with pytest.raises(Unavailable, match=r"^a count came and went too often$"):
            await guard.take("a", "k", 1, 60)


def test_the_bounds_fit_the_months() -> None:
    """Whatever reaches back meets two months at most, the shortest month included."""
    reach = timedelta(days=14) + 2 * SKEW
    assert math.ceil(reach / timedelta(days=1)) < 28


@moves_the_clock
async def test_a_marker_and_a_count_hold_across_a_rotation_of_the_index_secret() -> None:
    """Also between an instance whose clock is past the turn and one whose is not."""
    async with embedded() as harness:
        secrets = Versions("v2", "v1")
        ring = Ring((KeptVersion("v1"), KeptVersion("v2", added_at=harness.clock.now())))
        behind_clock = ManualClock(harness.clock.now())
        behind, ahead = (
            Guards(harness.store, BlindIndex(secrets, Fixed(harness.store, clock, ring)), clock)
            for clock in (behind_clock, harness.clock)
        )
        assert (await behind.claim("a", "before", 1, 14 * 86_400)).mine
        for clock in (behind_clock, harness.clock):
            clock.advance(seconds=SETTLING.total_seconds() - 60)
        harness.clock.advance(seconds=120)
        assert await ahead.claim("a", "before", 2, 14 * 86_400) == Claimed(False, 1)
        assert (await ahead.claim("a", "amid", 3, 3600)).mine
        assert await behind.claim("a", "amid", 4, 3600) == Claimed(False, 3)
        assert await behind.held("a", "amid", 3600) == 3
        taken = [await each.take("login", "k", 2, 86_400) for each in (behind, ahead, behind, ahead)]
        assert [each.allowed for each in taken] == [True, True, False, False]
        harness.clock.advance(days=7)
        assert await ahead.claim("a", "before", 5, 14 * 86_400) == Claimed(False, 1)
        without = Guards(harness.store, BlindIndex(Versions("v2"), Fixed(harness.store, harness.clock, ring)), clock)
        assert (await without.take("login", "k", 2, 3600)).allowed, "counts need the old version no more"


class Fixed(IndexVersions):
    """Versions that are not asked for again."""

    async def ring(self) -> Ring:
        return self._ring
