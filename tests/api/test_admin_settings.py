"""The settings of a tenant."""

import asyncio
from typing import Any

import pytest

from shared.identity.model import TENANT_ITEM, Role
from shared.storage.containers import IDENTITY
from tests.app import Account, App, assert_problem
from tests.storage.conftest import LOCAL

URL = "/v1/admin/settings"
DEFAULTS: dict[str, Any] = {
    "require_mfa": "off",
    "thresholds": {},
    "allow_lists": {"addresses": [], "accounts": []},
    "mutes": [],
    "legal_hold": [],
    "consents": [],
    "time_zone": "UTC",
    "working_hours": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "07:00", "to": "19:00"},
    "schedules": [],
    "not_applicable": [],
    "report_thresholds": {},
    "on_call": None,
    "expected_sources": None,
    "data_roles": {},
    "accepted_risks": [],
}


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def put(app: App, by: Account, body: dict[str, Any], **headers: str) -> Any:
    return await app.client.put(URL, json=body, headers=by.auth | headers)


async def test_a_setting_is_changed_and_the_change_is_in_the_trail(app: App, ada: Account, grace: Account) -> None:
    first = await app.client.get(URL, headers=ada.auth)
    assert (first.status_code, first.json()) == (200, DEFAULTS)
    changed = await put(app, ada, {"require_mfa": "admins"}, **{"If-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()) == (200, {**DEFAULTS, "require_mfa": "admins"})
    due = await app.client.get(URL, headers=ada.auth)
    assert_problem(due, 403, "mfa_enrollment_required")  # the policy holds at once, also for who made it
    assert changed.headers["etag"] != first.headers["etag"]
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM))["settings"] == {"require_mfa": "admins"}
    (event,) = await app.events(ada.tenant_id, "config.change")
    assert event["attributes"] == {"key": "settings", "changed_fields": ["require_mfa"]}
    personal = event["personal"][ada.id]["data"]
    assert (personal["old_values"], personal["new_values"]) == ({"require_mfa": "off"}, {"require_mfa": "admins"})
    assert event["target"] == {"kind": "tenant", "id": ada.tenant_id}
    assert (await app.client.get(URL, headers=grace.auth)).json() == DEFAULTS


async def test_no_change_is_no_event(app: App, ada: Account) -> None:
    for body in ({}, {"require_mfa": "off"}):
        assert (await put(app, ada, body)).status_code == 200
    assert await app.events(ada.tenant_id, "config.change") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"require_mfa": "everyone"}, "require_mfa"),
        ({"require_mfa": None}, "require_mfa"),
        ({"require_mfa": True}, "require_mfa"),
        ({"working_time": {}}, "working_time"),
        ({"status": "active"}, "status"),
        ({"admins": 7}, "admins"),
        ({"settings": {}}, "settings"),
    ],
)
async def test_a_wrong_field_is_named(app: App, ada: Account, body: dict[str, Any], field: str) -> None:
    assert_problem(await put(app, ada, body), 422, "invalid_request", field)


async def test_of_two_changes_of_one_version_one_wins(app: App, ada: Account) -> None:
    tag = {"If-Match": (await app.client.get(URL, headers=ada.auth)).headers["etag"]}
    answers = await asyncio.gather(*(put(app, ada, {"require_mfa": v}, **tag) for v in ("all", "admins", "all")))
    statuses = sorted(a.status_code for a in answers)
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {403, 412}, "too late, or already asked for the factor of the new policy"
    assert len(await app.events(ada.tenant_id, "config.change")) == 1


async def test_another_version_is_412(app: App, ada: Account) -> None:
    for tag in ('"0"', "x", 'W/"x"'):
        assert_problem(await put(app, ada, {"require_mfa": "all"}, **{"If-Match": tag}), 412, "version_conflict")
    assert await app.events(ada.tenant_id, "config.change") == []


async def test_changes_of_the_roster_and_of_settings_lose_nothing_of_each_other(app: App, ada: Account) -> None:
    """Both stand on the tenant's item, and the version of the settings is theirs alone."""
    bob = await app.join(ada, "bob@example.com")
    tag = (await app.client.get(URL, headers=ada.auth)).headers["etag"]
    body = {"role": Role.TENANT_ADMIN.value}
    promoted, changed = await asyncio.gather(
        app.client.put(f"/v1/admin/users/{bob.id}", json=body, headers=ada.auth),
        put(app, ada, {"require_mfa": "all"}, **{"If-Match": tag}),
    )
    assert (promoted.status_code, changed.status_code) == (200, 200)
    tenant = await app.store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM)
    assert (tenant["admins"], tenant["settings"]) == (2, {"require_mfa": "all"})
