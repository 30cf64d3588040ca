"""`python -m tools.export`: a whole copy of a trail in one file, over HTTP, part by part with flat memory.

    KRAFTD_TOKEN=… python -m tools.export --url https://audit.example.com --format csv -o trail.csv

What was received is in FILE.part until the copy is whole; a run that was cut off goes on there when it is started again
with the same arguments. The token comes from the variable KRAFTD_TOKEN or from a file, never from the command line,
which other users of a machine can read. Exit code 0: the copy is whole; 1: it was refused; 2: wrong usage; 3: it was
cut off, and the same command goes on.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from shared.core.clock import SystemClock, parse_rfc3339
from tools.export.errors import CutOff, Refused
from tools.export.files import Output, PartFile, Standard
from tools.export.progress import Progress
from tools.export.walk import Source, walk

TOKEN = "KRAFTD_TOKEN"  # noqa: S105 - the name of the variable
PATH = "/api/v1/events/export"
FORMATS = ("csv", "jsonl", "ocsf")
FILTERS: dict[str, str] = {
    "type": "an event type, or a family such as auth.*; may be given several times",
    "outcome": "success, failure, denied or error",
    "severity": "info, low, medium, high or critical",
    "actor": "id of who did it",
    "target": "id of what it was done to",
    "subject": "id of a person concerned",
    "ip": "address it came from",
    "email": "e-mail of the actor or the target",
    "data_class": "none, personal, confidential, phi or cardholder",
    "from": "recorded at or after this RFC 3339 time",
    "to": "recorded before this RFC 3339 time; the present, if not given",
}
"""Every filter of the API: its option is its name."""


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The query of the first part."""
    given = {name: getattr(options, name) for name in FILTERS}
    return {"format": options.format, **{name: value for name, value in given.items() if value}}


def checked_url(text: str, path: str = PATH) -> httpx.URL:
    """The address of a path of the service, that of the export unless another is given.

    Refused where the token would travel in clear, or the address carries secrets.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise Refused("--url: not an address") from None
    if url.userinfo or url.query or url.fragment:
        raise Refused("--url: the address of the service and nothing else")
    here = url.host in ("localhost", "127.0.0.1", "::1")
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and here)):
        raise Refused("--url: https, or http to this machine")
    base = url.path.rstrip("/").removesuffix("/api")
    return url.copy_with(path=base + path)


def read_token(file: str | None) -> str:
    """The access token or API key. Refused when there is none, or it is none."""
    try:
        text = Path(file).read_text(encoding="ascii") if file else os.environ.get(TOKEN, "")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"--token-file: {type(error).__name__}") from None
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(f"a token, in {TOKEN} or in the file that --token-file names")
    return token


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.export", description="Copy an audit trail into a file.", allow_abbrev=False
    )
    parser.add_argument("--url", required=True, help="address of the service, such as https://audit.example.com")
    parser.add_argument("--format", choices=FORMATS, default="jsonl")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to; - for standard output")
    parser.add_argument("--token-file", metavar="FILE", help=f"file with the token, instead of the variable {TOKEN}")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--restart", action="store_true", help="forget what FILE.part holds")
    parser.add_argument("--retries", type=int, default=10, help="how often to try for one part (default: 10)")
    for name, text in FILTERS.items():
        several = {"action": "append"} if name == "type" else {}
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=text, **several)  # type: ignore[arg-type]
    return parser


def _until(options: argparse.Namespace, now: datetime) -> datetime:
    try:
        return min(now, parse_rfc3339(options.to)) if options.to else now
    except ValueError:
        raise Refused("--to: an RFC 3339 time such as 2026-01-31T00:00:00Z") from None


def run(options: argparse.Namespace, **client: Any) -> None:
    """Copy. Refused, CutOff."""
    url, token = checked_url(options.url), read_token(options.token_file)
    question = asked(options)
    progress = Progress(sys.stderr, _until(options, SystemClock().now()))
    made: Output
    if options.output == "-":
        made = Standard(sys.stdout.buffer)
    else:
        identity = {"url": str(url), **question}
        made = PartFile.open(Path(options.output), identity, overwrite=options.overwrite, restart=options.restart)
    with made as output, Source(url, token, options.retries, **client) as source:
        walk(source, output, question, progress)
    progress.done(output.rows, output.size)


def main(arguments: Sequence[str] | None = None, **client: Any) -> int:
    """Run the command; see the module for its exit codes. `client`: what `Source` takes besides."""
    options = _parser().parse_args(arguments)
    try:
        run(options, **client)
    except Refused as refusal:
        return _failed(str(refusal), 1)
    except CutOff as error:
        return _failed(f"{error}; the same command goes on", 3)
    except KeyboardInterrupt:
        return _failed("stopped; the same command goes on", 3)
    except OSError as error:
        return _failed(f"{error.strerror or type(error).__name__}: {error.filename or options.output}", 3)
    return 0


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"export: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
