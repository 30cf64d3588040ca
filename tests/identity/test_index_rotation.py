"""While the index secret rotates, every e-mail has one account, every account is found, and nothing is lost."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from devhost.host import Host
from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import rfc3339
from shared.core.errors import Unready
from shared.identity.directory import Directory, EmailTaken, Entry, TakenOver
from shared.identity.factors import factor_key
from shared.identity.model import Role, user_key
from shared.identity.tenant_settings import read_settings, read_settings_of_events
from shared.privacy.index_versions import ITEM, OVERLAP, SETTLING, Ring
from shared.storage.containers import DIRECTORY, IDENTITY
from shared.storage.documents import DocumentStore, Item
from shared.storage.errors import NotFound, Unavailable
from shared.storage.sqlite import SqliteStore
from shared.streaming.model import WEBHOOK, Webhook
from tests.app import Account, App, registration, running
from tests.fakes import ManualClock
from tests.faults import Call, FaultyStore, Mode
from tests.identity.index_rotation import Rotating, directory_of, ring_of
from tests.identity.test_directory import Interrupted
from tests.storage.conftest import LOCAL, open_cosmos
from tests.subject_rights.support import ask, left, run, settle

EMAIL = "ada@example.com"
WRITES = frozenset({"create", "replace", "delete"})
FIRST, SECOND = (Entry(f"tenant-{name}", f"user-{name}") for name in ("first", "second"))


@pytest.fixture
def secrets() -> Rotating:
    return Rotating()


@pytest.fixture(params=LOCAL)
async def app(host: Host, clock: ManualClock, secrets: Rotating, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    store = await open_cosmos(request.getfixturevalue("emulator"), clock) if request.param == "cosmos" else None
    async with running(host, clock, FaultyStore(store) if store else store, secrets=secrets) as started:
        yield started


async def entries(app: App, email: str) -> dict[str, str]:
    """Whose an e-mail is in the directory, by version, of the versions that are kept."""
    found = {}
    for key in (await app.services.directory.key(email)).split():
        try:
            found[key.split("|")[1].split(":")[0]] = (await app.store.read(DIRECTORY, (key,), key))["user_id"]
        except NotFound:
            continue
    return found


async def ring(app: App) -> Ring:
    return Ring.of(await app.store.read(DIRECTORY, (ITEM,), ITEM))


async def found_by(app: App, admin: Account, query: str) -> list[Item]:
    answer = await app.client.get(f"/v1/events?limit=200&{query}", headers=admin.auth)
    assert answer.status_code == 200, answer.text
    items: list[Item] = answer.json()["items"]
    return items


async def signed_in(app: App, account: Account) -> Account:
    answer = await app.login(account.email)
    assert answer.status_code == 200, answer.text
    return replace(account, token=answer.json()["access_token"])


async def with_factor(app: App, account: Account) -> Item:
    """A second factor as the enrollment stores it."""
    factors = app.services.mfa._factors
    item, _ = await factors.begun(account.tenant_id, account.id, None)
    return await app.store.create(IDENTITY, (account.tenant_id,), item)


async def with_webhook(app: App, account: Account) -> Webhook:
    body = {"url": "https://hooks.example.com/in?sig=some"}
    answer = await app.client.put("/v1/webhook", json=body, headers=account.auth)
    assert answer.is_success, answer.text
    return await webhook_of(app, account)


async def webhook_of(app: App, account: Account) -> Webhook:
    return Webhook.of(await app.store.read(IDENTITY, (account.tenant_id,), WEBHOOK))


async def test_a_rotation_with_traffic(app: App, secrets: Rotating) -> None:
    operations, clock = app.services.operations, app.clock
    ada, grace = await app.register(EMAIL), await app.register("grace@example.org")
    await app.join(ada, "bert@example.com", Role.USER)
    await with_factor(app, ada)
    webhook = await with_webhook(app, grace)
    await app.login(EMAIL, "wrong")
    assert await operations.rotate("index", operator="some.one") == "v2"
    with pytest.raises(ValueError, match="run reindex"):
        await operations.rotate("index")
    with pytest.raises(ValueError, match="not before"):
        await operations.index_rotation.reindex()

    clock.advance(minutes=4)  # known, and not written under yet
    early = await app.register("early@example.com")
    assert await entries(app, early.email) == {"v1": early.id, "v2": early.id}
    assert await entries(app, EMAIL) == {"v1": ada.id}
    assert (await app.client.post("/v1/register", json=registration(EMAIL))).status_code == 409

    clock.advance(seconds=SETTLING.total_seconds())
    ada = await signed_in(app, ada)
    under = {event["actor_key"].split(":")[0] for event in await found_by(app, ada, f"email={EMAIL}")}
    assert under == {"v1", "v2"}, "a search finds both"
    done = await operations.index_rotation.reindex(operator="some.one")
    assert (done.moved, done.current, done.contended, done.sealed) == (3, 1, 0, 2)
    assert await entries(app, EMAIL) == {"v1": ada.id, "v2": ada.id}
    factor = await app.store.read(IDENTITY, (ada.tenant_id,), factor_key(ada.id))
    assert factor["pending"]["secret"]["key"] == "v2"
    renewed, boxes = await webhook_of(app, grace), app.services.operations.index_rotation._boxes
    assert {renewed.address["key"], *(each.box["key"] for each in renewed.secrets)} == {"v2"}
    opened = [await boxes.open("webhook", grace.tenant_id, "url", dict(each.address)) for each in (webhook, renewed)]
    assert opened == ["https://hooks.example.com/in?sig=some"] * 2
    with pytest.raises(ValueError, match="not before"):
        await operations.index_rotation.reindex()

    clock.advance(seconds=SETTLING.total_seconds())
    for known in (ada, grace, early):
        assert (await app.login(known.email)).status_code == 200
        assert (await app.client.post("/v1/register", json=registration(known.email))).status_code == 409
    assert (await operations.index_rotation.reindex()).removed == 4
    assert await entries(app, EMAIL) == {"v2": ada.id}
    assert (await app.login(EMAIL)).status_code == 200
    with pytest.raises(ValueError, match="no rotation"):
        await operations.index_rotation.reindex()
    told = await app.events(PLATFORM_TENANT, "config.change")
    assert sorted(event["reason"] for event in told) == sorted(
        ["rotation_begun", "rotated", "reindex_begun", "reindexed", "reindex_begun", "index_swept"]
    )

    with pytest.raises(ValueError, match="30 days at least"):
        await operations.index_rotation.drop("v1", None)
    clock.advance(seconds=OVERLAP.total_seconds())
    with pytest.raises(ValueError, match="may be there until"):
        await operations.index_rotation.drop("v1", clock.now() + timedelta(seconds=1))
    with pytest.raises(ValueError, match="only the oldest"):
        await operations.index_rotation.drop("v2", None)
    await operations.index_rotation.drop("v1", None)
    secrets.index.pop(0)
    clock.advance(minutes=2)
    ada = await signed_in(app, ada)
    under = {event["actor_key"].split(":")[0] for event in await found_by(app, ada, f"email={EMAIL}")}
    assert under == {"v2"}
    assert await operations.rotate("index") != "v1"
    assert (await ring(app)).versions[0] == "v2"


async def test_an_erasure_finds_what_stands_under_the_old_version(host: Host, clock: ManualClock) -> None:
    async with running(host, clock, secrets=Rotating()) as app:
        await erased_amid_a_rotation(app)


async def erased_amid_a_rotation(app: App) -> None:
    ada = await app.register(EMAIL)
    await app.login("bert@example.com", "before there is an account")  # known by the hash alone
    bert = await app.join(ada, "bert@example.com", Role.USER)
    await app.services.operations.rotate("index")
    app.clock.advance(seconds=SETTLING.total_seconds() + 1)
    await app.services.operations.index_rotation.reindex()
    bert = await signed_in(app, bert)
    await ask(app, bert)
    keys = await app.services.directory.key(bert.email)
    await run(app)
    await settle(app)
    assert await left(app, bert) == []
    assert not await app.services.directory.is_of(keys, bert.id)
    strangers = [event for event in await app.events(PLATFORM_TENANT, "auth.login") if event["outcome"] == "failure"]
    assert [(each["actor_key"], each["ip_key"]) for each in strangers] == [(None, None)]
    assert (await app.client.post("/v1/register", json=registration(bert.email))).status_code == 201


async def accounts(store: DocumentStore, *pairs: tuple[Directory, str, Entry]) -> None:
    """Accounts as registrations leave them, each made by an instance."""
    for directory, email, entry in pairs:
        key = await directory.reserve(email, entry)
        item: Item = {"id": user_key(entry.user_id), "tenant_id": entry.tenant_id, "kind": "user", "email": email}
        await store.create(IDENTITY, (entry.tenant_id,), item)
        await directory.confirm(key, entry)


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(None, clock=clock)
    yield opened
    await opened.close()


class Fleet:
    """Instances over one store: one that knows nothing of a rotation, one amid it, one for which it is complete."""

    def __init__(self, store: DocumentStore, clock: ManualClock) -> None:
        secrets = Rotating()
        before = ring_of(secrets, clock)
        secrets.index.append(type(secrets.index[0])("v2", b"2" * 32))
        amid, complete = ring_of(secrets, clock), ring_of(secrets, clock, indexed=True)
        self.before, self.amid, self.complete = (
            directory_of(store, secrets, clock, each) for each in (before, amid, complete)
        )


@pytest.mark.parametrize("neighbors", [("before", "amid"), ("amid", "complete")])
async def test_one_e_mail_has_one_account_whatever_instances_know(
    store: SqliteStore, clock: ManualClock, neighbors: tuple[str, str]
) -> None:
    fleet = Fleet(store, clock)
    for number, names in enumerate(itertools.product(neighbors, neighbors)):
        one, other = (getattr(fleet, name) for name in names)
        email = f"person{number}@example.com"
        await accounts(store, (one, email, Entry("t", f"u{number}")))
        with pytest.raises(EmailTaken):
            await other.reserve(email, SECOND)
        assert await other.find(email) == Entry("t", f"u{number}")
        race = [(getattr(fleet, name), Entry("t", f"{name}{n}")) for n in range(3) for name in neighbors]
        done = await asyncio.gather(*(d.reserve(f"x{email}", e) for d, e in race), return_exceptions=True)
        won = [entry for (_, entry), key in zip(race, done, strict=True) if isinstance(key, str)]
        assert len(won) == 1
        assert sum(isinstance(each, EmailTaken) for each in done) == len(race) - 1
        for name in neighbors:
            assert await getattr(fleet, name).find(f"x{email}") == won[0]


async def test_who_loses_a_race_for_one_version_gives_back_the_other(store: SqliteStore, clock: ManualClock) -> None:
    fleet = Fleet(store, clock)
    held = await fleet.complete.reserve(EMAIL, FIRST)
    with pytest.raises(EmailTaken):
        await fleet.amid.reserve(EMAIL, SECOND)
    assert await fleet.before.find(EMAIL) is None
    await fleet.complete.free(held, FIRST)
    key = await fleet.amid.reserve(EMAIL, SECOND)
    assert len(key.split()) == 2
    clock.advance(seconds=61)
    await fleet.before.reserve(EMAIL, FIRST)  # takes over what seems abandoned
    with pytest.raises(TakenOver):
        await fleet.amid.confirm(key, SECOND)
    assert await fleet.complete.find(EMAIL) is None, "and what else it held is free"


async def test_a_confirmation_from_before_the_rotation_comes_late(store: SqliteStore, clock: ManualClock) -> None:
    """The outbox held it back until the old entry was gone: the account stays."""
    fleet = Fleet(store, clock)
    key = await fleet.before.reserve(EMAIL, FIRST)
    item: Item = {"id": user_key(FIRST.user_id), "tenant_id": FIRST.tenant_id, "kind": "user", "email": EMAIL}
    await store.create(IDENTITY, (FIRST.tenant_id,), item)
    assert [await fleet.amid.adopt(EMAIL, FIRST) for _ in range(2)] == ["moved", "current"]
    assert await fleet.complete.sweep(EMAIL, FIRST) == 1
    await fleet.complete.confirm(key, FIRST)
    assert await fleet.complete.find(EMAIL) == FIRST
    assert await fleet.complete.tenant_of(FIRST.user_id) == FIRST.tenant_id


async def test_an_account_that_lost_its_e_mail_is_not_given_it_back(store: SqliteStore, clock: ManualClock) -> None:
    fleet = Fleet(store, clock)
    await fleet.before.reserve(EMAIL, FIRST)
    clock.advance(seconds=61)
    await accounts(store, (fleet.before, EMAIL, SECOND))
    item: Item = {"id": user_key(FIRST.user_id), "tenant_id": FIRST.tenant_id, "kind": "user", "email": EMAIL}
    await store.create(IDENTITY, (FIRST.tenant_id,), item)
    assert await fleet.amid.adopt(EMAIL, FIRST) == "contended"
    assert await fleet.amid.adopt(EMAIL, SECOND) == "moved"
    assert await fleet.complete.find(EMAIL) == SECOND
    assert await fleet.amid.adopt("nobody@example.com", Entry("t", "nobody")) == "gone"


async def test_an_account_that_is_removed_meanwhile_leaves_no_entry(store: SqliteStore, clock: ManualClock) -> None:
    """Else its e-mail could never be registered again."""
    slow = Interrupted(store)
    fleet, overtaken = Fleet(store, clock), Fleet(slow, clock)
    await accounts(store, (fleet.before, EMAIL, FIRST))
    key = await fleet.amid.key(EMAIL)

    async def removal() -> None:
        await store.delete(IDENTITY, (FIRST.tenant_id,), user_key(FIRST.user_id))
        await fleet.amid.release(key, FIRST)

    slow.before("create", removal)
    assert await overtaken.amid.adopt(EMAIL, FIRST) == "gone"
    assert await fleet.amid.find(EMAIL) is None
    await fleet.amid.reserve(EMAIL, SECOND)


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_reindex_that_was_cut_off_is_begun_again(host: Host, clock: ManualClock, mode: Mode) -> None:
    """At every call of the store before it took effect, and at every write after it did."""

    def counts(call: Call) -> bool:
        return mode == "before" or (call.operation in WRITES and not call.partition[0].startswith("user|"))

    faulty = FaultyStore(await SqliteStore.open(None, clock=clock), counts=counts)
    async with running(host, clock, faulty, secrets=Rotating()) as app:
        people = [await app.register(f"person{number}@example.com") for number in range(2)]
        await with_factor(app, people[0])
        rotation = app.services.operations.index_rotation
        await app.services.operations.rotate("index")
        for step in ("indexed_at", "swept_at"):
            clock.advance(seconds=SETTLING.total_seconds() + 1)
            await app.services.index.ring()
            for fail_at in itertools.count(1):
                faulty.arm(fail_at, mode)
                try:
                    await rotation.reindex()
                except (Unavailable, Unready, ValueError) as error:
                    faulty.mend()
                    if isinstance(error, ValueError):  # the last write took effect, and its answer was lost
                        break
                else:
                    break
                for each in people:
                    assert await app.services.directory.find(each.email) == Entry(each.tenant_id, each.id)
            faulty.mend()
            assert fail_at > (20 if mode == "before" else 3)
            assert getattr((await ring(app)).newest, step) is not None
        for each in people:
            assert await entries(app, each.email) == {"v2": each.id}


async def test_an_allowed_address_is_allowed_under_both_versions(host: Host, clock: ManualClock) -> None:
    async with running(host, clock, secrets=Rotating()) as app:
        store, index, ada = app.store, app.services.index, await app.register(EMAIL)
        until = rfc3339(clock.now() + timedelta(days=9))
        body = {"allow_lists": {"addresses": [{"value": "192.0.2.1", "reason": "an office", "until": until}]}}
        answer = await app.client.put("/v1/admin/settings", json=body, headers=ada.auth)
        assert answer.status_code == 200, answer.text
        stored = await read_settings(store, ada.tenant_id)
        assert await read_settings_of_events(store, index, ada.tenant_id) == stored
        await app.services.operations.rotate("index")
        clock.advance(seconds=SETTLING.total_seconds())
        lists = (await read_settings_of_events(store, index, ada.tenant_id))["allow_lists"]
        assert [each["key"] for each in lists["addresses"]] == list(await index.every_address("192.0.2.1"))
        assert stored["allow_lists"]["addresses"][0]["key"] == lists["addresses"][1]["key"]
        assert await index.for_address("192.0.2.1") == lists["addresses"][0]["key"]
