"""What attacks there were, for the backtest: a list of them, or the ground truth that the simulator prints."""

import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from shared.core.clock import parse_rfc3339
from shared.detection.backtest import Truth


def read_truths(path: Path) -> list[Truth]:
    """The attacks that a file tells of. ValueError when it has neither form; OSError."""
    told = json.loads(path.read_text(encoding="utf-8"))
    try:
        if isinstance(told, dict):
            return [truth for case in told["cases"] if case["alert_expected"] for truth in _of_case(case)]
        return [Truth.read(each) for each in told]
    except (LookupError, TypeError, AttributeError):
        raise ValueError("--truth: is neither a list of attacks nor the simulator's ground truth") from None


def _of_case(case: Mapping[str, Any]) -> Iterator[Truth]:
    """One for each tenant and pattern that can show a case of the simulator (docs/simulation.md)."""
    person = case["account"] or case["actor"]
    start, end = parse_rfc3339(case["first"]), parse_rfc3339(case["last"])
    for pattern in (case["pattern"], *case["also"]):
        key = case["address"] if pattern == "credential_stuffing" else person["id"]
        for tenant_id in case["tenants"]:
            yield Truth(pattern, key, start, end, tenant_id, also=pattern != case["pattern"])


def is_address(key: str) -> bool:
    """Whether a key is an IP address, and not the value that stands for one in events and alerts."""
    try:
        ip_address(key)
    except ValueError:
        return False
    return True
