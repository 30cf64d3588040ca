"""Defects of the trail and the ledger, and things that are there or not: each with the checks that have to find it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.chaos.journal import Attempt
from tests.chaos.planted import Planted


def an_event_removed(planted: Planted) -> None:
    planted.events.remove(planted.acknowledged("profile_update")[1])


def an_event_that_never_was(planted: Planted) -> None:
    planted.forget(planted.acknowledged("search")[1])


def a_refusal_that_never_was(planted: Planted) -> None:
    refused = next(each for each in planted.attempts if each.call == "denied" and each.status == 403)
    planted.forget(next(event for event in planted.events if event["context"]["trace_id"] == refused.id))


def an_event_doubled(planted: Planted) -> None:
    planted.add(planted.acknowledged("profile")[1])


def an_ingested_event_doubled(planted: Planted) -> None:
    planted.add(planted.acknowledged("ingest")[1])


def an_ingested_event_removed(planted: Planted) -> None:
    planted.forget(planted.acknowledged("ingest")[1])


def an_event_of_nobody(planted: Planted) -> None:
    event = planted.acknowledged("profile")[1]
    planted.add(event, context={**event["context"], "trace_id": "0" * 32})


def an_event_that_no_call_explains(planted: Planted) -> None:
    event = planted.acknowledged("profile")[1]
    planted.add(event, context={**event["context"], "trace_id": None})


def an_event_of_a_call_that_was_not_sent(planted: Planted) -> None:
    attempt, _ = planted.acknowledged("profile")
    planted.attempts.remove(attempt)
    planted.attempts.append(Attempt(attempt.id, attempt.number, attempt.call, attempt.told, 0, {"unsent": True}))


def half_of_a_registration(planted: Planted) -> None:
    attempt, _ = planted.acknowledged("register")
    planted.attempts.remove(attempt)
    planted.attempts.append(Attempt(attempt.id, attempt.number, attempt.call, attempt.told))
    mine = [event for event in planted.events if event["context"]["trace_id"] == attempt.id]
    planted.forget(next(event for event in mine if event["type"] == "consent.grant"))


def a_start_too_many(planted: Planted) -> None:
    planted.starts = 0


def a_field_changed(planted: Planted) -> None:
    updates = (each for each in planted.attempts if each.call == "profile_update" and each.acknowledged)
    updated = {each.told["user"] for each in updates}  # some of them may have left since
    there = (each for each in planted.items["identity"] if each["kind"] == "user" and each["user_id"] in updated)
    next(there)["bio"] = "somebody else's"


def a_setting_without_its_event(planted: Planted) -> None:
    planted.forget(planted.acknowledged("settings")[1])


def an_update_of_an_alert_without_its_event(planted: Planted) -> None:
    planted.forget(planted.acknowledged("alert_update")[1])


def an_alert_set_back(planted: Planted) -> None:
    alert = planted.one("alerts", kind="alert", id=planted.acknowledged("alert_update")[0].told["target"])
    alert |= {"status": "open", "superseded_by": None}


def a_password_of_nobody(planted: Planted) -> None:
    user = planted.one("identity", kind="user")
    user["password_hash"] = user["password_hash"][:-8] + "AAAAAAAA"


def a_password_that_was_not_stored(planted: Planted) -> None:
    attempt, event = planted.acknowledged("password")
    user = planted.one("identity", kind="user")["user_id"]
    told = {**attempt.told, "user": user, "value": "another one"}
    planted.attempts.append(Attempt("f" * 32, 10**6, attempt.call, told, attempt.status))
    planted.add(event, context={**event["context"], "trace_id": "f" * 32})


def a_password_without_its_event(planted: Planted) -> None:
    planted.forget(planted.acknowledged("password")[1])


def a_wrong_password_that_was_taken(planted: Planted) -> None:
    attempt, _ = planted.acknowledged("password")
    planted.attempts[planted.attempts.index(attempt)] = replace(attempt, call="wrong_password")


def a_key_that_no_event_tells_of(planted: Planted) -> None:
    key = planted.one("identity", kind="api_key")
    planted.items["identity"].append({**key, "key_id": "another"})


def a_user_gone(planted: Planted) -> None:
    planted.items["identity"].remove(planted.one("identity", kind="user"))


def an_outbox_entry_left(planted: Planted) -> None:
    planted.items["alerts"].append({"id": "outbox|1", "kind": "outbox", "tenant_id": "platform"})


def a_dead_letter_left(planted: Planted) -> None:
    planted.items["dead_letters"].append({"id": "1", "kind": "dead_letter"})


def an_entry_removed(planted: Planted) -> None:
    planted.items["ledger"].remove(planted.one("ledger", kind="entry", index=1))


def an_entry_doubled(planted: Planted) -> None:
    entry = planted.one("ledger", kind="entry")
    planted.items["ledger"].append({**entry, "index": 10**6})


def an_index_left_out(planted: Planted) -> None:
    entries = [each for each in planted.items["ledger"] if each["kind"] == "entry"]
    max(entries, key=lambda each: each["index"])["index"] += 1


def an_event_edited(planted: Planted) -> None:
    planted.events[0]["attributes"] = {"another": "thing"}


def two_entries_swapped(planted: Planted) -> None:
    shard = planted.one("ledger", kind="head", period=planted.events[-1]["period"])
    mine = [each for each in planted.items["ledger"] if each["kind"] == "entry"]
    mine = [each for each in mine if (each["tenant_id"], each["period"]) == (shard["tenant_id"], shard["period"])]
    one, two = (next(each for each in mine if each["index"] == index) for index in (0, 1))
    one["index"], two["index"] = 1, 0


def a_head_set_back(planted: Planted) -> None:
    planted.one("ledger", kind="head")["size"] -= 1


def a_day_counted_wrong(planted: Planted) -> None:
    planted.one("ledger", kind="rollup")["events"] += 1


def an_alert_missing(planted: Planted) -> None:
    planted.items["alerts"].remove(planted.one("alerts", kind="alert", superseded_by=None))


def an_alert_too_many(planted: Planted) -> None:
    alert = planted.one("alerts", kind="alert", superseded_by=None)
    event = planted.acknowledged("profile")[1]
    more = {**alert, "id": "another", "crossed": {**alert["crossed"], "id": event["id"]}}
    planted.items["alerts"].append(more)


def an_alert_too_mild(planted: Planted) -> None:
    alert = planted.one("alerts", kind="alert", superseded_by=None)
    alert["severity"] = "high" if alert["severity"] == "medium" else "medium"


def a_doubt_of_the_ledger(planted: Planted) -> None:
    event = planted.acknowledged("profile")[1]
    planted.add(event, type="ledger.verify_failed", outcome="failure")


def an_answer_that_was_no_refusal(planted: Planted) -> None:
    attempt, _ = planted.acknowledged("profile")
    planted.attempts.append(Attempt("e" * 32, 10**6, attempt.call, attempt.told, 500))


def a_report_never_made(planted: Planted) -> None:
    planted.attempts.append(Attempt("f" * 32, 10**6, "report_order", {}, 202, {"id": "never"}))


DEFECTS: Mapping[Callable[[Planted], None], frozenset[str]] = {
    an_event_removed: frozenset({"acknowledged_without_event", "event_lost"}),
    an_event_that_never_was: frozenset({"acknowledged_without_event"}),
    a_refusal_that_never_was: frozenset({"refused_without_event"}),
    an_event_doubled: frozenset({"event_without_cause", "not_sealed"}),
    an_ingested_event_doubled: frozenset({"event_doubled", "not_sealed"}),
    an_ingested_event_removed: frozenset({"acknowledged_without_event"}),
    an_event_of_nobody: frozenset({"event_without_cause"}),
    an_event_that_no_call_explains: frozenset({"event_without_cause"}),
    an_event_of_a_call_that_was_not_sent: frozenset({"event_without_cause"}),
    half_of_a_registration: frozenset({"half_done"}),
    a_start_too_many: frozenset({"event_without_cause"}),
    a_field_changed: frozenset({"change_without_event"}),
    a_setting_without_its_event: frozenset({"acknowledged_without_event"}),
    an_update_of_an_alert_without_its_event: frozenset({"acknowledged_without_event", "change_without_event"}),
    an_alert_set_back: frozenset({"change_without_event"}),
    a_password_of_nobody: frozenset({"change_without_event"}),
    a_password_that_was_not_stored: frozenset({"change_without_event"}),
    a_password_without_its_event: frozenset({"acknowledged_without_event"}),
    a_wrong_password_that_was_taken: frozenset({"acknowledged_wrongly"}),
    a_key_that_no_event_tells_of: frozenset({"change_without_event"}),
    a_user_gone: frozenset({"event_without_change"}),
    an_outbox_entry_left: frozenset({"outbox_not_empty"}),
    a_dead_letter_left: frozenset({"dead_letter"}),
    an_entry_removed: frozenset({"not_sealed", "ledger_gap"}),
    an_entry_doubled: frozenset({"sealed_twice", "ledger_gap"}),
    an_index_left_out: frozenset({"ledger_gap"}),
    an_event_edited: frozenset({"sealed_otherwise"}),
    two_entries_swapped: frozenset({"signed_otherwise"}),
    a_head_set_back: frozenset({"ledger_gap"}),
    a_day_counted_wrong: frozenset({"rollup_differs"}),
    an_alert_missing: frozenset({"alert_missing"}),
    an_alert_too_many: frozenset({"alert_false"}),
    an_alert_too_mild: frozenset({"alert_missing", "alert_false"}),
    a_doubt_of_the_ledger: frozenset({"ledger_doubted"}),
    an_answer_that_was_no_refusal: frozenset({"internal_error"}),
    a_report_never_made: frozenset({"acknowledged_and_lost"}),
}
