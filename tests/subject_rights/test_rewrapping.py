"""After a rotation of the key-encryption key every person's key moves to the new version, whatever comes between."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from devhost.host import Host
from shared.audit.model import PLATFORM_TENANT
from shared.privacy.key_wrapping import LocalKeys, Wrapped
from shared.privacy.person_keys import CACHE_FOR, PersonKeys, Rewrapped, key_id
from shared.privacy.secrets import MemorySecrets, RootName, SecretsError, SecretsUnreached, SecretVersion
from shared.storage.containers import AUDIT_EVENTS, LEDGER, SUBJECT_KEYS
from shared.storage.documents import DocumentStore, Item, Query
from shared.storage.errors import Unavailable
from tests.app import App, running
from tests.fakes import ManualClock
from tests.faults import FaultyStore, Mode
from tests.storage.conftest import LOCAL, open_cosmos

TENANT = "0195c000-0000-7000-8000-0000000000aa"


class Rotated(MemorySecrets):
    """Secrets of which that of persons has as many versions as a test adds."""

    def __init__(self) -> None:
        super().__init__()
        self.persons = [SecretVersion("v1", b"1" * 32)]

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return tuple(reversed(self.persons)) if name == "persons" else await super().versions(name)

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        if name != "persons":
            return await super().find(name, version)
        return next((each for each in self.persons if each.version == version), None)

    def rotate(self) -> None:
        number = len(self.persons) + 1
        self.persons.append(SecretVersion(f"v{number}", bytes([number]) * 32))


class Keys(LocalKeys):
    """A key-encryption key that fails at a call, or does not open what it closed."""

    fails_at: int | None = None
    forgets = False
    calls = 0

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        self.calls += 1
        if self.calls == self.fails_at:
            raise SecretsUnreached("the vault answered 503")
        key = await super().unwrap(wrapped)
        return key[::-1] if self.forgets else key


@pytest.fixture
def secrets() -> Rotated:
    return Rotated()


@pytest.fixture
def wrapper(secrets: Rotated, clock: ManualClock) -> Keys:
    return Keys(secrets, clock)


@pytest.fixture(params=LOCAL)
async def app(
    host: Host, clock: ManualClock, secrets: Rotated, wrapper: Keys, request: pytest.FixtureRequest
) -> AsyncIterator[App]:
    store = await open_cosmos(request.getfixturevalue("emulator"), clock) if request.param == "cosmos" else None
    async with running(host, clock, store, secrets=secrets, wrapper=wrapper) as started:
        yield started


async def keks(app: App, tenant_id: str) -> list[str]:
    """Under which version each key of a tenant is wrapped; "" for a tombstone."""
    page = await app.store.query(SUBJECT_KEYS, (tenant_id,), Query(limit=1000))
    return sorted(each.get("kek", "") for each in page.items)


async def content(app: App, tenant_id: str) -> list[Item]:
    """Every event, and every item of the ledger, as stored."""
    found = [await app.store.query(each, (tenant_id,), Query(limit=1000)) for each in (AUDIT_EVENTS, LEDGER)]
    return [item for page in found for item in page.items]


async def people(app: App, count: int) -> PersonKeys:
    """So many persons of a tenant, over instances of their own."""
    keys = another(app)
    await keys.prepare(TENANT, [f"p{n:03}" for n in range(count)], make=True)
    return keys


def another(app: App, store: DocumentStore | None = None) -> PersonKeys:
    return PersonKeys(store or app.store, app.services.wrapper, app.clock)


async def test_every_tenants_keys_move_and_nothing_else_does(app: App, secrets: Rotated) -> None:
    ada, grace = await app.register("ada@example.com"), await app.register("grace@example.org")
    await app.login("nobody@example.com")
    await app.services.person_keys.erase(ada.tenant_id, "gone")
    await app.host.drain_feed()
    tenants = (PLATFORM_TENANT, ada.tenant_id, grace.tenant_id)
    before = await content(app, ada.tenant_id)
    keys = [await keks(app, each) for each in tenants]
    secrets.rotate()
    done = await app.services.rewrapping.run(operator="some.one")
    assert done == Rewrapped(wrapped=sum(each.count("v1") for each in keys), current=1), "the operator's own is new"
    assert await content(app, ada.tenant_id) == before
    for tenant_id, held in zip(tenants, keys, strict=True):
        assert set(await keks(app, tenant_id)) == {"v2" if each else "" for each in held}
    secrets.persons = secrets.persons[1:]
    app.clock.advance(seconds=CACHE_FOR.total_seconds())
    for each in (ada, grace):
        listed = (await app.client.get("/v1/events?type=auth.register", headers=each.auth)).json()["items"]
        assert [event["personal"][each.id]["email"] for event in listed] == [each.email]
    told = await app.events(PLATFORM_TENANT, "config.change")
    assert sorted(event["reason"] for event in told) == ["rewrap_begun", "rewrapped"]
    (box,) = [box for event in told if event["reason"] == "rewrapped" for box in event["personal"].values()]
    counts = {"wrapped": done.wrapped, "current": 1, "damaged": 0}
    assert (box["data"]["operator"], box["data"]["new_values"]) == ("some.one", counts)
    assert (await app.services.rewrapping.run()).wrapped == 0


async def test_a_run_that_was_cut_off_is_begun_again(app: App, secrets: Rotated, wrapper: Keys) -> None:
    """By the vault, or by the store, before or after a write: nothing is lost, and the next run does the rest."""
    keys = await people(app, 20)
    ciphers = {n: await keys.for_opening(TENANT, f"p{n:03}") for n in range(20)}
    boxes = {n: cipher.encrypt(bytes(12), b"x", None) for n, cipher in ciphers.items() if cipher is not None}
    secrets.rotate()
    wrapper.calls, wrapper.fails_at = 0, 5
    with pytest.raises(SecretsUnreached):
        await another(app).rewrap(TENANT)
    wrapper.fails_at = None
    modes: tuple[Mode, ...] = ("before", "after")
    for mode in modes:
        with pytest.raises(Unavailable):
            await another(app, FaultyStore(app.store, 3, mode)).rewrap(TENANT)
    assert set(await keks(app, TENANT)) == {"v1", "v2"}, "some of them"
    assert (await another(app).rewrap(TENANT)).current >= 2
    assert await another(app).rewrap(TENANT) == Rewrapped(current=20)
    secrets.persons = secrets.persons[1:]
    fresh = another(app)
    for n, box in boxes.items():
        cipher = await fresh.for_opening(TENANT, f"p{n:03}")
        assert cipher is not None
        assert cipher.decrypt(bytes(12), box, None) == b"x"


async def test_beside_erasures_registrations_and_another_run(app: App, secrets: Rotated) -> None:
    """Whoever is erased meanwhile stays erased, who comes meanwhile has a key, and each key is wrapped anew once."""
    await people(app, 60)
    secrets.rotate()

    async def erase() -> None:
        for n in range(0, 60, 3):
            await another(app).erase(TENANT, f"p{n:03}")

    async def come() -> None:
        for n in range(60, 70):
            assert await another(app).for_sealing(TENANT, f"p{n:03}") is not None

    first, second, *_ = await asyncio.gather(another(app).rewrap(TENANT), another(app).rewrap(TENANT), erase(), come())
    assert first.wrapped + second.wrapped <= 60
    assert await keks(app, TENANT) == [""] * 20 + ["v2"] * 50
    for n in range(0, 60, 3):
        assert await another(app).stored(TENANT, f"p{n:03}") == "tombstone"


async def test_a_key_that_does_not_unwrap_is_counted_and_left(app: App, secrets: Rotated) -> None:
    await people(app, 3)
    held = await app.store.read(SUBJECT_KEYS, (TENANT,), key_id("p001"))
    await app.store.replace(SUBJECT_KEYS, (TENANT,), held | {"wrapped": "AAAA"})
    secrets.rotate()
    assert await another(app).rewrap(TENANT) == Rewrapped(wrapped=2, damaged=1)
    assert (await app.store.read(SUBJECT_KEYS, (TENANT,), key_id("p001")))["wrapped"] == "AAAA"


async def test_keys_that_are_current_are_tried_when_asked_for(app: App) -> None:
    await people(app, 3)
    held = await app.store.read(SUBJECT_KEYS, (TENANT,), key_id("p001"))
    await app.store.replace(SUBJECT_KEYS, (TENANT,), held | {"wrapped": "AAAA"})
    assert await another(app).rewrap(TENANT) == Rewrapped(current=3)
    assert await another(app).rewrap(TENANT, verify=True) == Rewrapped(current=2, damaged=1)


async def test_a_version_that_does_not_open_what_it_closed_wraps_nothing(
    app: App, secrets: Rotated, wrapper: Keys
) -> None:
    await people(app, 3)
    secrets.rotate()
    wrapper.forgets = True
    with pytest.raises(SecretsError, match="does not unwrap"):
        await another(app).rewrap(TENANT)
    wrapper.forgets = False
    assert await keks(app, TENANT) == ["v1"] * 3


async def test_nothing_there(app: App) -> None:
    assert await app.services.rewrapping.run() == Rewrapped()
