"""`python -m tools.cost`: what a month costs in Azure, and which limits come near, as a model (`_cost_model.py`).

Prices, and everything that nobody has measured on a real account, are assumptions in `tools/cost.json`, there to be
replaced (`--assumptions FILE`). Nothing is looked up.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools._cost_model import (
    RETENTION_MONTHS,
    Assumptions,
    CostError,
    bill,
    limits,
    load,
    read_assumptions,
    read_budget,
)

ASSUMPTIONS = Path(__file__).with_name("cost.json")
SIZES = ((1_000_000, 10), (10_000_000, 50), (100_000_000, 200))
"""Events a month, and the tenants that they are of."""


def cost_table(sizes: Sequence[tuple[int, int]], kept_months: int, given: Assumptions) -> str:
    """A Markdown table, a column for each size: cost by line, then limits."""
    budget = read_budget()
    loads = [load(events, tenants, kept_months, budget, given) for events, tenants in sizes]
    nears = [limits(each, budget, given) for each in loads]
    bills = [bill(each, kept_months, near, given) for each, near in zip(loads, nears, strict=True)]
    head = "".join(f" {events / 1e6:,.3g} million |" for events, _ in sizes)
    rows = [f"| {given.currency} a month, after {kept_months} months |{head}", "|---|" + "---:|" * len(sizes)]

    def row(name: str, cells: Sequence[str]) -> None:
        rows.append(f"| {name} | {' | '.join(cells)} |")

    row("tenants", [f"{tenants:,}" for _, tenants in sizes])
    row("requests, serverless", [f"{each.serverless:,.0f}" if each.serverless else "not possible" for each in bills])
    row("requests, autoscale", [f"{each.autoscale:,.0f} (up to {each.autoscale_ru:,} RU/s)" for each in bills])
    for name in bills[0].lines:
        row(name, [f"{each.lines[name]:,.0f}" for each in bills])
    row("**total**, with the cheaper kind", [f"**{each.total:,.0f}**" for each in bills])
    for name in loads[0].ru:
        row(f"million RU: {name}", [f"{each.ru[name] / 1e6:,.1f}" for each in loads])
    row("GB stored", [f"{each.gb_a_month * kept_months:,.0f}" for each in loads])
    row("GB in `audit_events` at the end of retention", [f"{each.container_gb:,.0f}" for each in nears])
    row("months until a serverless container is full", [f"{min(each.serverless_months, 999):,.0f}" for each in nears])
    row("largest tenant: GB of a month (20)", [f"{each.tenant_gb:,.1f}" for each in nears])
    row("largest tenant: events in its busiest second", [f"{each.tenant_events_second:,.0f}" for each in nears])
    row("largest tenant: RU/s then in `audit_events` (10,000)", [f"{each.tenant_ru:,.0f}" for each in nears])
    row("all: RU/s in the busiest second", [f"{each.peak_ru:,.0f}" for each in nears])
    return "\n".join(rows) + "\n"


def _size(text: str) -> tuple[int, int]:
    events, _, tenants = text.partition("/")
    try:
        size = int(events), int(tenants or 1)
    except ValueError:
        raise argparse.ArgumentTypeError("EVENTS or EVENTS/TENANTS, such as 1000000/10") from None
    if min(size) < 1:
        raise argparse.ArgumentTypeError("at least one event and one tenant")
    return size


def _months(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= RETENTION_MONTHS:
        raise argparse.ArgumentTypeError(f"1 to {RETENTION_MONTHS}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. Exit code 1: the assumptions are wrong; 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tools.cost", description="What a month costs in Azure: a model.")
    parser.add_argument("sizes", nargs="*", type=_size, metavar="EVENTS/TENANTS", help="events a month, and tenants")
    parser.add_argument("--months", type=_months, default=12, help="months that events were kept by then (12)")
    parser.add_argument("--assumptions", type=Path, default=ASSUMPTIONS, metavar="FILE", help="in place of cost.json")
    options = parser.parse_args(arguments)
    try:
        given = read_assumptions(options.assumptions)
        table = cost_table(options.sizes or SIZES, options.months, given)
    except CostError as error:
        sys.stderr.write(f"cost: {error}\n")
        return 1
    sys.stdout.write(f"{given.region}, {given.as_of}, {given.currency}. {given.of}\n\n{table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
