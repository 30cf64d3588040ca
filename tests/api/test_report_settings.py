"""Settings of reports: time zone, working hours, schedules, thresholds, and controls that do not apply."""

from typing import Any

import pytest

from functions._report_settings import ReportThresholdsBody
from shared.compliance.thresholds import MOST_FOR_FRAMEWORK, THRESHOLDS
from shared.identity.model import TENANT_ITEM, Role
from shared.storage.containers import IDENTITY
from tests.app import Account, App, assert_problem
from tests.storage.conftest import LOCAL

URL = "/v1/admin/settings"
NIGHTS = {"days": ["sat", "mon"], "from": "00:00", "to": "24:00"}
RISK = {"framework": "iso_27001", "rule": "ACC-07", "reason": "nights are staffed", "until": "2026-12-31T00:00:00Z"}
DECLARED = {"framework": "pci_dss", "control": "8.3.9", "reason": "no cardholder data here"}


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def put(app: App, by: Account, **body: Any) -> Any:
    return await app.client.put(URL, json=body, headers=by.auth)


async def test_they_are_kept_and_the_change_is_in_the_trail(app: App, ada: Account, grace: Account) -> None:
    wanted: dict[str, Any] = {
        "time_zone": "America/Argentina/Buenos_Aires",
        "working_hours": NIGHTS,
        "schedules": [
            {"framework": "soc2", "every": "monthly", "hour": 6},
            {"framework": "soc2", "every": "daily", "hour": 0},
        ],
        "report_thresholds": {"source_silence_hours": 48, "offboarding_hours": 0, "idle_minutes": 5, "sample_size": 32},
    }
    before = (await app.client.get(URL, headers=grace.auth)).json()
    changed = await put(app, ada, **wanted)
    assert changed.status_code == 200, changed.text
    kept = wanted | {"working_hours": {**NIGHTS, "days": ["mon", "sat"]}}
    shown = (await app.client.get(URL, headers=ada.auth)).json()
    assert changed.json() == shown
    assert {name: shown[name] for name in kept} == kept
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM))["settings"] == kept
    (event,) = await app.events(ada.tenant_id, "config.change")
    assert event["attributes"] == {"key": "settings", "changed_fields": sorted(wanted)}
    assert event["personal"][ada.id]["data"]["new_values"] == kept
    assert (await app.client.get(URL, headers=grace.auth)).json() == before
    assert (await put(app, ada, **wanted)).status_code == 200
    assert len(await app.events(ada.tenant_id, "config.change")) == 1, "what is so already is no change"


async def test_a_declaration_stays_whose_it_was(app: App, ada: Account) -> None:
    first = (await put(app, ada, not_applicable=[DECLARED])).json()["not_applicable"]
    said = {**DECLARED, "declared_by": ada.id, "declared_at": "2026-03-15T12:00:00.000000Z"}
    assert first == [said]
    cleo = await app.join(ada, "cleo@example.com", Role.TENANT_ADMIN)
    app.clock.advance(minutes=1)
    more = {"framework": "gdpr", "control": "33(1)", "reason": "no processing of persons’ data ✓"}
    both = (await put(app, cleo, not_applicable=[more, DECLARED])).json()["not_applicable"]
    assert both == [{**more, "declared_by": cleo.id, "declared_at": "2026-03-15T12:01:00.000000Z"}, said]
    anew = {**DECLARED, "reason": "another reason " * 20}
    (last,) = (await put(app, cleo, not_applicable=[anew])).json()["not_applicable"]
    assert (last["declared_by"], last["reason"]) == (cleo.id, anew["reason"])
    assert (await put(app, cleo, not_applicable=[])).json()["not_applicable"] == []
    assert len(await app.events(ada.tenant_id, "config.change")) == 4


async def new_key(app: App, by: Account, *scopes: str) -> str:
    body = {"name": "feed", "scopes": list(scopes or ("events:write",))}
    key_id: str = (await app.client.post("/v1/admin/api-keys", json=body, headers=by.auth)).json()["id"]
    return key_id


async def test_who_works_at_night_which_keys_send_and_which_roles_touch_what(app: App, ada: Account) -> None:
    key = await new_key(app, ada)
    wanted: dict[str, Any] = {
        "on_call": ["nurse-7", ada.id, "billing"],
        "expected_sources": [key],
        "data_roles": {"phi": ["doctor", "nurse"], "cardholder": []},
    }
    changed = await put(app, ada, **wanted)
    assert changed.status_code == 200, changed.text
    assert {name: changed.json()[name] for name in wanted} == wanted
    (event,) = await app.events(ada.tenant_id, "config.change")
    assert event["attributes"] == {"key": "settings", "changed_fields": sorted(wanted)}
    told = event["personal"][ada.id]["data"]
    assert (told["old_values"], told["new_values"]) == (
        {"on_call": None, "expected_sources": None, "data_roles": {}},
        wanted,
    )
    assert (await put(app, ada, **wanted)).status_code == 200
    assert len(await app.events(ada.tenant_id, "config.change")) == 1
    nobody = (await put(app, ada, on_call=[])).json()
    assert (nobody["on_call"], nobody["data_roles"]) == ([], wanted["data_roles"]), "that nobody may is said, too"
    assert (await put(app, ada, on_call=None)).json()["on_call"] is None
    assert (await put(app, ada, data_roles={})).json()["data_roles"] == {}


