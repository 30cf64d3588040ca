"""Readiness says which part of the app does not work."""

from dataclasses import replace

import pytest

from shared.privacy.secrets import ROOTS, RootName, SecretsError, SecretsPort, SecretVersion
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
        "feed": "ok",
    }
    assert "gone" not in answer.text
    assert (await app.client.get("/v1/health/live")).status_code == 200
