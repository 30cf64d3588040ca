"""What stored alerts have to say after their events changed: pure, alert by alert."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest

from shared.core.clock import rfc3339
from shared.detection.alerts import (
    MOST_ENTRIES,
    WITHDRAWN,
    Change,
    Finding,
    Series,
    anchor_of,
    closings_of,
    entry,
    extent_of,
    lengthened,
    overdue_alert,
    reconcile,
    shown,
)
from shared.detection.episodes import MAX_MEMBERS, Episode
from shared.detection.model import AlertSeverity, Observed, Span
from shared.storage.documents import Item
from tests.detection.support import ACCOUNT, BRUTE_FORCE, START, TENANT, seconds

NOW, LATER = rfc3339(START + timedelta(hours=1)), rfc3339(START + timedelta(hours=2))
NAMES = UUID("6b1f2f0e-6a3c-5d0b-9a53-6f0e0d4a8c11")
SERIES = Series(TENANT, BRUTE_FORCE, ACCOUNT)
BY_US: dict[str, Any] = {"at": NOW, "by": "system", "from": None, "to": "open", "note": "raised"}


def named(*parts: str) -> str:
    return str(uuid5(NAMES, "\n".join(parts)))


def finding(*offsets: float, anchor: int = 0, severity: AlertSeverity = "high") -> Finding:
    """An episode of events at seconds after the start; it crossed at the `anchor`-th of them and at the last."""
    members = [Observed(START + seconds(at), f"e{at:g}") for at in offsets]
    crossed = members[anchor].moment
    episode = Episode(crossed, members[-1].moment, severity, members[0].at, 0, len(members) - 1)
    return Finding.of(episode, members)


def stored(change: Change, **fields: Any) -> Item:
    """What a change wrote, as it is read afterwards."""
    return {**change.item, "_etag": "v1", "_ts": 1, **fields}


def raised(found: Finding, rules: str = "r1") -> Item:
    (change,) = reconcile(SERIES, [found], [], NOW, rules=rules)
    return stored(change)


def test_ids_follow_from_tenant_pattern_key_and_first_crossing_point() -> None:
    """A name that changed would raise every alert a second time."""
    common = (TENANT, "brute_force", ACCOUNT)
    assert SERIES.name == f"brute_force|{ACCOUNT}"
    assert SERIES.head_id == "series|" + named(*common, "series")
    assert SERIES.digest_id(START) == "digest|" + named(*common, rfc3339(START))
    assert SERIES.alert_id(finding(0, 1, 2, anchor=1).episode) == named(*common, "e1")
    assert SERIES.of("other") == Series("other", BRUTE_FORCE, ACCOUNT)


def test_a_new_episode_is_raised() -> None:
    found = finding(0, 1, 2, anchor=1)
    (change,) = reconcile(SERIES, [found], [], NOW, rules="r1")
    assert change.etag is None
    assert change.item == {
        "id": named(TENANT, "brute_force", ACCOUNT, "e1"),
        "tenant_id": TENANT,
        "kind": "alert",
        "series": f"brute_force|{ACCOUNT}",
        "pattern": "brute_force",
        "key": ACCOUNT,
        "title": BRUTE_FORCE.title,
        "status": "open",
        "severity": "high",
        "first_seen": rfc3339(START),
        "last_seen": rfc3339(START + seconds(2)),
        "count": 3,
        "event_ids": ["e0", "e1", "e2"],
        "crossed": {"at": rfc3339(START + seconds(1)), "id": "e1"},
        "rules": "r1",
        "attack": list(BRUTE_FORCE.attack),
        "runbook": list(BRUTE_FORCE.runbook),
        "history": [BY_US],
        "created_at": NOW,
    }
    assert change.event is not None
    assert change.event.model_dump(include={"pattern", "severity"}) == {"pattern": "brute_force", "severity": "high"}


def test_what_an_alert_says_is_not_written_again() -> None:
    found = finding(0, 1, 2)
    assert reconcile(SERIES, [found], [raised(found)], LATER, rules="r2") == []


def test_mere_growth_is_no_event() -> None:
    held = raised(finding(0, 1, 2))
    (change,) = reconcile(SERIES, [finding(0, 1, 2, 3)], [held], LATER, rules="r1")
    grown = {"count": 4, "event_ids": ["e0", "e1", "e2", "e3"], "last_seen": rfc3339(START + seconds(3))}
    plain = {name: value for name, value in held.items() if not name.startswith("_")}
    assert (change.item, change.etag, change.event) == ({**plain, **grown}, "v1", None)


@pytest.mark.parametrize(
    ("fields", "severity", "status", "note"),
    [
        ({}, "critical", "open", "severity high to critical"),
        ({"status": "resolved"}, "high", "resolved", "count 3 to 4 after the closing"),
        ({"status": "dismissed"}, "high", "dismissed", "count 3 to 4 after the closing"),
        ({"superseded_by": "another"}, "high", "open", "reinstated"),
        (
            {"superseded_by": "another", "status": "dismissed"},
            "critical",
            "dismissed",
            "severity high to critical, reinstated, count 3 to 4 after the closing",
        ),
    ],
)
def test_what_people_should_know_is_an_event(
    fields: dict[str, Any], severity: AlertSeverity, status: str, note: str
) -> None:
    held = {**raised(finding(0, 1, 2)), **fields}
    was = "superseded" if "superseded_by" in fields else status
    (change,) = reconcile(SERIES, [finding(0, 1, 2, 3, severity=severity)], [held], LATER, rules="r1")
    assert change.item["history"] == [
        BY_US,
        {"at": LATER, "by": "system", "from": was, "to": status, "note": note},
    ]
    assert (change.item["status"], change.item["count"], change.item["severity"]) == (status, 4, severity)
    assert "superseded_by" not in change.item
    assert not [name for name in change.item if name.startswith("_")]
    assert change.etag == "v1"
    assert change.event is not None
    told = change.event.model_dump(include={"pattern", "severity", "old_status", "new_status"})
    assert told == {"pattern": "brute_force", "severity": severity, "old_status": was, "new_status": status}


def test_an_alert_whose_first_crossing_another_episode_covers_is_superseded_once() -> None:
    held, heir = raised(finding(10, 11, 12)), finding(0, 11, 12)
    gone, new = held["id"], named(TENANT, "brute_force", ACCOUNT, "e0")
    raising, superseding = reconcile(SERIES, [heir], [held], LATER, rules="r1")
    assert raising.item["id"] == new
    assert (superseding.item["id"], superseding.item["superseded_by"], superseding.item["status"]) == (
        gone,
        new,
        "open",
    )
    line = {"at": LATER, "by": "system", "from": "open", "to": "superseded", "note": f"superseded by {new}"}
    assert superseding.item["history"] == [BY_US, line]
    after = [stored(raising), stored(superseding)]
    assert reconcile(SERIES, [heir], after, LATER, rules="r1") == []
    far = raised(finding(1000, 1001, 1002))
    assert reconcile(SERIES, [heir], [*after, far], LATER, rules="r1") == [], "what no episode covers stays as it is"


def test_of_two_superseded_alerts_both_are_written() -> None:
    heir = finding(0, 10, 20, 30)
    held = [raised(heir), raised(finding(10, 11)), raised(finding(20, 21))]
    changes = reconcile(SERIES, [heir], held, LATER, rules="r1")
    assert [each.item["superseded_by"] for each in changes] == [held[0]["id"]] * 2


@pytest.mark.parametrize(
    ("rules", "span", "withdrawn"),
    [
        ("r1", (0, 0), True),
        ("r1", (-5, 5), True),
        ("r1", (1, 5), False),
        ("r2", (0, 0), False),
        ("r1", None, False),
    ],
)
def test_an_alert_on_news_that_is_none_is_withdrawn(
    rules: str, span: tuple[float, float] | None, withdrawn: bool
) -> None:
    held = raised(finding(0, 1, 2))
    spans = [Span(START + seconds(9), START + seconds(10))]
    spans += [] if span is None else [Span(START + seconds(span[0]), START + seconds(span[1]))]
    changes = reconcile(SERIES, [], [held], LATER, rules=rules, withdrawn=spans)
    assert len(changes) == withdrawn
    for change in changes:
        assert change.item["superseded_by"] == WITHDRAWN
        assert change.item["history"][-1]["note"] == "withdrawn: an earlier sign-in turned up"
        assert reconcile(SERIES, [], [stored(change)], LATER, rules=rules, withdrawn=spans) == []


@pytest.mark.parametrize(("count", "until"), [(MAX_MEMBERS, None), (MAX_MEMBERS + 1, MAX_MEMBERS - 1)])
def test_no_more_events_are_named_than_an_alert_takes(count: int, until: int | None) -> None:
    found = finding(*range(count))
    assert found.event_ids == tuple(f"e{n:g}" for n in range(MAX_MEMBERS))
    assert (found.count, found.last_seen) == (count, START + seconds(count - 1))
    assert found.named_until == (None if until is None else rfc3339(START + seconds(until)))
    assert found.evidence["count_is_minimum"] is None
    assert Finding.of(found.episode, [Observed(START, "e")], is_minimum=True).evidence["count_is_minimum"] is True


def test_what_is_read_of_an_alert() -> None:
    held = raised(finding(0, 1, 2, anchor=1))
    assert anchor_of(held) == (START + seconds(1), "e1")
    assert extent_of(held) == Span(START, START + seconds(2))
    assert closings_of([held, {**held, "closed_at": None}]) == []
    (closing,) = closings_of([held, {**held, "closed_at": NOW}])
    assert (closing.anchor, closing.closed_at) == (anchor_of(held), START + timedelta(hours=1))
    assert not {"tenant_id", "kind", "series", "crossed", "rules", "named_until", "_etag"} & shown(held).keys()
    assert shown({**held, "incident": None}) == {name: held[name] for name in shown(held)}


def test_the_oldest_line_of_the_system_goes_and_the_first_and_peoples_stay() -> None:
    people = {**entry(NOW, "open", "investigating", "mine"), "by": "somebody"}
    history = [entry(NOW, None, "open", "raised"), people, *(entry(NOW, "open", "open", f"{n}") for n in range(98))]
    assert len(history) == MOST_ENTRIES
    assert lengthened(history[:-1], history[-1]) == history
    longer = lengthened(history, entry(LATER, "open", "open", "last"))
    assert [each["note"] for each in longer] == ["raised", "mine", *(f"{n}" for n in range(1, 98)), "last"]


def test_a_request_that_is_overdue_is_an_alert_of_its_own() -> None:
    alert = overdue_alert(TENANT, ACCOUNT, "e1", NOW, LATER)
    runbook = alert.pop("runbook")
    assert alert == {
        "id": named(TENANT, "overdue_request", "e1"),
        "tenant_id": TENANT,
        "kind": "alert",
        "series": f"overdue_request|{ACCOUNT}",
        "pattern": "overdue_request",
        "key": ACCOUNT,
        "title": "A person's request is overdue",
        "severity": "high",
        "status": "open",
        "first_seen": NOW,
        "last_seen": NOW,
        "count": 1,
        "event_ids": ["e1"],
        "attack": [],
        "history": [{**BY_US, "at": LATER}],
        "created_at": LATER,
    }
    assert runbook == [
        "See what it waits for: GET /privacy/requests; `cause` says legal_hold or last_admin.",
        "Answer the person, with the reason for the delay and where to complain (GDPR article 12(4)).",
        "Remove the cause; the timer run_erasures goes on within five minutes. Then close the alert with a note.",
    ]
