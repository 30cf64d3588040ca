"""How benchmarks print: a table for people and one JSON line per figure for programs."""

import json
from collections.abc import Sequence


def figure(bench: str, metric: str, value: float, unit: str, **labels: str | int) -> None:
    """Print one figure as a JSON line."""
    print(json.dumps({"bench": bench, "metric": metric, **labels, "value": round(value, 4), "unit": unit}))


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values, the values aligned at the right."""
    name_width = max(len(name) for name, _ in rows)
    value_width = max(len(value) for _, value in rows)
    for name, value in rows:
        print(f"{name:<{name_width}}  {value:>{value_width}}")
