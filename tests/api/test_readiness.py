"""Readiness says which part of the app does not work."""

from dataclasses import replace

import pytest

from functions.meta import BEHIND_SECONDS
from shared.privacy.key_probe import KeyProbe
from shared.privacy.key_wrapping import KeyDamaged, LocalKeys, Wrapped
from shared.privacy.person_keys import HELD_OVER
from shared.privacy.secrets import (
    ROOTS,
    MemorySecrets,
    RootName,
    SecretsError,
    SecretsPort,
    SecretsUnreached,
    SecretVersion,
)
from tests.app import App


class Sealed:
    """A secrets port in which one root secret cannot be had."""

    def __init__(self, inner: SecretsPort, missing: RootName) -> None:
        self._inner = inner
        self._missing = missing

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """As the inner port has it, but for the missing one. SecretsError."""
        if name == self._missing:
            raise SecretsError(f"secret {name}: gone")
        return await self._inner.versions(name)

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        """As the inner port has it."""
        return await self._inner.find(name, version)

    async def close(self) -> None:
        """Closes the inner port."""
        await self._inner.close()


async def test_a_whole_app_is_ready(app: App) -> None:
    answer = await app.client.get("/v1/health/ready")
    assert answer.status_code == 200
    assert "retry-after" not in answer.headers
    assert {name: check["status"] for name, check in answer.json()["checks"].items()} == {
        "store": "ok",
        "secrets": "ok",
        "keys": "ok",
        "feed": "ok",
    }


@pytest.mark.parametrize("missing", ROOTS)
async def test_without_one_of_its_secrets_the_app_is_not_ready(app: App, missing: RootName) -> None:
    app.host.module.services.put(replace(app.services, secrets=Sealed(app.services.secrets, missing)))
    answer = await app.client.get("/v1/health/ready")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (503, "failed")
    assert answer.headers["retry-after"] == "5"
    assert {name: check["status"] for name, check in body["checks"].items()} == {
        "store": "ok",
        "secrets": "failed",
        "keys": "ok",
        "feed": "ok",
    }
    assert "gone" not in answer.text
    assert (await app.client.get("/v1/health/live")).status_code == 200


class Failing(LocalKeys):
    """A key-encryption key that unwraps nothing while there is an `error`. `asked`: how often it was to."""

    error: Exception | None = None
    asked = 0

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """As the real one. SecretsError, KeyDamaged."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await super().unwrap(wrapped)


async def test_without_the_key_of_persons_keys_the_app_is_not_ready(app: App) -> None:
    wrapper = Failing(MemorySecrets(), app.clock)
    app.host.module.services.put(replace(app.services, key_probe=KeyProbe(wrapper, app.clock)))

    async def status() -> tuple[int, str]:
        answer = await app.client.get("/v1/health/ready")
        assert "vault" not in answer.text
        return answer.status_code, answer.json()["checks"]["keys"]["status"]

    wrapper.error = SecretsUnreached("the vault was not reached")
    assert await status() == (503, "failed"), "before there was ever an answer"
    wrapper.error = None
    app.clock.advance(seconds=10)
    assert [await status() for _ in range(5)] == [(200, "ok")] * 5
    assert wrapper.asked == 2, "whoever asks how often"
    wrapper.error = SecretsUnreached("the vault was not reached")
    app.clock.advance(minutes=50)
    assert await status() == (200, "ok"), "what is in memory is used for an hour"
    app.clock.advance(seconds=HELD_OVER.total_seconds() - 3000)
    assert await status() == (503, "failed")
    for error in (SecretsError("the vault answered 403"), KeyDamaged("a key does not unwrap")):
        wrapper.error = None
        app.clock.advance(minutes=1)
        assert await status() == (200, "ok")
        wrapper.error = error
        app.clock.advance(minutes=1)
        assert await status() == (503, "failed")


async def test_a_feed_that_stands_still_is_told_and_requests_are_served(app: App) -> None:
    await app.register()

    async def feed() -> tuple[int, str, str, float]:
        answer = await app.client.get("/v1/health/ready")
        check = answer.json()["checks"]["feed"]
        return answer.status_code, answer.json()["status"], check["status"], check["lag_seconds"]

    app.clock.advance(seconds=BEHIND_SECONDS)
    assert (await feed())[:3] == (200, "ok", "ok")
    app.clock.advance(seconds=473)
    status, whole, told, lag = await feed()
    assert (status, whole, told) == (200, "ok", "behind")
    assert 773 <= lag < 775
    await app.host.drain_feed()
    assert await feed() == (200, "ok", "ok", 0.0)