async def test_only_own_keys_that_can_send_are_expected(app: App, ada: Account, grace: Account) -> None:
    own, other = await new_key(app, ada), await new_key(app, grace)
    reader = await new_key(app, ada, "reports:read")
    for strange in (other, reader, ada.id, "019cf15e-127b-774b-8000-000000000001", "api_key"):
        answer = await put(app, ada, expected_sources=[own, strange])
        assert_problem(answer, 422, "invalid_request", "expected_sources.1")
    assert await app.events(ada.tenant_id, "config.change") == []
    assert (await put(app, ada, expected_sources=[own])).status_code == 200
    await app.client.delete(f"/v1/admin/api-keys/{own}", headers=ada.auth)
    later = await new_key(app, ada)
    assert (await put(app, ada, expected_sources=[own, later])).status_code == 200, "what is there may stay"
    assert (await put(app, ada, expected_sources=[later])).status_code == 200
    assert_problem(await put(app, ada, expected_sources=[own]), 422, "invalid_request", "expected_sources.0")


async def test_a_risk_is_accepted_by_whoever_said_so_first(app: App, ada: Account) -> None:
    (first,) = (await put(app, ada, accepted_risks=[RISK])).json()["accepted_risks"]
    said = RISK | {"until": "2026-12-31T00:00:00.000000Z", "accepted_by": ada.id}
    assert first == said | {"accepted_at": "2026-03-15T12:00:00.000000Z"}
    cleo = await app.join(ada, "cleo@example.com", Role.TENANT_ADMIN)
    app.clock.advance(minutes=1)
    more = RISK | {"rule": "INT-06", "reason": "尚未接入 ✓"}
    both = (await put(app, cleo, accepted_risks=[more, RISK])).json()["accepted_risks"]
    assert [each["accepted_by"] for each in both] == [cleo.id, ada.id]
    longer = RISK | {"until": "2027-01-31T00:00:00Z"}
    (anew,) = (await put(app, cleo, accepted_risks=[longer])).json()["accepted_risks"]
    assert (anew["accepted_by"], anew["accepted_at"]) == (cleo.id, "2026-03-15T12:01:00.000000Z")
    app.clock.advance(days=400)
    ada.token = (await app.login(ada.email)).json()["access_token"]
    assert (await put(app, ada, accepted_risks=[longer])).status_code == 200, "what is over may stay"
    again = await put(app, ada, accepted_risks=[longer | {"reason": "as before"}])
    assert_problem(again, 422, "invalid_request", "accepted_risks.0.until")


def test_what_may_be_set_is_what_reports_let_be_set() -> None:
    """And what holds where nothing is set is within the bounds of what may be."""
    fields = ReportThresholdsBody.model_fields
    assert set(fields) == {name for name, each in THRESHOLDS.items() if each.settable}
    for name, field in fields.items():
        value = THRESHOLDS[name].value
        assert ReportThresholdsBody.model_validate({name: value}), name
        assert f"Default: {value}" in str(field.description), name
    for framework, limits in MOST_FOR_FRAMEWORK.items():
        assert set(limits) <= set(fields), framework
        assert all(limits[name] <= THRESHOLDS[name].value for name in limits), framework


