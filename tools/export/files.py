"""Where an export goes: a file that is there only when it is whole, or standard output.

FILE.part holds the parts received; FILE.part.json says up to which byte they count and where to go on. The bytes are on
the disk before the word about them is, and that word is replaced as a whole: whatever is cut off where, what counts is
whole parts. Both are readable by their owner only.
"""

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from tools.export.errors import Refused

_OWNER_ONLY = 0o600


class Output(Protocol):
    """Takes an export part by part. `next`: the query of the part to go on with; `last_id`: the last event in it;
    `whole`: nothing is left to be asked for."""

    rows: int
    size: int
    next: str | None
    last_id: str | None
    whole: bool

    def add(self, body: bytes, rows: int, following: str | None, last_id: str | None) -> None:
        """Keep one whole part."""
        ...

    def finish(self) -> None:
        """The export is whole."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Standard:
    """Standard output: what was written cannot be taken back, so a part is written when it is whole."""

    def __init__(self, stream: BinaryIO) -> None:
        self.rows, self.size = 0, 0
        self.next: str | None = None
        self.last_id: str | None = None
        self.whole = False
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def add(self, body: bytes, rows: int, following: str | None, last_id: str | None) -> None:
        """Write one whole part."""
        self._stream.write(body)
        self._stream.flush()
        self.rows += rows
        self.size += len(body)
        self.next, self.last_id = following, last_id

    def finish(self) -> None:
        """Nothing is left to do."""


class PartFile:
    """A file under way."""

    def __init__(self, path: Path, identity: dict[str, Any], *, restart: bool) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._state = path.with_name(path.name + ".part.json")
        self._identity = identity
        self._file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY), "r+b")
        try:
            self._lock()
            held = {} if restart else self._held()
            self.rows: int = held.get("rows", 0)
            self.size: int = held.get("bytes", 0)
            self.next: str | None = held.get("next")
            self.last_id: str | None = held.get("last_id")
            self.whole: bool = held.get("whole", False)
            self._file.truncate(self.size)
            self._file.seek(self.size)
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def open(cls, path: Path, identity: dict[str, Any], *, overwrite: bool, restart: bool) -> Self:
        """The file under way to `path`, as far as it got. Refused when `path` is there, or it is of another export."""
        if path.exists() and not overwrite:
            raise Refused(f"{path} is there already (see --overwrite)")
        return cls(path, identity, restart=restart)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, body: bytes, rows: int, following: str | None, last_id: str | None) -> None:
        """Keep one whole part, and then the word about it."""
        self._file.write(body)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows += rows
        self.size += len(body)
        self.next, self.last_id, self.whole = following, last_id, following is None
        self._write_state()

    def finish(self) -> None:
        """Give the file its name."""
        os.replace(self._part, self._path)
        self._sync_folder()
        self._state.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"{self._part} is being written by another run") from None

    def _held(self) -> dict[str, Any]:
        """What the file says of itself; nothing without a word, or with fewer bytes than it speaks of."""
        try:
            held: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
            size, identity = held["bytes"], held["asked"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            raise Refused(f"{self._state} cannot be read (see --restart)") from None
        if identity != self._identity:
            raise Refused(f"{self._part} is of another export (see --restart)")
        return held if os.fstat(self._file.fileno()).st_size >= size else {}

    def _write_state(self) -> None:
        state = {
            "asked": self._identity,
            "bytes": self.size,
            "rows": self.rows,
            "next": self.next,
            "last_id": self.last_id,
            "whole": self.whole,
        }
        fresh = self._state.with_name(self._state.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w", encoding="utf-8"
        ) as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._state)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
