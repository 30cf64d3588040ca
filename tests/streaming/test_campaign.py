"""The fault campaign: a receiver that fails by chance in every way, two instances that deliver, secrets that rotate,
replays, and a store that hiccups. In the end every event was received, in order, each signature good.

`KRAFTD_CAMPAIGN_SECONDS` makes it longer."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import pytest

from shared.storage.containers import Container
from shared.storage.documents import Partition
from shared.storage.errors import Unavailable
from shared.streaming.runner import Runner
from shared.streaming.sender import Sender, Times
from tests.faults import FaultyStore
from tests.ledger.world import PERIOD, TENANT
from tests.streaming.support import Instance, Stage, by, chance
from tools.webhook_receiver import FAULTS, Receiver

SECONDS = float(os.environ.get("KRAFTD_CAMPAIGN_SECONDS", "3"))
NOT_KEPT = ("500", "429", "reset", "redirect")
LEAST = 4
"""Faults of each of these kinds: an event of one that counted as delivered would be lost."""
QUICKLY = Times(connect=1.0, total=0.2, body=0.1)


class Hiccups(FaultyStore):
    """Fails every 40th call, in turns before and after it took effect."""

    total = 0

    async def _pass[T](
        self, operation: str, container: Container | None, partition: Partition, run: Callable[[], Awaitable[T]]
    ) -> T:
        self.total += 1
        if self.total % 40 == 0:
            self.arm(1, "after" if self.total % 80 == 0 else "before")
        return await super()._pass(operation, container, partition, run)


async def run(stage: Stage, receiver: Receiver, instances: list[Instance], seed: int) -> None:
    """Seal, deliver, rotate and replay for some seconds, the clock running a thousand times too fast; in any case until
    each fault had its turn, those that keep nothing several. Replays begin a little before where the stream is: one
    that sent everything anew would make up for what was lost."""
    roll, began = chance(seed), time.monotonic()
    runners = [Runner(each.delivery.run) for each in instances]

    def enough() -> bool:
        return all(receiver.failed[each] >= (LEAST if each in NOT_KEPT else 1) for each in FAULTS)

    while (passed := time.monotonic() - began) < SECONDS or (not enough() and passed < 30):
        await stage.seal(roll.randrange(1, 40))
        for runner in runners:
            runner.wake(TENANT)
        await asyncio.sleep(0.02)
        stage.clock.advance(seconds=roll.choice([5, 20, 61]))
        if roll.random() < 0.05:
            at = (await stage.progress()).next.get(PERIOD, 0)
            await stage.one.webhooks.replay(by(), f"{PERIOD}/{max(0, at - roll.randrange(60))}", stage.request)
        if roll.random() < 0.05:
            made = await stage.put(url=stage_url(stage), secret=None, new_secret=True, gzip=roll.random() < 0.5)
            assert made.secret is not None
            stage.inbox.secrets = [*stage.inbox.secrets, made.secret][-2:]
    assert enough(), receiver.failed
    for runner in runners:
        await runner.close()


def stage_url(stage: Stage) -> str:
    return stage.line.sent[0][0]


@pytest.mark.parametrize("seed", [1])
async def test_every_event_in_order_with_good_signatures(quick: Stage, seed: int) -> None:
    stage = quick
    receiver = Receiver(stage.inbox, faults=0.35, chance=chance(seed), slow_seconds=0.4)
    url = await receiver.start()
    stage.line.sent.append((url, {}, b""))  # where `stage_url` finds it
    sender = Sender(allow_private=True, allow_http=True, times=QUICKLY)
    stage.one = Instance(stage.world, sender)
    shaky = Hiccups(stage.world.store)
    rival = Instance(stage.world, sender, shaky)
    try:
        await stage.put(url=url)
        await run(stage, receiver, [stage.one, rival], seed)
        receiver.faults = 0.0
        size = (await stage.one.backlog.sizes(TENANT))[PERIOD]
        for _ in range(50):
            stage.clock.advance(minutes=16)
            try:
                await rival.delivery.run(TENANT)
            except Unavailable:
                continue
            if (await stage.progress()).next.get(PERIOD) == size:
                break
    finally:
        await receiver.stop()
    assert receiver.refused == []
    assert stage.inbox.wrong == []
    assert stage.received() == list(range(size))
    assert {key[1] for key in stage.inbox.events} == {entry.event_id for entry in await stage.world.sealed()}
    assert stage.inbox.duplicates > 0
    assert shaky.total > 80
    assert (await stage.progress()).paused is None
