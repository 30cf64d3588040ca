"""Boxes and commitments: what was recorded can be proven, byte by byte, with software that is not ours."""

import asyncio
import base64
import hashlib
import json
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from shared.core.clock import rfc3339
from shared.privacy.boxes import SALT_BYTES, BoxDamaged, KeyOfBoxDamaged, Personal, SealedBoxes, commitment_of
from shared.privacy.key_wrapping import LocalKeys, Wrapped
from shared.privacy.person_keys import CACHE_FOR, PersonKeys, Rewrapped, key_id
from shared.privacy.secrets import MemorySecrets, SecretsError, SecretVersion
from shared.storage.containers import SUBJECT_KEYS, Container
from shared.storage.documents import Item, Partition
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.faults import FaultyStore

TENANT, PERSON, EVENT = "tenant", "person", "event"


class World:
    """A store of persons' keys, and instances of the app over it."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.secrets = MemorySecrets()

    def keys(self) -> PersonKeys:
        return PersonKeys(self.store, LocalKeys(self.secrets, self.clock), self.clock)

    def boxes(self) -> SealedBoxes:
        return SealedBoxes(self.keys())

    async def stored(self, subject: str = PERSON) -> Item:
        return await self.store.read(SUBJECT_KEYS, (TENANT,), key_id(subject))


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    store = await SqliteStore.open(None, clock=clock)
    yield World(store, clock)
    await store.close()


SIMPLE: Personal = {"ip": "203.0.113.9", "email": "ada@example.com", "filters": {"b": [1, True, None], "a": 'ü\n"'}}


def by_hand(salt: bytes, personal: Personal) -> str:
    """For plain values Python's own JSON, sorted and without spaces, is the canonical form of RFC 8785."""
    text = json.dumps(personal, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(hashlib.sha256(salt + text.encode()).digest()).decode()


async def test_the_commitment_by_hand(world: World) -> None:
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    opened = await world.boxes().open(TENANT, PERSON, EVENT, sealed.box)
    assert opened is not None
    assert len(opened.salt) == SALT_BYTES == 32
    assert sealed.commitment == opened.commitment == by_hand(opened.salt, opened.personal)
    assert len(base64.b64decode(sealed.commitment, validate=True)) == 32


async def test_a_box_opens_with_the_cipher_of_another_library(world: World) -> None:
    """AES-256-GCM over salt and canonical JSON, for whoever has the key: nothing of ours is needed."""
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    kek = (await world.secrets.versions("persons"))[0].value
    key = aes_key_unwrap(kek, base64.b64decode((await world.stored())["wrapped"]))
    nonce, content = (base64.b64decode(sealed.box[name]) for name in ("nonce", "sealed"))
    decryptor = Cipher(AES256(key), GCM(nonce, content[-16:])).decryptor()
    decryptor.authenticate_additional_data(b"tenant|person|event")
    plain = decryptor.update(content[:-16]) + decryptor.finalize()
    assert sealed.commitment == base64.b64encode(hashlib.sha256(plain).digest()).decode()
    assert json.loads(plain[32:]) == SIMPLE


def test_a_commitment_known_beforehand() -> None:
    wanted = base64.b64encode(hashlib.sha256(b"\x00" * 32 + b'{"a":1,"b":"x"}').digest()).decode()
    assert commitment_of(b"\x00" * 32, {"b": "x", "a": 1}) == wanted


def test_names_are_ordered_by_utf_16_as_rfc_8785_says() -> None:
    """Section 3.2.3: an emoji (a surrogate pair) comes before U+FB33, the other way round than by code point."""
    personal: Personal = {"\ufb33": 1, "😀": 2}
    text = '{"😀":2,"\ufb33":1}'.encode()
    assert commitment_of(b"", personal) == base64.b64encode(hashlib.sha256(text).digest()).decode()


async def test_what_was_put_in_comes_out_of_any_instance(world: World) -> None:
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    through_the_store = json.loads(json.dumps(sealed.box))
    opened = await world.boxes().open(TENANT, PERSON, EVENT, through_the_store)
    assert opened is not None
    assert opened.personal == SIMPLE


async def test_equal_data_has_different_boxes_and_commitments(world: World) -> None:
    boxes = world.boxes()
    sealed = [await boxes.seal(TENANT, PERSON, EVENT, SIMPLE) for _ in range(20)]
    assert len({each.box["sealed"] for each in sealed if each}) == 20
    assert len({each.box["nonce"] for each in sealed if each}) == 20
    assert len({each.commitment for each in sealed if each}) == 20


async def test_nothing_readable_is_stored(world: World) -> None:
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    stored = json.dumps([sealed.box, await world.stored()])
    assert "ada@example.com" not in stored
    assert "203.0.113.9" not in stored
    key = aes_key_unwrap(
        (await world.secrets.versions("persons"))[0].value, base64.b64decode((await world.stored())["wrapped"])
    )
    assert base64.b64encode(key).decode() not in stored


@pytest.mark.parametrize("place", [("other", PERSON, EVENT), (TENANT, "other", EVENT), (TENANT, PERSON, "other")])
async def test_a_box_opens_only_where_it_belongs(world: World, place: tuple[str, str, str]) -> None:
    boxes = world.boxes()
    sealed = await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    await boxes.seal("other", PERSON, EVENT, SIMPLE)
    await boxes.seal(TENANT, "other", EVENT, SIMPLE)
    with pytest.raises(BoxDamaged):
        await boxes.open(*place, sealed.box)


async def test_any_changed_bit_is_damage_and_not_erasure(world: World) -> None:
    boxes = world.boxes()
    sealed = await boxes.seal(TENANT, PERSON, EVENT, {"a": "b"})
    assert sealed is not None
    for name in ("nonce", "sealed"):
        raw = base64.b64decode(sealed.box[name])
        for bit in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(BoxDamaged):
                await boxes.open(TENANT, PERSON, EVENT, sealed.box | {name: base64.b64encode(changed).decode()})


@pytest.mark.parametrize(
    "change",
    [{"nonce": None}, {"nonce": "AAAA"}, {"sealed": ""}, {"sealed": "%"}, {"sealed": 7}, {"sealed": []}],
    ids=repr,
)
async def test_what_is_no_box_is_damage(world: World, change: dict[str, object]) -> None:
    boxes = world.boxes()
    sealed = await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    with pytest.raises(BoxDamaged):
        await boxes.open(TENANT, PERSON, EVENT, sealed.box | change)
    with pytest.raises(BoxDamaged):
        await boxes.open(TENANT, PERSON, EVENT, {})


async def test_of_an_erased_person_nothing_opens_and_nothing_is_kept(world: World) -> None:
    boxes, keys = world.boxes(), world.keys()
    sealed = await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    assert await keys.erase(TENANT, PERSON)
    assert not await keys.erase(TENANT, PERSON)
    after = world.boxes()
    assert await after.open(TENANT, PERSON, EVENT, sealed.box) is None
    assert await after.seal(TENANT, PERSON, EVENT, SIMPLE) is None
    assert set(await world.stored()) == {"id", "tenant_id", "kind", "subject", "erased_at", "_etag", "_ts"}


async def test_an_instance_that_holds_the_key_lets_go_of_it(world: World) -> None:
    """At once where the erasure ran, elsewhere when its memory of the key is over, also with a clock set back."""
    mine, other = world.keys(), world.keys()
    for keys in (mine, other):
        assert await SealedBoxes(keys).seal(TENANT, PERSON, EVENT, SIMPLE) is not None
    await mine.erase(TENANT, PERSON)
    assert await SealedBoxes(mine).seal(TENANT, PERSON, EVENT, SIMPLE) is None
    assert await SealedBoxes(other).seal(TENANT, PERSON, EVENT, SIMPLE) is not None
    world.clock.advance(seconds=CACHE_FOR.total_seconds())
    assert await SealedBoxes(other).seal(TENANT, PERSON, EVENT, SIMPLE) is None
    world.clock.advance(hours=-1)
    assert await SealedBoxes(other).seal(TENANT, PERSON, EVENT, SIMPLE) is None


async def test_erasing_somebody_of_whom_nothing_was_kept_yet(world: World) -> None:
    await world.keys().erase(TENANT, PERSON)
    assert await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE) is None
    assert await world.boxes().open(TENANT, "nobody", EVENT, {}) is None


