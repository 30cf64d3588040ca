"""What of an event is a person's, case by case; and that the ledger's entry is the same without it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.entries import entry_of
from shared.storage.documents import Item
from shared.subject_rights.model import Person
from shared.subject_rights.redaction import redactions

NOW = "2026-04-01T00:00:00.000000Z"
BOB = Person("tenant", "bob", "email|d", "k:bob", "p:bob", "2026-03-31T00:00:00.000000Z")
KEYS = ("actor_key", "target_key", "ip_key", "ua_key")


def event(**fields: Any) -> Item:
    boxes = fields.pop("boxes", ("bob",))
    return {
        **{"schema": 1, "id": "e", "tenant_id": "tenant", "period": "2026-03", "type": "t", "outcome": "success"},
        **{"reason": None, "severity": "info", "recorded_at": "2026-03-15T12:00:00.000000Z"},
        **{"occurred_at": "2026-03-15T12:00:00.000000Z", "actor": {"kind": "user", "id": "bob", "role": "user"}},
        **{"target": None, "subjects": list(boxes), "source": {"kind": "function", "id": "f"}, "context": {}},
        **{"data_class": "none", "record_count": 0, "attributes": {}},
        "personal": {each: {"sealed": each} for each in boxes},
        "commitments": dict.fromkeys(boxes, "c"),
        **{"actor_key": "k:bob", "target_key": None, "ip_key": "i", "ua_key": "u"},
        **fields,
    }


def without(held: Item, person: Person = BOB) -> Item | None:
    """The event after an erasure; None when it holds nothing of the person."""
    found = list(redactions([held], person))
    return found[0].event_without(NOW) if found else None


def kept(held: Item | None) -> tuple[Any, ...]:
    assert held is not None
    assert held["erased_at"] == NOW
    return (sorted(held["personal"]), *(held[name] for name in KEYS))


ADA = {"kind": "user", "id": "ada", "role": "tenant_admin"}
NOBODY = {"kind": "anonymous", "id": None, "role": None}
KEY = {"kind": "service", "id": "key-1", "role": None}
OF_BOB = {"target": {"kind": "user", "id": "bob"}, "target_key": "k:bob"}
STRANGER = "stranger-2026-03"


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (event(), ([], None, None, None, None)),
        (event(**OF_BOB), ([], None, None, None, None)),
        (event(actor=ADA, boxes=("ada", "bob"), **OF_BOB, actor_key="a"), (["ada"], "a", None, "i", "u")),
        (event(actor=NOBODY, **OF_BOB), ([], None, None, None, None)),
        (event(actor=KEY, **OF_BOB, actor_key=None), ([], None, None, "i", "u")),
        (
            event(actor=ADA, boxes=("ada", "inv"), target={"kind": "invitation", "id": "inv"}, target_key="k:bob"),
            (["ada"], "k:bob", None, "i", "u"),
        ),
        (event(actor=NOBODY, boxes=(STRANGER,)), ([], None, None, None, None)),
    ],
    ids=["own deed", "done to oneself", "by an admin", "failed sign-in", "by a program", "invitation", "stranger"],
)
def test_what_goes_and_what_stays(held: Item, expected: tuple[Any, ...]) -> None:
    after = without(held)
    assert kept(after) == expected
    assert after is not None
    assert after["commitments"] == held["commitments"]
    assert without(after) is None, "once is enough"


@pytest.mark.parametrize(
    "held",
    [
        event(actor=ADA, boxes=("ada",), actor_key="a"),
        event(actor={"kind": "user", "id": "u-17", "role": None}, boxes=("u-17",)),
        event(actor=NOBODY, boxes=(STRANGER,), recorded_at="2026-03-31T00:00:00.000000Z"),
        event(actor=NOBODY, boxes=(STRANGER,), actor_key="k:other"),
        event(boxes=(), actor_key=None, ip_key=None, ua_key=None, subjects=["bob"]),
    ],
    ids=["of others", "another id with the same e-mail", "tried later", "another e-mail", "nothing personal in it"],
)
def test_what_is_left_as_it_is(held: Item) -> None:
    assert without(held) is None


def test_in_the_platforms_trail_the_e_mail_has_another_hash_and_the_id_means_nobody() -> None:
    tried = event(tenant_id="platform", actor=NOBODY, boxes=(STRANGER,), actor_key="p:bob")
    assert kept(without(tried)) == ([], None, None, None, None)
    assert without({**tried, "actor_key": "k:bob"}) is None
    assert without(event(tenant_id="platform", actor_key=None)) is None


IDS = st.sampled_from(["bob", "ada", STRANGER, "inv"])
HASHES = st.sampled_from([None, "k:bob", "x"])


@given(
    st.lists(IDS, unique=True),
    st.sampled_from([ADA, NOBODY, KEY, {"kind": "user", "id": "bob", "role": None}]),
    st.sampled_from([None, {"kind": "user", "id": "bob"}, {"kind": "invitation", "id": "inv"}]),
    st.tuples(HASHES, HASHES, HASHES, HASHES),
)
def test_the_entry_is_the_same_and_others_boxes_stay(
    boxes: list[str], actor: Item, target: Item | None, hashes: tuple[str | None, ...]
) -> None:
    held = event(actor=actor, target=target, boxes=tuple(boxes), **dict(zip(KEYS, hashes, strict=True)))
    after = without(held)
    if after is None:
        assert "bob" not in held["personal"]
        return
    assert entry_of(after) == entry_of(held)
    assert "bob" not in after["personal"]
    assert {each for each in held["personal"] if each == "ada"} <= set(after["personal"])
    assert all(after[name] in (None, held[name]) for name in KEYS)
    assert without(after) is None
