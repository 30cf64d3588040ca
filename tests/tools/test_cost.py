"""The capacity model: what it makes of assumptions, where it refuses them, and that it is about this app."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from functions.timers import TIMERS
from tools import _scaling_page
from tools._cost_model import (
    FEED,
    Assumptions,
    alert_rules,
    bill,
    limits,
    load,
    read_assumptions,
    read_budget,
    runs_a_month,
    verify_ru,
)
from tools.cost import ASSUMPTIONS, main

GIVEN = read_assumptions(ASSUMPTIONS)
BUDGET = read_budget()


def changed(**parts: Mapping[str, object]) -> Assumptions:
    whole = GIVEN.model_dump()
    return Assumptions.model_validate(whole | {name: whole[name] | dict(part) for name, part in parts.items()})


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("45 1-59/5 * * * *", 12 * 24 * 30),
        ("5 */5 * * * *", 12 * 24 * 30),
        ("15 * * * * *", 60 * 24 * 30),
        ("40 7-59/15 * * * *", 4 * 24 * 30),
        ("40 1-59/10 * * * *", 6 * 24 * 30),
        ("0 5 * * * *", 24 * 30),
        ("0 50 4 * * *", 30),
    ],
)
def test_how_often_a_timer_runs(schedule: str, runs: int) -> None:
    assert runs_a_month(schedule) == runs


def test_every_timer_of_the_app_is_counted_and_other_days_are_refused() -> None:
    assert all(runs_a_month(schedule) >= 30 for schedule, _ in TIMERS.values())
    with pytest.raises(ValueError, match="daily schedules only"):
        runs_a_month("0 0 4 * * 1")


def test_a_check_costs_what_operations_says_and_stops_growing() -> None:
    assert verify_ru(0) == 42
    assert 450 < verify_ru(1_000) < 600
    assert 2_000 < verify_ru(4_096) < 2_150
    assert verify_ru(1_000_000) == verify_ru(4_096)
    assert verify_ru(5_000_000) > verify_ru(1_180_000)
    assert verify_ru(10**9) == verify_ru(10**8)


def test_calls_and_feed_follow_the_budget_and_the_shares() -> None:
    one = {"entries": {"GET profile": {"share": 1, "events": 1}}}
    month = load(1_000_000, 1, 1, BUDGET, changed(workload=one))
    assert month.ru["calls"] == pytest.approx(1_000_000 * BUDGET["GET profile"]["ru"])
    assert month.ru["feed"] == pytest.approx(1_000_000 * BUDGET[FEED]["ru"] / 500)
    assert month.http == 1_000_000
    assert month.gb_a_month == pytest.approx((1.3 + 1.05) * 1.3 * 1.05)


def test_ten_times_the_events_cost_ten_times_the_calls_and_no_more_timers() -> None:
    small, large = (load(events, 10, 1, BUDGET, GIVEN) for events in (10**6, 10**7))
    for name in ("calls", "feed"):
        assert large.ru[name] == pytest.approx(10 * small.ru[name])
    assert large.ru["other timers"] == small.ru["other timers"]
    assert load(10**6, 20, 1, BUDGET, GIVEN).ru["other timers"] > small.ru["other timers"]


def test_the_bill_is_the_sum_of_its_lines_and_the_cheaper_kind_of_account() -> None:
    month = load(10**6, 10, 12, BUDGET, GIVEN)
    near = limits(month, BUDGET, GIVEN)
    found = bill(month, 12, near, GIVEN)
    assert found.serverless == pytest.approx(sum(month.ru.values()) / 1e6 * 0.25)
    assert found.serverless is not None
    assert found.total == pytest.approx(sum(found.lines.values()) + min(found.autoscale, found.serverless))
    assert found.lines["storage"] == pytest.approx(12 * month.gb_a_month * 0.25)
    dear = changed(prices={"storage_gb": 2.5})
    assert bill(month, 12, near, dear).lines["storage"] == pytest.approx(10 * found.lines["storage"])


def test_what_a_serverless_account_cannot_do_has_no_price_there() -> None:
    month = load(10**8, 200, 12, BUDGET, GIVEN)
    near = limits(month, BUDGET, GIVEN)
    found = bill(month, 12, near, GIVEN)
    assert near.serverless_months < 12
    assert found.serverless is None
    assert math.isfinite(found.total)
    assert found.autoscale_ru % 1000 == 0
    assert found.autoscale_ru >= near.peak_ru


def test_a_sole_tenant_has_the_whole_of_its_partition() -> None:
    several, sole = (limits(load(10**7, n, 1, BUDGET, GIVEN), BUDGET, GIVEN) for n in (2, 1))
    assert sole.tenant_gb == pytest.approx(several.tenant_gb / GIVEN.workload.largest_tenant)
    assert sole.tenant_ru == pytest.approx(sole.tenant_events_second * BUDGET["POST events, 500 of them"]["ru"] / 500)


def test_alerts_are_counted_in_the_templates() -> None:
    often, seldom = alert_rules()
    assert often >= 14
    assert seldom >= 5


def test_it_prints_a_column_for_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["2000000/3", "5000", "--months", "84"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{GIVEN.region}, {GIVEN.as_of}, {GIVEN.currency}. ")
    assert "| USD a month, after 84 months | 2 million | 0.005 million |" in lines
    assert "| tenants | 3 | 1 |" in lines


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"prices": {"storage_gb": -1}}, "prices.storage_gb: Input should be greater than or equal to 0"),
        ({"prices": {"gold": 1}}, "prices.gold: Extra inputs are not permitted"),
        ({"workload": {"busiest_hour": 0}}, "workload.busiest_hour: Input should be greater than or equal to 1"),
        ({"workload": {"entries": {}}}, "workload: Value error, the shares of the entries do not add up to 1"),
        ({"platform": {"lease_seconds": 0}}, "platform.lease_seconds: Input should be greater than 0"),
        ({"workload": {"entries": {"GET tea": {"share": 1, "events": 1}}}}, "entries: GET tea is not in the budget"),
    ],
)
def test_wrong_assumptions_are_named(
    part: dict[str, dict[str, object]], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads(ASSUMPTIONS.read_text(encoding="utf-8"))
    file = tmp_path / "own.json"
    file.write_text(json.dumps(whole | {name: whole[name] | each for name, each in part.items()}), encoding="utf-8")
    assert main(["--assumptions", str(file)]) == 1
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--assumptions", str(tmp_path / "no.json")]) == 1
    assert "no.json: cannot be read: FileNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["0/1"], ["5/0"], ["many"], ["--months", "0"], ["--months", "85"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_page_that_lost_a_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = _scaling_page.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "scaling.md"
    page.write_text(text.replace("<!-- table: cost -->", ""), encoding="utf-8")
    monkeypatch.setattr(_scaling_page, "PAGE", page)
    with pytest.raises(ValueError, match="each once"):
        _scaling_page.scaling_page()
