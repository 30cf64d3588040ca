"""Pages with shell blocks, read and run: what a reader types, in order, and whether it prints what the page shows.

A fence `sh` is a block. A fence `text` or `json` right behind it holds what the block prints, stdout and stderr,
all of it; a block with none prints nothing. A line in italics right above a block says what else is to be done:

    *In a terminal of its own:*            it serves until the end; what is shown is how its output begins
    *In a terminal of its own, in the folder that you cloned in:*    the same, from the folder above
    *Once the server is stopped:*          Ctrl-C in that terminal comes first
    *Not run by the tests: <reason>.*      only read

What cannot be the same twice is masked on both sides, by MASKS: each kind numbered in the order in which it first comes
on the page, so that the same id is the same everywhere. Numbers that differ by a little are masked, and then have to be
near those of the page (`is_near`), and not to contradict one another (`contradictions`).
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

PORT = "7071"
"""What pages call the port; they are run on a free one."""
_BLOCK = re.compile(
    r"(?:^\*([^*\n]+)\*\n\n?)?^```(\w*)\n(.*?)^```$(\n\n?(?=```(?:text|json)$))?", re.MULTILINE | re.DOTALL
)
CLONE = "kraftd-audit"
"""What pages call the folder of the project."""
_SERVES, _STOPPED, _NOT_RUN = "In a terminal of its own:", "Once the server is stopped:", "Not run by the tests: "
_SERVES_ABOVE = "In a terminal of its own, in the folder that you cloned in:"
_START_SECONDS, _BLOCK_SECONDS = 60.0, 60.0
MASKS = {
    "token": re.compile(r"\b(?:kak_|ki_|kr_|eyJ)[A-Za-z0-9._-]{20,}"),
    "key": re.compile(r"(?<=\+)[0-9a-f]{8}\+[A-Za-z0-9+/]{44}(?![A-Za-z0-9+/=])"),  # of a vkey: its short id and itself
    "id": re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    "digest": re.compile(
        r"\b[0-9a-f]{64}\b|\b[0-9a-f]{16}(?=…)"
        r"|(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{90,}={0,2})(?![A-Za-z0-9+/=])"
    ),
    "entries": re.compile(
        r"\b\d+(?= entries\b| different events\b)|(?<=entries 0 to )\d+|(?<=000\.p/)\d+|(?<=-\d\d\n)\d+(?=\n)"
    ),
    "fraction": re.compile(r"(?<=\d\d:\d\d:\d\d\.)\d{6}(?=Z)"),
}
"""Ids, secrets, keys, hashes, how many entries the ledger has got to, and the microseconds of a time."""
NUMBERS = ("entries", "fraction")
"""Those which may be equal, or not, by chance."""
SHOWN = re.compile(r"\b(\d+) of (\d+)(?= are shown)")
"""Of entries that have personal data: how many are not shown is the same each time."""
ALL_WITHIN = re.compile(r"\b(\d+)( different events\b[^;\n]*; )\1(?= within the period\b)")
"""A period that is not over. Of one that is over it is the same each time how many events are within."""
_CHECKPOINT = re.compile(r": signed checkpoint +OK +(\d+) entries\b")
_END_OF_BUNDLE = "Everything in this bundle"
_OF_CHECKPOINT = re.compile(r"\bentries 0 to (\d+) give|\b(\d+) different events\b")
_AT_MOST = re.compile(
    r"\bhad (\d+) entries then\b|\bfirst (\d+) entries\b|\b(\d+) within the period\b|\b\d+ of (\d+) are shown"
)

type Kind = Literal["run", "serve", "serve above", "stop", "read"]


@dataclass(frozen=True, slots=True)
class Block:
    """What is typed, and what is shown of it, None without a fence. `start`: where in the page what is shown begins."""

    line: int
    command: str
    shown: str | None
    kind: Kind
    reason: str
    start: int


class PageError(Exception):
    """A page that is not of this form, or a block that could not be run."""


def blocks_of(text: str) -> list[Block]:
    """The blocks of a page in their order. PageError for output without a block, and for an unknown line above one."""
    found: list[Block] = []
    waiting: tuple[int, str, str] | None = None
    for match in _BLOCK.finditer(text):
        above, language, body, followed = match.groups()
        line = text.count("\n", 0, match.start(2)) + 1
        if language == "sh":
            if not followed:
                found.append(_block(line, above, body, None, match.end(3)))
            waiting = (line, above, body) if followed else None
        elif language in ("text", "json"):
            if waiting is None:
                raise PageError(f"line {line}: output of no block")
            found.append(_block(*waiting, body, match.start(3)))
            waiting = None
        else:
            raise PageError(f"line {line}: neither a block of sh nor its output")
    return found


def _block(line: int, above: str | None, command: str, shown: str | None, start: int) -> Block:
    kind: Kind = "run"
    reason = ""
    if above == _SERVES:
        kind = "serve"
    elif above == _SERVES_ABOVE:
        kind = "serve above"
    elif above == _STOPPED:
        kind = "stop"
    elif above is not None and above.startswith(_NOT_RUN):
        kind, reason = "read", above.removeprefix(_NOT_RUN).rstrip(".")
    elif above is not None:
        raise PageError(f"line {line}: nobody knows what to do for *{above}*")
    return Block(line, command, shown, kind, reason, start)


type Number = tuple[str, int]
"""Of which kind of mask, and the value."""


def is_near(shown: Number, printed: Number) -> bool:
    """Whether a number may stand for one of the page: a few entries more or less, microseconds within ten times."""
    kind, value = shown
    if kind == "fraction":
        return max(1, value / 10) <= printed[1] <= max(1, value) * 10
    return printed[1] >= 1 and abs(printed[1] - value) <= max(5, value // 5)


def contradictions(text: str) -> list[str]:
    """Lines of the verifier that say something else than its line on the signed checkpoint of the month."""
    found: list[str] = []
    waiting: list[tuple[str, int]] = []
    entries: int | None = None
    for line in text.splitlines():
        signed = _CHECKPOINT.search(line)
        entries = int(signed[1]) if signed else entries
        for match in _OF_CHECKPOINT.finditer(line):
            if entries is not None and entries != (int(match[2]) if match[2] else int(match[1]) + 1):
                found.append(line)
        waiting += [(line, int(next(filter(None, match.groups())))) for match in _AT_MOST.finditer(line)]
        if line.startswith(_END_OF_BUNDLE):  # what follows is of another one
            entries = None
            waiting.clear()
        if entries is not None:
            found += [each for each, most in waiting if most > entries]
            waiting.clear()
    return found


def _taken(kind: str, numbers: list[Number], match: re.Match[str]) -> str:
    numbers.append((kind, int(match[1] if match.re is ALL_WITHIN else match[0])))
    return f"<{kind}>"


def _but(numbers: list[Number], match: re.Match[str]) -> str:
    few, all_ = int(match[1]), int(match[2])
    numbers += [("entries", few), ("entries", all_)]
    return f"all but {all_ - few}"


class Masks:
    """Texts of one side without what differs from run to run."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def masked(self, text: str) -> tuple[str, list[Number]]:
        """The text with `<kind number>` in place of everything that MASKS find; trailing blanks do not count. And the
        numbers that were taken out."""
        numbers: list[Number] = []
        text = SHOWN.sub(partial(_but, numbers), text)
        text = ALL_WITHIN.sub(lambda match: f"{match[1]}{match[2]}{_taken('entries', numbers, match)}", text)
        for kind, pattern in MASKS.items():
            text = pattern.sub(partial(_taken if kind in NUMBERS else self._name, kind, numbers), text)
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()), numbers

    def _name(self, kind: str, _: list[Number], match: re.Match[str]) -> str:
        value = match[0]
        if value not in self._names:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            self._names[value] = f"<{kind} {self._numbers[kind]}>"
        return self._names[value]


