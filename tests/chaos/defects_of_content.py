"""Defects of what things say: each with the checks that have to find it."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from tests.chaos.planted import Item, Planted

SOMEBODY = "11111111-1111-7111-8111-111111111111"


# ---- calls and their events


def an_event_in_another_trail(planted: Planted) -> None:
    event = planted.acknowledged("search")[1]
    event["tenant_id"] = next(each["tenant_id"] for each in planted.events if each["tenant_id"] != event["tenant_id"])


def an_event_by_somebody_else(planted: Planted) -> None:
    event = planted.acknowledged("profile_update")[1]
    event["actor"] = {**event["actor"], "id": SOMEBODY}


def an_event_by_an_operator(planted: Planted) -> None:
    planted.acknowledged("profile_update")[1]["actor"]["role"] = "system_admin"


def an_event_about_somebody_else(planted: Planted) -> None:
    planted.acknowledged("user_update")[1]["target"]["id"] = SOMEBODY


def an_event_of_another_session(planted: Planted) -> None:
    planted.acknowledged("profile")[1]["context"]["session_id"] = SOMEBODY


def an_event_of_another_route(planted: Planted) -> None:
    planted.acknowledged("profile")[1]["context"]["route"] = "GET /v1/events"


def an_event_of_another_request(planted: Planted) -> None:
    planted.acknowledged("profile")[1]["context"]["request_id"] = SOMEBODY


def a_field_told_wrong(planted: Planted) -> None:
    planted.acknowledged("settings")[1]["attributes"]["changed_fields"] = ["webhook"]


def a_role_told_wrong(planted: Planted) -> None:
    planted.acknowledged("invite")[1]["attributes"]["role"] = "tenant_admin"


def an_ingested_actor_changed(planted: Planted) -> None:
    planted.acknowledged("ingest")[1]["actor"] = {"kind": "user", "id": "mallory", "role": None}


def an_ingested_attribute_changed(planted: Planted) -> None:
    planted.acknowledged("ingest")[1]["attributes"] = {"name": "forged"}


def an_ingested_event_of_another_key(planted: Planted) -> None:
    planted.acknowledged("ingest")[1]["source"]["id"] = SOMEBODY


# ---- accounts, organizations, keys, sessions


def nobody_administers(planted: Planted) -> None:
    for user in planted.of("identity", "user"):
        user["role"] = "viewer" if user["role"] == "tenant_admin" else user["role"]


def an_auditor_raised(planted: Planted) -> None:
    planted.one("identity", kind="user", role="auditor")["role"] = "platform_admin"


def everybody_suspended(planted: Planted) -> None:
    for user in planted.of("identity", "user"):
        user["status"] = "suspended"


def consents_gone(planted: Planted) -> None:
    for user in planted.of("identity", "user"):
        user["consents"] = {}


def a_name_changed(planted: Planted) -> None:
    planted.one("identity", kind="user")["first_name"] = "Forged"


def a_biography_that_nobody_wrote(planted: Planted) -> None:
    planted.one("identity", kind="user", role="tenant_admin")["bio"] = "forged"


def an_account_elsewhere(planted: Planted) -> None:
    planted.one("identity", kind="user")["tenant_id"] = SOMEBODY


def a_power_that_there_is_not(planted: Planted) -> None:
    planted.one("identity", kind="user")["is_operator"] = True


def a_former_password_forgotten(planted: Planted) -> None:
    next(each for each in planted.of("identity", "user") if each.get("password_history"))["password_history"].pop()


def organizations_gone(planted: Planted) -> None:
    planted.without("identity", "tenant")


def settings_gone(planted: Planted) -> None:
    for tenant in planted.of("identity", "tenant"):
        tenant.pop("settings", None)


def an_organization_suspended(planted: Planted) -> None:
    planted.one("identity", kind="tenant")["status"] = "suspended"


def an_email_without_account(planted: Planted) -> None:
    planted.items["directory"].remove(planted.one("directory", state="confirmed"))


def two_emails_swapped(planted: Planted) -> None:
    one, other, *_ = (each for each in planted.items["directory"] if each.get("state") == "confirmed")
    one["id"], other["id"] = other["id"], one["id"]


def an_id_of_another_organization(planted: Planted) -> None:
    next(each for each in planted.items["directory"] if each["id"].startswith("user|"))["tenant_id"] = SOMEBODY


def an_account_behind_another(planted: Planted) -> None:
    planted.items["identity"].insert(0, {**planted.one("identity", kind="user"), "tenant_id": SOMEBODY})


def a_factor_that_nobody_enrolled(planted: Planted) -> None:
    planted.items["identity"].append({"id": "mfa|1", "kind": "mfa", "tenant_id": SOMEBODY})


def a_key_that_may_more(planted: Planted) -> None:
    planted.one("identity", kind="api_key")["scopes"] = ["everything"]


def a_key_of_another_secret(planted: Planted) -> None:
    for key in planted.of("identity", "api_key"):
        key["secret_hash"] = "0" * 64


def sessions_gone(planted: Planted) -> None:
    planted.without("identity", "session")


def a_refresh_forgotten(planted: Planted) -> None:
    for session in planted.of("identity", "session"):
        session["refresh_hash"] = "0" * 64


def sessions_that_nobody_opened(planted: Planted) -> None:
    session = planted.of("identity", "session")[0]
    for number in range(len(planted.events)):
        planted.items["identity"].append({**session, "session_id": str(number), "id": f"session|{number}"})


# ---- alerts


def an_alert_raised_twice(planted: Planted) -> None:
    planted.raised(planted.alert())


def an_alert_copied(planted: Planted) -> None:
    planted.items["alerts"].append(copy.deepcopy(planted.alert()))


def an_alert_superseded_by_nobody(planted: Planted) -> None:
    alert, event = planted.alert(), planted.acknowledged("profile")[1]
    planted.raised(alert, superseded_by="nobody", crossed={**alert["crossed"], "id": event["id"]})


def an_alert_superseded_from_outside(planted: Planted) -> None:
    alert, event = planted.alert(), planted.acknowledged("profile")[1]
    planted.raised(alert, superseded_by=alert["id"], crossed={**alert["crossed"], "id": event["id"]})


def an_alert_that_ended_earlier(planted: Planted) -> None:
    planted.alert()["last_seen"] = "2020-01-01T00:00:00.000000Z"


def an_alert_that_began_at_another_time(planted: Planted) -> None:
    planted.alert()["crossed"]["at"] = "2020-01-01T00:00:00.000000Z"


def an_alert_miscounted(planted: Planted) -> None:
    planted.alert()["count"] += 1


def an_alert_renamed(planted: Planted) -> None:
    planted.alert()["title"] = "Nothing to see"


def an_alert_about_somebody_else(planted: Planted) -> None:
    planted.alert()["key"] = SOMEBODY


def an_alert_without_history(planted: Planted) -> None:
    planted.alert()["history"] = []


def an_alert_with_a_note(planted: Planted) -> None:
    planted.alert()["note"] = "forged"


def an_alert_of_another_form(planted: Planted) -> None:
    planted.alert()["history"] = "forged"


def an_alert_acknowledged_by_somebody_else(planted: Planted) -> None:
    target = planted.acknowledged("alert_update")[0].told["target"]
    lines = planted.one("alerts", kind="alert", id=target)["history"]
    next(each for each in lines if each["by"] != "system")["by"] = SOMEBODY


def an_alert_told_elsewhere(planted: Planted) -> None:
    planted.one("audit_events", type="alert.raise")["tenant_id"] = SOMEBODY


# ---- what the app tells of itself


def _of_itself(planted: Planted, kind: str, **changed: Any) -> None:
    event = planted.one("audit_events", type="system.start")
    for number in range(50):
        planted.add(event, type=kind, id=f"{number:08}", **changed)


def errors_without_a_fault(planted: Planted) -> None:
    planted.faults = 49
    times = dict.fromkeys(("since", "until"), planted.events[0]["recorded_at"])
    said = {"source": "audit_writer", "error_code": "store_unreachable", "count": 1, **times}
    _of_itself(planted, "system.error", outcome="error", attributes=said)


def a_start_told_elsewhere(planted: Planted) -> None:
    planted.one("audit_events", type="system.start")["tenant_id"] = SOMEBODY


def errors_of_nothing(planted: Planted) -> None:
    _of_itself(planted, "system.error", outcome="error", attributes={})


def heartbeats_too_often(planted: Planted) -> None:
    _of_itself(planted, "system.heartbeat", attributes={"source": "service"})


def heartbeats_of_nobody(planted: Planted) -> None:
    _of_itself(planted, "system.heartbeat", attributes={})


def months_closed_that_are_not(planted: Planted) -> None:
    _of_itself(planted, "ledger.checkpoint", attributes={"period": "2020-01", "size": 1, "root": "no root"})


# ---- ledgers


def _badly_signed(note: str) -> str:
    text, _, signature = note.rpartition(" ")
    return f"{text} {signature[:-10]}AAAAAAAA=\n"


def signatures_destroyed(planted: Planted) -> None:
    for each in planted.of("ledger", "checkpoint"):
        each["note"] = _badly_signed(each["note"])


def a_checkpoint_of_another_ledger(planted: Planted) -> None:
    one, other, *_ = (each for each in planted.of("ledger", "checkpoint") if each["tenant_id"] != "platform")
    one["note"] = next(
        each["note"] for each in planted.of("ledger", "checkpoint") if each["tenant_id"] != one["tenant_id"]
    )
    assert other is not one


def checkpoints_gone(planted: Planted) -> None:
    planted.without("ledger", "checkpoint")
    for each in planted.of("ledger", "head"):
        each["note"] = None


def the_last_checkpoint_of_the_platform_gone(planted: Planted) -> None:
    mine = [each for each in planted.of("ledger", "checkpoint") if each["tenant_id"] == "platform"]
    planted.items["ledger"].remove(max(mine, key=lambda each: (each["period"], each["size"])))


def _of_a_day(planted: Planted) -> Item:
    return planted.of("ledger", "rollup")[0]


def kinds_counted_wrong(planted: Planted) -> None:
    _of_a_day(planted)["counts"][0][-1] += 1


def hours_counted_wrong(planted: Planted) -> None:
    next(iter(_of_a_day(planted)["hours"].values()))[0] += 1


def actors_counted_wrong(planted: Planted) -> None:
    _of_a_day(planted)["distinct_actors"] += 1


def actors_replaced(planted: Planted) -> None:
    _of_a_day(planted)["actors"] = ["0" * 16]


# ---- reports


def reports_gone(planted: Planted) -> None:
    planted.items["reports"] = []


def reports_without_text(planted: Planted) -> None:
    planted.without("reports", "report_part")


def a_report_edited(planted: Planted) -> None:
    part = planted.of("reports", "report_part")[0]
    part["text"] = part["text"].replace("organization", "organisation")


def a_report_that_was_passed(planted: Planted) -> None:
    head = planted.of("reports", "compliance_report")[0]
    head["gate_passed"] = not head["gate_passed"]


def a_report_summed_up_wrong(planted: Planted) -> None:
    planted.of("reports", "compliance_report")[0]["summary"]["satisfied"] += 1


def a_report_of_another_exception(planted: Planted) -> None:
    planted.of("reports", "compliance_report")[0]["exceptions"] = ["forged"]


def a_report_that_failed(planted: Planted) -> None:
    planted.of("reports", "compliance_report")[0]["status"] = "failed"


def a_report_of_another_digest(planted: Planted) -> None:
    planted.of("reports", "compliance_report")[0]["digest"] = "0" * 64


def a_day_told_otherwise(planted: Planted) -> None:
    planted.of("reports", "report")[0]["by_type"]["auth.login"] = {"success": 10**6}


DEFECTS: Mapping[Callable[[Planted], None], frozenset[str]] = {
    **dict.fromkeys(
        (
            *(an_event_in_another_trail, an_event_by_somebody_else, an_event_about_somebody_else),
            *(an_event_of_another_session, an_event_of_another_route, an_event_of_another_request),
            *(a_field_told_wrong, a_role_told_wrong, an_ingested_actor_changed, an_ingested_attribute_changed),
            *(an_ingested_event_of_another_key, an_event_by_an_operator),
        ),
        frozenset({"event_otherwise"}),
    ),
    **dict.fromkeys(
        (
            *(nobody_administers, an_auditor_raised, everybody_suspended, consents_gone, a_name_changed),
            *(a_biography_that_nobody_wrote, an_account_elsewhere, a_power_that_there_is_not),
            *(a_former_password_forgotten, settings_gone, an_organization_suspended, an_email_without_account),
            *(two_emails_swapped, an_id_of_another_organization, an_account_behind_another),
            a_factor_that_nobody_enrolled,
            *(a_key_that_may_more, a_key_of_another_secret, a_refresh_forgotten, sessions_that_nobody_opened),
        ),
        frozenset({"change_without_event"}),
    ),
    organizations_gone: frozenset({"event_without_change"}),
    sessions_gone: frozenset({"acknowledged_and_lost"}),
    an_alert_raised_twice: frozenset({"alert_false"}),
    an_alert_copied: frozenset({"alert_false"}),
    an_alert_superseded_by_nobody: frozenset({"alert_false"}),
    an_alert_superseded_from_outside: frozenset({"alert_false"}),
    an_alert_that_ended_earlier: frozenset({"alert_missing", "alert_false"}),
    an_alert_miscounted: frozenset({"alert_missing", "alert_false"}),
    an_alert_that_began_at_another_time: frozenset({"alert_otherwise"}),
    an_alert_renamed: frozenset({"alert_otherwise"}),
    an_alert_about_somebody_else: frozenset({"alert_otherwise"}),
    an_alert_without_history: frozenset({"alert_otherwise"}),
    an_alert_with_a_note: frozenset({"alert_otherwise"}),
    an_alert_of_another_form: frozenset({"unreadable"}),
    an_alert_acknowledged_by_somebody_else: frozenset({"alert_otherwise"}),
    an_alert_told_elsewhere: frozenset({"alert_otherwise"}),
    errors_without_a_fault: frozenset({"event_without_cause"}),
    a_start_told_elsewhere: frozenset({"event_without_cause"}),
    errors_of_nothing: frozenset({"event_without_cause"}),
    heartbeats_too_often: frozenset({"event_doubled"}),
    heartbeats_of_nobody: frozenset({"event_without_cause"}),
    months_closed_that_are_not: frozenset({"event_without_cause"}),
    signatures_destroyed: frozenset({"signature_wrong"}),
    a_checkpoint_of_another_ledger: frozenset({"signature_wrong"}),
    checkpoints_gone: frozenset({"checkpoint_missing"}),
    the_last_checkpoint_of_the_platform_gone: frozenset({"checkpoint_missing"}),
    **dict.fromkeys(
        (kinds_counted_wrong, hours_counted_wrong, actors_counted_wrong, actors_replaced), frozenset({"rollup_differs"})
    ),
    reports_gone: frozenset({"event_without_change"}),
    **dict.fromkeys(
        (
            *(reports_without_text, a_report_edited, a_report_that_was_passed, a_report_summed_up_wrong),
            *(a_report_that_failed, a_report_of_another_digest, a_report_of_another_exception, a_day_told_otherwise),
        ),
        frozenset({"report_otherwise"}),
    ),
}
