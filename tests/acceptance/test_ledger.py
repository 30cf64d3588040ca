"""The ledger over HTTP: what an auditor gets, checks alone, and finds in the trail afterwards."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from shared.core.clock import rfc3339
from shared.ledger.checkpoint import open_checkpoint
from shared.ledger.checkpoints import SIGN_EVERY
from shared.ledger.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from shared.ledger.note import VerifierKey
from shared.ledger.proof import parse_proof
from shared.ledger.shards import checkpoint_id, head_id, tile_id
from shared.ledger.tiles import decode_bundle
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Eq, Item, Query
from tests.app import Account, App, assert_problem
from tests.calls import NOWHERE, PERIOD
from tests.exporting import fill
from tests.ledger.naive import NaiveTree

LATER = "2026-04"
PRESENT = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
async def sealed(app: App, ada: Account, grace: Account) -> App:
    """Some three hundred events of Ada's tenant, some of Grace's, all of them sealed."""
    await fill(app, ada, 300)
    await fill(app, grace, 5)
    await app.host.drain_feed()
    app.clock.advance(seconds=SIGN_EVERY.total_seconds())
    return app


async def get(app: App, path: str, who: Account, **params: Any) -> httpx.Response:
    return await app.client.get(f"/v1{path}", params=params or None, headers=who.auth)


async def entries(app: App, account: Account, period: str = PERIOD) -> list[bytes]:
    """What is sealed, read from the store itself, in order."""
    query = Query((Eq("kind", "entry"),), limit=1000)
    items = (await app.store.query(LEDGER, (account.tenant_id, period), query)).items
    return [each["entry"].encode() for each in sorted(items, key=lambda item: item["index"])]


async def key(app: App, who: Account, **params: str) -> VerifierKey:
    answer = await get(app, "/ledger/key", who, **params)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return VerifierKey.decode(answer.text.removesuffix("\n"))


async def forge(app: App, account: Account, item_id: str, **fields: Any) -> Item:
    """Write over fields of an item of the ledger, behind the app's back; what was there."""
    item = await app.store.read(LEDGER, (account.tenant_id, PERIOD), item_id)
    await app.store.replace(LEDGER, (account.tenant_id, PERIOD), item | fields)
    return item


async def test_a_checkpoint_is_of_what_is_sealed(sealed: App, ada: Account) -> None:
    answer = await get(sealed, "/ledger/checkpoint", ada, period=PERIOD)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    name = f"localhost/ledger/{ada.tenant_id}/{PERIOD}"
    found, _ = open_checkpoint(answer.content, name, [await key(sealed, ada)])
    leaves = await entries(sealed, ada)
    assert (found.size, found.root) == (len(leaves), NaiveTree(leaves).root(len(leaves)))
    assert len(leaves) == len(await sealed.events(ada.tenant_id))
    assert (await get(sealed, "/ledger/checkpoint", ada)).text == answer.text, "it is of the present month"


async def test_a_month_without_events_and_one_to_come(app: App, ada: Account) -> None:
    for period in ("2020-02", PERIOD):  # nothing of this one is sealed yet
        answer = await get(app, "/ledger/checkpoint", ada, period=period)
        name = f"localhost/ledger/{ada.tenant_id}/{period}"
        found, _ = open_checkpoint(answer.content, name, [await key(app, ada, period=period)])
        assert (found.size, found.root) == (0, EMPTY_ROOT)
    assert (await get(app, "/ledger/shards", ada)).json() == {"items": [], "next_cursor": None}
    for path in ("checkpoint", "key", "consistency?from=1"):
        for period in (LATER, "2026-13", "26-03", "2026-3", "", "9999-12"):
            query = "&" if "?" in path else "?"
            answer = await get(app, f"/ledger/{path}{query}period={period}", ada)
            assert_problem(answer, 422, "invalid_request", "period")


async def test_keys_of_all_times(sealed: App, ada: Account) -> None:
    await get(sealed, "/ledger/checkpoint", ada)
    answer = await sealed.client.get("/v1/ledger/key", headers=ada.auth | {"Accept": "application/json"})
    (only,) = answer.json()["keys"]
    assert answer.json()["period"] == PERIOD
    assert only["vkey"] == (await key(sealed, ada)).encode()
    assert re.fullmatch(r"2026-03-15T12:00:00\.\d{6}Z", only["since"])
    assert only["until"] is None