def fresh_copy(root: Path, target: Path) -> None:
    """The files of a project that are in version control, or would be, and its environment: as a clone has them."""
    git = shutil.which("git")
    if git is None:
        raise PageError("git is needed to tell which files belong to the project")
    listed = subprocess.run(  # noqa: S603 - git itself
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, check=True
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        source = root / name
        if source.is_file() and not source.is_symlink():  # not what was deleted and is not committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    (target / ".venv").symlink_to(sys.prefix)


class Terminal:
    """A shell in a folder that keeps its variables from block to block, and at most one server beside it."""

    def __init__(self, folder: Path, scratch: Path, shell: str = "sh") -> None:
        self._folder, self._scratch, self._name = folder, scratch, shell
        self._port = _free_port()
        keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
        self._environment = {name: os.environ[name] for name in keep if name in os.environ}
        self._environment |= {"MAKEFLAGS": f"PORT={self._port}", "NO_PROXY": "*"}
        self._shell: subprocess.Popen[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._count = 0

    def run(self, block: Block) -> str:
        """What a block prints. PageError when it fails, or takes too long."""
        if block.kind == "stop":
            self.interrupt()
        command = block.command.replace(PORT, str(self._port))
        if is_serving(block):
            printed = self._serve(command, self._folder if block.kind == "serve" else self._folder.parent)
        else:
            printed = self._typed(command)
        return printed.replace(str(self._port), PORT)

    def _typed(self, command: str) -> str:
        if self._shell is None:
            self._shell = self._opened()
        self._count += 1
        paths = {name: self._scratch / f"{self._count}.{name}" for name in ("sh", "out", "done")}
        paths["sh"].write_text(command, encoding="utf-8")
        line = ". '{sh}' </dev/null >'{out}' 2>&1; : >'{done}'\n".format(**paths)
        if self._shell.stdin is None:
            raise PageError("the shell has no input")
        self._shell.stdin.write(line)
        self._shell.stdin.flush()
        until = time.monotonic() + _BLOCK_SECONDS
        while not paths["done"].exists():
            ended = self._shell.poll() is not None
            if (ended or time.monotonic() > until) and not paths["done"].exists():
                said = paths["out"].read_text(encoding="utf-8", errors="replace") if paths["out"].exists() else ""
                raise PageError(f"{'failed' if ended else 'did not end'}:\n{command}\nprinted:\n{said}")
            time.sleep(0.02)
        return paths["out"].read_text(encoding="utf-8")

    def _opened(self) -> subprocess.Popen[str]:
        """A shell that ends at the first command that fails."""
        return subprocess.Popen(  # noqa: S603 - a shell, for the project's own pages
            [self._name, "-eu"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _serve(self, command: str, folder: Path) -> str:
        if self._server is not None:
            raise PageError("a second server")
        log = self._scratch / "server.out"
        with log.open("wb") as out:
            self._server = subprocess.Popen(  # noqa: S603 - see above
                [self._name, "-euc", command],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        while not _is_ready(f"http://127.0.0.1:{self._port}/api/v1/health/ready"):
            if self._server.poll() is not None or time.monotonic() > until:
                raise PageError(f"it does not serve:\n{log.read_text(encoding='utf-8', errors='replace')}")
            time.sleep(0.1)
        return log.read_text(encoding="utf-8")

    def interrupt(self) -> None:
        """Ctrl-C in the server's terminal, and wait for its end."""
        if self._server is not None:
            _end(self._server, signal.SIGINT)
            self._server = None

    def close(self) -> None:
        """End what was begun."""
        self.interrupt()
        if self._shell is not None:
            if self._shell.stdin is not None:
                self._shell.stdin.close()
            _end(self._shell, signal.SIGHUP)


@contextmanager
def terminal(folder: Path, scratch: Path, shell: str = "sh") -> Iterator[Terminal]:
    """A terminal in a folder; what runs in it is ended on the way out."""
    opened = Terminal(folder, scratch, shell)
    try:
        yield opened
    finally:
        opened.close()


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes], number: int) -> None:
    """End a process and its children: each has a group of its own."""
    try:
        os.killpg(process.pid, number)
        process.wait(_START_SECONDS)
    except ProcessLookupError:
        process.wait()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - this machine
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def is_serving(block: Block) -> bool:
    """Whether it serves until the end."""
    return block.kind.startswith("serve")


def differences(block: Block, printed: str, shown_masks: Masks, printed_masks: Masks) -> str | None:
    """How what a block printed differs from what its page shows; None when it does not."""
    shown = block.shown or ""
    wanted, numbers = shown_masks.masked(shown)
    if is_serving(block):
        printed = "".join(printed.splitlines(keepends=True)[: len(shown.splitlines())])
    got, others = printed_masks.masked(printed)
    if got == wanted:
        far = [(a, b) for a, b in zip(numbers, others, strict=True) if not is_near(a, b)]
        wrong = [f"{a[1]} is shown, {b[1]} printed ({a[0]})" for a, b in far] + contradictions(printed)
        return f"line {block.line}:\n{block.command}\n" + "\n".join(wrong) if wrong else None
    return f"line {block.line}:\n{block.command}\nshown:\n{wanted}\n\nprinted:\n{got}"


def written(text: str, outputs: list[tuple[Block, str]]) -> str:
    """A page with other outputs, for whoever changed it on purpose; a block without one gets none."""
    for block, printed in reversed(outputs):
        if block.shown is not None and not is_serving(block):
            text = text[: block.start] + printed.strip("\n") + "\n" + text[block.start + len(block.shown) :]
    return text
