"""The adapter on the real SDK client, against the stand-in: what is asked, how often, and what its failures mean."""

import asyncio
import base64
import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from shared.core.settings import Settings
from shared.privacy._vault import Properties, version_of
from shared.privacy.key_vault import MAX_HELD, NAMES, KeyVaultSecrets
from shared.privacy.secrets import ROOT_BYTES, ROOTS, SecretsError
from shared.privacy.vault_keys import VaultKeys
from shared.storage.azure_identity import identify
from shared.wiring.adapters import open_secrets, open_wrapper
from tests.fakes import ManualClock
from tests.key_vault.conftest import Open
from tests.key_vault.keys import DATA_KEY
from tests.key_vault.support import names, until
from tests.key_vault.vault import Credential, Fault, Seen, Vault, serving

TOKENS = "kraftd-tokens"


async def test_values_are_what_the_vault_holds(vault: Vault, connect: Open) -> None:
    secrets = connect()
    for root in ROOTS:
        (only,) = await secrets.versions(root)
        assert only.value == vault.value(NAMES[root], only.version)


async def test_the_vault_challenges_once_and_gives_no_value_unasked(vault: Vault, connect: Open) -> None:
    credential = Credential(vault.token)
    secrets = connect(credential=credential)
    (only,) = await secrets.versions("tokens")
    assert vault.seen == [
        Seen(TOKENS, "versions", authorized=False),
        Seen(TOKENS, "versions", authorized=True),
        Seen(TOKENS, only.version, authorized=True),
    ]
    await secrets.versions("index")
    assert [each.authorized for each in vault.seen[3:]] == [True, True]
    assert credential.asked == 1


async def test_a_thousand_calls_are_one_listing(vault: Vault, connect: Open) -> None:
    secrets = connect()
    for _ in range(1000):
        await secrets.versions("tokens")
    assert vault.listings() == 1


async def test_a_hundred_first_calls_at_once_are_one_listing(vault: Vault, connect: Open) -> None:
    secrets = connect()
    found = await asyncio.gather(*(secrets.versions("tokens") for _ in range(100)))
    assert len(set(found)) == 1
    assert vault.listings() == 1


async def test_a_value_is_fetched_once(vault: Vault, connect: Open, clock: ManualClock) -> None:
    secrets = connect()
    first = await names(secrets)
    for _ in range(3):
        clock.advance(minutes=5)
        vault.put(TOKENS)
        await names(secrets)
    assert vault.listings() == 4
    assert sorted(vault.gets()) == sorted(await names(secrets))
    assert vault.gets()[0] == first[0]


async def test_a_new_version_is_seen_beside_the_requests(vault: Vault, connect: Open, clock: ManualClock) -> None:
    secrets = connect()
    (first,) = await names(secrets)
    newer = vault.put(TOKENS)
    clock.advance(seconds=61)
    assert await names(secrets) == [first]

    async def seen() -> bool:
        return await names(secrets) == [newer, first]

    await until(seen)


async def test_the_newest_comes_first_whatever_order_the_vault_lists_in(empty: Vault) -> None:
    empty.page = 2
    made = []
    for _ in range(7):
        made.append(empty.put(TOKENS))
        empty.clock.advance(hours=1)
    secrets = empty.client()
    assert await names(secrets) == made[::-1]
    assert empty.listings() == 4
    await secrets.close()


async def test_versions_of_one_second_are_in_one_order_for_all(vault: Vault, connect: Open) -> None:
    made = [vault.put(TOKENS) for _ in range(5)]
    assert (await names(connect()))[:5] == sorted(made, reverse=True)


async def test_only_so_many_values_are_fetched_unasked(empty: Vault) -> None:
    made = []
    for _ in range(30):
        made.append(empty.put(TOKENS))
        empty.clock.advance(hours=1)
    secrets = empty.client()
    assert await names(secrets) == made[: -MAX_HELD - 1 : -1]
    assert len(empty.gets()) == MAX_HELD
    oldest = await secrets.find("tokens", made[0])
    assert oldest is not None
    assert oldest.value == empty.value(TOKENS, made[0])
    empty.clock.advance(minutes=5)
    assert (await names(secrets))[-1] == made[0], "what was asked for once stays"
    assert len(empty.gets()) == MAX_HELD + 1
    await secrets.close()


