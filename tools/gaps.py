"""`python -m tools.gaps REPORT`: what no test reaches, from coverage's JSON report, as a page of docs/.

Writes docs/coverage-gaps.md. Exit code: 1 where less than LEAST_COVERAGE of the branches were reached, 2 for bad
arguments. `make coverage` calls this.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tools._reports import LEAST_COVERAGE

PAGE = Path(__file__).resolve().parents[1] / "docs/coverage-gaps.md"
_HEAD = """\
# What no test reaches

Every line and branch of `shared/` and `functions/` that the last `make coverage` did not see, by function; numbers are
lines of the code as it was then. Why, by kind: [coverage.md](coverage.md). A branch is `from → to`, `out` is the end of
the function. This page is generated: `make coverage`.

"""


def page(report: Mapping[str, Any]) -> str:
    """The page of a report of `coverage json`, which has to be one with branches."""
    totals, files = report["totals"], report["files"]
    whole = sum(not each["missing_lines"] and not each["missing_branches"] for each in files.values())
    told = (
        f"**{totals['percent_covered']:.1f} %** in all.",
        f"Of {totals['num_statements']:,} statements {totals['missing_lines']:,} are not reached,",
        f"and of {totals['num_branches']:,} branches {totals['missing_branches']:,}.",
        f"That is {branches_percent(report):.1f} % of the branches reached.",
        f"{whole} of {len(files)} modules are reached whole.",
    )
    rows = [row for name, found in sorted(files.items()) for row in _rows(name, found)]
    return "".join((_HEAD, " ".join(told), "\n\n| module | function | lines | branches |\n|---|---|---|---|\n", *rows))


def branches_percent(report: Mapping[str, Any]) -> float:
    """Of all branches, how many were reached."""
    totals = report["totals"]
    return 100 * int(totals["covered_branches"]) / int(totals["num_branches"])


def _rows(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    for function, region in found["functions"].items():
        lines, branches = region["missing_lines"], region["missing_branches"]
        if lines or branches:
            told = ", ".join(f"{start} → {end if end > 0 else 'out'}" for start, end in branches)
            yield f"| `{name}` | {f'`{function}`' if function else ''} | {_spans(lines)} | {told} |\n"


def _spans(lines: Sequence[int]) -> str:
    """`3-5, 9`."""
    runs = [[line for _, line in run] for _, run in groupby(enumerate(lines), key=lambda each: each[1] - each[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def main(arguments: Sequence[str]) -> int:
    """Write the page."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tools.gaps REPORT\n")
        return 2
    report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    PAGE.write_text(page(report), encoding="utf-8")
    percent = branches_percent(report)
    sys.stdout.write(
        f"{percent:.1f} % of the branches, {LEAST_COVERAGE:g} % have to be; docs/{PAGE.name} lists the others\n"
    )
    return int(percent < LEAST_COVERAGE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