async def test_shards_are_listed_the_newest_first(sealed: App, ada: Account, grace: Account) -> None:
    sealed.clock.advance(days=17)
    again = await sealed.login(ada.email)
    later = Account(ada.id, ada.tenant_id, ada.email, again.json()["access_token"])
    await sealed.host.drain_feed()
    await get(sealed, "/ledger/checkpoint", later)
    sizes = {period: len(await entries(sealed, ada, period)) for period in (PERIOD, LATER)}
    listed = (await get(sealed, "/ledger/shards", later)).json()["items"]
    assert [(each["period"], each["size"], each["signed_size"]) for each in listed] == [
        (LATER, sizes[LATER], sizes[LATER]),
        (PERIOD, sizes[PERIOD], listed[1]["signed_size"]),
    ]
    assert 0 < listed[1]["signed_size"] < sizes[PERIOD], "a checkpoint was made while it was sealed"
    assert {(each["expired"], each["witnessed_size"]) for each in listed} == {(False, None)}
    first = (await get(sealed, "/ledger/shards", later, limit=1)).json()
    second = (await get(sealed, "/ledger/shards", later, limit=1, cursor=first["next_cursor"])).json()
    assert (first["items"] + second["items"], second["next_cursor"]) == (listed, None)


async def test_every_event_can_be_proven(sealed: App, ada: Account) -> None:
    """As a file and as JSON, alone and with the event; and asking for it is in the trail."""
    name, vkey = f"localhost/ledger/{ada.tenant_id}/{PERIOD}", await key(sealed, ada)
    leaves = await entries(sealed, ada)
    for event in (await sealed.events(ada.tenant_id))[::60]:
        text = await get(sealed, "/ledger/proof", ada, event_id=event["id"])
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        headers = ada.auth | {"Accept": "application/json"}
        answer = await sealed.client.get("/v1/ledger/proof", params={"event_id": event["id"]}, headers=headers)
        shown = answer.json()
        proof, entry = parse_proof(text.content), base64.b64decode(shown["entry"])
        assert (shown["event_id"], shown["period"], shown["text"]) == (event["id"], PERIOD, text.text)
        assert leaves[proof.index] == entry
        assert json.loads(entry)["id"] == event["id"]
        checkpoint = proof.verify(entry, name, [vkey])
        path = [base64.b64decode(each) for each in shown["path"]]
        verify_inclusion(leaf_hash(entry), shown["index"], checkpoint.size, path, checkpoint.root)
        with_event = (await get(sealed, f"/events/{event['id']}", ada, proof="true")).json()
        assert with_event.pop("proof") == shown
        assert with_event == (await get(sealed, f"/events/{event['id']}", ada)).json()
        searches = await sealed.events(ada.tenant_id, "audit.search")
        asked = [each for each in searches if each["attributes"]["log"] == "ledger"]
        assert {tuple(each["attributes"]["filtered_by"]) for each in asked} == {("event_id",)}
        opened = [(await sealed.services.search.shown(each))["personal"][ada.id]["filters"] for each in asked]
        assert opened.count({"event_id": event["id"]}) == 2


async def test_what_is_not_sealed_yet(app: App, ada: Account) -> None:
    event = (await app.events(ada.tenant_id))[-1]
    for path in (f"/ledger/proof?event_id={event['id']}", f"/events/{event['id']}?proof=true"):
        answer = await get(app, path, ada)
        assert_problem(answer, 409, "not_sealed")
        assert answer.headers["retry-after"] == "1"
    assert await app.events(ada.tenant_id, "audit.search") == []
    await app.host.drain_feed()
    assert (await get(app, "/ledger/proof", ada, event_id=event["id"])).status_code == 200


async def test_the_event_of_another_tenant_is_nobodys(sealed: App, ada: Account, grace: Account) -> None:
    """Not even its owner's checkpoint, tile or bundle can be reached: they are looked for in the caller's tenant."""
    foreign = (await sealed.events(grace.tenant_id))[0]["id"]
    for wanted in (foreign, NOWHERE):
        answer = await get(sealed, "/ledger/proof", ada, event_id=wanted)
        assert_problem(answer, 404, "not_found")
        denied = [(e["reason"], e["target"]["id"]) for e in await sealed.events(ada.tenant_id, "access.denied")]
        assert ("unknown_id", wanted) in denied
    for who in (ada, grace):
        texts = [(await get(sealed, path, who)).text for path in ("/ledger/checkpoint", "/ledger/key")]
        assert {text.split("/")[2] for text in texts} == {who.tenant_id}
        bundle = decode_bundle((await get(sealed, f"/ledger/{PERIOD}/tile/entries/000.p/5", who)).content)
        assert {json.loads(entry)["tenant_id"] for entry in bundle} == {who.tenant_id}
    before = await sealed.events(grace.tenant_id)
    await get(sealed, "/ledger/proof", ada, event_id=foreign)
    assert await sealed.events(grace.tenant_id) == before


