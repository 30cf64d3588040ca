"""The embedded adapter of the secrets port: files of mode 0600, made on first use.

Rotating: put 32 random bytes beside the others as `tokens.v2` (mode 0600 from the start: `umask 077`). The running app
sees it within two minutes and signs with it after SETTLING; `tokens.v1` verifies until its file is deleted. A file is
never changed: what it held is what its version means. A version of `index` is used only
once a command said so (docs/secrets.md).
"""

import os
import re
import secrets as random_source
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.core.clock import Clock, SystemClock
from shared.privacy._held_versions import HeldVersions, Loaded
from shared.privacy.secrets import LOCAL_ROOTS, ROOT_BYTES, RootName, SecretsError, SecretVersion
from shared.telemetry import get_log

_VERSION = re.compile(r"v[1-9][0-9]{0,8}")

_log = get_log(__name__)


class FileSecrets:
    """Root secrets as files `<folder>/<name>.v<N>`, read again every minute or so.

    At the start every file has to be right. Later a new one that is not is passed over, with an error in the log, and a
    known one stays what it was until it is deleted. A folder that cannot be read leaves what is held for an hour.
    """

    def __init__(
        self,
        folder: Path,
        random_bytes: Callable[[int], bytes] = random_source.token_bytes,
        clock: Clock | None = None,
    ) -> None:
        self._files = files = {root: _Files(root, folder, random_bytes) for root in LOCAL_ROOTS}
        own = clock or SystemClock()
        self._held = {root: HeldVersions(root, each.load, _VERSION, own) for root, each in files.items()}

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """Versions on disk, newest (by number) first; the first one is made when there is none at the start."""
        return await self._held[name].usable()

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        """The version of that name, looked for on disk if need be. SecretsError when the folder cannot be read."""
        return await self._held[name].find(version)

    async def rotate(self, name: RootName) -> str:
        """Add a file beside the others; the name of its version."""
        version = self._files[name].add()
        await self._held[name].renew()
        return version

    async def close(self) -> None:
        """Read no more."""
        for held in self._held.values():
            await held.close()


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one root secret."""

    root: RootName
    folder: Path
    random_bytes: Callable[[int], bytes]

    async def load(self, known: Mapping[str, SecretVersion] | None, wanted: str | None) -> Loaded:
        """What is on disk. `wanted` is of no use: all are read."""
        try:
            self._check_folders(make=known is None)
            found = self._read(known)
            if known is None and not found:
                self._make()
                found = self._read(None)
                if not found:
                    raise SecretsError(f"secret {self.root}: none is there, and none could be made")
        except OSError as error:
            raise SecretsError(f"secret {self.root}: {error.strerror}") from None
        return Loaded(tuple(found[number] for number in sorted(found, reverse=True)))

    def _check_folders(self, *, make: bool) -> None:
        for folder in (self.folder.parent, self.folder):
            if make:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = folder.stat().st_mode
            if mode & 0o022 and not mode & stat.S_ISVTX:
                raise SecretsError(
                    f"secret {self.root}: the folder {folder.name} must not be writable by others (chmod 700)"
                )

    def _read(self, known: Mapping[str, SecretVersion] | None) -> dict[int, SecretVersion]:
        """All versions by number; what is known already is not read again."""
        found: dict[int, SecretVersion] = {}
        for path in self.folder.iterdir():  # not glob: it takes an unreadable folder for an empty one
            root, _, version = path.name.partition(".")
            if root != self.root or not _VERSION.fullmatch(version):
                continue
            if known is not None and version in known:
                found[int(version[1:])] = known[version]
                continue
            try:
                found[int(version[1:])] = self._read_one(path, version)
            except (OSError, SecretsError) as error:
                if known is None:
                    raise
                why = error.strerror if isinstance(error, OSError) else str(error)
                _log.error("secret_version_passed_over", error, root=self.root, version=version, why=why)
        return found

    def _read_one(self, path: Path, version: str) -> SecretVersion:
        status = path.stat()
        if status.st_mode & 0o077:
            raise SecretsError(f"secret {self.root}: {path.name} must not be readable by others (chmod 600)")
        value = path.read_bytes()
        if len(value) != ROOT_BYTES:
            raise SecretsError(f"secret {self.root}: {path.name} must hold {ROOT_BYTES} bytes")
        return SecretVersion(version, value, changed_at=datetime.fromtimestamp(status.st_mtime, UTC))

    def add(self) -> str:
        """Make the version after the newest one; its name."""
        try:
            self._check_folders(make=True)
            newest = max(self._read(None), default=0)
            while not self._make(newest + 1):
                newest += 1
        except OSError as error:
            raise SecretsError(f"secret {self.root}: {error.strerror}") from None
        return f"v{newest + 1}"

    def _make(self, number: int = 1) -> bool:
        """Write to the side and link: a crash leaves no half secret, a race keeps the first one. Whether it is ours."""
        side = self.folder / f".{self.root}.{random_source.token_hex(8)}"
        handle = os.open(side, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.random_bytes(ROOT_BYTES))
                file.flush()
                os.fsync(file.fileno())
            os.link(side, self.folder / f"{self.root}.v{number}")
        except FileExistsError:
            return False
        finally:
            side.unlink()
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True
