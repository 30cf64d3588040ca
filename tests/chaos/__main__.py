"""`python -m tests.chaos`: clients at work on the real app, faults of every kind, and a judge who counts what was lost.

On loopback alone, and bounded: it ends by itself. Exit code 0: nothing was lost; 1: something was, or the app did not
come back, or a kind of fault could not be injected.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.chaos.app import ROOT
from tests.chaos.campaign import Outcome, run_campaign
from tests.chaos.places import EmbeddedPlace, SharedPlace, embedded, shared
from tests.chaos.report import as_json, as_table

type Opened = Callable[[Path], AbstractContextManager[EmbeddedPlace | SharedPlace]]

PAGE = ROOT / "docs" / "chaos.md"
BEGIN, END = "<!-- a run: written by `python -m tests.chaos --write` -->\n", "<!-- end of the run -->\n"
PLACES: Mapping[str, tuple[Opened, float]] = {"embedded": (embedded, 0.6), "shared": (shared, 0.4)}
"""Each store, and its part of the time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns, print what came of them."""
    options = _parser().parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    sys.stderr.write(f"seed {seed}\n")
    chosen = list(PLACES) if options.store == "both" else [options.store]
    parts = sum(PLACES[name][1] for name in chosen)
    with tempfile.TemporaryDirectory(prefix="kraftd-chaos-") as made:
        folder = Path(made)
        outcomes = [
            _run(name, folder / name, seed, options.seconds * PLACES[name][1] / parts, options.companies)
            for name in chosen
        ]
        if options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    table = as_table(outcomes)
    sys.stdout.write(table)
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes), indent=1) + "\n", encoding="utf-8")
    if options.write:
        before, _, behind = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{behind.partition(END)[2]}", encoding="utf-8")
    return 1 if any(each.lost or each.not_injected for each in outcomes) else 0


def _run(name: str, folder: Path, seed: int, seconds: float, companies: int) -> Outcome:
    folder.mkdir()
    with PLACES[name][0](folder) as place:
        judged = asyncio.run(run_campaign(place, folder, seed=seed, seconds=seconds, companies=companies))
        place.keep(folder / "kept")
    return judged.outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults, and what is lost by them.")
    parser.add_argument(
        "--seconds", type=float, default=150, help="under faults, or until each kind was there; the rest is on top"
    )
    parser.add_argument("--seed", type=int, help="what kinds and order of faults and calls follow from (default: any)")
    parser.add_argument("--store", choices=(*PLACES, "both"), default="both", help="(default: %(default)s)")
    parser.add_argument("--companies", type=int, default=3, help="organizations at work (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep the clients' log, the processes' and the store"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/chaos.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
