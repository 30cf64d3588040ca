"""What the stand-in's secrets and keys have in common: attributes of versions, and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

type Attribute = datetime | bool


@dataclass
class Attributes:
    """One version of a secret or a key; times are Unix seconds."""

    id: str
    created: int
    updated: int
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None

    def set(self, given: Mapping[str, Attribute]) -> None:
        """`set-attributes`."""
        for key, value in given.items():
            setattr(self, key, value if isinstance(value, bool) else int(value.timestamp()))

    def shown(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {"enabled": self.enabled, "created": self.created, "updated": self.updated}
        attributes |= {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
        if self.not_before is not None:
            attributes["nbf"] = self.not_before
        if self.expires is not None:
            attributes["exp"] = self.expires
        return attributes


@dataclass(frozen=True)
class Answer:
    """Status, JSON body, and headers beside the usual ones."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str, inner: str | None = None) -> Answer:
    """An error as the service words it; `inner`: the code of its innererror."""
    error = {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}
    return Answer(status, {"error": error})
