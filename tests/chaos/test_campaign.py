"""A short campaign with a fixed seed, and the judge of it: what it has to find is planted into what the run left."""

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.campaign import Judged, Outcome, run_campaign
from tests.chaos.checks import Snapshot, check, check_bundle
from tests.chaos.journal import Attempt, read_journal
from tests.chaos.places import embedded
from tests.chaos.report import as_json, as_table

SEED = 12
KINDS = (
    "died after a write",
    "disk full",
    "clock stepped forward",
    "store: answer lost",
    "everything at once, kill -9",
)
JUDGED = (
    ("alert_update", 200),
    ("denied", 403),
    ("ingest", 201),
    ("key_create", 201),
    ("password", 204),
    ("profile", 200),
    ("profile_update", 200),
    ("register", 201),
    ("search", 200),
    ("settings", 200),
)
"""What defects are planted into: however slow a machine is, the run goes on until there is one of each."""

type Item = dict[str, Any]
type Items = dict[str, list[Item]]


class Planted:
    """What a run left, to be damaged: a copy of the store's content and of the clients' log."""

    def __init__(self, judged: Judged) -> None:
        self.items: Items = {name: copy.deepcopy(found) for name, found in judged.snapshot.items.items()}
        self.attempts = list(judged.attempts)
        self.starts = judged.outcome.starts

    @property
    def events(self) -> list[Item]:
        return self.items["audit_events"]

    def one(self, container: str, **wanted: Any) -> Item:
        """The first item of a container that has these values."""
        found = (
            each for each in self.items[container] if all(each.get(name) == value for name, value in wanted.items())
        )
        item = next(found, None)
        assert item is not None, f"the run left no {wanted} in {container}"
        return item

    def acknowledged(self, call: str) -> tuple[Attempt, Item]:
        """An attempt that was answered as done, and one of its events."""
        traces = {event["context"]["trace_id"]: event for event in self.events}
        attempt = next(each for each in self.attempts if each.call == call and each.acknowledged and each.id in traces)
        return attempt, traces[attempt.id]

    def forget(self, event: Item) -> None:
        """Take an event out of trail and ledger, as if it had never been: nothing but the clients' log knows."""
        self.events.remove(event)
        shard = [each for each in self.items["ledger"] if each["period"] == event["period"]]
        mine = [each for each in shard if each["tenant_id"] == event["tenant_id"] and each["kind"] == "entry"]
        gone = next(each for each in mine if each["id"] == event["id"])
        self.items["ledger"].remove(gone)
        for each in mine:
            if each["index"] > gone["index"]:
                each["index"] -= 1

    def add(self, event: Item, **changed: Any) -> None:
        """Put another event beside one, as if the app had written it twice."""
        self.events.append({**copy.deepcopy(event), "id": f"{event['id'][:-4]}ffff", **changed})

    def found(self) -> set[str]:
        """The names of the checks that fail."""
        return {each.check for each in check(Snapshot(self.items), self.attempts, self.starts)}


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


DEFECTS: dict[Callable[[Planted], None], set[str]] = {
    an_event_removed: {"acknowledged_without_event", "event_lost"},
    an_event_that_never_was: {"acknowledged_without_event"},
    a_refusal_that_never_was: {"refused_without_event"},
    an_event_doubled: {"event_without_cause", "not_sealed"},
    an_ingested_event_doubled: {"event_doubled", "not_sealed"},
    an_ingested_event_removed: {"acknowledged_without_event"},
    an_event_of_nobody: {"event_without_cause"},
    an_event_that_no_call_explains: {"event_without_cause"},
    an_event_of_a_call_that_was_not_sent: {"event_without_cause"},
    half_of_a_registration: {"half_done"},
    a_start_too_many: {"event_without_cause"},
    a_field_changed: {"change_without_event"},
    a_setting_without_its_event: {"acknowledged_without_event"},
    an_update_of_an_alert_without_its_event: {"acknowledged_without_event", "change_without_event"},
    an_alert_set_back: {"change_without_event"},
    a_password_of_nobody: {"change_without_event"},
    a_password_that_was_not_stored: {"change_without_event"},
    a_password_without_its_event: {"acknowledged_without_event"},
    a_wrong_password_that_was_taken: {"acknowledged_wrongly"},
    a_key_that_no_event_tells_of: {"change_without_event"},
    a_user_gone: {"event_without_change"},
    an_outbox_entry_left: {"outbox_not_empty"},
    a_dead_letter_left: {"dead_letter"},
    an_entry_removed: {"not_sealed", "ledger_gap"},
    an_entry_doubled: {"sealed_twice", "ledger_gap"},
    an_index_left_out: {"ledger_gap"},
    an_event_edited: {"sealed_otherwise"},
    two_entries_swapped: {"signed_otherwise"},
    a_head_set_back: {"ledger_gap"},
    a_day_counted_wrong: {"rollup_differs"},
    an_alert_missing: {"alert_missing"},
    an_alert_too_many: {"alert_false"},
    an_alert_too_mild: {"alert_missing", "alert_false"},
    a_doubt_of_the_ledger: {"ledger_doubted"},
    an_answer_that_was_no_refusal: {"internal_error"},
    a_report_never_made: {"acknowledged_and_lost"},
}


async def test_nothing_is_lost_and_the_judge_is_awake(tmp_path: Path) -> None:
    """One test, so that one run is judged: the run, what is told of it, and each defect planted into what it left."""
    with embedded(tmp_path) as place:
        judged = await run_campaign(place, tmp_path, seed=SEED, seconds=0, companies=2, kinds=KINDS, until=JUDGED)
    outcome = judged.outcome
    assert outcome.findings == []
    assert outcome.tally.faults == outcome.tally.survived == Counter(KINDS)
    assert {"acknowledged", "refused", "in doubt"} <= outcome.requests.keys()
    assert outcome.starts >= 4  # the first, two behind kills, one for the quiet
    check_report(outcome)
    missed = {}
    for plant, wanted in DEFECTS.items():
        planted = Planted(judged)
        plant(planted)
        missed[plant.__name__] = wanted - planted.found()
    assert {name: wanted for name, wanted in missed.items() if wanted} == {}


def check_report(outcome: Outcome) -> None:
    told = json.loads(json.dumps(as_json([outcome])))
    assert told["lost"] == 0
    assert told["campaigns"][0]["faults"]["died after a write"] == {"injected": 1, "survived": 1}
    table = as_table([outcome])
    assert "**Lost: 0.**" in table
    assert "| disk full" in table


async def test_a_bundle_that_was_tampered_with_is_found(tmp_path: Path) -> None:
    part = tmp_path / "part.zip"
    part.write_bytes(b"PK\5\6" + bytes(18))
    assert [each.check for each in check_bundle([part], [])] == ["bundle_not_verified"]


def test_the_log_is_read_as_it_was_written() -> None:
    lines = ['{"attempt":"a","call":"login","told":{"email":"x"}}', '{"attempt":"b","call":"logout","told":{}}']
    answers = ['{"attempt":"b","status":204,"seen":{}}', ""]
    first, second = read_journal([*lines, *answers])
    assert (first.in_doubt, first.acknowledged, first.told) == (True, False, {"email": "x"})
    assert (second.acknowledged, second.number) == (True, 1)
    with pytest.raises(ValueError, match="nobody asked"):
        read_journal(['{"attempt":"c","status":200,"seen":{}}'])
