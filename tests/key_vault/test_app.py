"""The whole app over secrets that rotate, leak and cannot be had."""

import asyncio
import logging
import secrets as random_source
from collections.abc import AsyncIterator

import httpx
import pytest

from devhost.host import Host
from shared.audit.model import PLATFORM_TENANT
from shared.privacy.key_wrapping import KeyWrapper, LocalKeys
from shared.privacy.person_keys import CACHE_FOR
from shared.privacy.secrets import MemorySecrets, RootName, SecretsError, SecretVersion
from shared.privacy.vault_keys import KEY
from shared.wiring import Services, build_services
from tests.app import Account, App, assert_problem, registration, running
from tests.fakes import ManualClock
from tests.key_vault.sources import Source, VaultSource
from tests.key_vault.support import forged_with, kid_of, until
from tests.key_vault.vault import Fault, Vault

FOREVER = 1_000_000


@pytest.fixture
async def rotating(host: Host, clock: ManualClock, source: Source) -> AsyncIterator[App]:
    """The app over each adapter that can be rotated."""
    secrets = source.instance()
    async with running(host, clock, secrets=secrets, wrapper=source.wrapper(secrets)) as started:
        yield started


@pytest.fixture
async def app(host: Host, clock: ManualClock, vault: Vault) -> AsyncIterator[App]:
    """The app over secrets in the vault; keys are wrapped elsewhere, where faults of the vault do not reach."""
    secrets = vault.client(load_seconds=1.0)
    async with running(host, clock, secrets=secrets, wrapper=elsewhere(clock)) as started:
        yield started


def elsewhere(clock: ManualClock) -> KeyWrapper:
    return LocalKeys(MemorySecrets(), clock)


async def profile(app: App, token: str) -> httpx.Response:
    return await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {token}"})


async def logged_in(app: App) -> str:
    answer = await app.login("ada@example.com")
    assert answer.status_code == 200
    return str(answer.json()["access_token"])


async def test_a_session_goes_on_while_its_key_is_rotated(rotating: App, source: Source) -> None:
    ada = await rotating.register()
    new = source.rotate()
    signed_with = []
    for _ in range(29):
        rotating.clock.advance(seconds=30)
        assert (await profile(rotating, ada.token)).status_code == 200
        token = await logged_in(rotating)
        assert (await profile(rotating, token)).status_code == 200
        signed_with.append(kid_of(token))
        await asyncio.sleep(0.005)
    assert signed_with[9:] == [new] * 20, "five minutes after the rotation at the latest"
    assert signed_with[0] == kid_of(ada.token)
    rotating.clock.advance(seconds=30)
    assert_problem(await profile(rotating, ada.token), 401, "invalid_token")
    reasons = [event["reason"] for event in await rotating.events(type_="auth.token_rejected")]
    assert reasons == ["expired"]


async def test_a_key_that_leaked_ends_its_tokens_and_no_account(rotating: App, source: Source) -> None:
    ada = await rotating.register()
    leaked = kid_of(ada.token)
    source.rotate()
    source.retire(leaked)
    rotating.clock.advance(seconds=121)
    assert_problem(await profile(rotating, ada.token), 401, "invalid_token")
    assert (await profile(rotating, await logged_in(rotating))).status_code == 200


async def test_a_newer_index_secret_orphans_nobody(rotating: App, source: Source) -> None:
    await rotating.register()
    source.rotate("index")
    rotating.clock.advance(minutes=5)
    assert (await profile(rotating, await logged_in(rotating))).status_code == 200
    assert_problem(await rotating.client.post("/v1/register", json=registration()), 409, "email_taken")
    assert (await rotating.client.get("/v1/health/ready")).status_code == 200


async def test_without_its_index_secret_the_app_says_so(rotating: App, source: Source) -> None:
    await rotating.register()
    (pinned,) = await rotating.services.secrets.versions("index")
    source.rotate("index")
    source.retire(pinned.version, "index")
    rotating.clock.advance(minutes=5)
    answer = await rotating.client.get("/v1/health/ready")
    assert (answer.status_code, answer.json()["checks"]["secrets"]["status"]) == (503, "failed")
    assert_problem(await rotating.login("ada@example.com"), 503, "secrets_unavailable")
    assert_problem(await rotating.client.post("/v1/register", json=registration()), 503, "secrets_unavailable")


async def test_two_instances_take_each_others_tokens_through_a_rotation(
    host: Host, clock: ManualClock, source: Source
) -> None:
    first_secrets, secrets = source.instance(), source.instance()
    async with running(host, clock, secrets=first_secrets, wrapper=source.wrapper(first_secrets)) as app:
        second = await build_services(
            app.services.settings, clock=clock, store=app.store, secrets=secrets, wrapper=source.wrapper(secrets)
        )
        instances: list[Services] = [app.services, second]
        ada = await app.register()
        tokens = [ada.token]
        source.rotate()
        for step in range(20):
            clock.advance(seconds=20)
            host.module.services.put(instances[step % 2])
            tokens.append(await logged_in(app))
            host.module.services.put(instances[(step + 1) % 2])
            for token in tokens:
                assert (await profile(app, token)).status_code == 200
        assert len({kid_of(token) for token in tokens}) == 2
        host.module.services.put(app.services)
        await second.secrets.close()
        await second.wrapper.close()
        second.passwords.close()


