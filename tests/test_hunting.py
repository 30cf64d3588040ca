"""The hunt finds what is planted, in whatever form; else nothing that it does not find would mean anything."""

import base64
import gzip
import html
import io
import json
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest

from shared.storage.containers import AUDIT_EVENTS, GUARDS, IDENTITY, LEASES
from shared.storage.documents import Item
from tests.app import Account, App
from tests.hunting import Net, astray, stored

VALUES = {"name": "Zäppelbaum", "email": "quirin@example.net", "address": "198.51.100.213", "six": "2001:db8:77::4711"}
NET = Net(VALUES)


def zipped(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("shards/1.json", text * 9)
    return made.getvalue()


FORMS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "lower": lambda text: text.lower().encode(),
    "upper": lambda text: text.upper().encode(),
    "decomposed": lambda text: unicodedata.normalize("NFD", text).encode(),
    "JSON": lambda text: json.dumps({"x": text}).encode(),
    "URL": lambda text: b"?q=" + quote(text, safe="").encode(),
    "HTML": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
    "hexadecimal": lambda text: text.encode().hex().encode(),
    "hexadecimal, upper": lambda text: text.encode().hex().upper().encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "turned round": lambda text: text.encode()[::-1],
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, inside": lambda text: base64.b64encode(f'{{"email": "{text}", "x": 1}}'.encode()),
    "base64, one further": lambda text: base64.urlsafe_b64encode(f'{{"email":"{text}", "x": 1}}'.encode()),
    "base64, two further": lambda text: base64.b64encode(f'{{"e":"{text}", "x": 1}}'.encode()),
    "gzip": lambda text: gzip.compress(text.encode() * 9),
    "zlib in base64 in JSON": lambda text: json.dumps(
        {"plan": base64.b64encode(zlib.compress(text.encode() * 9)).decode()}
    ).encode(),
    "zip": zipped,
    "zip in base64": lambda text: base64.b64encode(zipped(text)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", VALUES)
def test_what_is_planted_is_found(name: str, form: Callable[[str], bytes]) -> None:
    planted = form(VALUES[name])
    assert NET.found(b"before " + planted + b" after" if planted[:2] not in (b"\x1f\x8b", b"PK") else planted) == {name}


@pytest.mark.parametrize("text", ["", "nothing", "appelbaum", "quirin@example.ne", "198.51.100.21", "{}", "A" * 5000])
def test_what_is_not_there_is_not_found(text: str) -> None:
    assert NET.found(text) == set()


PLANTED: list[tuple[str, Item, set[tuple[str, str, str]]]] = [
    ("identity", {"id": "user|x", "kind": "user", "email": VALUES["email"], "last_name": VALUES["name"]}, set()),
    (
        "identity",
        {"id": "user|x", "kind": "user", "role": VALUES["email"]},
        {("identity/user", "role", "email")},
    ),
    ("identity", {"id": "user|x", "kind": "user", "old": [VALUES["name"]]}, {("identity/user", "old", "name")}),
    (
        "audit_events",
        {"id": "x", "attributes": {"note": f"by {VALUES['address']}"}, "personal": {}},
        {("audit_events/", "attributes.note", "address")},
    ),
    (
        "audit_events",
        {"id": "x", "commitments": {VALUES["email"]: "x"}},
        {("audit_events/", f"commitments.{VALUES['email']}", "email")},
    ),
    (
        "guards",
        {"id": "ingest_key|x", "value": {"plan": base64.b64encode(zlib.compress(VALUES["six"].encode() * 9)).decode()}},
        {("guards/ingest_key", "value.plan", "six")},
    ),
    ("leases", {"id": f"f|{VALUES['name']}"}, {("leases/f", "id", "name")}),
]


@pytest.mark.parametrize(("container", "item", "wanted"), PLANTED, ids=range(len(PLANTED)))
def test_a_value_is_astray_where_it_is_not_declared(
    container: str, item: Item, wanted: set[tuple[str, str, str]]
) -> None:
    assert astray([(container, item)], NET) == wanted


@pytest.mark.parametrize("adapter", ["sqlite", "cosmos"])
async def test_every_container_and_partition_is_looked_into(app: App, ada: Account) -> None:
    await app.store.create(GUARDS, ("round|x",), {"id": "round|x", "after": VALUES["name"]})
    await app.store.create(LEASES, ("f|f",), {"id": "f|f", "function": VALUES["email"]})
    place = ("somebody", "1999-01")
    await app.store.create(
        AUDIT_EVENTS, place, {"id": "e", "tenant_id": place[0], "period": place[1], "type": VALUES["six"]}
    )
    found = await stored(app.store)
    assert astray(found, NET) == {
        ("guards/round", "after", "name"),
        ("leases/f", "function", "email"),
        ("audit_events/", "type", "six"),
    }
    assert {name for name, _ in found} >= {AUDIT_EVENTS.name, GUARDS.name, LEASES.name, IDENTITY.name}
