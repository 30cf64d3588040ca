"""Pages with shell blocks, read and run: what a reader types, in order, and whether it prints what the page shows.

A fence `sh` is a block. A fence `text` or `json` right behind it holds what the block prints, stdout and stderr,
all of it; a block with none prints nothing. A line in italics right above a block says what else is to be done:

    *In a terminal of its own:*            it serves until the end; what is shown is how its output begins
    *Once the server is stopped:*          Ctrl-C in that terminal comes first
    *Not run by the tests: <reason>.*      only read

What cannot be the same twice is masked on both sides, by MASKS: each kind numbered in the order in which it first comes
on the page, so that the same id is the same everywhere.
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
_SERVES, _STOPPED, _NOT_RUN = "In a terminal of its own:", "Once the server is stopped:", "Not run by the tests: "
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
        r"\b\d+(?= entries\b| different events\b| within the period\b)|(?<=entries 0 to )\d+|(?<=000\.p/)\d+"
        r"|(?<=-\d\d\n)\d+(?=\n)"
    ),
    "fraction": re.compile(r"(?<=\d\d:\d\d:\d\d)\.\d{6}(?=Z)"),
}
"""Ids, secrets, keys, hashes, how many entries the ledger has got to, and the microseconds of a time."""
SHOWN = re.compile(r"\b(\d+) of (\d+)(?= are shown)")
"""Of entries that have personal data: how many are not shown is the same each time."""

type Kind = Literal["run", "serve", "stop", "read"]


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
    elif above == _STOPPED:
        kind = "stop"
    elif above is not None and above.startswith(_NOT_RUN):
        kind, reason = "read", above.removeprefix(_NOT_RUN).rstrip(".")
    elif above is not None:
        raise PageError(f"line {line}: nobody knows what to do for *{above}*")
    return Block(line, command, shown, kind, reason, start)


class Masks:
    """Texts of one side without what differs from run to run."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def masked(self, text: str) -> str:
        """The text with `<kind number>` in place of everything that MASKS find; trailing blanks do not count."""
        text = SHOWN.sub(lambda match: f"all but {int(match[2]) - int(match[1])}", text)
        for kind, pattern in MASKS.items():
            text = pattern.sub(partial(self._name, kind), text)
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

    def _name(self, kind: str, match: re.Match[str]) -> str:
        value = match[0]
        if kind in ("entries", "fraction"):  # which may be equal, or not, by chance
            return f"<{kind}>"
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
        printed = self._serve(command) if block.kind == "serve" else self._typed(command)
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

    def _serve(self, command: str) -> str:
        if self._server is not None:
            raise PageError("a second server")
        log = self._scratch / "server.out"
        with log.open("wb") as out:
            self._server = subprocess.Popen(  # noqa: S603 - see above
                [self._name, "-euc", command],
                cwd=self._folder,
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


def differences(block: Block, printed: str, shown_masks: Masks, printed_masks: Masks) -> str | None:
    """How what a block printed differs from what its page shows; None when it does not."""
    shown = block.shown or ""
    wanted = shown_masks.masked(shown)
    if block.kind == "serve":
        printed = "".join(printed.splitlines(keepends=True)[: len(shown.splitlines())])
    got = printed_masks.masked(printed)
    return None if got == wanted else f"line {block.line}:\n{block.command}\nshown:\n{wanted}\n\nprinted:\n{got}"


def written(text: str, outputs: list[tuple[Block, str]]) -> str:
    """A page with other outputs, for whoever changed it on purpose; a block without one gets none."""
    for block, printed in reversed(outputs):
        if block.shown is not None and block.kind != "serve":
            text = text[: block.start] + printed.strip("\n") + "\n" + text[block.start + len(block.shown) :]
    return text
