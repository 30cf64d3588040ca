"""Rotation logs nobody out: several app instances, each with a cache of its own, while versions come and go."""

import asyncio
import random
import secrets as random_source
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.identity.tokens import AccessTokens, TokenRejected
from shared.privacy.secrets import SETTLING, SecretsError, SecretsPort, signing_version
from tests.fakes import ManualClock
from tests.key_vault.sources import Source, VaultSource
from tests.key_vault.support import CLAIMS, LIFETIME, forged_with, kid_of, names, tokens_of
from tests.key_vault.vault import Fault, Vault

FIVE_MINUTES = timedelta(minutes=5)
TOKENS = "kraftd-tokens"


@dataclass
class Instance:
    """One app instance: its secrets and its tokens."""

    secrets: SecretsPort
    tokens: AccessTokens


@dataclass
class World:
    """Instances over one source, and every token that was issued."""

    source: Source
    clock: ManualClock
    instances: list[Instance] = field(default_factory=list)
    issued: list[tuple[str, datetime]] = field(default_factory=list)

    def start(self) -> Instance:
        port = self.source.instance()
        self.instances.append(Instance(port, tokens_of(port, self.clock)))
        return self.instances[-1]

    async def issue(self, instance: Instance) -> str:
        token = await instance.tokens.issue(CLAIMS)
        self.issued.append((token, self.clock.now() + LIFETIME))
        return token

    async def check_all(self, instance: Instance) -> None:
        """Every token that has not run out holds."""
        self.issued = [each for each in self.issued if each[1] > self.clock.now()]
        for token, _ in self.issued:
            assert await instance.tokens.check(token) == CLAIMS

    async def close(self) -> None:
        for each in self.instances:
            await each.secrets.close()


@pytest.fixture
async def world(source: Source, clock: ManualClock) -> AsyncIterator[World]:
    made = World(source, clock)
    yield made
    await made.close()


@pytest.mark.parametrize("seed", range(4))
async def test_nobody_is_logged_out_while_versions_are_rotated(world: World, seed: int) -> None:
    """At any pace, with instances that sleep and that start anew, and with somebody who tries other keys."""
    chance = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    world.start()
    world.start()
    newest, since = (await names(world.instances[0].secrets))[0], world.clock.now()
    for step in range(120):
        world.clock.advance(seconds=chance.choice([0, 1, 5, 20, 40, 90, 200]))
        now = world.clock.now()
        if now - since > 2 * FIVE_MINUTES and chance.random() < 0.3:
            ends = now + FIVE_MINUTES + LIFETIME if seed % 2 else None
            newest, since = world.source.rotate(expires=ends), now
        if step % 40 == 39:
            world.start()
        for instance in world.instances:
            if chance.random() < 0.4:
                continue  # nobody asks this one just now
            kid = chance.choice([random_source.token_hex(16), f"v{random_source.randbelow(1000) + 1000}"])
            with pytest.raises(TokenRejected, match="unknown_key"):
                await instance.tokens.check(forged_with(kid))
            token = await world.issue(instance)
            if now - since > FIVE_MINUTES:
                assert kid_of(token) == newest
            await world.check_all(instance)
        if chance.random() < 0.7:
            await asyncio.sleep(0.005)  # refreshes come to their end before the next request, or after it
    assert len(await names(world.start().secrets)) > (1 if seed % 2 else 4)


async def test_two_instances_never_sign_with_what_the_other_cannot_know(world: World) -> None:
    """To the second: when the first one signs with a new version, the other has asked since that was made."""
    first, second = world.start(), world.start()
    await world.issue(first)
    await world.issue(second)
    new, made = world.source.rotate(), world.clock.now()
    while kid_of(await world.issue(first)) != new:
        world.clock.advance(seconds=1)
        await world.check_all(second)
        await asyncio.sleep(0.002)
    assert SETTLING <= world.clock.now() - made <= SETTLING + timedelta(seconds=15)
    await world.check_all(second)