# Which versions count


async def test_a_disabled_version_ends(vault: Vault, connect: Open, clock: ManualClock) -> None:
    secrets = connect()
    (old,) = await names(secrets)
    new = vault.put(TOKENS)
    vault.change(TOKENS, old, enabled=False)
    clock.advance(minutes=5)
    assert await names(secrets) == [new]
    assert await secrets.find("tokens", old) is None
    vault.change(TOKENS, old, enabled=True)
    clock.advance(minutes=5)
    assert await names(secrets) == [new, old]


async def test_a_disabled_version_is_never_fetched(vault: Vault, connect: Open) -> None:
    vault.put(TOKENS, enabled=False)
    assert len(await names(connect())) == 1
    assert len(vault.gets()) == 1


async def test_a_version_ends_at_its_expiry_to_the_second(vault: Vault, connect: Open, clock: ManualClock) -> None:
    """Although the vault is not asked at that moment."""
    secrets = connect()
    ends = vault.put(TOKENS, expires=clock.now() + timedelta(seconds=30))
    (old, new) = (await names(connect()))[::-1]
    assert new == ends
    assert await names(secrets) == [ends, old]
    clock.advance(seconds=29)
    assert await names(secrets) == [ends, old]
    clock.advance(seconds=1)
    assert await names(secrets) == [old]
    assert vault.listings() == 2


async def test_an_expired_version_is_never_fetched(vault: Vault, connect: Open, clock: ManualClock) -> None:
    vault.put(TOKENS, expires=clock.now())
    assert len(await names(connect())) == 1
    assert len(vault.gets()) == 1


async def test_a_version_begins_when_it_says(vault: Vault, connect: Open, clock: ManualClock) -> None:
    secrets = connect()
    later = vault.put(TOKENS, not_before=clock.now() + timedelta(seconds=50))
    (old,) = await names(secrets)
    assert await secrets.find("tokens", later) is None
    clock.advance(seconds=50)
    assert await names(secrets) == [later, old]
    assert vault.listings() == 1


@pytest.mark.parametrize(
    ("created", "updated", "changed"),
    [(1, 2, 2), (2, 1, 2), (2, None, 2), (None, 2, 2), (None, None, 0)],
)
def test_a_version_settles_from_its_last_change(created: int | None, updated: int | None, changed: int) -> None:
    """One that is enabled once more is as unknown to others as a new one."""
    made, last = (None if each is None else datetime.fromtimestamp(each, UTC) for each in (created, updated))
    listed = cast(
        "Properties", SimpleNamespace(version="v", created_on=made, updated_on=last, not_before=None, expires_on=None)
    )
    assert version_of(listed, b"s").changed_at == datetime.fromtimestamp(changed, UTC)


async def test_all_versions_disabled_is_none_at_once(vault: Vault, connect: Open, clock: ManualClock) -> None:
    secrets = connect()
    (only,) = await names(secrets)
    vault.change(TOKENS, only, enabled=False)
    clock.advance(minutes=3)
    with pytest.raises(SecretsError, match=f"secret {TOKENS}: no version is usable"):
        await names(secrets)


async def test_a_deleted_secret_is_none_at_once_and_can_be_recovered(
    vault: Vault, connect: Open, clock: ManualClock
) -> None:
    secrets = connect()
    before = await names(secrets)
    kept = vault.secrets[TOKENS]
    vault.delete(TOKENS)
    clock.advance(minutes=3)
    with pytest.raises(SecretsError, match="no version is usable"):
        await names(secrets)
    vault.secrets[TOKENS] = kept
    clock.advance(minutes=3)
    assert await names(secrets) == before


