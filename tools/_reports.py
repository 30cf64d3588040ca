"""The pages that say how a version was tried: whether they are there, and hold figures."""

import re
from collections.abc import Collection, Iterator

LEAST_COVERAGE = 95.0
"""Percent of all that can be reached, and of the branches alone (pyproject.toml has the first for pytest)."""
LEAST_NOTICED = 90.0
"""Percent of the mutants of each scope."""
STORES = ("embedded store", "Cosmos DB")
"""What a fault campaign goes over, as its report names them."""
THREATS = (
    *("Spoofing", "Tampering", "Repudiation", "Information disclosure", "Denial of service"),
    "Elevation of privilege",
)
_SECTION = re.compile(r"^#{2,3} +(.*?) *$", re.MULTILINE)


def benchmarks(text: str, aims: Collection[str]) -> Iterator[str]:
    """Aims that the page has no figure for."""
    rows = {cells[0]: cells[1] for cells in _rows(text) if len(cells) == 3}
    for aim in aims:
        if not re.search(r"\d", rows.get(aim, "")):
            yield f"no figure for the aim: {aim}"


def chaos(text: str) -> Iterator[str]:
    """What was lost in the campaign that is shown, and stores that it did not go over."""
    runs = re.split(r"^\*\*", text, flags=re.MULTILINE)
    for store in STORES:
        shown = next((re.search(r"\*\*Lost: (\d+)\.\*\*", each) for each in runs if each.startswith(store)), None)
        if shown is None or shown[1] != "0":
            yield f"{store}: {'no run' if shown is None else f'{shown[1]} lost'}"
    for cells in _rows(text):
        if len(cells) == 3 and cells[1].replace(",", "").isdecimal() and (cells[1] == "0" or cells[1] != cells[2]):
            yield f"{cells[0].strip('*')}: {cells[2]} of {cells[1]} survived"


def mutation(text: str, scopes: Collection[str]) -> Iterator[str]:
    """Scopes of which the page does not say what part of the mutants is noticed, in a row or a section, or says of any
    part that it is less than LEAST_NOTICED."""
    rows = [" ".join(cells) for cells in _rows(text)]
    sections = _SECTION.split(text)[2::2]
    for scope in scopes:
        told = [row for row in rows if row.startswith(f"`{scope}`")]
        told += [section for section in sections if f"`make mutation ONLY={scope}`" in section]
        figures = [figure for each in told for figure in re.findall(r"(\d+(?:\.\d+)?) %", each)]
        if not figures:
            yield f"no figure for {scope}"
        for figure in figures:
            if float(figure) < LEAST_NOTICED:
                yield f"{figure} % of {scope}, less than {LEAST_NOTICED:g} %"


def coverage(text: str) -> Iterator[str]:
    """Whether it says how much is covered, of all and of the branches, and that is enough."""
    for what, told in (("all", r"\*\*([\d.]+) %\*\* in all"), ("branches", r"([\d.]+) % of the branches reached")):
        shown = re.search(told, text)
        if shown is None or float(shown[1]) < LEAST_COVERAGE:
            yield (
                f"no figure for {what}" if shown is None else f"{shown[1]} % of {what}, less than {LEAST_COVERAGE:g} %"
            )


def security(text: str) -> Iterator[str]:
    """Kinds of threats without a control that a test proves."""
    parts = _SECTION.split(text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for threat in THREATS:
        told = next((below for name, below in sections.items() if name.partition(":")[0] == threat), "")
        if not any("`tests/" in " ".join(cells) for cells in _rows(told)):
            yield f"no test against: {threat}"


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
