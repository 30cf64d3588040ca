"""A person takes everything that is kept about them, with what proves it; an administrator does so for somebody."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aics_tlog
import jsonschema
from proofbundle.tlogproof import verify_tlog_proof

from shared.identity.model import Role
from shared.ledger.merkle import leaf_hash
from shared.ledger.proof import Proof
from shared.subject_rights.erasure import SETTLED
from shared.subject_rights.export import Limits
from tests.app import PASSWORD, ROOT, Account, App, assert_problem
from tests.exporting_subject import ask, events_in, read, save, seal, walk
from tools import verify_subject_export as verifier
from tools.verify_evidence import OK, canonical, strict_base64, table

SCHEMA = json.loads((ROOT / "docs/subject-export.schema.json").read_text(encoding="utf-8"))


async def with_a_past(app: App, admin: Account) -> Account:
    bob = await app.join(admin, "bob@example.com", Role.USER, first_name="Zażółć <b>😀</b>", last_name="بوب")
    await app.client.put("/v1/profile", json={"phone": "+49 30 1234567"}, headers=bob.auth)
    change = {"company": "Example"}
    await app.client.put(f"/v1/admin/users/{bob.id}", json=change, headers=admin.auth)
    for _ in range(6):
        await app.login(bob.email, "a guess")
    await seal(app)
    await seal(app)
    return bob


async def told(app: App, tenant_id: str) -> list[tuple[str, str, int]]:
    events = await app.events(tenant_id, "privacy.export")
    return sorted((event["outcome"], event["reason"], event["record_count"]) for event in events)


async def vkey(app: App, tenant_id: str, period: str = "2026-03") -> str:
    keys = app.services.ledger_keys
    return (await keys.signer(keys.shard(tenant_id, period))).verifier.encode()


def check(part: dict[str, Any], key: str) -> int:
    """Each proof by verifiers that are not ours, from what is in the file alone; how many there were."""
    months = {month["period"]: month for month in part["months"]}
    for each in part["events"]:
        month, proof = months[each["event"]["period"]], each["proof"]
        entry, path = canonical(each["event"]).encode(), [strict_base64(text) for text in proof["path"]]
        root = strict_base64(month["root"])
        assert aics_tlog.verify_inclusion(leaf_hash(entry), proof["index"], month["size"], path, root)
        text = Proof(proof["index"], tuple(path), month["checkpoint"]).text()
        assert verify_tlog_proof(text, entry, key, [], threshold=0)["ok"]
    return len(part["events"])


async def test_a_person_takes_everything_with_its_proofs(app: App, ada: Account, tmp_path: Path) -> None:
    bob = await with_a_past(app, ada)
    answer = await ask(app, bob)
    assert answer.status_code == 200, answer.text
    assert "link" not in answer.headers
    (part,) = read([answer])
    jsonschema.validate(part, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert part["export"]["subject"] == part["export"]["requested_by"] == bob.id
    assert (part["export"]["last"], part["export"]["due_at"][:10]) == (True, "2026-04-15")
    assert (part["account"]["phone"], part["account"]["company"]) == ("+49 30 1234567", "Example")
    assert [(each["purpose"], each["granted"]) for each in part["consents"]] == [("privacy", True), ("terms", True)]
    assert [each["id"] for each in part["sessions"]] == [bob.refresh_token.split(".")[1]]
    assert [(each["pattern"], each["key"]) for each in part["alerts"]] == [("brute_force", bob.id)]

    stored = [event for event in await app.events(ada.tenant_id) if set(event["subjects"]) & set(part["export"]["ids"])]
    found = {each["event"]["id"]: each for each in part["events"]}
    exported = {event["id"] for event in stored if event["type"] != "privacy.export"}
    assert set(found) == exported
    for event in stored:
        each = found.get(event["id"])
        if each is not None:
            own = {who: box["data"] for who, box in event["personal"].items() if who in part["export"]["ids"]}
            assert each["personal"] == own
    assert {each["event"]["type"] for each in found.values()} >= {
        *("user.invite", "auth.register", "consent.grant", "profile.update", "user.update", "auth.login")
    }
    assert ada.email.encode() not in answer.content, "of the administrator there is the id alone"

    (event,) = await app.events(ada.tenant_id, "privacy.export")
    assert (event["outcome"], event["reason"], event["severity"]) == ("success", "executed", "medium")
    assert event["attributes"] == {
        "request_id": part["export"]["id"],
        "counts": {"account": 1, "consents": 2, "sessions": 1, "requests": 0, "alerts": 1, "events": len(exported)},
        "due_at": part["export"]["due_at"],
    }
    (request,) = (await app.client.get("/v1/privacy/requests", headers=bob.auth)).json()["items"]
    assert (request["kind"], request["state"], request["by"]) == ("export", "executed", bob.id)
    assert request["counts"] == {"accounts": 1, "events": len(exported), "items": 4}

    key = await vkey(app, ada.tenant_id)
    assert check(part, key) == len(exported) >= 12
    await seal(app)
    days = {"from": "2026-03-01", "to": "2026-04-01"}
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes((await app.client.get("/v1/ledger/bundle", params=days, headers=ada.auth)).content)
    checks = verifier.verify(save(tmp_path, [answer]), [key], [str(bundle)])
    assert checks.result == OK, table(checks)
    assert len(checks.lines) == 6


async def test_in_parts_and_for_somebody_else(app: App, ada: Account, tmp_path: Path) -> None:
    bob = await with_a_past(app, ada)
    whole = await ask(app, ada, subject=bob.id)
    app.services.subject_exports._limits = Limits(records=6, page=4)
    parts = await walk(app, ada, subject=bob.id)
    assert [int(each.headers["x-record-count"]) for each in parts[:-1]] == [6] * (len(parts) - 1)
    assert len(parts) > 2
    assert {each["event"]["id"] for each in events_in(parts)} == {each["event"]["id"] for each in events_in([whole])}
    for part in read(parts):
        jsonschema.validate(part, SCHEMA, cls=jsonschema.Draft202012Validator)
    checks = verifier.verify(save(tmp_path, parts), [await vkey(app, ada.tenant_id)])
    assert checks.result == OK, table(checks)
    count = sum(int(each.headers["x-record-count"]) for each in parts)
    assert await told(app, ada.tenant_id) == [
        ("success", "executed", int(whole.headers["x-record-count"])),
        ("success", "executed", count),
        ("success", "requested", 6),
    ]
    pages = await walk(app, ada, subject=bob.id, format="html")
    text = "".join(each.text for each in pages)
    assert "Zażółć &lt;b&gt;😀&lt;/b&gt;" in text
    for page in pages:
        assert page.headers["content-type"].partition(";")[0] == "text/html"
        assert page.headers["content-disposition"].endswith('.html"')
        Page(page.text).check()

    first = await ask(app, ada, subject=bob.id)
    assert "link" in first.headers
    for _ in range(2):
        app.clock.advance(minutes=21)
        assert await app.host.run_timer("run_erasures")
    assert (await told(app, ada.tenant_id))[0] == ("failure", "abandoned", 6), "nobody asked for the rest: told once"
    assert [each[1] for each in await told(app, ada.tenant_id)].count("abandoned") == 1
    ada.token = (await app.login(ada.email)).json()["access_token"]
    items = (await app.client.get("/v1/privacy/requests", headers=ada.auth)).json()["items"]
    assert sorted((each["state"], each["cause"]) for each in items if each["cause"]) == [("withdrawn", "abandoned")]
    assert {each["overdue"] for each in items} == {False}


class Page(HTMLParser):
    """Holds a page to what it may have in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"lang", "charset", "name", "content", "scope"}, tag
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def check(self) -> None:
        assert self.open == []
        assert self.tags <= {
            *("html", "head", "meta", "title", "style", "body", "main", "section", "article", "h1", "h2", "h3", "p"),
            *("dl", "dt", "dd", "bdi", "time", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre"),
        }


async def test_who_may_not(app: App, ada: Account, grace: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.AUDITOR)
    eve = await app.join(ada, "eve@example.com", Role.USER)
    for who in (bob, eve):
        assert_problem(await ask(app, who, subject=ada.id), 403, "forbidden")
    denied = await app.events(ada.tenant_id, "access.denied")
    assert [(event["reason"], event["target"]["id"]) for event in denied] == [("role", ada.id)] * 2
    assert_problem(await ask(app, grace, subject=bob.id), 404, "not_found")
    assert len(await app.events(grace.tenant_id, "access.cross_tenant_denied")) == 1
    assert_problem(await ask(app, ada, subject="nobody:1"), 404, "not_found")
    assert await told(app, ada.tenant_id) == []

    body = {"reason": "wants to be forgotten", "password": PASSWORD}
    assert (await app.client.post("/v1/privacy/erasure", json=body, headers=eve.auth)).status_code == 202
    app.clock.advance(seconds=1)
    assert await app.host.run_timer("run_erasures")
    assert_problem(await ask(app, eve), 401, "invalid_token")
    assert_problem(await ask(app, ada, subject=eve.id), 404, "not_found")
    app.clock.advance(seconds=SETTLED.total_seconds())
    assert await app.host.run_timer("run_erasures")
    token = (await app.login(ada.email)).json()["access_token"]
    ada = Account(ada.id, ada.tenant_id, ada.email, token)
    assert_problem(await ask(app, ada, subject=eve.id), 404, "not_found")
