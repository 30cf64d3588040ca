"""What an organization says of itself, and what its reports make of it: who works at night, which API keys send, which
roles touch which data, and which risks it takes."""

from typing import Any

import pytest

from tests.app import Account, App

FRAMEWORK = "iso_27001"
RULES = ("ACC-07", "ACC-08", "INT-06")
REASON = "<b>nights</b> are staffed =1+1 尚未"


@pytest.fixture
async def key(app: App, ada: Account) -> str:
    """The id of an API key by which a nurse read on a Sunday, a program too, and somebody in no role."""
    body = {"name": "ward", "scopes": ["events:write"]}
    made = (await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).json()
    events = [
        {"type": "data.read", "data_class": "phi", "actor": actor, "attributes": attributes}
        for actor, attributes in (
            ({"kind": "user", "id": "nurse-7"}, {"role": "nurse"}),
            ({"kind": "service", "id": "billing"}, {}),
            ({"kind": "user", "id": "nurse-8"}, {"role": ["nurse"]}),
        )
    ]
    auth = {"Authorization": f"Bearer {made['key']}"}
    assert (await app.client.post("/v1/events", json={"events": events}, headers=auth)).status_code == 201
    await app.host.drain_feed()
    app.clock.advance(hours=18)
    for timer in ("tell_of_life", "verify_ledger"):
        assert await app.host.run_timer(timer)
        await app.host.drain_feed()
    ada.token = (await app.login(ada.email)).json()["access_token"]
    return str(made["id"])


async def put(app: App, by: Account, **settings: Any) -> None:
    answer = await app.client.put("/v1/admin/settings", json=settings, headers=by.auth)
    assert answer.status_code == 200, answer.text


async def report(app: App, by: Account, first: str) -> dict[str, Any]:
    """A report that begins on a day; of the day before the organization began there is nothing to tell."""
    body = {"framework": FRAMEWORK, "from": first, "to": "2026-03-16"}
    made = await app.client.post("/v1/reports", json=body, headers=by.auth)
    assert made.status_code == 201, made.text
    url = f"/v1/reports/{made.json()['id']}?format=json"
    whole: dict[str, Any] = (await app.client.get(url, headers=by.auth)).json()
    assert whole["gate"]["passed"], whole["gate"]
    return whole


def runs(whole: dict[str, Any]) -> dict[str, tuple[int, dict[str, Any]]]:
    """By rule: its findings, and its parameters."""
    every = [each for control in whole["controls"] for each in control["rules"]]
    return {each["rule"]: (each["findings"], dict(each["parameters"])) for each in every if each["rule"] in RULES}


def status(whole: dict[str, Any], control: str) -> str:
    return str(next(each["status"] for each in whole["controls"] if each["id"] == control))


async def test_what_is_said_decides_what_rules_find(app: App, ada: Account, key: str) -> None:
    silent = await report(app, ada, "2026-03-15")
    want = "not run, or not wholly, for want of"
    assert {name: (n, given.get(want)) for name, (n, given) in runs(silent).items()} == {
        "ACC-07": (0, "on_call"),
        "ACC-08": (0, "data_roles"),
        "INT-06": (0, "sources"),
    }
    assert silent["scope"]["sources_expected"] == []

    await put(
        app,
        ada,
        on_call=["nurse-7", "billing", "nurse-8"],
        data_roles={"phi": ["nurse", "service", "user"], "cardholder": []},
        expected_sources=[key],
    )
    kept = await report(app, ada, "2026-03-14")
    assert {name: (n, want in given) for name, (n, given) in runs(kept).items()} == dict.fromkeys(RULES, (0, False))
    assert status(kept, "A.8.3") == "satisfied"
    assert kept["scope"]["sources_expected"] == [f"api_key:{key}"]

    body = {"name": "second ward", "scopes": ["events:write"]}
    other = (await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).json()["id"]
    await put(app, ada, on_call=[], data_roles={"phi": ["nurse"]}, expected_sources=[key, other])
    young = await report(app, ada, "2026-03-12")
    assert runs(young)["INT-06"][0] == 0, "the organization is half a day old, and a day's silence is allowed"
    await put(app, ada, report_thresholds={"source_silence_hours": 11})
    broken = await report(app, ada, "2026-03-13")
    assert {name: n for name, (n, _) in runs(broken).items()} == {"ACC-07": 3, "ACC-08": 2, "INT-06": 2}
    assert (status(broken, "A.8.3"), status(broken, "A.8.15")) == ("exception", "exception")
    told = {each["text"] for each in broken["exceptions"] if each["rule"] in RULES}
    assert told == {
        *(f"{who}: up to 1 uses a day outside working hours" for who in ("nurse-7", "nurse-8", "billing")),
        *(f"phi data was used as {role}" for role in ("service", "user")),
        f"Source api_key:{key} was silent for 12 hours",
        f"Source api_key:{other} was not heard at all",
    }
    assert {each["accepted_by"] for each in broken["exceptions"]} == {None}


async def test_an_accepted_risk_stays_an_exception_and_says_by_whom(app: App, ada: Account, key: str) -> None:
    risk = {"framework": FRAMEWORK, "rule": "ACC-07", "reason": REASON, "until": "2026-12-31T00:00:00Z"}
    strange = {**risk, "framework": "hipaa", "rule": "ACC-08"}
    await put(app, ada, on_call=[], data_roles={"phi": []}, accepted_risks=[risk, strange])
    whole = await report(app, ada, "2026-03-15")
    assert status(whole, "A.8.3") == "exception", "an acceptance passes nothing"
    found = {(each["rule"], each["accepted_by"], each["response"]) for each in whole["exceptions"]}
    told = f"Accepted on 2026-03-16, until 2026-12-31: {REASON}"
    assert {each for each in found if each[0] in RULES} == {("ACC-07", ada.id, told), ("ACC-08", None, None)}
    for form in ("html", "csv", "oscal", "pdf"):
        url = f"/v1/reports/{whole['id']}?format={form}"
        answer = await app.client.get(url, headers=ada.auth)
        assert answer.status_code == 200
        assert b"<b>nights" not in answer.content

    await put(app, ada, accepted_risks=[])
    assert {each["accepted_by"] for each in (await report(app, ada, "2026-03-14"))["exceptions"]} == {None}