async def test_instances_that_need_a_key_at_the_same_time_make_one(world: World) -> None:
    instances = [world.boxes() for _ in range(5)]
    sealed = await asyncio.gather(*(each.seal(TENANT, PERSON, f"e{n}", SIMPLE) for n, each in enumerate(instances * 4)))
    for n, each in enumerate(sealed):
        assert each is not None
        assert await world.boxes().open(TENANT, PERSON, f"e{n}", each.box) is not None


async def test_of_many_who_ask_for_a_key_one_asks_the_store(world: World) -> None:
    await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    keys = world.keys()
    await asyncio.gather(*(keys.for_opening(TENANT, PERSON) for _ in range(50)))
    assert (keys.misses, keys.hits) == (1, 49)


async def test_who_gives_up_waiting_for_the_store_holds_up_nobody(world: World) -> None:
    await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    faulty = FaultyStore(world.store, 1, "hang")
    keys = PersonKeys(faulty, LocalKeys(world.secrets, world.clock), world.clock)
    first = asyncio.create_task(keys.for_opening(TENANT, PERSON))
    second = asyncio.create_task(keys.for_opening(TENANT, PERSON))
    while not faulty.hung:  # noqa: ASYNC110 - any moment will do
        await asyncio.sleep(0)
    first.cancel()
    assert await second is not None