async def test_an_instance_that_slept_through_a_rotation_takes_the_new_tokens(world: World) -> None:
    first, second = world.start(), world.start()
    await world.issue(first)
    await world.issue(second)
    new = world.source.rotate()
    for _ in range(40):
        world.clock.advance(seconds=5)
        await world.issue(first)
        await asyncio.sleep(0.002)
    assert kid_of(world.issued[-1][0]) == new
    await world.check_all(second)


async def test_the_only_version_signs_however_new_it_is(world: World) -> None:
    """After a leak: the old one is ended at once, and nobody waits for new tokens."""
    first, second = world.start(), world.start()
    before = await world.issue(first)
    (old,) = await names(first.secrets)
    await names(second.secrets)
    new = world.source.rotate()
    world.source.retire(old)
    world.clock.advance(seconds=121)
    for each in (first, second):
        with pytest.raises(TokenRejected, match="unknown_key"):
            await each.tokens.check(before)
    world.issued.clear()
    assert kid_of(await world.issue(first)) == new
    await world.check_all(second)


async def test_what_a_token_is_signed_with_outlives_it(vault: Vault, clock: ManualClock) -> None:
    """A version that is about to expire signs nothing, although the newer one is not settled."""
    world = World(VaultSource(vault), clock)
    first, second = world.start(), world.start()
    await names(first.secrets)
    await names(second.secrets)
    clock.advance(seconds=30)
    new = world.source.rotate(expires=clock.now() + LIFETIME - timedelta(seconds=1))
    world.start()
    assert kid_of(await world.issue(world.instances[-1])) == new
    await world.check_all(second)
    await world.close()


async def test_when_the_vault_cannot_be_asked_a_newer_key_is_not_called_unknown(
    vault: Vault, clock: ManualClock
) -> None:
    world = World(VaultSource(vault), clock)
    first, second = world.start(), world.start()
    old = await world.issue(first)
    await world.issue(second)
    new = world.source.rotate()
    clock.advance(minutes=5)
    token = await world.issue(first)
    assert kid_of(token) == new
    vault.faults = [Fault(status=403, times=100_000)]
    clock.advance(minutes=5)
    with pytest.raises(SecretsError):
        await second.tokens.check(token)
    assert await second.tokens.check(old) == CLAIMS
    with pytest.raises(TokenRejected, match="unknown_key"):
        await second.tokens.check(forged_with("v7"))
    before = len(vault.seen)
    for _ in range(50):
        with pytest.raises(SecretsError):
            await second.tokens.check(forged_with(random_source.token_hex(16)))
    assert len(vault.seen) == before, "nobody can make it ask more often"
    vault.mend()
    clock.advance(seconds=11)
    assert await second.tokens.check(token) == CLAIMS
    await world.close()


async def test_a_version_that_was_enabled_again_settles_anew(vault: Vault, clock: ManualClock) -> None:
    """The other instance may have dropped it."""
    new = vault.put(TOKENS, enabled=False)
    clock.advance(days=1)
    world = World(VaultSource(vault), clock)
    first = world.start()
    (old,) = await names(first.secrets)
    vault.change(TOKENS, new, enabled=True)
    clock.advance(seconds=121)
    assert await names(first.secrets) == [new, old]
    assert signing_version(await first.secrets.versions("tokens"), clock.now(), LIFETIME).version == old
    clock.advance(seconds=30)
    assert signing_version(await first.secrets.versions("tokens"), clock.now(), LIFETIME).version == new
    await world.close()


async def test_a_version_settles_after_it_begins(vault: Vault, clock: ManualClock) -> None:
    """For the clocks of two instances differ."""
    begins = clock.now() + timedelta(hours=1)
    new = vault.put(TOKENS, not_before=begins)
    world = World(VaultSource(vault), clock)
    first = world.start()
    for moment in (begins - timedelta(seconds=1), begins, begins + SETTLING - timedelta(seconds=1)):
        clock.set(moment)
        assert kid_of(await world.issue(first)) != new
    clock.set(begins + SETTLING)
    assert kid_of(await world.issue(first)) == new
    await world.close()
