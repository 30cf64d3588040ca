"""The secrets port, its embedded adapter (files of mode 0600), and the keys that derive from root secrets.

Every key is HKDF-SHA256 (RFC 5869) of one versioned root secret, with a label that names its one use.
"""

import functools
import os
import re
import secrets as random_source
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

type RootName = Literal["tokens", "index"]
ROOTS: tuple[RootName, ...] = ("tokens", "index")
ROOT_BYTES = 32
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a root secret. Its value never shows in a repr."""

    version: str
    value: bytes = field(repr=False)


class SecretsError(Exception):
    """A secret is missing, unreadable or open to others. The message names it, never its value."""


class SecretsPort(Protocol):
    """Where root secrets live."""

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """All usable versions, newest first (at least one). SecretsError when there is none to be had."""
        ...


class MemorySecrets:
    """Root secrets that live as long as the process: for `:memory:` stores."""

    def __init__(self, random_bytes: Callable[[int], bytes] = random_source.token_bytes) -> None:
        self._held = {name: (SecretVersion("v1", random_bytes(ROOT_BYTES)),) for name in ROOTS}

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """The one version of this process."""
        return self._held[name]


class FileSecrets:
    """Root secrets as files `<folder>/<name>.v<N>`, mode 0600, made on first use."""

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes] = random_source.token_bytes) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._cache: dict[RootName, tuple[SecretVersion, ...]] = {}

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        """Versions on disk, newest first; the first one is made when there is none."""
        if name not in self._cache:
            self._cache[name] = self._load(name)
        return self._cache[name]

    def _load(self, name: RootName) -> tuple[SecretVersion, ...]:
        try:
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                mode = folder.stat().st_mode
                if mode & 0o022 and not mode & stat.S_ISVTX:
                    raise SecretsError(
                        f"secret {name}: the folder {folder.name} must not be writable by others (chmod 700)"
                    )
            found = self._read_all(name)
            if not found:
                self._make(name)
                found = self._read_all(name)
        except OSError as error:
            raise SecretsError(f"secret {name}: {error.strerror}") from None
        if not found:
            raise SecretsError(f"secret {name}: none is there, and none could be made")
        return tuple(found)

    def _read_all(self, name: RootName) -> list[SecretVersion]:
        found: list[tuple[int, SecretVersion]] = []
        for path in self._folder.iterdir():  # not glob: it takes an unreadable folder for an empty one
            root, _, version = path.name.partition(".")
            if root != name or not _VERSION.fullmatch(version):
                continue
            if path.stat().st_mode & 0o077:
                raise SecretsError(f"secret {name}: {path.name} must not be readable by others (chmod 600)")
            value = path.read_bytes()
            if len(value) != ROOT_BYTES:
                raise SecretsError(f"secret {name}: {path.name} must hold {ROOT_BYTES} bytes")
            found.append((int(version[1:]), SecretVersion(version, value)))
        return [secret for _, secret in sorted(found, key=lambda pair: -pair[0])]

    def _make(self, name: RootName) -> None:
        """Write to the side and link: a crash leaves no half secret, a race keeps the first one."""
        side = self._folder / f".{name}.{random_source.token_hex(8)}"
        handle = os.open(side, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._random_bytes(ROOT_BYTES))
                file.flush()
                os.fsync(file.fileno())
            os.link(side, self._folder / f"{name}.v1")
        except FileExistsError:
            return
        finally:
            side.unlink()
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@functools.lru_cache(maxsize=4096)
def derive(root: bytes, label: str, length: int = 32) -> bytes:
    """HKDF-SHA256 of a root secret under a label such as `access-token` or `blind-index/<tenant>`."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=None, info=f"kraftd/{label}".encode()).derive(root)
