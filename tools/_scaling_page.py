"""docs/scaling.md: what is written by hand, with its tables made anew between the marks."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tools._cost_model import ROOT, read_assumptions, read_budget
from tools.cost import ASSUMPTIONS, SIZES, cost_table

PAGE: Path = ROOT / "docs/scaling.md"
_BLOCK = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_UNLISTED = ("feed: ", "timer ")


def scaling_page() -> str:
    """The page as it should be. KeyError for a mark of a table that there is not; ValueError if one is missing."""
    text = PAGE.read_text(encoding="utf-8")
    marks = [match[2] for match in _BLOCK.finditer(text)]
    if sorted(marks) != sorted(TABLES):
        raise ValueError(f"docs/scaling.md: the tables are {', '.join(TABLES)}, each once")
    return _BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}", text)


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