async def test_memory_of_keys_is_bounded(world: World) -> None:
    keys = PersonKeys(world.store, LocalKeys(world.secrets, world.clock), world.clock, cached=3)
    for n in range(10):
        await keys.for_sealing(TENANT, f"p{n}")
    keys.misses = 0
    for n in (9, 8, 7, 0):
        await keys.for_sealing(TENANT, f"p{n}")
    assert keys.misses == 1


@pytest.mark.parametrize("change", [{"wrapped": "AAAA"}, {"wrapped": None}, {"wrapped": "%"}], ids=repr)
async def test_a_key_that_was_tampered_with_is_damage_and_stops_writes(world: World, change: Item) -> None:
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    await world.store.replace(SUBJECT_KEYS, (TENANT,), await world.stored() | change)
    with pytest.raises(BoxDamaged):
        await world.boxes().open(TENANT, PERSON, EVENT, sealed.box)
    with pytest.raises(KeyOfBoxDamaged):
        await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)


async def test_a_key_that_was_deleted_opens_as_erased(world: World) -> None:
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    await world.store.delete(SUBJECT_KEYS, (TENANT,), key_id(PERSON))
    assert await world.boxes().open(TENANT, PERSON, EVENT, sealed.box) is None


class Rotating:
    """The secrets of a deployment whose key-encryption key is rotated."""

    def __init__(self) -> None:
        self.held: tuple[SecretVersion, ...] = (SecretVersion("v1", b"1" * 32),)

    async def versions(self, _: str) -> tuple[SecretVersion, ...]:
        return self.held

    async def find(self, _: str, version: str) -> SecretVersion | None:
        return next((each for each in self.held if each.version == version), None)


async def test_rotation_wraps_keys_anew_and_touches_no_event(world: World) -> None:
    rotating = Rotating()
    world.secrets = rotating  # type: ignore[assignment]
    sealed = {}
    for n in range(250):
        sealed[n] = await world.boxes().seal(TENANT, f"p{n}", EVENT, SIMPLE)
    await world.keys().erase(TENANT, "p7")
    assert await world.keys().rewrap(TENANT) == Rewrapped(current=249)
    rotating.held = (SecretVersion("v2", b"2" * 32), *rotating.held)
    assert await world.keys().rewrap(TENANT) == Rewrapped(wrapped=249)
    assert await world.keys().rewrap(TENANT) == Rewrapped(current=249)
    rotating.held = rotating.held[:1]
    for n in (0, 249):
        box = sealed[n]
        assert box is not None
        assert await world.boxes().open(TENANT, f"p{n}", EVENT, box.box) is not None


