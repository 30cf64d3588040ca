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
        ("report_thresholds", {"source_silence_hours": 0}, "report_thresholds.source_silence_hours"),
        ("report_thresholds", {"alert_ack_hours": 24.5}, "report_thresholds.alert_ack_hours"),
        ("report_thresholds", {"idle_minutes": 4}, "report_thresholds.idle_minutes"),
        ("report_thresholds", {"concurrent_sessions": 2}, "report_thresholds.concurrent_sessions"),
        ("report_thresholds", {"sample_size": 33}, "report_thresholds.sample_size"),
        ("report_thresholds", {"lockout_max_attempts": 99}, "report_thresholds.lockout_max_attempts"),
    ):
        assert_problem(await put(app, ada, **{field: value}), 422, "invalid_request", named)
    assert await app.events(ada.tenant_id, "config.change") == []