async def test_a_secret_that_is_not_there_is_named(empty: Vault) -> None:
    secrets = empty.client()
    for root, name in NAMES.items():
        with pytest.raises(SecretsError, match=f"secret {name}: no version is usable"):
            await secrets.versions(root)
    await secrets.close()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sesame",
        base64.b64encode(b"s" * 31).decode(),
        base64.b64encode(b"s" * 33).decode(),
        base64.b64encode(b"s" * 32).decode()[:-1],
        "s" * 43 + "-",
        base64.b64encode(b"s" * 32).decode().replace("z", "z!", 1),
        "ö" * 44,
        base64.b64encode(b"s" * 25_000).decode(),
    ],
)
async def test_a_malformed_value_is_refused_by_name(
    empty: Vault, value: str, caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    version = empty.put(TOKENS, value)
    secrets = empty.client()
    with caplog.at_level(logging.DEBUG), pytest.raises(SecretsError, match=f"{version} must be") as caught:
        await names(secrets)
    assert not value or value[:30] not in f"{caplog.text} {caught.value!r} {caught.value}"
    right = empty.put(TOKENS)
    assert await names(secrets) == [right]
    assert empty.gets().count(version) == 1, "it cannot get better"
    await secrets.close()


async def test_a_malformed_new_version_is_passed_over(
    vault: Vault, connect: Open, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Instances come and go: a typing error must not stop the new ones while the old ones run."""
    running = connect()
    (old,) = await names(running)
    bad = vault.put(TOKENS, "sesame")
    clock.advance(minutes=5)
    with caplog.at_level(logging.ERROR):
        assert await names(running) == await names(connect()) == [old]
    told = f'{{"root": "{TOKENS}", "version": "{bad}", "why": "not base64 of 32 bytes"}}'
    assert caplog.messages == [f"secret_version_passed_over {told}"] * 2, "each instance once"
    assert "sesame" not in caplog.text
    assert await running.find("tokens", bad) is None


async def test_white_space_around_a_value_is_a_pasted_lines(empty: Vault) -> None:
    empty.put(TOKENS, base64.b64encode(b"s" * 32).decode() + "\n")
    secrets = empty.client()
    assert (await secrets.versions("tokens"))[0].value == b"s" * 32
    await secrets.close()


# Rotating


async def test_a_rotation_writes_a_value_and_names_its_version(vault: Vault, connect: Open) -> None:
    secrets = connect()
    (old,) = await names(secrets)
    made = await secrets.rotate("tokens")
    assert await names(secrets) == [made, old]
    assert (await secrets.versions("tokens"))[0].value == vault.value(TOKENS, made)
    assert len(vault.value(TOKENS, made)) == ROOT_BYTES


async def test_a_rotation_that_the_vault_refuses_is_named(vault: Vault, connect: Open) -> None:
    secrets = connect()
    before = await names(secrets)
    vault.faults = [Fault(status=403)]
    with pytest.raises(SecretsError, match=f"^secret {TOKENS}: the vault answered 403$"):
        await secrets.rotate("tokens")
    assert await names(secrets) == before


async def test_the_key_of_persons_keys_is_not_rotated_here(vault: Vault, connect: Open) -> None:
    with pytest.raises(ValueError, match=r"^kraftd-persons is a key of the vault: rotate it there, then run rewrap$"):
        await connect().rotate("persons")
    assert vault.seen == []


# Failures


async def test_throttling_is_waited_out(vault: Vault, connect: Open) -> None:
    vault.faults = [Fault(status=429, headers={"Retry-After": "1"})]
    assert len(await names(connect())) == 1


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(status=503), Fault(kind="drop")], ids=lambda each: f"{each.kind}-{each.status}"
)
async def test_what_passes_is_tried_again(vault: Vault, connect: Open, fault: Fault) -> None:
    vault.faults = [fault]
    assert len(await names(connect())) == 1


@pytest.mark.parametrize("status", [400, 403, 409])
async def test_a_refusal_is_named_and_not_tried_again(vault: Vault, connect: Open, status: int) -> None:
    secrets = connect()
    await secrets.versions("index")
    before = len(vault.seen)
    vault.faults = [Fault(status=status, body=b'{"error":{"code":"x","message":"c2VzYW1l"}}', times=100)]
    with pytest.raises(SecretsError, match=f"secret {TOKENS}: the vault answered {status}") as caught:
        await names(secrets)
    assert "c2VzYW1l" not in f"{caught.value!r} {caught.value}"
    assert len(vault.seen) == before + 1


@pytest.mark.parametrize("status", [403, 404])
async def test_a_value_that_is_not_given_changes_nothing(
    vault: Vault, connect: Open, clock: ManualClock, status: int
) -> None:
    """Disabled or gone since it was listed: the next list will say so."""
    secrets = connect()
    before = await names(secrets)
    new = vault.put(TOKENS)
    vault.faults = [Fault(status=status, on_values=True, times=100)]
    clock.advance(minutes=5)
    assert await names(secrets) == before
    vault.mend()

    async def seen() -> bool:
        clock.advance(seconds=11)
        return await names(secrets) == [new, *before]

    await until(seen)


async def test_a_token_that_the_vault_does_not_take_is_a_refusal(vault: Vault, connect: Open) -> None:
    secrets = connect(credential=Credential("another"))
    with pytest.raises(SecretsError, match="the vault answered 401"):
        await names(secrets)
    assert not any(each.authorized for each in vault.seen)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"value": 7}', b'{"value": [{"id": "x"}]}', b"\xff\xfe"])
async def test_an_answer_that_is_none_is_an_error(vault: Vault, connect: Open, body: bytes) -> None:
    secrets = connect()
    await secrets.versions("index")
    vault.faults = [Fault(status=200, body=body, times=100)]
    with pytest.raises(SecretsError, match="secret kraftd-tokens: "):
        await names(secrets)
    vault.mend()
    assert len(await names(secrets)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="hang", times=100),
        Fault(status=429, headers={"Retry-After": "3600"}, times=100),
        Fault(status=302, headers={"Location": "https://elsewhere.example.com/"}, times=100),
        Fault(status=500, times=100),
    ],
    ids=["hang", "throttled", "led-away", "broken"],
)
async def test_no_trouble_takes_longer_than_its_time(vault: Vault, connect: Open, fault: Fault) -> None:
    secrets = connect(load_seconds=1.0)
    vault.faults = [fault]
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(SecretsError, match=f"secret {TOKENS}: "):
        await names(secrets)
    assert loop.time() - started < 3


async def test_an_outage_is_bridged_for_an_hour_then_nothing_is_answered(
    vault: Vault, connect: Open, clock: ManualClock
) -> None:
    secrets = connect()
    before = await names(secrets)
    vault.faults = [Fault(status=403, times=10_000)]
    for _ in range(12):
        clock.advance(minutes=5)
        assert await names(secrets) == before
    clock.advance(seconds=1)
    with pytest.raises(SecretsError, match="the vault answered 403"):
        await names(secrets)
    with pytest.raises(SecretsError, match="the vault answered 403"):
        await secrets.find("tokens", before[0])
    vault.mend()

    async def back() -> bool:
        clock.advance(seconds=11)
        try:
            return await names(secrets) == before
        except SecretsError:
            return False

    await until(back)


# What must not get out, or in


async def test_the_sdk_writes_no_line_for_a_call(
    vault: Vault, connect: Open, caplog: pytest.LogCaptureFixture, unset_sdk_logs: None
) -> None:
    caplog.set_level(logging.INFO)
    secrets = connect()
    for root in ROOTS:
        await secrets.versions(root)
    await secrets.find("tokens", "0" * 32)
    assert [each.getMessage() for each in caplog.records if each.name.startswith(("azure", "msal"))] == []


async def test_nothing_shows_a_value(vault: Vault, connect: Open, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        secrets = connect()
        (only,) = await secrets.versions("tokens")
    shown = f"{secrets!r} {only!r} {only} {vars(secrets)!r} {caplog.text}"
    for value in (base64.b64encode(only.value).decode(), repr(only.value)[2:-1], only.value.hex(), vault.token):
        assert value not in shown


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_another_server_is_not_believed(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    """As the app speaks to a vault, with the SDK's own connections: without a certificate that the machine trusts, the
    server learns neither what is asked for nor by whom."""
    looked_up = socket.getaddrinfo

    def here(host: str, *rest: Any, **more: Any) -> Any:
        return looked_up("127.0.0.1", *rest, **more)

    with serving(tmp_path) as server:
        vault = Vault(server, clock)
        vault.put(TOKENS)
        vault.put_key()
        monkeypatch.setattr(socket, "getaddrinfo", here)
        trusted = {"connection_verify": str(tmp_path / "certificate.pem")} if is_trusted else {}
        options: dict[str, Any] = {"clock": clock, "credential": Credential(vault.token), **trusted}
        options["verify_challenge_resource"] = False  # which knows no ports
        uri = f"https://{vault.host}:{server.port}/"
        secrets, keys = KeyVaultSecrets(uri, **options), VaultKeys(uri, **options)
        calls: list[Callable[[], Awaitable[object]]] = [lambda: secrets.versions("tokens"), lambda: keys.wrap(DATA_KEY)]
        try:
            for call in calls:
                if is_trusted:
                    assert await call()
                else:
                    with pytest.raises(SecretsError):
                        await call()
            assert bool(vault.seen) == is_trusted
        finally:
            for each in (secrets, keys, vault):
                await each.close()


@pytest.mark.parametrize(
    "uri", ["http://v.vault.azure.net/", "https://127.0.0.1/", "https://v.vault.azure.net/secrets", "https://a@b/", ""]
)
def test_an_unsafe_uri_is_refused(uri: str, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        KeyVaultSecrets(uri, clock=clock)


async def test_a_challenge_for_elsewhere_gets_no_token(vault: Vault, connect: Open) -> None:
    """Whoever answers in the vault's place must not be given a token for another service."""
    challenge = 'Bearer authorization="https://login.microsoftonline.com/x", resource="https://example.com"'
    vault.faults = [Fault(status=401, headers={"WWW-Authenticate": challenge}, times=100)]
    credential = Credential(vault.token)
    with pytest.raises(SecretsError, match="secret kraftd-tokens: "):
        await names(connect(credential=credential))
    assert credential.asked == 0


# Settings and the end


async def test_the_settings_choose_the_vault(clock: ManualClock) -> None:
    settings = Settings(key_vault_uri="https://v.vault.azure.net/", kraftd_data=":memory:")
    secrets = open_secrets(settings, clock)
    assert isinstance(secrets, KeyVaultSecrets)
    await secrets.close()


@pytest.mark.parametrize(
    ("client_id", "kind"), [("some-id", ManagedIdentityCredential), (None, DefaultAzureCredential)]
)
async def test_who_the_app_is(client_id: str | None, kind: type[Any]) -> None:
    credential = identify(client_id)
    assert isinstance(credential, kind)
    await credential.close()


@pytest.mark.parametrize("client_id", ["0195c000-0000-7000-8000-000000000003", None])
async def test_the_app_is_who_the_settings_say(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, client_id: str | None
) -> None:
    asked: list[str | None] = []
    credential = Credential("token")

    def identified(given: str | None) -> Credential:
        asked.append(given)
        return credential

    monkeypatch.setattr("shared.privacy._vault.identify", identified)
    settings = Settings(key_vault_uri="https://v.vault.azure.net/", azure_client_id=client_id, kraftd_data=":memory:")
    secrets = open_secrets(settings, clock)
    for adapter in (secrets, open_wrapper(settings, clock, secrets)):
        assert isinstance(adapter, KeyVaultSecrets | VaultKeys)
        adapter._connection.client()
        await adapter.close()
    assert asked == [client_id] * 2
    assert credential.closed == 2


async def test_closing_lets_go_of_connections_and_credential(vault: Vault, connect: Open, clock: ManualClock) -> None:
    credential = Credential(vault.token)
    secrets = connect(credential=credential)
    before = await names(secrets)
    for _ in range(2):
        await secrets.close()
    assert credential.closed == 1
    clock.advance(minutes=5)
    assert await names(secrets) == before
    assert vault.listings() == 1


async def test_closing_while_the_vault_hangs(vault: Vault, connect: Open) -> None:
    secrets = connect()
    vault.faults = [Fault(kind="hang", times=100)]
    caller = asyncio.create_task(names(secrets))

    async def asked() -> bool:
        return len(vault.seen) > 0

    await until(asked)
    await secrets.close()
    with pytest.raises(SecretsError):
        await caller
