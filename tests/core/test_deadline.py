"""A deadline holds for what runs inside it, tasks included, and for nothing else."""

import asyncio

import pytest

from shared.core.deadline import deadline, remaining


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_deadline_a_call_has_all_its_time() -> None:
    assert remaining(10) == 10


def test_a_call_has_what_the_deadline_leaves() -> None:
    seconds = Seconds()
    with deadline(5, seconds):
        assert remaining(3, seconds) == 3
        assert remaining(10, seconds) == 5
        seconds.now += 4.5
        assert remaining(3, seconds) == 0.5
        seconds.now += 1
        assert remaining(3, seconds) == -0.5
    assert remaining(3, seconds) == 3


def test_an_inner_deadline_cannot_lengthen_the_outer_one() -> None:
    seconds = Seconds()
    with deadline(5, seconds):
        with deadline(60, seconds):
            assert remaining(10, seconds) == 5
        with deadline(1, seconds):
            assert remaining(10, seconds) == 1
        assert remaining(10, seconds) == 5


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), deadline(1):
        raise KeyError
    assert remaining(10) == 10


async def test_tasks_inherit_it_and_others_do_not_see_it() -> None:
    async def asked() -> float:
        await asyncio.sleep(0)
        return remaining(10)

    async def inside() -> float:
        with deadline(2):
            return await asyncio.create_task(asked())

    within, outside = await asyncio.gather(inside(), asked())
    assert within <= 2
    assert outside == 10
