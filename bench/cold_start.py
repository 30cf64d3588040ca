"""What a cold start imports: `python -m bench.cold_start` (some 40 seconds).

The time that a fresh interpreter takes to import function_app, beside the time for azure.functions and pydantic alone.
pydantic's package loads its parts on first use, so its bare name would be next to nothing: the floor imports BaseModel
and Field, which no app with checked requests can do without. A second one has pydantic-settings, too.

Each is measured inside the interpreter, from the first import to the last; the interpreter's own start is not part of
it. They alternate. Bytecode comes from a cache of the benchmark's own that a first run of each fills: compiling would
be most of the time, and a deployed app has it behind it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from bench._figures import figure, table
from bench._servers import ROOT

ROUNDS = 25
RATIO_AIM = 1.3
_IMPORTS = {
    "floor": "import azure.functions; from pydantic import BaseModel, Field",
    "floor with settings": "import azure.functions; from pydantic import BaseModel, Field; "
    "from pydantic_settings import BaseSettings",
    "function_app": "import function_app",
}
_PROGRAM = """
import sys, time
sys.path.insert(0, {root!r})
start = time.perf_counter()
cpu = time.process_time()
{imports}
print([time.perf_counter() - start, time.process_time() - cpu, len(sys.modules)])
"""


def measure(imports: str, cache: str) -> tuple[float, float, int]:
    """Seconds of wall time and of CPU time, and modules loaded in the end, in a fresh interpreter."""
    program = _PROGRAM.format(root=str(ROOT), imports=imports)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**environment, "PYTHONPYCACHEPREFIX": cache},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seconds, cpu_seconds, modules = json.loads(done.stdout)
    return seconds, cpu_seconds, modules


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as cache:
        for imports in _IMPORTS.values():
            measure(imports, cache)
        rounds = [{name: measure(imports, cache) for name, imports in _IMPORTS.items()} for _ in range(ROUNDS)]
    figures: list[tuple[str, float, str, dict[str, str | int]]] = []
    for name in _IMPORTS:
        labels: dict[str, str | int] = {"imports": name, "rounds": ROUNDS}
        for metric, at in (("import_wall", 0), ("import_cpu", 1)):
            figures.append((metric, 1000 * statistics.median(each[name][at] for each in rounds), "ms", labels))
        figures.append(("modules", rounds[0][name][2], "modules", labels))
    for floor in ("floor", "floor with settings"):
        ratios = [each["function_app"][0] / each[floor][0] for each in rounds]
        figures.append((f"ratio_to_{floor.replace(' ', '_')}", statistics.median(ratios), "ratio", {"rounds": ROUNDS}))
    table([(" ".join((str(labels.get("imports", "")), m)).strip(), f"{v:,.2f} {u}") for m, v, u, labels in figures])
    ratio = next(value for metric, value, _, _ in figures if metric == "ratio_to_floor")
    print(f"aim: at most {RATIO_AIM} of the floor: {'met' if ratio <= RATIO_AIM else 'missed'} ({ratio:.2f})")
    for metric, value, unit, labels in figures:
        figure("cold_start", metric, value, unit, **labels)


if __name__ == "__main__":
    main()
