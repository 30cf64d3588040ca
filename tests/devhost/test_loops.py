"""Background loops end between invocations, and never in silence."""

import asyncio

import pytest

from devhost.loops import Loop


async def test_a_pause_is_cut_short() -> None:
    paused = asyncio.Event()

    async def body(loop: Loop) -> None:
        paused.set()
        await loop.pause(asyncio.Event().wait)

    loop = Loop(body)
    await paused.wait()
    await loop.stop(30)
    assert loop.running is False


async def test_work_goes_on_to_the_next_pause() -> None:
    working, proceed = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def body(loop: Loop) -> None:
        working.set()
        await proceed.wait()
        done.append("work")
        await loop.pause(asyncio.Event().wait)
        done.append("never")

    loop = Loop(body)
    await working.wait()
    stopping = asyncio.create_task(loop.stop(30))
    await asyncio.sleep(0)
    proceed.set()
    await stopping
    assert done == ["work"]


async def test_work_beyond_the_grace_is_cut() -> None:
    working = asyncio.Event()

    async def body(loop: Loop) -> None:
        working.set()
        await asyncio.Event().wait()

    loop = Loop(body)
    await working.wait()
    await loop.stop(0)


async def test_a_loop_that_breaks_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def body(loop: Loop) -> None:
        raise LookupError("ada@example.org")

    loop = Loop(body)
    await loop.stop(30)
    assert "LOOP ENDED error=LookupError" in caplog.text
    assert "ada@example.org" not in caplog.text
