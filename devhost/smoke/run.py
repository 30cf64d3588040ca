"""The run: step by step until one fails, and away with whatever was made, whatever happened."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from devhost.smoke.deployment import ANSWER_SECONDS, Deployment, Unreachable, Wrong
from devhost.smoke.steps import STEPS
from devhost.smoke.walk import Partly, Walk

CLEANUP_SECONDS = 60.0
OK, PARTLY, FAILED, SKIPPED = "ok", "partly", "FAILED", "not run"


@dataclass(frozen=True, slots=True)
class Row:
    """One step, and how it went. `milliseconds` is None of one that did not run."""

    step: str
    result: str
    milliseconds: int | None = None
    seen: str = ""


@dataclass(slots=True)
class Outcome:
    """All that came of a run. `exit_code`: 0 all is well, 1 a check failed, 2 there was nobody to check."""

    url: str
    steps: list[Row] = field(default_factory=list)
    cleanup: list[Row] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    version: str = ""
    exit_code: int = 0


def run(walk: Walk, outcome: Outcome) -> None:
    """Walk all the steps. `outcome` is filled in as it goes, and is whole also when KeyboardInterrupt or SystemExit
    end the walk: they are raised again after the cleanup."""
    try:
        for row in _walked(walk, outcome):
            outcome.steps.append(row)
    finally:
        outcome.version = walk.version
        done = {row.step for row in outcome.steps}
        outcome.steps += [Row(name, SKIPPED) for name, _ in STEPS if name not in done]
        _clean_up(walk, outcome)
        outcome.remains += _remains(walk, outcome)


def _walked(walk: Walk, outcome: Outcome) -> Iterator[Row]:
    for name, step in STEPS:
        start = walk.at.deadline.now()
        try:
            seen = step(walk)
        except (Wrong, Unreachable) as error:
            outcome.exit_code = 2 if isinstance(error, Unreachable) else 1
            yield Row(name, FAILED, _since(start, walk), str(error))
            return
        except (KeyboardInterrupt, SystemExit):
            outcome.exit_code = 1
            yield Row(name, FAILED, _since(start, walk), "interrupted")
            raise
        yield Row(name, PARTLY if isinstance(seen, Partly) else OK, _since(start, walk), seen)


def _since(start: float, walk: Walk) -> int:
    return round((walk.at.deadline.now() - start) * 1000)


def _clean_up(walk: Walk, outcome: Outcome) -> None:
    """Remove what was made and is still there, the newest first; what cannot be removed is told."""
    at = Deployment(walk.at.http, walk.at.deadline.renewed(CLEANUP_SECONDS))
    while (newest := walk.made.newest()) is not None:
        name, remove = newest
        start = at.deadline.now()
        try:
            remove(at)
        except (Wrong, Unreachable) as error:
            outcome.exit_code = outcome.exit_code or 1
            outcome.remains.append(f"{name}: {error}")
            result, seen = FAILED, str(error)
        else:
            result, seen = OK, "removed"
        outcome.cleanup.append(Row(name, result, round((at.deadline.now() - start) * 1000), seen))


def _remains(walk: Walk, outcome: Outcome) -> Iterator[str]:
    """What no call of the API removes."""
    founder = walk.founder
    if founder.tenant_id and walk.is_kept:
        yield f"organization {founder.tenant_id}, which is kept for the next run, with its trail, alerts and reports"
    elif founder.tenant_id:
        yield (
            f"organization {founder.tenant_id}: its first account ({founder.email}, whose password nobody knows), its "
            "trail and its alert. The API removes none of them; `python -m tools.operator suspend-tenant "
            f"{founder.tenant_id}` closes it"
        )
    elif any(row.step == "POST /register" and row.result == FAILED for row in outcome.steps):
        yield f"perhaps an organization that {founder.email} founded: nobody knows whether it was made"


def client(url: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """The client of a deployment. TLS is verified against the certificates of the system, and of SSL_CERT_FILE."""
    return httpx.Client(base_url=url, timeout=ANSWER_SECONDS, transport=transport, headers={"User-Agent": "smoke"})