# When the vault cannot be asked


async def test_an_outage_is_not_noticed_for_an_hour_and_then_it_is_said(app: App, vault: Vault) -> None:
    ada = await app.register()
    vault.faults = [Fault(status=403, times=FOREVER)]
    for _ in range(12):
        app.clock.advance(minutes=5)
        assert (await profile(app, await logged_in(app))).status_code == 200
        assert (await app.client.get("/v1/health/ready")).status_code == 200
    app.clock.advance(seconds=61)
    token = ada.token
    for answer in (await profile(app, token), await app.login(ada.email)):
        problem = assert_problem(answer, 503, "secrets_unavailable")
        assert answer.headers["retry-after"] == "5"
        for told in ("kraftd-", "403", "vault"):
            assert told not in str(problem)
    ready = await app.client.get("/v1/health/ready")
    assert (ready.status_code, ready.json()["checks"]["secrets"]["status"]) == (503, "failed")
    vault.mend()

    async def back() -> bool:
        app.clock.advance(seconds=11)
        return (await app.client.get("/v1/health/ready")).status_code == 200

    await until(back)
    assert (await profile(app, await logged_in(app))).status_code == 200


async def test_a_vault_that_hangs_holds_up_nobody(app: App, vault: Vault) -> None:
    ada = await app.register()
    app.clock.advance(seconds=61)
    vault.faults = [Fault(kind="hang", times=FOREVER)]
    assert (await profile(app, ada.token)).status_code == 200
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(20):
        assert (await profile(app, ada.token)).status_code == 200
    assert loop.time() - started < 0.9
    await asyncio.sleep(1.1)  # the refresh has given up
    started = loop.time()
    for _ in range(10):
        app.clock.advance(seconds=60)
        assert (await profile(app, ada.token)).status_code == 200
    assert loop.time() - started < 0.9


async def test_a_key_that_nobody_can_ask_for_is_not_a_log_out(app: App, vault: Vault, clock: ManualClock) -> None:
    ada = await app.register()
    app.clock.advance(seconds=30)
    vault.faults = [Fault(status=403, times=FOREVER)]
    answer = await profile(app, forged_with(random_source.token_hex(16)))
    assert_problem(answer, 503, "secrets_unavailable")
    assert_problem(await profile(app, forged_with("not a version")), 401, "invalid_token")
    assert (await profile(app, ada.token)).status_code == 200


async def test_a_start_without_the_vault_is_not_ready_and_tries_again(
    host: Host, clock: ManualClock, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    wrapper = elsewhere(clock)
    async with running(host, clock, secrets=vault.client(), wrapper=wrapper) as app:
        services = app.services
        vault.faults = [Fault(status=403, times=FOREVER)]

        async def build() -> Services:
            return await build_services(
                services.settings,
                clock=clock,
                store=services.store,
                secrets=vault.client(load_seconds=1.0),
                wrapper=wrapper,
            )

        before = host.module.services._build
        host.module.services._build = build
        host.module.services.put(None)
        try:
            with caplog.at_level(logging.WARNING):
                assert_problem(await app.client.get("/v1/health/ready"), 503, "not_ready")
            assert "secret kraftd-tokens: the vault answered 403" in caplog.text
            vault.mend()
            assert (await app.client.get("/v1/health/ready")).status_code == 200
        finally:
            host.module.services._build = before
        built = host.module.services._built
        await built.secrets.close()
        built.passwords.close()
        host.module.services.put(services)


async def test_without_the_key_of_persons_keys_nothing_personal_is_written_and_nothing_is_lost(
    host: Host, clock: ManualClock, vault: Vault
) -> None:
    async with running(host, clock, secrets=vault.client(), wrapper=vault.wrapper()) as app:
        ada = await app.register()
        vault.change(KEY, vault.key_version(), enabled=False)
        clock.advance(seconds=CACHE_FOR.total_seconds() + 1)
        assert_problem(await app.login(ada.email), 503, "secrets_unavailable")
        vault.change(KEY, vault.key_version(), enabled=True)
        assert (await profile(app, await logged_in(app))).status_code == 200


class NoTokens(MemorySecrets):
    """Of these, the token secret cannot be had while `down`."""

    down = False

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        if self.down and name == "tokens":
            raise SecretsError("secret tokens: gone")
        return await super().versions(name)


async def test_a_registration_that_got_no_token_frees_the_email_at_once(host: Host, clock: ManualClock) -> None:
    secrets = NoTokens()
    async with running(host, clock, secrets=secrets) as app:
        secrets.down = True
        assert_problem(await app.client.post("/v1/register", json=registration()), 503, "secrets_unavailable")
        secrets.down = False
        account: Account = await app.register()
        assert (await profile(app, account.token)).status_code == 200
        assert "auth.register" not in await app.types(PLATFORM_TENANT)


async def test_no_log_line_of_a_rotation_shows_a_value(
    host: Host, clock: ManualClock, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with running(host, clock, secrets=vault.client(), wrapper=vault.wrapper()) as app:
            ada = await app.register()
            VaultSource(vault).rotate()
            clock.advance(minutes=5)
            await profile(app, ada.token)
            await logged_in(app)
    assert "secret_versions_changed" in caplog.text
    for versions in vault.secrets.values():
        for each in versions:
            assert each.value not in caplog.text
            assert vault.token not in caplog.text