async def test_without_the_key_encryption_key_nothing_opens_and_nothing_is_written_in_the_clear(world: World) -> None:
    rotating = Rotating()
    world.secrets = rotating  # type: ignore[assignment]
    sealed = await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    rotating.held = (SecretVersion("v9", b"9" * 32),)
    with pytest.raises(SecretsError):
        await world.boxes().open(TENANT, PERSON, EVENT, sealed.box)
    with pytest.raises(SecretsError):
        await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)


def test_any_change_changes_the_commitment() -> None:
    salt = secrets.token_bytes(32)
    changed: list[Personal] = [
        SIMPLE | {"ip": "203.0.113.8"},
        SIMPLE | {"more": None},
        {name: value for name, value in SIMPLE.items() if name != "ip"},
        {},
    ]
    found = {commitment_of(salt, each) for each in (SIMPLE, *changed)}
    assert len(found) == 1 + len(changed)
    assert commitment_of(salt, SIMPLE) == commitment_of(salt, dict(reversed(SIMPLE.items())))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", 2**53, b"bytes", object, {1: 2}], ids=repr)
async def test_what_has_no_canonical_form_is_refused(world: World, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await world.boxes().seal(TENANT, PERSON, EVENT, {"value": value})


async def test_a_box_that_is_gone_is_excused_by_a_tombstone_alone(world: World) -> None:
    """Whoever deletes a box, or the key too, cannot make it look like an erasure."""
    boxes, keys = world.boxes(), world.keys()
    assert await keys.stored(TENANT, PERSON) is None
    with pytest.raises(BoxDamaged, match=r"^a box is gone although its person was not erased$"):
        await boxes.check_erased(TENANT, PERSON, EVENT)
    await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    assert await keys.stored(TENANT, PERSON) == "key"
    with pytest.raises(BoxDamaged):
        await boxes.check_erased(TENANT, PERSON, EVENT)
    await keys.erase(TENANT, PERSON)
    await boxes.check_erased(TENANT, PERSON, EVENT)
    assert await keys.stored(TENANT, PERSON) == "tombstone"
    for tenant_id, subject in (("other", PERSON), (TENANT, "other")):
        assert await keys.stored(tenant_id, subject) is None
        with pytest.raises(BoxDamaged):
            await boxes.check_erased(tenant_id, subject, EVENT)


async def test_no_memory_excuses_a_box_that_is_gone(world: World) -> None:
    keys = world.keys()
    await keys.erase(TENANT, PERSON)
    assert await keys.for_opening(TENANT, PERSON) is None
    await world.store.delete(SUBJECT_KEYS, (TENANT,), key_id(PERSON))
    with pytest.raises(BoxDamaged):
        await SealedBoxes(keys).check_erased(TENANT, PERSON, EVENT)


async def test_a_box_whose_commitment_is_another_is_damage(world: World) -> None:
    boxes = world.boxes()
    sealed = await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    again = await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    assert again is not None
    assert await boxes.open(TENANT, PERSON, EVENT, sealed.box, sealed.commitment) is not None
    for commitment in (again.commitment, ""):
        with pytest.raises(BoxDamaged, match=r"^a box holds something else than what was recorded$"):
            await boxes.open(TENANT, PERSON, EVENT, sealed.box, commitment)


async def test_what_a_damaged_box_says_names_no_content(world: World) -> None:
    boxes = world.boxes()
    sealed = await boxes.seal(TENANT, PERSON, EVENT, SIMPLE)
    assert sealed is not None
    with pytest.raises(BoxDamaged, match=r"^a box does not open: InvalidTag$"):
        await boxes.open(TENANT, PERSON, "other", sealed.box)
    with pytest.raises(BoxDamaged, match=r"^a box does not open: KeyError$"):
        await boxes.open(TENANT, PERSON, EVENT, {"sealed": sealed.box["sealed"]})
    for name, said in (("nonce", "Error"), ("sealed", "Error")):  # not one letter more than base64
        with pytest.raises(BoxDamaged, match=f"^a box does not open: {said}$"):
            await boxes.open(TENANT, PERSON, EVENT, sealed.box | {name: sealed.box[name] + "\n"})
    key = (await world.stored())["wrapped"]
    await world.store.replace(SUBJECT_KEYS, (TENANT,), await world.stored() | {"wrapped": "AAAA"})
    with pytest.raises(KeyOfBoxDamaged, match=r"^a box does not open: KeyDamaged$"):
        await world.boxes().open(TENANT, PERSON, EVENT, sealed.box)
    with pytest.raises(KeyOfBoxDamaged, match=r"^a person's key does not unwrap$"):
        await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    for wrapped in ("%", key + "\n", f"{key[:8]}!{key[8:]}"):  # other spellings of what was stored are none
        await world.store.replace(SUBJECT_KEYS, (TENANT,), await world.stored() | {"wrapped": wrapped})
        with pytest.raises(KeyOfBoxDamaged, match=r"^a person's key is not as it was stored$"):
            await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)