async def test_what_is_wrong_is_named(app: App, ada: Account) -> None:
    daily = {"framework": "soc2", "every": "daily", "hour": 6}
    for field, value, named in (
        ("time_zone", "Europe/Nowhere", "time_zone"),
        ("time_zone", "../../etc/passwd", "time_zone"),
        ("time_zone", "Europe/../UTC", "time_zone"),
        ("time_zone", "posix/Europe/Warsaw", "time_zone"),
        ("time_zone", "localtime", "time_zone"),
        ("time_zone", "Europe", "time_zone"),
        ("time_zone", "europe/warsaw", "time_zone"),
        ("time_zone", "", "time_zone"),
        ("time_zone", "Europe/Warsaw\u0000", "time_zone"),
        ("time_zone", "E" * 65, "time_zone"),
        ("time_zone", None, "time_zone"),
        ("working_hours", {**NIGHTS, "days": []}, "working_hours.days"),
        ("working_hours", {**NIGHTS, "days": ["mon", "mon"]}, "working_hours.days"),
        ("working_hours", {**NIGHTS, "days": ["Monday"]}, "working_hours.days.0"),
        ("working_hours", {**NIGHTS, "from": "24:00"}, "working_hours.from"),
        ("working_hours", {**NIGHTS, "from": "7:00"}, "working_hours.from"),
        ("working_hours", {**NIGHTS, "from": "09:00", "to": "09:00"}, "working_hours.to"),
        ("working_hours", {**NIGHTS, "from": "22:00", "to": "06:00"}, "working_hours.to"),
        ("schedules", [daily, {**daily, "hour": 7}], "schedules.1"),
        ("schedules", [{**daily, "hour": 24}], "schedules.0.hour"),
        ("schedules", [{**daily, "hour": True}], "schedules.0.hour"),
        ("schedules", [{**daily, "framework": "activity"}], "schedules.0.framework"),
        ("schedules", [{**daily, "every": "hourly"}], "schedules.0.every"),
        ("schedules", [daily] * 16, "schedules"),
        ("not_applicable", [DECLARED, {**DECLARED, "reason": "said again"}], "not_applicable.1"),
        ("not_applicable", [{**DECLARED, "reason": "x"}], "not_applicable.0.reason"),
        ("not_applicable", [{**DECLARED, "reason": "x" * 301}], "not_applicable.0.reason"),
        ("not_applicable", [{**DECLARED, "reason": "   "}], "not_applicable.0.reason"),
        ("not_applicable", [{**DECLARED, "reason": "a\u202eb c"}], "not_applicable.0.reason"),
        ("not_applicable", [{**DECLARED, "control": "8.3.9; --"}], "not_applicable.0.control"),
        ("not_applicable", [{**DECLARED, "declared_by": ada.id}], "not_applicable.0.declared_by"),
        ("not_applicable", [{**DECLARED, "control": f"c{n}"} for n in range(101)], "not_applicable"),
        ("on_call", ["a", "b", "a"], "on_call.2"),
        ("on_call", [f"user-{n}" for n in range(201)], "on_call"),
        ("on_call", ["Łucja"], "on_call.0"),
        ("on_call", ["a b"], "on_call.0"),
        ("on_call", [""], "on_call.0"),
        ("on_call", ["x" * 65], "on_call.0"),
        ("on_call", [7], "on_call.0"),
        ("on_call", "nurse-7", "on_call"),
        ("expected_sources", ["a", "a"], "expected_sources.1"),
        ("expected_sources", ["a\u0000"], "expected_sources.0"),
        ("expected_sources", [f"key-{n}" for n in range(101)], "expected_sources"),
        ("data_roles", {"phi": ["nurse", "nurse"]}, "data_roles.phi.1"),
        ("data_roles", {"phi": ["nurse|x"]}, "data_roles.phi.0"),
        ("data_roles", {"phi": ["médecin"]}, "data_roles.phi.0"),
        ("data_roles", {"phi": [f"role-{n}" for n in range(51)]}, "data_roles.phi"),
        ("data_roles", {"phi": None}, "data_roles.phi"),
        ("data_roles", {"none": ["x"]}, "data_roles.none"),
        ("data_roles", {"secret": ["x"]}, "data_roles.secret"),
        ("data_roles", ["phi"], "data_roles"),
        ("accepted_risks", [RISK, RISK | {"reason": "said again"}], "accepted_risks.1"),
        ("accepted_risks", [RISK | {"rule": "ACC-99"}], "accepted_risks.0.rule"),
        ("accepted_risks", [RISK | {"rule": "=1+1"}], "accepted_risks.0.rule"),
        ("accepted_risks", [RISK | {"framework": "activity"}], "accepted_risks.0.framework"),
        ("accepted_risks", [RISK | {"reason": "a\u202eb c"}], "accepted_risks.0.reason"),
        ("accepted_risks", [RISK | {"until": "2026-03-15T12:00:00Z"}], "accepted_risks.0.until"),
        ("accepted_risks", [RISK | {"until": "2027-03-17T12:00:00Z"}], "accepted_risks.0.until"),
        ("accepted_risks", [RISK | {"accepted_by": ada.id}], "accepted_risks.0.accepted_by"),
        ("accepted_risks", [RISK | {"rule": f"ACC-{n}"} for n in range(101)], "accepted_risks"),
        ("report_thresholds", {"source_silence_hours": 0}, "report_thresholds.source_silence_hours"),
        ("report_thresholds", {"alert_ack_hours": 24.5}, "report_thresholds.alert_ack_hours"),
        ("report_thresholds", {"idle_minutes": 4}, "report_thresholds.idle_minutes"),
        ("report_thresholds", {"concurrent_sessions": 2}, "report_thresholds.concurrent_sessions"),
        ("report_thresholds", {"sample_size": 33}, "report_thresholds.sample_size"),
        ("report_thresholds", {"lockout_max_attempts": 99}, "report_thresholds.lockout_max_attempts"),
    ):
        assert_problem(await put(app, ada, **{field: value}), 422, "invalid_request", named)
    assert await app.events(ada.tenant_id, "config.change") == []
