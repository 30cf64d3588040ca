"""The model behind `python -m tools.cost`. Pure but for the files that it reads.

Request units are those of `bench/store_budget.json`; prices, and everything that nobody has measured on a real account,
are assumptions in a file.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from functions.change_feed import CONSUMERS
from functions.timers import TIMERS

ROOT = Path(__file__).resolve().parents[1]
BUDGET, ALERTS = ROOT / "bench/store_budget.json", ROOT / "infra/monitoring/monitoring.bicep"
DAYS, HOURS = 30, 730
SECONDS = DAYS * 86_400
REGISTRY_RU = 80.0
"""Of each round over the tenants: a query for each of the 16 shards of the registry, 5 RU by the budget's model."""
PARTITION_GB, PARTITION_RU = 20.0, 10_000
"""What one logical partition holds, and what one serves in a second (Microsoft's limits)."""
SERVERLESS_GB, SERVERLESS_RU = 1_000.0, 20_000
"""What one container of a serverless account holds, and serves in a second (Microsoft's limits)."""
PHYSICAL_GB = 50.0
RETENTION_MONTHS = 84
VERIFY_RU, VERIFY_PAGE_RU, PAGE_ENTRIES, LEAST_PAGES, MOST_PAGES, RUNS_A_DAY = 42.0, 127.0, 256, 16, 100, 288
"""A run of verify_ledger over one tenant (docs/operations.md): 42 RU where there is little, 2,080 for 16 pages of
entries; the sample has 16 pages at least, and as many as bring it around in a day, 100 at most."""
VERIFY_NEW_RU = 0.74
"""For each new entry (docs/operations.md)."""
FEED, FEED_EVENTS = "feed: 500 events", 500

type Share = Annotated[float, Field(ge=0, le=1)]
type Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Part):
    """A way by which events come: its share of them, and how many come with one call."""

    share: Share
    events: int = Field(ge=1)


class Prices(_Part):
    """In the currency of the file; by month where nothing else is said."""

    serverless_million_ru: Positive
    autoscale_100_ru_hour: Positive
    storage_gb: Positive
    backup_gb: Positive
    logs_gb: Positive
    function_gb_second: Positive
    function_million_runs: Positive
    vault_10000_calls: Positive
    alert_rule_5_minutes: Positive
    alert_rule_15_minutes: Positive
    web_test_1000_runs: Positive