async def test_keys_are_made_ready_for_many_at_once_only_where_they_are_to_be_sealed_for(world: World) -> None:
    people = [f"p{n}" for n in range(40)]
    keys = world.keys()
    await SealedBoxes(keys).prepare(TENANT, people)
    assert [await keys.stored(TENANT, each) for each in people] == [None] * 40
    await SealedBoxes(keys).prepare(TENANT, [*people, *people], sealing=True)
    assert all(keys.held(TENANT, each) is not None for each in people)
    assert keys.held("other", people[0]) is None
    misses, hits = keys.misses, keys.hits
    await SealedBoxes(keys).prepare(TENANT, people)
    assert await SealedBoxes(keys).seal(TENANT, people[7], EVENT, SIMPLE) is not None
    assert (keys.misses, keys.hits) == (misses, hits + 1)
    other = world.keys()
    await SealedBoxes(other).prepare(TENANT, people)
    assert all(other.held(TENANT, each) is not None for each in people)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Item]]:
    """Events of the log with their fields, but for the place in the code."""
    split = [message.partition(" ") for message in caplog.messages]
    found = [(event, json.loads(fields)) for event, _, fields in split]
    return [(event, {name: fields[name] for name in fields if name != "error_at"}) for event, fields in found]


DAMAGED = ("person_key_damaged", {"error_type": "KeyDamaged", "tenant_id": TENANT})


async def test_a_damaged_key_spoils_no_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.keys().prepare(TENANT, [PERSON, "other"], make=True)
    await world.store.replace(SUBJECT_KEYS, (TENANT,), await world.stored() | {"wrapped": "AAAA"})
    keys = world.keys()
    await keys.prepare(TENANT, [PERSON, "other"])
    assert keys.held(TENANT, "other") is not None
    assert keys.held(TENANT, PERSON) is None
    assert logged(caplog) == [DAMAGED]


