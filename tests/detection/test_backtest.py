"""Backtest: what it reproduces, what it says when it cannot, what it writes (nothing), and foreign logs."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared.core.clock import rfc3339
from shared.detection import all_patterns
from shared.detection.backtest import Backtest, Truth, precision_and_recall
from shared.detection.imports import Mapped, imported, read_mapping
from shared.detection.model import Span
from shared.detection.replay import History
from shared.detection.rules import Rules
from shared.storage.containers import ALERTS, AUDIT_EVENTS
from shared.storage.documents import Item
from tests.app import ROOT
from tests.detection.support import ACCOUNT, NOW, START, TENANT, Same, World, failures, seconds, stored_event
from tools.backtest import main
from tools.truths import read_truths

RANGE = Span(START - timedelta(days=1), START + timedelta(days=1))
LOGS = Path(__file__).parent / "logs"
OF_TENANT = ("--tenant", TENANT)
MAPPINGS = ROOT / "docs" / "mappings"


def backtest(world: World) -> Backtest:
    return Backtest(world.store, world.rules, {"brute_force": all_patterns()["brute_force"]})


async def test_other_thresholds_add_and_remove_and_nothing_is_written(world: World) -> None:
    await world.deliver([*failures(0, 1, 2, 3), *failures(*range(7200, 7206), prefix="six")])
    before = await world.position()

    lower = await backtest(world).run(TENANT, RANGE, {"brute_force": {"threshold": 4}})
    higher = await backtest(world).run(TENANT, RANGE, {"brute_force": {"threshold": 7}})

    assert lower.is_reproduced
    assert lower.live.keys() == lower.today.keys()
    assert [each.finding.count for each in lower.added] == [4, 6], "an episode that begins elsewhere is another alert"
    assert [each.finding.count for each in higher.removed] == [6]
    assert not higher.proposed
    assert await world.position() == before


async def test_an_alert_with_other_evidence_is_not_reproduced(world: World) -> None:
    await world.deliver(failures(*range(6)))
    (alert,) = await world.current()
    await world.store.replace(ALERTS, (TENANT,), {**alert, "count": 5})

    result = await backtest(world).run(TENANT, RANGE, {})

    assert (result.is_reproduced, result.different) == (False, [alert["id"]])
    assert result.live.keys() == result.today.keys()


async def test_closed_alerts_and_the_edges_of_the_range(world: World) -> None:
    await world.deliver(failures(*range(8)))
    (alert,) = await world.current()
    await world.close_alert(alert, START + seconds(9))
    await world.deliver(failures(20, 21, prefix="after"))

    assert len(await world.current()) == 2
    assert (await backtest(world).run(TENANT, RANGE, {})).is_reproduced
    outside = await backtest(world).run(TENANT, Span(START + seconds(3600), RANGE.end), {})
    assert (outside.live, outside.today) == ({}, {})


async def test_a_closing_of_what_began_before_the_range_parts_it(world: World) -> None:
    await world.deliver([*failures(*range(8)), *failures(*range(600, 605), prefix="more")])
    (alert,) = await world.current()
    await world.close_alert(alert, START + seconds(610))
    await world.deliver(failures(*range(1000, 1005), prefix="on"))
    _, second = await world.current()
    between = START + seconds(1)
    assert second["first_seen"] > rfc3339(between), "the first alert lies before the range, the second one within"

    result = await backtest(world).run(TENANT, Span(between, RANGE.end), {})

    assert list(result.live) == list(result.today) == [second["id"]]
    assert result.is_reproduced


async def test_events_beyond_the_range_that_are_recorded_late_count(world: World) -> None:
    after = [
        stored_event(f"late{n}", at, at + timedelta(days=7))
        for n, at in enumerate(START + seconds(600 + n) for n in range(3))
    ]
    await world.deliver([*failures(0, 1, 2, 3, 4), *after])
    (alert,) = await world.current()
    assert alert["count"] == 8

    result = await backtest(world).run(TENANT, Span(RANGE.start, START + seconds(60)), {})

    assert (list(result.live), result.is_reproduced) == ([alert["id"]], True)


def reconfiguration(event_id: str, at: datetime, *changed: str) -> Item:
    return stored_event(
        event_id, at, type="config.change", outcome="success", attributes={"changed_fields": list(changed)}
    )


async def test_settings_changed_since_are_told(world: World) -> None:
    await world.deliver(failures(0, 1, 2, 3, 4))
    await world.keep(
        [
            reconfiguration("before", RANGE.start - timedelta(days=9), "thresholds"),
            reconfiguration("within", START, "mutes"),
            reconfiguration("other", START, "require_mfa"),
            reconfiguration("later", RANGE.end + timedelta(days=19), "allow_lists"),
            reconfiguration("after", RANGE.end + timedelta(days=20), "require_mfa", "thresholds"),
        ]
    )
    world.rules = Same(Rules(thresholds={"brute_force": {"threshold": 7}}))

    result = await backtest(world).run(TENANT, RANGE, {})

    assert (result.is_reproduced, result.reconfigured) == (False, 3)


async def test_erasures_are_told(world: World) -> None:
    events = failures(0, 1, 2, 3, 4)
    await world.deliver(events)
    erased = {**events[0], "erased_at": rfc3339(NOW)}
    await world.store.replace(AUDIT_EVENTS, (TENANT, events[0]["period"]), erased)

    result = await backtest(world).run(TENANT, RANGE, {})

    assert (result.is_reproduced, result.erased) == (False, 1)


def test_precision_and_recall() -> None:
    history = History({"brute_force": all_patterns()["brute_force"]})
    history.add([*failures(0, 1, 2, 3, 4), *failures(*range(7200, 7205), prefix="b")])
    history.add([{"id": "poison"}, stored_event("odd", START, occurred_at="soon")])
    found = history.alerts()
    times = {"from": rfc3339(START), "to": rfc3339(START + seconds(60))}
    truths = [
        Truth.read({"pattern": "brute_force", "key": ACCOUNT, **times}),
        Truth.read({"pattern": "mass_deletion", **times}),
    ]

    assert (len(found), history.unreadable) == (2, 2)
    assert precision_and_recall(found, truths) == (0.5, 0.5)
    assert precision_and_recall([], []) == (1.0, 1.0)
    beside = replace(truths[0], also=True)  # right, but nobody has to find it
    assert precision_and_recall(found, [beside, truths[1]]) == (0.5, 0.0)


def test_the_ground_truth_of_the_simulator(tmp_path: Path) -> None:
    path, person = tmp_path / "truth.json", {"name": "t0/u1", "id": ACCOUNT, "email": "u1@example.com"}
    times = {"first": rfc3339(START), "last": rfc3339(START + seconds(60))}
    case: dict[str, object] = {
        "alert_expected": True,
        "account": person,
        "actor": None,
        "address": "203.0.113.1",
        "also": [],
        **times,
    }
    cases = [
        {**case, "pattern": "account_takeover", "tenants": [TENANT], "also": ["brute_force"]},
        {**case, "pattern": "credential_stuffing", "tenants": [TENANT, "platform"], "account": None},
        {**case, "pattern": "brute_force", "tenants": [TENANT], "alert_expected": False},
        {**case, "pattern": "mass_deletion", "tenants": [TENANT], "account": None, "actor": person},
    ]
    path.write_text(json.dumps({"format": 1, "cases": cases}))
    assert [(each.pattern, each.key, each.tenant_id, each.also) for each in read_truths(path)] == [
        ("account_takeover", ACCOUNT, TENANT, False),
        ("brute_force", ACCOUNT, TENANT, True),
        ("credential_stuffing", "203.0.113.1", TENANT, False),
        ("credential_stuffing", "203.0.113.1", "platform", False),
        ("mass_deletion", ACCOUNT, TENANT, False),
    ]


@pytest.mark.parametrize("text", ["{}", "[1]", "3", '["x"]', '[{"pattern": "brute_force"}]', '{"cases": [{}]}', "no"])
def test_what_is_no_ground_truth_is_said(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    assert main(["--tenant", TENANT, "--truth", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("backtest: ")
    assert text == "no" or told == "backtest: --truth: is neither a list of attacks nor the simulator's ground truth\n"


@pytest.mark.parametrize(
    ("log", "events", "repeated", "left_out", "unreadable", "expected"),
    [
        ("microsoft-365.csv", 8, 4, 1, 0, {"brute_force": 7, "account_takeover": 7}),
        ("entra-sign-in.jsonl", 7, 3, 1, 1, {"brute_force": 6, "account_takeover": 7}),
        ("okta.jsonl", 7, 2, 1, 0, {"brute_force": 5, "account_takeover": 7, "suspicious_password_change": 1}),
        ("sshd.log", 11, 4, 0, 0, {"brute_force": 5, "account_takeover": 6, "credential_stuffing": 10}),
    ],
)
def test_logs_of_other_systems(
    log: str,
    events: int,
    repeated: int,
    left_out: int,
    unreadable: int,
    expected: dict[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    mapping = MAPPINGS / f"{log.partition('.')[0]}.toml"
    with (LOGS / log).open(encoding="utf-8") as lines:
        found = imported(lines, read_mapping(mapping))

    assert (len(found.events), found.repeated, found.left_out, found.unreadable) == (
        events,
        repeated,
        left_out,
        unreadable,
    )
    history = History(all_patterns())
    history.add(found.events.values())
    alerts = {each.pattern: each.finding.count for each in history.alerts() if each.tenant_id == "imported"}
    assert alerts == expected
    assert main(["--input", str(LOGS / log), "--map", str(mapping)]) == 0
    assert f"{len(expected)} alerts" in capsys.readouterr().out


def test_rows_that_are_nothing() -> None:
    mapped = Mapped.model_validate(
        {
            **{"format": "jsonl", "time": "t", "account": "who", "nested": ["inner"]},
            "rules": [{"when": {"ok": ["true"]}, "outcome": "success"}],
        }
    )
    rows = ["", "[]", "{", '{"ok": true}', '{"ok": true, "t": "2026-03-02T08:00:00Z", "inner": "{"}', '{"ok": false}']
    good = json.dumps({"ok": True, "t": "2026-03-02T08:00:00+01:00", "who": " Pat "})

    found = imported([*rows, good, good], mapped)

    (event,) = found.events.values()
    assert (event["occurred_at"], event["target"]) == ("2026-03-02T07:00:00.000000Z", {"kind": "user", "id": "pat"})
    assert (found.rows, found.repeated, found.left_out, found.unreadable) == (7, 1, 1, 4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "brute_force.threshold=2", "--input", "x", "--map", "y"], "thresholds.brute_force.threshold"),
        (["--set", "brute_force"], "--set brute_force"),
        (["--pattern", "nothing"], "--pattern nothing"),
        (["--tenant", "x"], "--from"),
        (["--input", "x"], "--map"),
        (
            ["--pattern", "mass_deletion", "--set", "brute_force.threshold=8"],
            "--set brute_force: --pattern leaves it out",
        ),
        (
            [*OF_TENANT, "--from", "2026-03-02T08:00:00Z", "--to", "2026-03-02T08:00:00Z"],
            "--from has to be before --to",
        ),
        ([*OF_TENANT, "--from", "0001-01-05T00:00:00Z", "--to", "2026-03-02T08:00:00Z"], "--from and --to"),
        ([*OF_TENANT, "--from", "2026-03-02T08:00:00Z", "--to", "9999-12-31T00:00:00Z"], "--from and --to"),
    ],
)
def test_what_cannot_be_run_is_said(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_truth_of_a_pattern_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps([{"pattern": "brute", "from": rfc3339(START), "to": rfc3339(START)}]))
    assert main(["--tenant", TENANT, "--truth", str(path)]) == 2
    assert capsys.readouterr().err == "backtest: --truth: brute is no pattern\n"


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("form", "log", "told"),
    [
        ("jsonl", '{"t": "0001-01-01T00:00:00Z", "who": "pat"}', (1, 1)),
        ("jsonl", '{"t": "9999-12-31T00:00:00Z", "who": "pat"}', (1, 1)),
        ("jsonl", DEEP, (1, 1)),
        ("jsonl", json.dumps({"t": "2026-03-02T08:00:00Z", "who": "pat", "inner": DEEP}), (1, 1)),
        ("csv", f"t,who\n2026-03-02T08:00:00Z,{'x' * 200_000}\n2026-03-02T08:00:00Z,pat\n", (2, 1)),
        ("csv", "t,who\n2026-03-02T08:00:00Z,pat,more,still\n2026-03-02T08:00:00Z,pat\n", (2, 1)),
    ],
    ids=["year 1", "year 9999", "deep", "deep within", "long field", "too many cells"],
)
def test_a_row_that_cannot_be_read_is_counted(
    form: str, log: str, told: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, mapping = tmp_path / "log", tmp_path / "map.toml"
    given.write_text(log)
    rule = '[[rules]]\nwhen = {t = ["*"]}\noutcome = "failure"\n'
    mapping.write_text(f'format = "{form}"\ntime = "t"\naccount = "who"\nnested = ["inner"]\n{rule}')

    assert main(["--input", str(given), "--map", str(mapping)]) == 0

    rows, unreadable = told
    out = capsys.readouterr().out
    assert out.startswith(f"{rows} rows: {rows - unreadable} events,")
    assert f" {unreadable} unreadable" in out


@pytest.mark.parametrize("where", ["pattern", "when"])
def test_a_regular_expression_that_is_none_is_said(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, mapping = tmp_path / "log", tmp_path / "map.toml"
    given.write_text("a line\n")
    pattern, when = ("(", "*") if where == "pattern" else ("(?P<t>.*)", "~(")
    rule = f'[[rules]]\nwhen = {{t = ["{when}"]}}\noutcome = "failure"\n'
    mapping.write_text(f'format = "text"\npattern = "{pattern}"\ntime = "t"\naccount = "t"\n{rule}')

    assert main(["--input", str(given), "--map", str(mapping)]) == 2
    assert "is no regular expression" in capsys.readouterr().err


def test_over_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KRAFTD_DATA", str(tmp_path))
    truth = tmp_path / "truth.json"
    truth.write_text("[]")
    arguments = ["--from", rfc3339(RANGE.start), "--to", rfc3339(RANGE.end), "--truth", str(truth)]

    assert main(["--tenant", "platform", *arguments]) == 0
    assert "today's parameters reproduce the alerts that there are" in capsys.readouterr().out
    assert main(["--tenant", TENANT, *arguments]) == 2
    assert capsys.readouterr() == ("", f"backtest: --tenant {TENANT}: is not in this store\n")
