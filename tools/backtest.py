"""`python -m tools.backtest`: run the threat patterns over stored history, or over logs of other systems.

Reads the store that the settings name (see docs/settings.md), writes nothing. See docs/backtest.md.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.audit.model import PLATFORM_TENANT
from shared.core.clock import parse_rfc3339, rfc3339
from shared.core.errors import KraftdError
from shared.core.settings import SettingsError, load_settings
from shared.detection import Pattern, all_patterns
from shared.detection.backtest import Backtest, Result, Truth, precision_and_recall
from shared.detection.imports import IMPORTED, imported, read_mapping
from shared.detection.model import Span
from shared.detection.replay import Found, History
from shared.detection.rules import Rules, check_thresholds
from shared.privacy.blind_index import BlindIndex
from tools.truths import is_address, read_truths

PROGRESS_EVERY = 50_000
_AROUND = timedelta(days=365)
"""More than is read around a range."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one backtest; 0, or 2 with a line on standard error when it cannot be run."""
    given = _parser().parse_args(arguments)
    try:
        overrides = _overrides(given.set)
        patterns = _patterns(given.pattern)
        check_thresholds(overrides)
        truths = read_truths(Path(given.truth)) if given.truth else None
        _check(patterns, overrides, truths or ())
        if given.input:
            return _evaluate(given, patterns, overrides, truths)
        return asyncio.run(_run(given, patterns, overrides, truths))
    except KraftdError as error:
        told = "; ".join(f"{each.field}: {each.message}" for each in getattr(error, "errors", ()) or ())
        sys.stderr.write(f"backtest: {told or error}\n")
    except (SettingsError, ValueError, KeyError, OSError) as error:
        sys.stderr.write(f"backtest: {error}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.backtest", description=__doc__)
    parser.add_argument("--tenant", help="the tenant whose history is replayed")
    parser.add_argument("--from", dest="start", help="first moment of the range (RFC 3339)")
    parser.add_argument("--to", dest="end", help="end of the range, excluded (RFC 3339)")
    parser.add_argument("--pattern", action="append", help="only this pattern; may be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="PATTERN.PARAMETER=N", help="try another value")
    parser.add_argument("--truth", help="JSON file of the attacks that there were")
    parser.add_argument("--input", help="a log of another system instead of the store")
    parser.add_argument("--map", help="the mapping of that log (TOML)")
    return parser


def _overrides(given: Sequence[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in given:
        name, _, value = each.partition("=")
        pattern, _, parameter = name.partition(".")
        if not parameter or not value.lstrip("-").isdigit():
            raise ValueError(f"--set {each}: is PATTERN.PARAMETER=WHOLE NUMBER")
        found.setdefault(pattern, {})[parameter] = int(value)
    return found


def _patterns(names: Sequence[str] | None) -> Mapping[str, Pattern[Any]]:
    unknown = sorted(set(names or ()) - set(all_patterns()))
    if unknown:
        raise ValueError(f"--pattern {unknown[0]}: is no pattern")
    return {name: each for name, each in all_patterns().items() if not names or name in names}


def _check(
    patterns: Mapping[str, Pattern[Any]], overrides: Mapping[str, Mapping[str, int]], truths: Sequence[Truth]
) -> None:
    """ValueError for parameters and attacks of patterns that nothing is looked at for."""
    for left_out in sorted(overrides.keys() - patterns.keys()):
        raise ValueError(f"--set {left_out}: --pattern leaves it out")
    for unknown in sorted({each.pattern for each in truths} - all_patterns().keys()):
        raise ValueError(f"--truth: {unknown} is no pattern")


def _range(start: str, end: str) -> Span:
    span = Span(parse_rfc3339(start), parse_rfc3339(end))
    if span.start >= span.end:
        raise ValueError("--from has to be before --to")
    try:
        Span(span.start - _AROUND, span.end + _AROUND)
    except OverflowError:
        raise ValueError("--from and --to: have to be within the years 2 to 9998") from None
    return span


async def _run(
    given: argparse.Namespace,
    patterns: Mapping[str, Pattern[Any]],
    overrides: Mapping[str, Mapping[str, int]],
    truths: Sequence[Truth] | None,
) -> int:
    from shared.wiring import build_services

    if not (given.tenant and given.start and given.end):
        raise ValueError("--tenant, --from and --to are required, or --input and --map")
    span = _range(given.start, given.end)
    services = await build_services(load_settings())
    try:
        others = [tenant.id async for tenant in services.directory.tenants()]
        backtest = Backtest(services.store, services.alerts.rules, patterns)
        result = await backtest.run(given.tenant, span, overrides, others, _progress())
        if not result.events and given.tenant not in (PLATFORM_TENANT, *others):
            raise ValueError(f"--tenant {given.tenant}: is not in this store")
        if truths is not None:
            mine = [each for each in truths if _concerns(each, given.tenant, span, patterns)]
            truths = [replace(each, key=await _key(each, services.index)) for each in mine]
    finally:
        await services.close()
    _tell(result, truths)
    return 0


def _concerns(truth: Truth, tenant_id: str, span: Span, patterns: Mapping[str, Pattern[Any]]) -> bool:
    """Whether a backtest has to find an attack, or may."""
    return truth.tenant_id in (None, tenant_id) and truth.pattern in patterns and span.start <= truth.start < span.end


async def _key(truth: Truth, index: BlindIndex) -> str | None:
    """The key that an alert of an attack has: addresses are not stored in clear."""
    return await index.for_address(truth.key, truth.start) if truth.key and is_address(truth.key) else truth.key


def _progress() -> Any:
    last = 0

    def told(read: int) -> None:
        nonlocal last
        if read - last >= PROGRESS_EVERY:
            last = read
            sys.stderr.write(f"{read:,} events read\n")

    return told


def _tell(result: Result, truths: Sequence[Truth] | None) -> None:
    out = sys.stdout.write
    out(f"{result.events:,} events; {len(result.live)} alerts there are, {len(result.today)} with today's parameters\n")
    if result.is_reproduced:
        out("today's parameters reproduce the alerts that there are\n")
    else:
        out("today's parameters do not reproduce the alerts that there are\n")
        for reason, count in (("events were erased", result.erased), ("settings were changed", result.reconfigured)):
            if count:
                out(f"  {count} {reason}: equality cannot be expected\n")
        for alert_id in sorted(result.live.keys() - result.today.keys()):
            out(f"  only there: {alert_id} {result.live[alert_id]['pattern']}\n")
        for alert_id in sorted(result.today.keys() - result.live.keys()):
            out(f"  only replayed: {alert_id} {result.today[alert_id].pattern}\n")
        for alert_id in result.different:
            out(f"  with other evidence: {alert_id} {result.today[alert_id].pattern}\n")
    for sign, found in (("+", result.added), ("-", result.removed)):
        for each in found:
            out(f"{sign} {_line(each)}\n")
    out(f"{len(result.proposed)} alerts with the proposed parameters: {len(result.added)} added,")
    out(f" {len(result.removed)} removed\n")
    _tell_quality(list(result.proposed.values()), truths)


def _tell_quality(found: Sequence[Found], truths: Sequence[Truth] | None) -> None:
    """How right the alerts are; which are not, and which attacks none of them shows."""
    if truths is None:
        return
    out = sys.stdout.write
    needed = [each for each in truths if not each.also]
    precision, recall = precision_and_recall(found, truths)
    out(f"precision {precision:.3f} of {len(found)} alerts, recall {recall:.3f} of {len(needed)} attacks\n")
    for each in found:
        if not any(truth.is_shown_by(each) for truth in truths):
            out(f"  of no attack: {_line(each)}\n")
    for truth in needed:
        if not any(truth.is_shown_by(each) for each in found):
            out(f"  missed: {truth.pattern} {truth.key or 'any key'} {rfc3339(truth.start)} to {rfc3339(truth.end)}\n")


def _line(found: Found) -> str:
    finding = found.finding
    times = f"{rfc3339(finding.first_seen)} to {rfc3339(finding.last_seen)}"
    return f"{found.pattern} {found.key} {finding.severity} {times}, {finding.count} events, {found.alert_id}"


def _evaluate(
    given: argparse.Namespace,
    patterns: Mapping[str, Pattern[Any]],
    overrides: Mapping[str, Mapping[str, int]],
    truths: Sequence[Truth] | None,
) -> int:
    """What the patterns find in a log of another system."""
    if not given.map:
        raise ValueError("--input needs --map")
    with Path(given.input).open(encoding="utf-8-sig", errors="replace") as lines:
        log = imported(lines, read_mapping(Path(given.map)))
    history = History(patterns, {IMPORTED: Rules(thresholds=overrides)})
    history.add(log.events.values())
    found = [each for each in history.alerts() if each.tenant_id == IMPORTED]
    out = sys.stdout.write
    out(f"{log.rows:,} rows: {len(log.events):,} events, {log.repeated:,} repeated, {log.left_out:,} left out,")
    out(f" {log.unreadable:,} unreadable\n")
    for each in found:
        out(f"{_line(each)}\n")
    out(f"{len(found)} alerts\n")
    _tell_quality(found, truths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
