"""`python -m devhost.smoke --url URL`: whether a deployment does its main work, seen from outside.

It founds an organization of its own with random names, walks the eleven monitored endpoints, makes an attack and waits
for its alert, checks the proof of an event offline, reads a report, and removes what the API can remove, also when a
step fails or it is interrupted. It prints what it saw of each step and what stays behind; it prints no secret.

With SMOKE_EMAIL and SMOKE_PASSWORD in the environment it uses an organization that is kept for this instead, of which
that is a tenant_admin without a second factor; its first run registers it. From the next day on there is a report.

Exit code: 0 all is well; 1 a check failed, which is named; 2 nobody answered, or bad arguments; 130 and 143 when it was
interrupted or ended.
"""

import argparse
import json
import math
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import httpx

from devhost.smoke.deployment import Deadline, Deployment, base_url
from devhost.smoke.people import Person, Token
from devhost.smoke.run import FAILED, Outcome, Row, client, run
from devhost.smoke.walk import Walk

INTERRUPTED, ENDED = 130, 143


def main(
    arguments: Sequence[str] | None = None,
    *,
    transport: httpx.BaseTransport | None = None,
    deadline: Deadline | None = None,
    token: Token = secrets.token_hex,
) -> int:
    """Run it, and print what came of it. `transport`, `deadline` and `token` are for tests."""
    options = _parser().parse_args(arguments)
    outcome = Outcome(options.url)
    try:
        kept = _kept(os.environ)
    except ValueError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 2
    try:
        with client(options.url, transport) as http:
            at = Deployment(http, deadline or Deadline(options.timeout))
            run(Walk(at, token, Teller(), kept), outcome)
    except KeyboardInterrupt:
        outcome.exit_code = INTERRUPTED
    except SystemExit:
        outcome.exit_code = ENDED
    print(_as_json(outcome) if options.json else _as_table(outcome))
    return outcome.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.smoke", description="Check a deployment from outside, over its public API."
    )
    parser.add_argument(
        "--url",
        required=True,
        type=_url,
        help="the deployment, https://host (/api is added), or up to where /v1 begins; http on this machine only",
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=180.0, metavar="SECONDS",
        help="for everything, cold start and waiting included, but the cleanup (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def _kept(environment: Mapping[str, str]) -> Person | None:
    """The administrator whom the environment names. ValueError when it names half of one."""
    email, password = (environment.get(name, "") for name in ("SMOKE_EMAIL", "SMOKE_PASSWORD"))
    if bool(email) != bool(password):
        raise ValueError("SMOKE_EMAIL goes with SMOKE_PASSWORD")
    return Person(email, password) if email else None


def _url(text: str) -> str:
    try:
        return base_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    """At most ten minutes: an access token lives for fifteen."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError("is not a number of seconds from 1 to 600")
    return value


class Teller:
    """Tells on standard error what is waited for, each thing once."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, text: str) -> None:
        """Tell it, unless it is what was told last."""
        if text != self._told:
            self._told = text
            print(f"smoke: {text}", file=sys.stderr)


def _as_table(outcome: Outcome) -> str:
    width = max(len(row.step) for row in outcome.steps + outcome.cleanup)
    lines = [_line(row, width) for row in outcome.steps]
    if outcome.cleanup:
        lines += ["", "Removed afterwards", *(_line(row, width) for row in outcome.cleanup)]
    if outcome.remains:
        lines += ["", "What stays", *(f"  {each}" for each in outcome.remains)]
    failed = [row.step for row in outcome.steps + outcome.cleanup if row.result == FAILED]
    verdict = f"failed at {', '.join(failed)}" if failed else "all is well"
    return "\n".join([*lines, "", f"{outcome.url}: {verdict}"])


def _line(row: Row, width: int) -> str:
    time = "" if row.milliseconds is None else f"{row.milliseconds:,} ms"
    return f"{row.step:<{width}}  {row.result:<7}  {time:>10}  {row.seen}".rstrip()


def _as_json(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome), indent=2)


def _end(*_: object) -> None:
    sys.exit(ENDED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)  # so that what was made is removed then, too
    sys.exit(main())