async def test_growth_is_consistent(sealed: App, ada: Account) -> None:
    leaves = await entries(sealed, ada)
    tree, size = NaiveTree(leaves), len(leaves)
    pairs = [(1, size), (256, 257), (255, size), (size, size), (7, 300)]
    for old, new in pairs:
        answer = (await get(sealed, "/ledger/consistency", ada, **{"from": old, "to": new, "period": PERIOD})).json()
        path = [base64.b64decode(each) for each in answer.pop("path")]
        assert answer == {"period": PERIOD, "from": old, "to": new}
        verify_consistency(old, new, path, tree.root(old), tree.root(new))
    assert (await get(sealed, "/ledger/consistency", ada, **{"from": 5})).json()["to"] == size
    for wrong, field in (
        ({"from": 0}, "from"),
        ({"from": 9, "to": 8}, "from"),
        ({"from": 1, "to": size + 1}, "to"),
        ({"from": 1, "to": 0}, "to"),
        ({"from": "x"}, "from"),
        ({"from": "-1"}, "from"),
        ({"from": "99999999999"}, "from"),
        ({}, "from"),
    ):
        answer = await get(sealed, "/ledger/consistency", ada, **wrong)
        assert_problem(answer, 422, "invalid_request", field)


async def test_tiles_never_change(sealed: App, ada: Account) -> None:
    leaves = await entries(sealed, ada)
    size = len(leaves)
    hashes = b"".join(leaf_hash(each) for each in leaves)
    wanted = {
        "0/000": hashes[: 256 * 32],
        "0/000.p/3": hashes[: 3 * 32],
        f"0/001.p/{size - 256}": hashes[256 * 32 :],
        "0/001.p/1": hashes[256 * 32 : 257 * 32],
        "1/000.p/1": NaiveTree(leaves).root(256),
    }
    kept: dict[str, httpx.Response] = {}
    for path, content in wanted.items():
        kept[path] = await get(sealed, f"/ledger/{PERIOD}/tile/{path}", ada)
        assert kept[path].content == content
        assert kept[path].headers["cache-control"] == "private, max-age=31536000, immutable"
        assert kept[path].headers["content-type"] == "application/octet-stream"
        assert kept[path].headers["vary"] == "Authorization"
    encoded = await get(sealed, f"/ledger/{PERIOD}/tile/0%2F000.p%2f3", ada)  # as generated clients write it
    assert encoded.content == kept["0/000.p/3"].content
    bundle = await get(sealed, f"/ledger/{PERIOD}/tile/entries/001.p/{size - 256}", ada)
    assert decode_bundle(bundle.content) == leaves[256:]
    (search,) = await sealed.events(ada.tenant_id, "audit.search")
    assert (search["record_count"], search["attributes"]["log"]) == (size - 256, "ledger")
    await fill(sealed, ada, 300)
    await sealed.host.drain_feed()
    for path, before in kept.items():
        after = await get(sealed, f"/ledger/{PERIOD}/tile/{path}", ada)
        assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
        headers = ada.auth | {"If-None-Match": f'"x", {before.headers["etag"]}'}
        unchanged = await sealed.client.get(f"/v1/ledger/{PERIOD}/tile/{path}", headers=headers)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == before.headers["etag"]
        assert unchanged.headers["vary"] == "Authorization"


@pytest.mark.parametrize(
    "path",
    [
        *("0/002", "0/001", "0/001.p/200", "1/000", "2/000.p/1", "64/000", "-1/000", "entries/002"),
        *("0/0", "0/x000/000", "0/000.p/0", "0/000.p/256", "0/000.p/01", "00/000", "0/000/", "entries/000.p/257"),
        *("", "0", "checkpoint", "0/%2e%2e", "0/000%00", "0/" + "x999/" * 6 + "999"),
    ],
)
async def test_a_tile_that_is_not_there(sealed: App, ada: Account, path: str) -> None:
    answer = await get(sealed, f"/ledger/{PERIOD}/tile/{path}", ada)
    assert answer.status_code in (400, 404), answer.text
    if "%00" not in path:
        assert_problem(answer, 404, "not_found")
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("period", [LATER, "2020-01", "2026-13", "x", "9999-12", "0000-01"])
async def test_a_tile_of_a_month_that_has_none(sealed: App, ada: Account, period: str) -> None:
    assert_problem(await get(sealed, f"/ledger/{period}/tile/0/000", ada), 404, "not_found")


