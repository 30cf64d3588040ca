"""The adapters that can be rotated, each with what an operator does to it."""

import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Protocol

from shared.core.clock import Clock
from shared.privacy.file_secrets import FileSecrets
from shared.privacy.key_vault import NAMES
from shared.privacy.key_wrapping import KeyWrapper, LocalKeys
from shared.privacy.secrets import RootName, SecretsPort
from tests.fakes import ManualClock
from tests.key_vault.vault import Vault


class Source(Protocol):
    """Where secrets are kept, and its operator."""

    def instance(self, clock: Clock | None = None) -> SecretsPort:
        """The adapter of one more app instance."""
        ...

    def wrapper(self, secrets: SecretsPort) -> KeyWrapper:
        """What wraps keys beside those secrets."""
        ...

    def rotate(self, root: RootName = "tokens", expires: datetime | None = None) -> str:
        """Add a version; its name. `expires`: when those before it end, where that can be said beforehand."""
        ...

    def retire(self, version: str, root: RootName = "tokens") -> None:
        """End a version."""
        ...


class VaultSource:
    """Two secrets in a vault, a day old."""

    can_expire = True

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    def instance(self, clock: Clock | None = None) -> SecretsPort:
        return self.vault.client(clock)

    def wrapper(self, secrets: SecretsPort) -> KeyWrapper:
        return self.vault.wrapper()

    def rotate(self, root: RootName = "tokens", expires: datetime | None = None) -> str:
        name = NAMES[root]
        before = [each.id for each in self.vault.secrets[name] if each.expires is None]
        made = self.vault.put(name)
        for each in before if expires else []:
            self.vault.change(name, each, expires=expires)  # type: ignore[arg-type] # it is given
        return made

    def retire(self, version: str, root: RootName = "tokens") -> None:
        self.vault.change(NAMES[root], version, enabled=False)


class FileSource:
    """A folder of files, the first of them a day old."""

    can_expire = False

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.folder = folder
        self.clock = clock
        self._numbers = {"tokens": 0, "index": 0, "persons": 0}
        folder.mkdir(mode=0o700)
        self.rotate("tokens")
        self.rotate("index")
        self.rotate("persons")
        clock.advance(days=1)

    def instance(self, clock: Clock | None = None) -> SecretsPort:
        return FileSecrets(self.folder, clock=clock or self.clock)

    def wrapper(self, secrets: SecretsPort) -> KeyWrapper:
        return LocalKeys(secrets, self.clock)

    def rotate(self, root: RootName = "tokens", expires: datetime | None = None) -> str:
        self._numbers[root] += 1
        version = f"v{self._numbers[root]}"
        path = self.folder / f"{root}.{version}"
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(32))
        now = self.clock.now().timestamp()
        os.utime(path, (now, now))
        return version

    def retire(self, version: str, root: RootName = "tokens") -> None:
        (self.folder / f"{root}.{version}").unlink()
