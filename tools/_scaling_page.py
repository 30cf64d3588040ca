"""docs/scaling.md: what is written by hand, with its tables made anew between the marks."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tools._cost_model import ROOT, read_assumptions, read_budget
from tools._marks import filled
from tools.cost import ASSUMPTIONS, SIZES, cost_table

PAGE: Path = ROOT / "docs/scaling.md"
_UNLISTED = ("feed: ", "timer ")


def scaling_page() -> str:
    """The page as it should be. ValueError when its marks are not those of its tables."""
    return filled(PAGE.read_text(encoding="utf-8"), TABLES, "docs/scaling.md")


def _cost() -> str:
    given = read_assumptions(ASSUMPTIONS)
    return f"{given.region}, {given.as_of}, {given.currency}. {given.of}\n\n{cost_table(SIZES, 12, given)}"


def _endpoints() -> str:
    """What every call of the interface asks of the store, dearest first."""
    budget = read_budget()
    names = [name for name in budget if not name.startswith(_UNLISTED)]
    return "| call | store calls | RU |\n|---|---:|---:|\n" + "".join(
        f"| {name} | {sum(budget[name]['calls'].values())} | {budget[name]['ru']:,} |\n"
        for name in sorted(names, key=lambda name: (-budget[name]["ru"], name))
    )


def _background() -> str:
    budget = read_budget()
    return "| what runs | store calls | RU |\n|---|---:|---:|\n" + "".join(
        f"| {name} | {sum(each['calls'].values())} | {each['ru']:,} |\n"
        for name, each in budget.items()
        if name.startswith(_UNLISTED)
    )


TABLES: Mapping[str, Callable[[], str]] = {"cost": _cost, "endpoints": _endpoints, "background": _background}
"""Every table of the page by its mark."""
