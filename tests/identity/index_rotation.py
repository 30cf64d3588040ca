"""What tests of the rotation of the index secret share: secrets that rotate, and instances that know of it or not."""

from dataclasses import replace

from shared.core.clock import Clock
from shared.identity.directory import Directory
from shared.privacy.blind_index import BlindIndex
from shared.privacy.index_versions import IndexVersions, KeptVersion, Ring, check_value
from shared.privacy.secrets import MemorySecrets, RootName, SecretsPort, SecretVersion
from shared.storage.documents import DocumentStore


class Rotating(MemorySecrets):
    """Secrets of which `index` has as many versions as were added, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.index = [SecretVersion("v1", b"1" * 32)]

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return tuple(reversed(self.index)) if name == "index" else await super().versions(name)

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        if name != "index":
            return await super().find(name, version)
        return next((each for each in self.index if each.version == version), None)

    async def rotate(self, name: RootName) -> str:
        assert name == "index"
        number = len(self.index) + 1
        self.index.append(SecretVersion(f"v{number}", bytes([number]) * 32))
        return f"v{number}"


class Unmoved(IndexVersions):
    """An instance that does not ask again."""

    async def ring(self) -> Ring:
        return self._ring


def ring_of(secrets: Rotating, clock: Clock, *, indexed: bool = False) -> Ring:
    """All versions of the secrets, the newest of them begun by now, or the directory complete under it."""
    first, *others = secrets.index
    later = [KeptVersion(each.version, check_value(each), added_at=clock.now()) for each in others]
    if indexed:
        later[-1] = replace(later[-1], indexed_at=clock.now())
    return Ring((KeptVersion(first.version, check_value(first)), *later))


def directory_of(store: DocumentStore, secrets: SecretsPort, clock: Clock, ring: Ring) -> Directory:
    """That of an instance which knows of these versions."""
    return Directory(store, BlindIndex(secrets, Unmoved(store, clock, ring)), clock)