async def test_a_rewrap_that_verifies_finds_keys_that_do_not_unwrap(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.keys().prepare(TENANT, [PERSON, "other"], make=True)
    damaged = await world.stored() | {"wrapped": "AAAA"}
    await world.store.replace(SUBJECT_KEYS, (TENANT,), damaged)
    assert await world.keys().rewrap(TENANT) == Rewrapped(current=2)
    assert caplog.messages == []
    assert await world.keys().rewrap(TENANT, verify=True) == Rewrapped(current=1, damaged=1)
    assert logged(caplog) == [DAMAGED]
    assert (await world.stored())["wrapped"] == "AAAA"


class Meanwhile(LocalKeys):
    """Does something of somebody else's just before a key that was read is wrapped anew."""

    def __init__(self, world: World, work: Callable[[], Awaitable[object]]) -> None:
        super().__init__(world.secrets, world.clock)
        self.work = work
        self.unwrapped = 0

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        self.unwrapped += 1
        if self.unwrapped == 2:  # the first one is the trial
            await self.work()
        return await super().unwrap(wrapped)


@pytest.mark.parametrize("is_gone", [False, True])
async def test_who_is_erased_while_keys_are_wrapped_anew_stays_erased(world: World, is_gone: bool) -> None:
    """A key that was written back over the tombstone would open everything again."""
    rotating = Rotating()
    world.secrets = rotating  # type: ignore[assignment]
    await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    rotating.held = (SecretVersion("v2", b"2" * 32), *rotating.held)

    async def work() -> None:
        if is_gone:
            await world.store.delete(SUBJECT_KEYS, (TENANT,), key_id(PERSON))
        else:
            await world.keys().erase(TENANT, PERSON)

    keys = PersonKeys(world.store, Meanwhile(world, work), world.clock)
    assert await keys.rewrap(TENANT) == Rewrapped()
    assert await keys.stored(TENANT, PERSON) == (None if is_gone else "tombstone")


async def test_nothing_is_wrapped_under_a_key_that_does_not_give_it_back(world: World) -> None:
    """Otherwise every key of the tenant would be lost."""

    class Broken(LocalKeys):
        async def wrap(self, key: bytes) -> Wrapped:
            return await super().wrap(bytes(len(key)))

    class Damaging(LocalKeys):
        async def wrap(self, key: bytes) -> Wrapped:
            return Wrapped((await super().wrap(key)).kek, b"damaged!" * 5)

    rotating = Rotating()
    world.secrets = rotating  # type: ignore[assignment]
    await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    before = await world.stored()
    rotating.held = (SecretVersion("v2", b"2" * 32), *rotating.held)
    for wrapper in (Broken(world.secrets, world.clock), Damaging(world.secrets, world.clock)):
        with pytest.raises(SecretsError, match=r"^persons' keys: what was wrapped does not unwrap$"):
            await PersonKeys(world.store, wrapper, world.clock).rewrap(TENANT)
    assert await world.stored() == before


class Between(FaultyStore):
    """Somebody else does something between the first reading of a key and what follows it."""

    def __init__(self, inner: SqliteStore, work: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self.work: Callable[[], Awaitable[object]] | None = work

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        try:
            return await super().read(container, partition, item_id)
        finally:
            work, self.work = self.work, None
            if work is not None:
                await work()


async def test_an_erasure_takes_the_key_that_is_made_just_then(world: World) -> None:
    async def work() -> None:
        await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)

    keys = PersonKeys(Between(world.store, work), LocalKeys(world.secrets, world.clock), world.clock)
    assert await keys.erase(TENANT, PERSON)
    assert await keys.stored(TENANT, PERSON) == "tombstone"


async def test_of_two_erasures_at_once_one_was_first_and_its_time_stays(world: World) -> None:
    await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)

    async def work() -> None:
        assert await world.keys().erase(TENANT, PERSON)
        world.clock.advance(minutes=1)

    first = rfc3339(world.clock.now())
    keys = PersonKeys(Between(world.store, work), LocalKeys(world.secrets, world.clock), world.clock)
    assert not await keys.erase(TENANT, PERSON)
    assert (await world.stored())["erased_at"] == first


@pytest.mark.parametrize("error", [Conflict(), NotFound(), PreconditionFailed()])
@pytest.mark.parametrize("is_there", [False, True])
async def test_an_erasure_that_loses_ten_races_is_begun_again_by_whoever_wants_it(
    world: World, error: Exception, is_there: bool
) -> None:
    if is_there:
        await world.boxes().seal(TENANT, PERSON, EVENT, SIMPLE)
    store = FaultyStore(
        world.store, 1, error=error, times=9, counts=lambda call: call.operation in ("create", "replace")
    )
    keys = PersonKeys(store, LocalKeys(world.secrets, world.clock), world.clock)
    assert await keys.erase(TENANT, PERSON)
    assert store.counted == 10
    await world.store.delete(SUBJECT_KEYS, (TENANT,), key_id(PERSON))
    store.arm(1, error=error, times=None)
    with pytest.raises(Unavailable, match=r"^the key of a person is contended$"):
        await keys.erase(TENANT, PERSON)
    assert store.counted == 10
