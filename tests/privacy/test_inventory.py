"""The inventory of what is personal declares every field once, and every field of every event class."""

from typing import Any

import pytest
from pydantic import BaseModel

from shared.audit.model import FreeEvent
from shared.audit.registry import EventType, all_types
from shared.privacy.declared import declared, find, kind_of, leaves
from shared.privacy.inventory import KINDS
from shared.privacy.inventory_kind import ANY, SYSTEM, Kind
from shared.privacy.public_attributes import ATTRIBUTES
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, GUARDS, IDENTITY
from shared.storage.documents import PatchSet, upsert
from tests.app import Account, App
from tests.declared import undeclared, watched

ID = "0195c000-0000-7000-8000-0000000000aa"


def test_every_container_has_its_kinds_and_each_is_declared_once() -> None:
    assert {each.container.name for each in KINDS} == set(CONTAINERS)
    names = [(each.container.name, each.name) for each in KINDS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.container.name}-{kind.name}")
def test_every_field_has_one_level(kind: Kind) -> None:
    """Also where a pattern and a name could both be meant."""
    paths = [path for path, _, _ in kind.fields()]
    assert len(paths) == len(set(paths))
    assert not SYSTEM & set(paths)
    for path, level, form in kind.fields():
        example = tuple("x" if part in (ANY, "**") else part for part in path.split("."))
        assert declared(kind.container.name, "x" if kind.name == ANY else kind.name, example) == (level, form)
        assert (form is not None) == (level == "personal")


@pytest.mark.parametrize("kind", all_types().values(), ids=lambda kind: kind.name)
def test_every_field_of_an_event_class_is_sealed_or_declared_public(kind: EventType) -> None:
    if issubclass(kind.model, FreeEvent):
        return  # its attributes are its writer's own
    assert set(kind.model.model_fields) - set(kind.personal) <= set(ATTRIBUTES.split())


def test_no_attribute_is_declared_that_no_event_has() -> None:
    own = [each for each in all_types().values() if not issubclass(each.model, FreeEvent)]
    fields = {field for kind in own for field in set(kind.model.model_fields) - set(kind.personal)}
    assert set(ATTRIBUTES.split()) == fields
    assert all(issubclass(kind.model, BaseModel) for kind in own)


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        ({"kind": "user", "email": "x", "_etag": "1", "ttl": 7}, set()),
        ({"kind": "user", "nickname": None}, {"identity/user: nickname"}),
        ({"kind": "user", "email": {"home": "x"}}, {"identity/user: email.home"}),
        ({"kind": "user", "email": ["x", {"_ts": 1}]}, {"identity/user: email._ts"}),
        ({"kind": "tenant", "settings": {"mutes": [{"by": "x"}]}}, {"identity/tenant: settings.mutes.by"}),
        ({"kind": "robot"}, {"identity/robot: id", "identity/robot: kind"}),
        ({"kind": ""}, {"identity/pet: id", "identity/pet: kind"}),
    ],
    ids=range(7),
)
def test_a_field_that_is_not_declared_is_seen(item: dict[str, Any], wanted: set[str]) -> None:
    assert undeclared(IDENTITY.name, {"id": f"pet|{ID}"} | item) == wanted


def test_an_event_declares_its_boxes_and_no_open_one() -> None:
    event = {"id": ID, "attributes": {"anything": [1]}, "commitments": {ID: "x"}, "target": None}
    sealed = {"form": "x", "nonce": "x", "sealed": "x"}
    assert undeclared(AUDIT_EVENTS.name, {**event, "personal": {ID: sealed}}) == set()
    clear = {ID: sealed | {"data": {"email": "x"}}}
    assert undeclared(AUDIT_EVENTS.name, {**event, "personal": clear}) == {f"audit_events/: personal.{ID}.data.email"}
    guard = {"id": "producer_id|x", "value": {**event, "personal": clear}}
    assert undeclared(GUARDS.name, guard) == {f"guards/producer_id: value.personal.{ID}.data.email"}


def test_what_an_item_is() -> None:
    items: dict[str, dict[str, Any]] = {
        "a": {"id": "a|b"},
        "a of many parts": {"id": "a|b|c"},
        "c": {"id": "a|b", "kind": "c"},
        "neither": {"id": "a"},
        "nothing": {},
    }
    assert [kind_of(each) for each in items.values()] == ["a", "a", "c", "", ""]
    assert find("leases", "whatever") is not None
    assert find("identity", "whatever") is None
    assert dict(leaves({"a": [{"b": 1}, {"b": 2}], "c": {}, "d": None})) == {("a", "b"): 2, ("d",): None}


def test_what_could_be_in_an_object_is_declared_with_it() -> None:
    """`thresholds.**` is all that is in it, however deep, and the object while there is nothing in it."""
    for path in ("settings.thresholds", "settings.thresholds.a", "settings.thresholds.a.b.c"):
        assert declared(IDENTITY.name, "tenant", tuple(path.split("."))) == ("public", None)
    for path in ("settings", "thresholds", "settings.threshold", "other.thresholds.a", "settings.mutes.a"):
        assert declared(IDENTITY.name, "tenant", tuple(path.split("."))) is None


async def test_what_an_app_under_test_writes_is_looked_at(app: App, ada: Account) -> None:
    """Created, replaced, in a batch or patched: the tests of the app fail at a field that declares no level."""
    partition = (ada.tenant_id,)
    item = {"id": f"user|{ID}", "tenant_id": ada.tenant_id, "kind": "user"}
    for write in (
        app.store.create(IDENTITY, partition, item | {"nickname": "x"}),
        app.store.upsert(IDENTITY, partition, item | {"nickname": "x"}),
        app.store.batch(IDENTITY, partition, [upsert(item | {"nickname": "x"})]),
        app.store.patch(IDENTITY, partition, item["id"], [PatchSet("nickname", "x")], None),
    ):
        with pytest.raises(AssertionError, match="declare their level"), watched():
            await write


def test_fields_are_told_with_level_and_form() -> None:
    kind = Kind(IDENTITY, "x", "about", "id kind", clear="a b", sealed="c", hashed="d", opens="e")
    assert list(kind.fields()) == [
        ("id", "public", None),
        ("kind", "public", None),
        ("a", "personal", "clear"),
        ("b", "personal", "clear"),
        ("c", "personal", "sealed"),
        ("d", "personal", "hashed"),
        ("e", "secret", None),
    ]
