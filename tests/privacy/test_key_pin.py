"""What the store holds on to of the key that wraps persons' keys, and what readiness asks of that key."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from shared.privacy import key_probe as module
from shared.privacy.index_versions import ITEM, KeptVersion, Ring, check_value
from shared.privacy.key_check import PersonsPin, pin_index
from shared.privacy.key_probe import GOOD_FOR, KeyProbe
from shared.privacy.key_wrapping import KeyDamaged, LocalKeys, Wrapped
from shared.privacy.person_keys import HELD_OVER, PAUSE
from shared.privacy.secrets import MemorySecrets, SecretsError, SecretsUnreached, SecretVersion
from shared.storage.containers import DIRECTORY
from shared.storage.documents import Item
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.faults import Call, FaultyStore
from tests.privacy.test_key_check import Versions

ID = "key_check|persons"
PLACE = (ID,)


class Vault(LocalKeys):
    """A key-encryption key; `trouble` is raised instead of an answer. `asked`: how often it was asked to unwrap."""

    trouble: BaseException | None = None
    mangled = False
    hangs = False
    asked = 0

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(MemorySecrets(), clock)
        self.current = "v1"

    async def wrap(self, key: bytes) -> Wrapped:
        return replace(await super().wrap(key), kek=self.current)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        key = await super().unwrap(replace(wrapped, kek="v1"))
        return key[::-1] if self.mangled else key

    async def is_current(self, kek: str) -> bool:
        return kek == self.current


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[SqliteStore]:
    made = await SqliteStore.open(None, clock=clock)
    yield made
    await made.close()


async def stored(store: SqliteStore) -> Item:
    return await store.read(DIRECTORY, PLACE, ID)


async def test_a_new_store_takes_the_current_key_and_holds_on_to_it(store: SqliteStore, clock: ManualClock) -> None:
    vault = Vault(clock)
    vault.current = "v3"
    await PersonsPin(store, vault).check()
    held = await stored(store)
    assert {name for name in held if not name.startswith("_")} == {"id", "version", "value"}
    assert held["version"] == "v3"
    assert len(base64.b64decode(held["value"], validate=True)) == 32 + 8
    vault.current = "v4"
    await PersonsPin(store, vault).check()
    assert await stored(store) == held


async def test_of_instances_that_begin_at_once_one_takes_it(store: SqliteStore, clock: ManualClock) -> None:
    first = Vault(clock)
    faulty = FaultyStore(store)
    await asyncio.gather(*(PersonsPin(faulty, first).check() for _ in range(5)))
    other = Vault(clock)

    class Late(FaultyStore):
        """Sees nothing at first, as an instance that asked before the other one wrote."""

        async def read(self, *where: Any) -> Item:
            if not self.calls:
                self.calls.append(Call("read", "directory", PLACE))
                raise NotFound
            return await super().read(*where)

    await PersonsPin(Late(store), first).check()
    with pytest.raises(SecretsError, match="another key"):
        await PersonsPin(Late(store), other).check()


FORGED: dict[str, dict[str, Any]] = {
    "no value": {"version": "v1"},
    "no version": {},
    "a value that is no base64": {"version": "v1", "value": "%"},
    "a value that is a number": {"version": "v1", "value": 7},
    "a value with more than base64": {"version": "v1", "value": "AA==\n"},
    "another value": {"version": "v1", "value": base64.b64encode(bytes(40)).decode()},
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_somebody_wrote_over_it_is_refused_with_a_reason(
    store: SqliteStore, clock: ManualClock, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await store.create(DIRECTORY, PLACE, {"id": ID, **FORGED[name]})
    pin = PersonsPin(store, Vault(clock))
    version = FORGED[name].get("version")
    for call in (pin.check, pin.renew):
        with pytest.raises(SecretsError) as error:
            await call()
        assert str(error.value) == (
            f"persons' keys: those of this store were wrapped under another key than the {version} that is there; "
            "put that one back"
        )
    assert caplog.messages == [f'persons_key_differs {{"version": "{version}"}}'] * 2
    assert "value" not in FORGED[name] or (await stored(store))["value"] == FORGED[name]["value"]


async def test_a_key_that_is_not_what_was_wrapped_is_refused(store: SqliteStore, clock: ManualClock) -> None:
    vault = Vault(clock)
    await PersonsPin(store, vault).check()
    vault.mangled = True
    with pytest.raises(SecretsError, match="another key"):
        await PersonsPin(store, vault).check()


async def test_renewing_wraps_it_under_the_current_key_alone(store: SqliteStore, clock: ManualClock) -> None:
    vault = Vault(clock)
    pin = PersonsPin(store, vault)
    await pin.renew()
    held = await stored(store)
    await pin.renew()
    assert await stored(store) == held, "it was current"
    vault.current = "v2"
    await pin.renew()
    assert (await stored(store))["version"] == "v2"
    await pin.check()


async def test_a_renewal_that_another_run_made_is_left_alone(store: SqliteStore, clock: ManualClock) -> None:
    vault = Vault(clock)
    await PersonsPin(store, vault).check()
    vault.current = "v2"
    faulty = FaultyStore(store, 1, error=PreconditionFailed(), counts=lambda call: call.operation == "replace")
    held = await stored(store)
    await PersonsPin(faulty, vault).renew()
    assert faulty.failed == 1
    assert await stored(store) == held


async def test_a_renewal_writes_over_nothing_that_came_meanwhile(store: SqliteStore, clock: ManualClock) -> None:
    vault = Vault(clock)
    await PersonsPin(store, vault).check()
    vault.current = "v2"

    class Between(Vault):
        async def is_current(self, kek: str) -> bool:
            await store.replace(DIRECTORY, PLACE, await stored(store) | {"version": "v9"})
            return False

    between = Between(clock)
    between._secrets = vault._secrets
    await PersonsPin(store, between).renew()
    assert (await stored(store))["version"] == "v9"


async def test_the_probe_asks_once_a_minute(clock: ManualClock) -> None:
    vault = Vault(clock)
    probe = KeyProbe(vault, clock)
    await probe.check()
    clock.advance(seconds=GOOD_FOR.total_seconds() - 0.001)
    await asyncio.gather(*(probe.check() for _ in range(9)))
    assert vault.asked == 1
    clock.advance(seconds=0.001)
    await asyncio.gather(*(probe.check() for _ in range(9)))
    assert vault.asked == 2
    clock.advance(seconds=-GOOD_FOR.total_seconds())
    await probe.check()
    assert vault.asked == 3, "a clock that was set back"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (SecretsError("key: the vault answered 403"), "key: the vault answered 403"),
        (SecretsUnreached("key: the vault answered 503"), "key: the vault answered 503"),
        (TimeoutError(), "persons' keys: no answer in time"),
        (KeyDamaged("x"), "persons' keys: what was wrapped does not unwrap"),
    ],
    ids=repr,
)
async def test_the_probe_says_what_is_wrong_and_asks_again_after_ten_seconds(
    clock: ManualClock, trouble: BaseException, reason: str
) -> None:
    vault = Vault(clock)
    vault.trouble = trouble
    probe = KeyProbe(vault, clock)
    for _ in range(2):
        with pytest.raises(SecretsError) as error:
            await probe.check()
        assert str(error.value) == reason
    assert vault.asked == 1
    clock.advance(seconds=PAUSE.total_seconds() - 0.001)
    with pytest.raises(SecretsError):
        await probe.check()
    assert vault.asked == 1
    vault.trouble = None
    clock.advance(seconds=0.001)
    await probe.check()
    assert vault.asked == 2


async def test_a_key_that_comes_back_as_another_is_said(clock: ManualClock) -> None:
    vault = Vault(clock)
    vault.mangled = True
    with pytest.raises(SecretsError, match=r"^persons' keys: what was wrapped does not unwrap$"):
        await KeyProbe(vault, clock).check()


@pytest.mark.parametrize("trouble", [SecretsUnreached("no answer"), TimeoutError()], ids=repr)
async def test_silence_counts_after_as_long_as_keys_are_held_over_it(
    clock: ManualClock, trouble: BaseException
) -> None:
    vault = Vault(clock)
    probe = KeyProbe(vault, clock)
    await probe.check()
    vault.trouble = trouble
    clock.advance(seconds=HELD_OVER.total_seconds() - GOOD_FOR.total_seconds())
    await probe.check()
    clock.advance(seconds=GOOD_FOR.total_seconds())
    with pytest.raises(SecretsError):
        await probe.check()


async def test_a_refusal_counts_at_once(clock: ManualClock) -> None:
    vault = Vault(clock)
    probe = KeyProbe(vault, clock)
    await probe.check()
    vault.trouble = SecretsError("403")
    clock.advance(seconds=GOOD_FOR.total_seconds())
    with pytest.raises(SecretsError, match="403"):
        await probe.check()


async def test_a_vault_that_hangs_is_given_up(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.01)
    vault = Vault(clock)
    vault.hangs = True
    with pytest.raises(SecretsError, match=r"^persons' keys: no answer in time$"):
        await KeyProbe(vault, clock).check()


async def test_a_store_that_is_silent_changes_nothing_of_what_was_known(store: SqliteStore, clock: ManualClock) -> None:
    vault = Vault(clock)
    faulty = FaultyStore(store, error=Unavailable("no answer"))
    probe = KeyProbe(vault, clock, PersonsPin(faulty, vault))
    await probe.check()
    faulty.arm(1, times=None)
    clock.advance(seconds=GOOD_FOR.total_seconds())
    await probe.check()
    faulty.mend()
    vault.trouble = SecretsError("403")
    clock.advance(seconds=GOOD_FOR.total_seconds())
    with pytest.raises(SecretsError, match="403"):
        await probe.check()
    vault.trouble = None
    faulty.arm(1, times=None)
    clock.advance(seconds=PAUSE.total_seconds())
    with pytest.raises(SecretsError, match="403"):
        await probe.check()


async def test_a_new_store_is_bound_to_the_newest_version_of_the_index_secret(store: SqliteStore) -> None:
    secrets = Versions("b", "a")
    newest = (await secrets.versions("index"))[0]
    wanted = Ring((KeptVersion("b", check_value(newest)),))
    assert await pin_index(store, secrets) == wanted
    held = await store.read(DIRECTORY, (ITEM,), ITEM)
    assert (held["id"], held["version"], held["value"]) == ("key_check|index", "b", check_value(newest))
    raced = FaultyStore(store, 1, error=Conflict(), counts=lambda call: call.operation == "create")
    assert await pin_index(raced, secrets) == wanted


async def test_what_is_wrong_with_the_index_secret_is_logged_by_its_version(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    await pin_index(store, Versions("a"))
    with pytest.raises(SecretsError, match=r"No other version can take its place\.$"):
        await pin_index(store, Versions("b"))
    other = Versions("a")
    other._held = (SecretVersion("a", b"x" * 32),)
    with pytest.raises(
        SecretsError, match=r"^secret index: .* another one \(a\); put that one back\. This version cannot"
    ):
        await pin_index(store, other)
    assert caplog.messages == [
        'index_secret_missing {"version": "a"}',
        'index_secret_differs {"version": "a"}',
    ]
