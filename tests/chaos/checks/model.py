"""What the checks are about: all that is in the store at the end, and what they have to say of it."""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.storage.containers import CONTAINERS

type Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. `check` is its stable name; `detail` leads whoever looks for the reason."""

    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every item of every container, as the store itself has them. `secret`: what e-mails are hashed with."""

    items: Mapping[str, list[Item]] = field(default_factory=dict)
    secret: bytes = bytes(32)

    def of(self, container: str, kind: str | None = None) -> list[Item]:
        """The items of a container, or those of one kind."""
        return [each for each in self.items.get(container, ()) if kind is None or each.get("kind") == kind]

    @property
    def events(self) -> list[Item]:
        """The whole trail."""
        return self.of("audit_events")


def email_id(secret: bytes, email: str) -> str:
    """The id of an entry of the directory, under the first version of the secret; of an e-mail in ASCII."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"kraftd/blind-index/directory").derive(secret)
    return f"email|v1:{hmac.digest(key, email.lower().encode(), hashlib.sha256).hex()}"


def index_secret(data: Path) -> bytes:
    """What the app made in its folder when it was started first."""
    return (data / "secrets" / "index.v1").read_bytes()


def read_sqlite(path: Path) -> Snapshot:
    """The content of an embedded store's file, read by SQLite itself and not by the app's adapter."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return Snapshot(
            {
                name: [json.loads(body) for (body,) in database.execute(f"SELECT body FROM items_{name}")]  # noqa: S608
                for name in CONTAINERS
            },
            index_secret(path.parent),
        )


def named(check: str, details: Iterable[str]) -> list[Finding]:
    """A finding of one check for each of several things."""
    return [Finding(check, detail) for detail in details]
