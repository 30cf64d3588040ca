"""What a report costs in each form: `python -m bench.render`, a process of its own for each (a minute).

The reports are those of the tests: 149 controls, more than any framework has, with a table of 1,000 rows; and 48
controls (PCI DSS, the largest) with 250. Time is of the processor and of the clock, imports included where a process
makes its first.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

from bench._figures import figure, table
from shared.compliance.render import FORMATS, render
from tests.compliance.reports import report

SIZES = ((48, 250), (149, 1000))
ROUNDS = 5


def measure(form: Any, controls: int, rows: int) -> dict[str, float]:
    """One form in this process: first and later renderings, memory above what there was before, size."""
    reports = [report(controls, rows, id=f"{number}") for number in range(ROUNDS + 1)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    walls, processors, size = [], [], 0
    for each in reports:
        wall, processor = time.perf_counter(), time.process_time()
        size = len(render(each, form).body)
        walls.append((time.perf_counter() - wall) * 1000)
        processors.append((time.process_time() - processor) * 1000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "first_ms": walls[0],
        "ms": median(walls[1:]),
        "cpu_ms": median(processors[1:]),
        "peak_mb": peak / 1024,
        "above_mb": (peak - before) / 1024,
        "kb": size / 1024,
    }


def main() -> int:
    """Measure every form at every size."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else None)
    parser.add_argument("--one", nargs=3, metavar=("FORM", "CONTROLS", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        form, controls, rows = options.one
        print(json.dumps(measure(form, int(controls), int(rows))))
        return 0
    lines = []
    for controls, rows in SIZES:
        for form in FORMATS:
            command = [sys.executable, "-m", "bench.render", "--one", form, str(controls), str(rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ourselves
            found: dict[str, float] = json.loads(done.stdout)
            for metric, value in found.items():
                unit = metric.rpartition("_")[2]
                figure("render", metric, value, unit, form=form, controls=controls, rows=rows)
            shown = f"{found['ms']:,.0f} ms ({found['cpu_ms']:,.0f} of CPU, the first {found['first_ms']:,.0f})"
            memory = f"{found['peak_mb']:,.0f} MB, {found['above_mb']:,.0f} of it the rendering's"
            lines.append((f"{form}, {controls} controls, {rows} rows", f"{shown}; {memory}; {found['kb']:,.0f} kB"))
    table(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