class Workload(_Part):
    """How events come. `busiest_hour` and `busiest_second` are times the mean, and so is `timers_bunch`: a round over
    the tenants does its work in a part of its five minutes."""

    entries: dict[str, Entry]
    largest_tenant: Share
    busiest_hour: float = Field(ge=1)
    busiest_second: float = Field(ge=1)
    timers_bunch: float = Field(ge=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not math.isclose(sum(each.share for each in self.entries.values()), 1):
            raise ValueError("the shares of the entries do not add up to 1")
        return self


class Platform(_Part):
    """What is assumed of app and platform. KB are 1,000 bytes, as stored or as logged."""

    event_kb: Positive
    entry_kb: Positive
    index_share: Positive
    other_share: Positive
    poll_ru: Positive
    lease_ru: Positive
    lease_seconds: float = Field(gt=0)
    row_kb: Positive
    call_log_kb: Positive
    instance_gb: Positive
    run_seconds: Positive
    call_seconds: Positive
    vault_calls_per_instance_hour: Positive
    web_test_places: int = Field(ge=0)


class Assumptions(_Part):
    """All that is assumed."""

    of: str
    as_of: str
    region: str
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    prices: Prices
    workload: Workload
    platform: Platform


type Budget = Mapping[str, Mapping[str, Any]]


class CostError(Exception):
    """The assumptions cannot be reckoned with; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Load:
    """A month: `calls` and `ru` of the store by what they are for, `http` calls, `feed_runs` of consumers."""

    events: int
    tenants: int
    ru: Mapping[str, float]
    calls: Mapping[str, float]
    http: float
    feed_runs: float
    gb_a_month: float

    def ru_a_second(self, times: float, bunch: float) -> float:
        """Request units in a second in which there are so many times the mean of calls, and timers bunch so."""
        of_calls = self.ru["calls"] + self.ru["feed"]
        return (of_calls * times + (sum(self.ru.values()) - of_calls) * bunch) / SECONDS


@dataclass(frozen=True, slots=True)
class Bill:
    """What a month costs, `kept_months` after the first: `lines` but for requests, which cost one of the two."""

    lines: Mapping[str, float]
    serverless: float | None
    autoscale: float
    autoscale_ru: int

    @property
    def total(self) -> float:
        """With the cheaper of the two that is possible."""
        return sum(self.lines.values()) + min(self.autoscale, self.serverless or math.inf)


@dataclass(frozen=True, slots=True)
class Limits:
    """How near the limits are: of the largest tenant's month, and of all."""

    tenant_gb: float
    tenant_events_second: float
    tenant_ru: float
    container_gb: float
    serverless_months: float
    peak_ru: float


def runs_a_month(schedule: str) -> int:
    """How often a timer runs in 30 days. ValueError for a schedule of other days than all."""
    second, minute, hour, *days = schedule.split()
    if days != ["*"] * 3 or not second.isdigit():
        raise ValueError(f"{schedule}: daily schedules only")
    return _times(minute, 60) * _times(hour, 24) * DAYS


def _times(field: str, size: int) -> int:
    span, _, step = field.partition("/")
    first, _, last = span.partition("-")
    if span.isdigit() and not step:
        return 1
    low, high = (0, size - 1) if first == "*" else (int(first), int(last or size - 1))
    return len(range(low, high + 1, int(step or 1)))


def verify_ru(entries: float) -> float:
    """Of one run of verify_ledger over one tenant with so many entries in all its months."""
    pages = min(entries / PAGE_ENTRIES, max(LEAST_PAGES, min(entries / PAGE_ENTRIES / RUNS_A_DAY, MOST_PAGES)))
    return VERIFY_RU + VERIFY_PAGE_RU * pages


def load(events: int, tenants: int, kept_months: int, budget: Budget, given: Assumptions) -> Load:
    """What such a month asks of store and app. CostError for a way of entry that the budget does not have."""
    ru, calls = {"calls": 0.0}, {"calls": 0.0}
    http, singles = 0.0, 0.0
    for name, entry in given.workload.entries.items():
        if name not in budget:
            raise CostError(f"workload.entries: {name} is not in the budget")
        number = events * entry.share / entry.events
        http += number
        singles += number
        ru["calls"] += number * budget[name]["ru"]
        calls["calls"] += number * _calls(budget, name)
    ru["feed"] = events * budget[FEED]["ru"] / FEED_EVENTS
    feed_runs = min(singles, SECONDS) * sum(
        name in ("detect_threats", "seal_ledger", "stream_events") for name in CONSUMERS
    )
    calls["feed"] = max(events * _calls(budget, FEED) / FEED_EVENTS, feed_runs * 3)
    stored = _gb(given, events)
    ru["checks of the ledger"], calls["checks of the ledger"] = _verifying(events, tenants, kept_months, budget, given)
    ru["other timers"], calls["other timers"] = _timers(tenants, budget)
    polls = SECONDS * _leases(stored * kept_months)
    renewals = polls / given.platform.lease_seconds
    ru["waiting for changes"] = polls * given.platform.poll_ru + renewals * given.platform.lease_ru
    calls["waiting for changes"] = polls + renewals
    return Load(events, tenants, ru, calls, http, feed_runs, stored)


def _calls(budget: Budget, name: str) -> int:
    return sum(budget[name]["calls"].values())


def _gb(given: Assumptions, events: float) -> float:
    """What so many events take, in trail and ledger, with indexes and everything else."""
    platform = given.platform
    kb = (platform.event_kb + platform.entry_kb) * (1 + platform.index_share) * (1 + platform.other_share)
    return events * kb / 1e6


def _leases(stored_gb: float) -> int:
    """Each consumer polls each physical partition of its container; trail and ledger share what is stored evenly."""
    partitions = max(1, math.ceil(stored_gb / 2 / PHYSICAL_GB))
    large = {"audit_events", "ledger"}
    return sum(partitions if container.name in large else 1 for container, _ in CONSUMERS.values())


def _verifying(events: int, tenants: int, kept: int, budget: Budget, given: Assumptions) -> tuple[float, float]:
    """Of the largest tenant and of the others, who share the rest evenly."""
    runs = runs_a_month(TIMERS["verify_ledger"][0])
    largest = events * kept * (given.workload.largest_tenant if tenants > 1 else 1)
    others = (events * kept - largest) / max(1, tenants - 1)
    each = verify_ru(largest) + verify_ru(others) * (tenants - 1)
    ru = runs * (REGISTRY_RU + each) + events * VERIFY_NEW_RU
    return ru, runs * _calls(budget, "timer verify_ledger, two tenants") / 3 * (tenants + 1)


def _timers(tenants: int, budget: Budget) -> tuple[float, float]:
    """Those that walk the registry cost that, and something for each tenant; the budget has two and `platform`."""
    ru = calls = 0.0
    for name, (schedule, _) in TIMERS.items():
        if name == "verify_ledger":
            continue
        counted, runs = f"timer {name}, two tenants", runs_a_month(schedule)
        measured, asked = budget[counted]["ru"], _calls(budget, counted)
        walks = measured > REGISTRY_RU
        ru += runs * (REGISTRY_RU + (measured - REGISTRY_RU) / 3 * (tenants + 1) if walks else measured)
        calls += runs * (16 + (asked - 16) / 3 * (tenants + 1) if walks else asked)
    return ru, calls


def limits(month: Load, budget: Budget, given: Assumptions) -> Limits:
    """How near it comes to Microsoft's limits, at the end of retention."""
    platform, workload = given.platform, given.workload
    share = workload.largest_tenant if month.tenants > 1 else 1
    batch = budget["POST events, 500 of them"]["ru"] / 500
    a_second = month.events * share / SECONDS * workload.busiest_second
    container = month.gb_a_month * platform.event_kb / (platform.event_kb + platform.entry_kb)
    return Limits(
        tenant_gb=container * share,
        tenant_events_second=a_second,
        tenant_ru=a_second * batch,
        container_gb=container * RETENTION_MONTHS,
        serverless_months=SERVERLESS_GB / container if container else math.inf,
        peak_ru=month.ru_a_second(workload.busiest_second, workload.timers_bunch),
    )


def bill(month: Load, kept_months: int, near: Limits, given: Assumptions) -> Bill:
    """What it costs."""
    prices, platform = given.prices, given.platform
    stored = month.gb_a_month * kept_months
    seconds = _instance_seconds(month, given)
    often, seldom = alert_rules()
    lines = {
        "storage": stored * prices.storage_gb,
        "backup (30 days)": stored * prices.backup_gb,
        "log of database requests": sum(month.calls.values()) * platform.row_kb / 1e6 * prices.logs_gb,
        "logs and traces of the apps": (month.http + month.feed_runs) * platform.call_log_kb / 1e6 * prices.logs_gb,
        "functions": seconds * platform.instance_gb * prices.function_gb_second
        + (month.http + month.feed_runs) / 1e6 * prices.function_million_runs,
        "alerts and web test": often * prices.alert_rule_5_minutes
        + seldom * prices.alert_rule_15_minutes
        + platform.web_test_places * SECONDS / 300 / 1000 * prices.web_test_1000_runs,
        "vault": seconds / 3600 * platform.vault_calls_per_instance_hour / 1e4 * prices.vault_10000_calls,
    }
    used = sum(month.ru.values())
    fits = near.peak_ru <= SERVERLESS_RU and near.serverless_months > kept_months
    serverless = used / 1e6 * prices.serverless_million_ru if fits else None
    most = max(1000, math.ceil(max(near.peak_ru, stored * 10) / 1000) * 1000)
    hour = month.ru_a_second(given.workload.busiest_hour, given.workload.timers_bunch)
    billed = min(most, max(0.1 * most, hour))
    return Bill(lines, serverless, billed / 100 * HOURS * prices.autoscale_100_ru_hour, most)


def _instance_seconds(month: Load, given: Assumptions) -> float:
    """Time for which instances are paid: consumers and timers have instances of their own, and a run counts a second at
    least. HTTP: the same, or what the calls take if that is more."""
    platform = given.platform
    feeds = month.feed_runs * max(1.0, platform.run_seconds)
    timers = sum(runs_a_month(schedule) for schedule, _ in TIMERS.values()) * max(1.0, platform.run_seconds)
    http = max(min(month.http, SECONDS), month.http * platform.call_seconds)
    return feeds + timers + http


def alert_rules() -> tuple[int, int]:
    """How many of the templates' alerts are looked at every five minutes, and how many less often."""
    minutes = re.findall(r"^  \{ name: '.*?minutes: (\d+)", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
    often = minutes.count("5")
    return often, len(minutes) - often


def read_assumptions(path: Path) -> Assumptions:
    """The assumptions of a file. CostError names the first that is wrong."""
    try:
        return Assumptions.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CostError(f"{path}: cannot be read: {type(error).__name__}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CostError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def read_budget() -> Budget:
    """The calls and request units of what the app does."""
    found: Budget = json.loads(BUDGET.read_text(encoding="utf-8"))
    return found
