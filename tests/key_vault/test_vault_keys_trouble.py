"""Key wrapping when the vault is in trouble, or answers what it should not."""

import asyncio

import pytest

from shared.core.deadline import deadline
from shared.privacy.key_wrapping import Wrapped
from shared.privacy.secrets import SecretsError
from shared.privacy.vault_keys import KEY, VaultKeys
from tests.fakes import ManualClock
from tests.key_vault.conftest import OpenWrapper
from tests.key_vault.keys import DATA_KEY
from tests.key_vault.support import until
from tests.key_vault.vault import Fault, Vault

FOREVER = 1_000_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(status=429),
        Fault(status=500),
        Fault(status=503),
        Fault(kind="drop"),
    ],
    ids=["throttled", "throttled-unsaid", "broken", "busy", "lost"],
)
async def test_what_passes_is_tried_again(vault: Vault, ready: VaultKeys, wrapped: Wrapped, fault: Fault) -> None:
    vault.seen.clear()
    vault.faults = [fault]
    assert await ready.unwrap(wrapped) == DATA_KEY
    assert vault.gets(KEY) == [f"{wrapped.kek}/unwrapkey"] * 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"<html>Bad Request</html>"),
        (400, b'{"error":{"code":"BadRequest","message":"c2VzYW1l"}}'),
        (403, b'{"error":{"code":"BadParameter","message":"c2VzYW1l"}}'),
        (409, b'{"error":{"code":"Conflict","message":"c2VzYW1l"}}'),
    ],
    ids=["400-empty", "400-a-proxys", "400-another", "403", "409"],
)
async def test_a_refusal_says_nothing_of_what_is_stored(
    vault: Vault, ready: VaultKeys, wrapped: Wrapped, status: int, body: bytes
) -> None:
    """Only BadParameter means that the wrapped key is damaged."""
    vault.seen.clear()
    vault.faults = [Fault(status=status, body=body, times=FOREVER)]
    with pytest.raises(SecretsError, match=f"key {KEY}: the vault answered {status}") as caught:
        await ready.unwrap(wrapped)
    assert "c2VzYW1l" not in f"{caught.value!r} {caught.value}"
    assert len(vault.seen) == 1, "a refusal is not asked for twice"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"value": 7}',
        b'{"value": ""}',
        b'{"value": [{"id": "x"}]}',
        b'{"value": "!"}',
        b"\xff\xfe",
    ],
    ids=range(9),
)
async def test_an_answer_that_is_none_is_an_error(
    vault: Vault, ready: VaultKeys, wrapped: Wrapped, body: bytes
) -> None:
    vault.faults = [Fault(status=200, body=body, times=FOREVER)]
    with pytest.raises(SecretsError, match=f"key {KEY}: "):
        await ready.unwrap(wrapped)
    vault.mend()
    assert await ready.unwrap(wrapped) == DATA_KEY


TROUBLE = {
    "hang": Fault(kind="hang", times=FOREVER),
    "throttled": Fault(status=429, headers={"Retry-After": "3600"}, times=FOREVER),
    "led-away": Fault(status=302, headers={"Location": "https://elsewhere.example.com/"}, times=FOREVER),
    "broken": Fault(status=500, times=FOREVER),
}


@pytest.mark.parametrize("kind", TROUBLE)
async def test_no_trouble_takes_longer_than_its_time(vault: Vault, wrapper_on: OpenWrapper, kind: str) -> None:
    keys = wrapper_on(load_seconds=1.0)
    made = Wrapped(vault.key_version(), bytes(256))
    vault.faults = [TROUBLE[kind]]
    for call in (keys.unwrap(made), keys.wrap(DATA_KEY), keys.is_current(made.kek)):
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(SecretsError, match=f"key {KEY}: "):
            await call
        assert loop.time() - started < 3


async def test_a_request_waits_no_longer_than_it_may(vault: Vault, ready: VaultKeys, wrapped: Wrapped) -> None:
    vault.faults = [Fault(kind="hang", times=FOREVER)]
    loop = asyncio.get_running_loop()
    for seconds in (0.2, -1.0):
        started = loop.time()
        with deadline(seconds), pytest.raises(SecretsError, match="no answer in time"):
            await ready.unwrap(wrapped)
        assert loop.time() - started < 2


async def test_many_at_once_each_get_their_own_through_trouble(vault: Vault, ready: VaultKeys) -> None:
    made = [bytes([n]) * 32 for n in range(30)]
    wrapped = [await ready.wrap(each) for each in made]
    vault.faults = [Fault(status=500, times=3), Fault(kind="drop", times=3)]
    assert await asyncio.gather(*(ready.unwrap(each) for each in wrapped)) == made


async def test_wrapping_outlives_an_outage_of_an_hour(
    vault: Vault, ready: VaultKeys, wrapped: Wrapped, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    vault.faults = [Fault(status=403, times=FOREVER)]
    for _ in range(6):
        clock.advance(minutes=10)
        assert (await ready.wrap(DATA_KEY)).kek == wrapped.kek
        assert await ready.is_current(wrapped.kek)
        with pytest.raises(SecretsError, match="the vault answered 403"):
            await ready.unwrap(wrapped)
    assert "secrets_not_refreshed" in caplog.text
    clock.advance(seconds=1)
    for call in (ready.wrap(DATA_KEY), ready.is_current(wrapped.kek)):
        with pytest.raises(SecretsError, match=f"key {KEY}: the vault answered 403"):
            await call
    vault.mend()
    assert await ready.unwrap(wrapped) == DATA_KEY

    async def back() -> bool:
        clock.advance(seconds=11)
        try:
            return (await ready.wrap(DATA_KEY)).kek == wrapped.kek
        except SecretsError:
            return False

    await until(back)
