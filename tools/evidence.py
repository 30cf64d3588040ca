"""`python -m tools.evidence`: all parts of an evidence bundle, over HTTP, into a folder.

    KRAFTD_TOKEN=… python -m tools.evidence --url https://audit.example.com --from 2026-01-01 --to 2026-04-01 -o FOLDER

FOLDER must be empty or not there yet; it has part-00001.zip, part-00002.zip and so on when the command is done, and
only whole parts at any time. Parts of two bundles do not join: a run that was cut off begins anew, in another folder.
Exit code 0: the bundle is whole; 1: it was refused; 2: wrong usage; 3: it was cut off.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tools.export.__main__ import TOKEN, checked_url, read_token
from tools.export.errors import CursorOver, CutOff, Refused
from tools.export.walk import Source

PATH = "/api/v1/ledger/bundle"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evidence", description="Fetch an evidence bundle.", allow_abbrev=False
    )
    parser.add_argument("--url", required=True, help="address of the service, such as https://audit.example.com")
    parser.add_argument("--from", dest="start", required=True, metavar="DAY", help="the first day, YYYY-MM-DD")
    parser.add_argument("--to", dest="end", required=True, metavar="DAY", help="the day behind the last one")
    parser.add_argument("--without-personal", action="store_true", help="leave personal data out")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to; empty, or not there yet")
    parser.add_argument("--token-file", metavar="FILE", help=f"file with the token, instead of the variable {TOKEN}")
    parser.add_argument("--retries", type=int, default=10, help="how often to try for one part (default: 10)")
    return parser


def run(options: argparse.Namespace, **client: Any) -> list[Path]:
    """Fetch; the files of the parts. Refused, CutOff."""
    url, token = checked_url(options.url, PATH), read_token(options.token_file)
    folder = Path(options.output)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Refused("--output: the folder is not empty")
    asked = {"from": options.start, "to": options.end} | ({"personal": "false"} if options.without_personal else {})
    query: str | None = str(httpx.QueryParams(asked))
    parts: list[Path] = []
    with Source(url, token, options.retries, **client) as source:
        while query is not None:
            try:
                received = source.part(query)
            except CursorOver:
                raise CutOff("the service does not know the place any more") from None
            parts.append(folder / f"part-{len(parts) + 1:05d}.zip")
            _write(parts[-1], received.body)
            query = received.next
    return parts


def _write(path: Path, body: bytes) -> None:
    """A file that is there only when it is whole, readable by its owner."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def main(arguments: Sequence[str] | None = None, **client: Any) -> int:
    """Run the command; see the module for its exit codes. `client`: what `Source` takes besides."""
    options = _parser().parse_args(arguments)
    try:
        parts = run(options, **client)
    except Refused as refusal:
        return _said(str(refusal), 1)
    except CutOff as error:
        return _said(f"{error}; begin anew in another folder", 3)
    except KeyboardInterrupt:
        return _said("stopped; begin anew in another folder", 3)
    except OSError as error:
        return _said(f"{error.strerror or type(error).__name__}: {error.filename or options.output}", 3)
    return _said(f"{len(parts)} part{'s' * (len(parts) != 1)} in {options.output}", 0)


def _said(message: str, code: int) -> int:
    sys.stderr.write(f"evidence: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
