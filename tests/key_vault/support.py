"""What the tests of the adapter share."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import jwt

from shared.core.clock import Clock
from shared.identity.tokens import AccessTokens, Claims
from shared.privacy.secrets import SecretsPort

LIFETIME = timedelta(minutes=15)
CLAIMS = Claims("0195c000-0000-7000-8000-000000000001", "tenant", "0195c000-0000-7000-8000-000000000002")


async def names(secrets: SecretsPort) -> list[str]:
    """The versions of the token secret that are held, newest first."""
    return [each.version for each in await secrets.versions("tokens")]


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what runs beside us; at most ten seconds."""
    for _ in range(2000):
        if await happened():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def tokens_of(secrets: SecretsPort, clock: Clock) -> AccessTokens:
    return AccessTokens(secrets, clock, LIFETIME)


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def forged_with(kid: str) -> str:
    """A token that names a key and is signed with none of ours."""
    return jwt.encode({"sub": "x"}, "k" * 32, headers={"kid": kid})
