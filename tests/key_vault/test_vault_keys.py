"""Key wrapping on the real SDK client, against the stand-in: what is asked, how often, and what its failures mean."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.keyvault.keys.crypto import KeyWrapAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient
from cryptography.hazmat.primitives.asymmetric import ec

from shared.core.settings import Settings
from shared.privacy._held_versions import KEEP_FOR
from shared.privacy.key_wrapping import KeyDamaged, LocalKeys, Wrapped
from shared.privacy.person_keys import PersonKeys, Rewrapped
from shared.privacy.secrets import MemorySecrets, SecretsError
from shared.privacy.vault_keys import KEY, VaultKeys
from shared.storage.containers import SUBJECT_KEYS
from shared.storage.documents import Query
from shared.storage.sqlite import SqliteStore
from shared.wiring.adapters import open_wrapper
from tests.fakes import ManualClock
from tests.key_vault.conftest import OpenWrapper
from tests.key_vault.keys import DATA_KEY, private_jwk, rsa_key
from tests.key_vault.support import until
from tests.key_vault.vault import Credential, Fault, Seen, Vault

FOREVER = 1_000_000
OAEP = KeyWrapAlgorithm.rsa_oaep_256


@pytest.fixture
async def sdk() -> AsyncIterator[CryptographyClient]:
    """Microsoft's own implementation, with the private half of the vault's first version."""
    made = CryptographyClient.from_jwk(private_jwk(rsa_key(0)))
    yield made
    await made.close()


# The form of what is wrapped


async def test_the_sdks_own_cryptography_opens_what_we_wrapped(wrapped: Wrapped, sdk: CryptographyClient) -> None:
    assert (await sdk.unwrap_key(OAEP, wrapped.key)).key == DATA_KEY


async def test_we_open_what_the_sdks_own_cryptography_wrapped(
    keys: VaultKeys, vault: Vault, sdk: CryptographyClient
) -> None:
    theirs = (await sdk.wrap_key(OAEP, DATA_KEY)).encrypted_key
    assert await keys.unwrap(Wrapped(vault.key_version(), theirs)) == DATA_KEY


@pytest.mark.parametrize("algorithm", [KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa1_5], ids=lambda each: each.value)
async def test_no_weaker_way_of_wrapping_is_opened(
    keys: VaultKeys, vault: Vault, sdk: CryptographyClient, algorithm: KeyWrapAlgorithm
) -> None:
    theirs = (await sdk.wrap_key(algorithm, DATA_KEY)).encrypted_key
    with pytest.raises(KeyDamaged, match=r"^a person's key does not unwrap$"):
        await keys.unwrap(Wrapped(vault.key_version(), theirs))


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
async def test_every_size_of_key_that_the_vault_makes(empty: Vault, bits: int) -> None:
    empty.put_key(private=rsa_key(0, bits))
    keys = empty.wrapper()
    made = await keys.wrap(DATA_KEY)
    assert len(made.key) * 8 == bits
    assert await keys.unwrap(made) == DATA_KEY
    await keys.close()


# What is asked of the vault


async def test_wrapping_sends_no_key_anywhere(vault: Vault, keys: VaultKeys) -> None:
    made = [await keys.wrap(DATA_KEY) for _ in range(100)]
    assert vault.seen == [
        Seen(KEY, "versions", authorized=False),
        Seen(KEY, "versions", authorized=True),
        Seen(KEY, vault.key_version(), authorized=True),
    ]
    assert len({each.key for each in made}) == 100, "each is wrapped with randomness of its own"


async def test_a_hundred_first_calls_at_once_are_one_listing(vault: Vault, keys: VaultKeys) -> None:
    await asyncio.gather(*(keys.wrap(DATA_KEY) for _ in range(50)), *(keys.is_current("f" * 32) for _ in range(50)))
    assert vault.listings(KEY) == 1
    assert vault.gets(KEY) == [vault.key_version()]


async def test_an_instance_that_only_reads_lists_nothing(vault: Vault, wrapped: Wrapped) -> None:
    reader = vault.wrapper()
    vault.seen.clear()
    for _ in range(3):
        assert await reader.unwrap(wrapped) == DATA_KEY
    assert vault.listings(KEY) == 0
    assert vault.gets(KEY) == [wrapped.kek, *[f"{wrapped.kek}/unwrapkey"] * 3], "the public half is asked for once"
    await reader.close()


async def test_versions_are_asked_for_every_ten_minutes(vault: Vault, keys: VaultKeys, clock: ManualClock) -> None:
    old = await keys.wrap(DATA_KEY)
    new = vault.put_key()
    clock.advance(minutes=10)
    assert (await keys.wrap(DATA_KEY)).kek == old.kek
    assert vault.listings(KEY) == 1
    assert keys._held._task is None, "nor is it asked beside"
    clock.advance(seconds=1)
    assert (await keys.wrap(DATA_KEY)).kek == new
    assert await keys.is_current(new)
    assert vault.listings(KEY) == 2
    clock.advance(minutes=9)
    await keys.wrap(DATA_KEY)
    assert vault.listings(KEY) == 2
    clock.advance(minutes=2)
    await keys.wrap(DATA_KEY)
    assert vault.listings(KEY) == 3
    assert vault.gets(KEY) == [old.kek, new], "a public half is fetched once, and an old one never"


# Which versions count


async def test_the_newest_counts_whatever_order_the_vault_lists_in(empty: Vault, clock: ManualClock) -> None:
    empty.page = 2
    made = []
    for _ in range(5):
        made.append(empty.put_key())
        clock.advance(hours=1)
    keys = empty.wrapper()
    assert (await keys.wrap(DATA_KEY)).kek == made[-1]
    assert empty.gets(KEY) == [made[-1]]
    await keys.close()


async def test_a_version_wraps_when_it_has_begun(vault: Vault, keys: VaultKeys, clock: ManualClock) -> None:
    old = vault.key_version()
    later = vault.put_key(not_before=clock.now() + timedelta(minutes=5))
    assert (await keys.wrap(DATA_KEY)).kek == old
    clock.advance(minutes=5)
    assert (await keys.wrap(DATA_KEY)).kek == later
    assert vault.listings(KEY) == 1


async def test_a_version_that_ends_gives_way_and_still_unwraps(
    vault: Vault, keys: VaultKeys, clock: ManualClock
) -> None:
    """To the second, although the vault is not asked then."""
    old = vault.key_version()
    ends = vault.put_key(expires=clock.now() + timedelta(minutes=5))
    made = await keys.wrap(DATA_KEY)
    assert made.kek == ends
    clock.advance(minutes=5)
    assert (await keys.wrap(DATA_KEY)).kek == old
    assert vault.listings(KEY) == 1
    assert await keys.unwrap(made) == DATA_KEY


async def test_a_version_that_ends_during_an_outage_gives_way(
    vault: Vault, keys: VaultKeys, clock: ManualClock
) -> None:
    """Up to the last moment at which anything is answered."""
    old = vault.key_version()
    ends = vault.put_key(expires=clock.now() + KEEP_FOR)
    assert (await keys.wrap(DATA_KEY)).kek == ends
    vault.faults = [Fault(status=403, times=FOREVER)]
    clock.set(clock.now() + KEEP_FOR)
    assert (await keys.wrap(DATA_KEY)).kek == old


async def test_a_key_for_nothing_else_wraps(empty: Vault) -> None:
    only = empty.put_key(operations=("wrapKey", "unwrapKey"))
    keys = empty.wrapper()
    assert (await keys.wrap(DATA_KEY)).kek == only
    await keys.close()


async def test_a_disabled_version_is_passed_over(vault: Vault, keys: VaultKeys, clock: ManualClock) -> None:
    old = vault.key_version()
    new = vault.put_key(enabled=False)
    made = await keys.wrap(DATA_KEY)
    assert made.kek == old
    vault.change(KEY, new, enabled=True)
    vault.change(KEY, old, enabled=False)
    clock.advance(minutes=11)
    assert (await keys.wrap(DATA_KEY)).kek == new
    with pytest.raises(SecretsError, match=f"key {KEY}: the vault answered 403"):
        await keys.unwrap(made)
    vault.change(KEY, old, enabled=True)
    assert await keys.unwrap(made) == DATA_KEY


async def test_a_key_that_was_deleted_is_missing_and_can_be_recovered(
    vault: Vault, keys: VaultKeys, wrapped: Wrapped, clock: ManualClock
) -> None:
    held = vault.keys[KEY]
    vault.delete(KEY)
    with pytest.raises(SecretsError, match=f"key {KEY}: the vault answered 404"):
        await keys.unwrap(wrapped)
    clock.advance(minutes=11)
    with pytest.raises(SecretsError, match=f"key {KEY}: no version is usable"):
        await keys.wrap(DATA_KEY)
    vault.keys[KEY] = held
    assert await keys.unwrap(wrapped) == DATA_KEY
    clock.advance(minutes=11)
    assert (await keys.wrap(DATA_KEY)).kek == wrapped.kek


UNFIT = {
    "not RSA": {"private": ec.generate_private_key(ec.SECP256R1())},
    "too short": {"private": rsa_key(0, 1024)},
    "not to unwrap": {"operations": ("wrapKey",)},
    "not to wrap": {"operations": ("unwrapKey", "sign")},
}


@pytest.mark.parametrize("kind", UNFIT)
async def test_a_version_that_is_not_fit_for_use_is_refused(empty: Vault, kind: str) -> None:
    """Above all one that could wrap here, but that the vault would not unwrap with."""
    empty.put_key(**UNFIT[kind])  # type: ignore[arg-type] # each is one of its arguments
    keys = empty.wrapper()
    with pytest.raises(SecretsError, match=f"key {KEY}: no version is an RSA key of 2048 bits or more"):
        await keys.wrap(DATA_KEY)
    right = empty.put_key()
    assert (await keys.wrap(DATA_KEY)).kek == right
    await keys.close()


@pytest.mark.parametrize("kind", UNFIT)
async def test_an_unfit_new_version_is_passed_over(
    vault: Vault, keys: VaultKeys, clock: ManualClock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    old = (await keys.wrap(DATA_KEY)).kek
    new = vault.put_key(**UNFIT[kind])  # type: ignore[arg-type]
    for _ in range(3):
        clock.advance(minutes=11)
        assert (await keys.wrap(DATA_KEY)).kek == old
    told = f'{{"root": "{KEY}", "version": "{new}", "why": "not RSA, or too short, or not to wrap"}}'
    assert caplog.messages == [f"key_version_passed_over {told}"], "once"


# What must not get out, or in


async def test_the_sdk_writes_no_line_for_a_call(
    keys: VaultKeys, caplog: pytest.LogCaptureFixture, unset_sdk_logs: None
) -> None:
    caplog.set_level(logging.INFO)
    made = await keys.wrap(DATA_KEY)
    await keys.unwrap(made)
    with pytest.raises(KeyDamaged):
        await keys.unwrap(replace(made, key=made.key[::-1]))
    assert [each.getMessage() for each in caplog.records if each.name.startswith(("azure", "msal"))] == []


async def test_what_no_key_can_have_wrapped_is_not_sent(vault: Vault, ready: VaultKeys, wrapped: Wrapped) -> None:
    vault.seen.clear()
    for key in (b"", wrapped.key[:-1], wrapped.key + b"\0"):
        with pytest.raises(KeyDamaged, match=r"^a person's key does not unwrap$"):
            await ready.unwrap(replace(wrapped, key=key))
    for kek in ("", "../secrets/kraftd-tokens", f"{wrapped.kek}/"):
        with pytest.raises(SecretsError, match=f"^key {KEY}: the version that a person's key is wrapped under is not"):
            await ready.unwrap(replace(wrapped, kek=kek))
    assert vault.seen == []


async def test_names_that_somebody_made_up_fill_no_memory(ready: VaultKeys, wrapped: Wrapped) -> None:
    for n in range(25):
        with pytest.raises(SecretsError, match="the vault answered 404"):
            await ready.unwrap(replace(wrapped, kek=f"{n:032x}"))
        assert len(ready._unwrapping) <= 20
    assert await ready.unwrap(wrapped) == DATA_KEY


async def test_a_challenge_for_elsewhere_gets_no_token(vault: Vault, wrapper_on: OpenWrapper) -> None:
    challenge = 'Bearer authorization="https://login.microsoftonline.com/x", resource="https://example.com"'
    vault.faults = [Fault(status=401, headers={"WWW-Authenticate": challenge}, times=FOREVER)]
    credential = Credential(vault.token)
    keys = wrapper_on(credential=credential)
    for call in (keys.wrap(DATA_KEY), keys.unwrap(Wrapped(vault.key_version(), bytes(256)))):
        with pytest.raises(SecretsError, match=f"key {KEY}: "):
            await call
    assert credential.asked == 0


@pytest.mark.parametrize(
    "uri", ["http://v.vault.azure.net/", "https://127.0.0.1/", "https://v.vault.azure.net/keys", "https://a@b/", ""]
)
def test_an_unsafe_uri_is_refused(uri: str, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        VaultKeys(uri, clock=clock)


# Settings, the end, and the keys of persons


async def test_the_settings_choose_the_vault(clock: ManualClock, tmp_path: Path) -> None:
    vaults = Settings(key_vault_uri="https://v.vault.azure.net/", kraftd_data=":memory:")
    made = open_wrapper(vaults, clock, MemorySecrets())
    assert isinstance(made, VaultKeys)
    await made.close()
    assert isinstance(open_wrapper(Settings(kraftd_data=":memory:"), clock, MemorySecrets()), LocalKeys)


async def test_closing_lets_go_of_connections_and_credential(vault: Vault, wrapper_on: OpenWrapper) -> None:
    credential = Credential(vault.token)
    keys = wrapper_on(credential=credential)
    made = await keys.wrap(DATA_KEY)
    for _ in range(2):
        await keys.close()
    assert credential.closed == 1
    vault.seen.clear()
    with pytest.raises(SecretsError, match="shutting down"):
        await keys.unwrap(made)
    assert vault.seen == []


async def test_closing_while_the_vault_hangs(vault: Vault, keys: VaultKeys) -> None:
    vault.faults = [Fault(kind="hang", times=FOREVER)]
    caller = asyncio.create_task(keys.wrap(DATA_KEY))

    async def asked() -> bool:
        return len(vault.seen) > 0

    await until(asked)
    await keys.close()
    with pytest.raises(SecretsError):
        await caller


async def test_persons_keys_move_to_a_new_version(vault: Vault, wrapper_on: OpenWrapper, clock: ManualClock) -> None:
    """Rotate, rewrap, disable the old version: everything opens, on every instance."""
    store = await SqliteStore.open(None, clock=clock)
    people = PersonKeys(store, wrapper_on(), clock)
    old = vault.key_version()
    boxes = {}
    for person in ("ada", "bo", "cy"):
        cipher = await people.for_sealing("tenant", person)
        assert cipher is not None
        boxes[person] = cipher.encrypt(bytes(12), person.encode(), None)
    await people.erase("tenant", "cy")
    new = vault.put_key()
    clock.advance(minutes=11)
    assert await people.rewrap("tenant") == Rewrapped(wrapped=2)
    assert await people.rewrap("tenant") == Rewrapped(current=2)
    vault.change(KEY, old, enabled=False)
    page = await store.query(SUBJECT_KEYS, ("tenant",), Query(limit=10))
    assert [each.get("kek") for each in page.items] == [new, new, None]
    another = PersonKeys(store, wrapper_on(), clock)
    for person in ("ada", "bo"):
        cipher = await another.for_opening("tenant", person)
        assert cipher is not None
        assert cipher.decrypt(bytes(12), boxes[person], None) == person.encode()
    assert await another.for_opening("tenant", "cy") is None
    await store.close()
