"""What sign-ins do to everybody else: `python -m bench.sign_in` (some forty seconds, in a temporary folder).

GET /profile over a few connections, alone and while eight connections sign in without a pause, in rounds that alternate
on one real `python -m devhost` process. A sign-in costs 20 ms or more of a core on purpose (argon2id); the aim is that
the p99 of the others stays within three times what it is alone.
"""

import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from bench._figures import figure, table
from bench._load import Load, drive
from bench._servers import ROOT, devhost
from bench.requests import register, wires

ROUNDS = 5
SECONDS = 3.0
PROFILES, LOGINS = 4, 8
RATIO_AIM = 3.0


def run(data: str) -> tuple[list[Load], list[Load], list[Load]]:
    """The rounds of GET /profile alone, of GET /profile beside sign-ins, and of those sign-ins."""
    alone: list[Load] = []
    beside: list[Load] = []
    logins: list[Load] = []
    with devhost(ROOT, data) as app, ThreadPoolExecutor(1) as other:
        by_call = wires([register(app, number) for number in range(LOGINS)])
        for number in range(ROUNDS + 1):
            first = drive(app.port, by_call["profile"], connections=PROFILES, seconds=SECONDS)
            signing_in = other.submit(drive, app.port, by_call["login"], connections=LOGINS, seconds=SECONDS + 1)
            second = drive(app.port, by_call["profile"], connections=PROFILES, seconds=SECONDS)
            third = signing_in.result()
            if number:  # round 0 warms up
                alone.append(first)
                beside.append(second)
                logins.append(third)
    for each in (*alone, *beside, *logins):
        if set(each.statuses) != {"200"}:
            raise RuntimeError(f"answers other than 200: {each.statuses}")
    return alone, beside, logins


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="kraftd-bench-") as data:
        alone, beside, logins = run(data)
    ratio = statistics.median(b.p99_ms / a.p99_ms for a, b in zip(alone, beside, strict=True))
    figures = [
        ("profile_p50_alone", statistics.median(each.p50_ms for each in alone), "ms"),
        ("profile_p99_alone", statistics.median(each.p99_ms for each in alone), "ms"),
        ("profile_p50_beside_logins", statistics.median(each.p50_ms for each in beside), "ms"),
        ("profile_p99_beside_logins", statistics.median(each.p99_ms for each in beside), "ms"),
        ("profile_p99_ratio", ratio, "ratio"),
        ("logins_per_second", statistics.median(each.per_second for each in logins), "1/s"),
    ]
    table([(name, f"{value:,.2f} {unit}") for name, value, unit in figures])
    print(f"aim: p99 beside {LOGINS} sign-ins <= {RATIO_AIM} of alone: {'met' if ratio <= RATIO_AIM else 'missed'}")
    for name, value, unit in figures:
        figure("sign_in", name, value, unit, profile_connections=PROFILES, login_connections=LOGINS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