async def test_a_program_reads_the_ledger_and_sees_nobody(sealed: App, ada: Account) -> None:
    body = {"name": "auditor", "scopes": ["ledger:read"]}
    made = (await sealed.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).json()
    program = Account(made["id"], ada.tenant_id, "", made["key"])
    event = (await sealed.events(ada.tenant_id, "user.update"))[0]
    headers = program.auth | {"Accept": "application/json"}
    answer = await sealed.client.get("/v1/ledger/proof", params={"event_id": event["id"]}, headers=headers)
    assert ada.email not in base64.b64decode(answer.json()["entry"]).decode()
    bundle = await get(sealed, f"/ledger/{PERIOD}/tile/entries/000", program)
    assert ada.email.encode() not in bundle.content
    searches = await sealed.events(ada.tenant_id, "audit.search")
    assert {each["actor"]["kind"] for each in searches} == {"service"}
    assert sorted((each["attributes"]["criteria"] for each in searches), key=len) == [
        {"event_id": event["id"]},
        {"period": PERIOD, "tile": "tile/entries/000"},
    ]
    days = {"from": "2026-03-01", "to": "2026-04-01"}
    assert_problem(await get(sealed, "/ledger/bundle", program, **days), 403, "forbidden")


async def refused(app: App, who: Account, path: str, **params: Any) -> None:
    assert_problem(await get(app, path, who, **params), 409, "ledger_broken")


async def test_nothing_is_proven_with_a_ledger_that_was_changed(sealed: App, ada: Account) -> None:
    """An entry, a tile, the head, a checkpoint: no proof, tile or bundle, and the trail says so."""
    await get(sealed, "/ledger/checkpoint", ada)
    event = (await sealed.events(ada.tenant_id))[7]
    size = len(await entries(sealed, ada))
    days = {"from": "2026-03-15", "to": "2026-03-16"}
    found: list[str] = []

    async def says(*what: str) -> None:
        found.extend(what)
        events = await sealed.events(ada.tenant_id, "ledger.verify_failed")
        assert sorted(each["attributes"]["what"] for each in events) == sorted(found)
        assert {(e["severity"], e["outcome"], e["attributes"]["period"]) for e in events} == {
            ("critical", "failure", PERIOD)
        }

    entry = await sealed.store.read(LEDGER, (ada.tenant_id, PERIOD), event["id"])
    text = entry["entry"].replace(ada.id, NOWHERE)
    assert text != entry["entry"]
    was = await forge(sealed, ada, event["id"], entry=text)
    await refused(sealed, ada, "/ledger/proof", event_id=event["id"])
    await refused(sealed, ada, f"/events/{event['id']}", proof="true")
    await refused(sealed, ada, f"/ledger/{PERIOD}/tile/entries/000")
    await refused(sealed, ada, "/ledger/bundle", **days)
    await says("entries")
    await forge(sealed, ada, event["id"], **was)

    was = await forge(sealed, ada, event["id"], index=8)
    await refused(sealed, ada, "/ledger/proof", event_id=event["id"])
    await refused(sealed, ada, "/ledger/bundle", **days)
    await forge(sealed, ada, event["id"], index=size)
    await refused(sealed, ada, "/ledger/proof", event_id=event["id"])
    await forge(sealed, ada, event["id"], **was)

    tile = await sealed.store.read(LEDGER, (ada.tenant_id, PERIOD), tile_id(0, 0))
    await sealed.store.delete(LEDGER, (ada.tenant_id, PERIOD), tile_id(0, 0))
    await refused(sealed, ada, f"/ledger/{PERIOD}/tile/0/000")
    await refused(sealed, ada, "/ledger/consistency", **{"from": 3})
    await says("tile")
    forged = base64.b64decode(tile["hashes"])
    await sealed.store.create(
        LEDGER,
        (ada.tenant_id, PERIOD),
        tile | {"hashes": base64.b64encode(forged[32:64] + forged[:32] + forged[64:]).decode()},
    )
    await refused(sealed, ada, "/ledger/consistency", **{"from": 1})
    await forge(sealed, ada, tile_id(0, 0), **tile)

    was = await forge(sealed, ada, checkpoint_id(size), note="none")
    await refused(sealed, ada, "/ledger/consistency", **{"from": 3, "to": size})
    await says("head")
    await forge(sealed, ada, checkpoint_id(size), **was)
    was = await forge(sealed, ada, head_id(PERIOD), size="x")
    await refused(sealed, ada, "/ledger/checkpoint")
    await refused(sealed, ada, "/ledger/checkpoint", witnessed="true")
    await refused(sealed, ada, "/ledger/shards")
    await refused(sealed, ada, "/ledger/bundle", **days)
    await forge(sealed, ada, head_id(PERIOD), **was)
    assert (await get(sealed, "/ledger/proof", ada, event_id=event["id"])).status_code == 200
    assert (await get(sealed, "/ledger/bundle", ada, **days)).status_code == 200
    await says("head")


