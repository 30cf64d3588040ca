"""UUIDv7: the bits of RFC 9562, and what the trail relies on: an id's order and time are its minting's."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.clock import period_of
from shared.core.ids import IdFactory, lowest_id_at, time_of
from tests.fakes import ManualClock

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the point
MOMENTS = st.datetimes(NAIVE.replace(year=1970), NAIVE.replace(year=9998), timezones=st.just(UTC))
LOWEST, HIGHEST = 0, (1 << 62) - 1


def minted(moment: datetime, random: int = LOWEST) -> str:
    return IdFactory(ManualClock(moment), lambda _: random).new()


def test_the_example_of_rfc_9562() -> None:
    """Appendix A.6: 2022-02-22T19:22:22Z, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F."""
    moment = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    wanted = UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    found = UUID(minted(moment, 0x18C4DC0C0C07398F))
    assert found.int & ~(0xFFF << 64) == wanted.int & ~(0xFFF << 64)  # rand_a carries our microseconds
    assert time_of(str(wanted)) == moment


def test_the_twelve_bits_carry_the_microseconds() -> None:
    """RFC 9562 §6.2, method 3: the fraction of the millisecond as fraction of 4096."""
    base = datetime(2026, 3, 15, 12, 0, 0, 123_000, tzinfo=UTC)
    for micros, fraction in ((0, 0), (1, 4), (250, 1024), (500, 2048), (999, 4091)):
        assert UUID(minted(base + timedelta(microseconds=micros))).int >> 64 & 0xFFF == fraction


@given(moment=MOMENTS, random=st.integers(LOWEST, HIGHEST))
def test_version_variant_time_and_bits(moment: datetime, random: int) -> None:
    text = minted(moment, random)
    value = UUID(text)
    assert str(value) == text
    assert (value.version, value.variant) == (7, RFC_4122)
    assert value.int & HIGHEST == random
    assert time_of(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert period_of(time_of(text)) == period_of(moment)


@given(moment=MOMENTS, gap=st.integers(1, 10**9))
def test_the_order_of_ids_is_the_order_of_microseconds(moment: datetime, gap: int) -> None:
    earlier = minted(moment, HIGHEST)
    assert earlier < minted(moment + timedelta(microseconds=gap), LOWEST)


@given(moment=MOMENTS, random=st.integers(LOWEST, HIGHEST))
def test_the_lowest_id_bounds_every_id_of_its_moment(moment: datetime, random: int) -> None:
    bound = lowest_id_at(moment)
    assert UUID(bound).version == 7
    assert bound <= minted(moment, random)
    millisecond = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    if millisecond.year > 1970:
        assert minted(millisecond - timedelta(microseconds=1), HIGHEST) < bound


def test_an_explicit_moment_wins_over_the_clock_and_offsets_agree() -> None:
    ids = IdFactory(ManualClock(), lambda _: 7)
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    assert ids.new(moment) == ids.new(moment.astimezone(UTC))
    assert time_of(ids.new(moment)) == moment


def test_sixty_two_random_bits_are_asked_for() -> None:
    asked: list[int] = []

    def bits(count: int) -> int:
        asked.append(count)
        return 0

    IdFactory(ManualClock(), bits).new()
    assert asked == [62]


def test_ids_of_one_instant_differ() -> None:
    ids = IdFactory(ManualClock())
    assert len({ids.new() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0195c000-0000-7000-0000-0000000000aa",  # another variant
        "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d",  # version 1
        "919108f7-52d1-4320-9bac-f847db4148a8",  # version 4
        "ffffffff-ffff-7fff-bfff-ffffffffffff",  # beyond the calendar
        "0195c000-0000-7000-8000-0000000000aa\n0",
    ],
)
def test_only_a_uuid7_has_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"UUID"):
        time_of(text)


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(TypeError):
        IdFactory(ManualClock()).new(NAIVE)