async def test_after_its_retention_a_month_has_its_last_checkpoint(sealed: App, ada: Account) -> None:
    event = (await sealed.events(ada.tenant_id))[7]["id"]
    checkpoint = await get(sealed, "/ledger/checkpoint", ada)
    sealed.clock.advance(days=2555 + 17)
    assert await sealed.events(ada.tenant_id) == []
    token = (await sealed.login(ada.email)).json()["access_token"]
    late = Account(ada.id, ada.tenant_id, ada.email, token)
    await sealed.host.drain_feed()
    assert (await get(sealed, "/ledger/checkpoint", late, period=PERIOD)).text == checkpoint.text
    listed = (await get(sealed, "/ledger/shards", late)).json()["items"]
    assert [(each["period"], each["expired"]) for each in listed][1:] == [(PERIOD, True)]
    assert_problem(await get(sealed, "/ledger/proof", late, event_id=event), 404, "not_found")
    asked = {"from": 1, "period": PERIOD}
    assert_problem(await get(sealed, "/ledger/consistency", late, **asked), 404, "period_expired")
    assert_problem(await get(sealed, f"/ledger/{PERIOD}/tile/0/000", late), 404, "period_expired")
    assert await sealed.events(ada.tenant_id, "ledger.verify_failed") == []


async def test_an_edit_of_the_trail_does_not_change_what_is_proven(sealed: App, ada: Account) -> None:
    """The proof is of what was recorded: an event that was edited or deleted since is told by it."""
    event = (await sealed.events(ada.tenant_id))[7]
    partition = (ada.tenant_id, event["period"])
    stored = await sealed.store.read(AUDIT_EVENTS, partition, event["id"])
    await sealed.store.replace(AUDIT_EVENTS, partition, stored | {"outcome": "failure"})
    answer = (await get(sealed, f"/events/{event['id']}", ada, proof="true")).json()
    assert answer["outcome"] == "failure"
    assert json.loads(base64.b64decode(answer["proof"]["entry"]))["outcome"] == event["outcome"]
    await sealed.store.delete(AUDIT_EVENTS, partition, event["id"])
    assert (await get(sealed, "/ledger/proof", ada, event_id=event["id"])).status_code == 200


@pytest.mark.parametrize("event_id", ["", "x", NOWHERE[:-1], "1' OR 1=1"])
async def test_what_is_no_id(sealed: App, ada: Account, event_id: str) -> None:
    assert_problem(await get(sealed, "/ledger/proof", ada, event_id=event_id), 422, "invalid_request", "event_id")


async def test_a_month_that_is_over_stands_in_the_ledger_of_the_next(sealed: App, ada: Account) -> None:
    """Once, and once more when a late event made it grow: so each month's root covers the one before."""
    march = len(await entries(sealed, ada))
    for days, expected in ((17, []), (12, [march]), (1, [march])):  # of April: the 1st, the 13th, the 14th
        sealed.clock.advance(days=days)
        assert await sealed.host.run_timer("close_months")
        told = [event["attributes"] for event in await sealed.events(ada.tenant_id, "ledger.checkpoint")]
        assert [each["size"] for each in told] == expected
    await sealed.host.drain_feed()
    assert {each["period"] for each in told} == {PERIOD}
    assert told[0]["root"] == base64.b64encode(NaiveTree(await entries(sealed, ada)).root(march)).decode()
    of_april = [json.loads(each) for each in await entries(sealed, ada, LATER)]
    assert [each["attributes"] for each in of_april if each["type"] == "ledger.checkpoint"] == told
    first = (await sealed.events(ada.tenant_id))[0]["id"]
    late = {
        **await sealed.store.read(AUDIT_EVENTS, (ada.tenant_id, PERIOD), first),
        "id": sealed.services.ids.new(PRESENT),
    }
    late |= {"recorded_at": rfc3339(PRESENT), "occurred_at": rfc3339(PRESENT)}
    await sealed.store.create(AUDIT_EVENTS, (ada.tenant_id, PERIOD), late)
    await sealed.host.drain_feed()
    assert await sealed.host.run_timer("close_months")
    told = [event["attributes"] for event in await sealed.events(ada.tenant_id, "ledger.checkpoint")]
    assert [each["size"] for each in told] == [march, march + 1]
