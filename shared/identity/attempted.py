"""What a refused call would have changed, as far as the trail may know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.identity.model import Role

type Attempt = Callable[[], "Attempted | None"]
"""Reads what a call would have changed. Asked for only when it is refused; None: it would have changed nothing."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """`kind`, `target_id`: what the path names, which may be anybody's or nobody's. `oneself`: it is about the caller.

    `fields`: names that the interface knows. `values`: of those that are no secrets, for a sealed box.
    """

    kind: str | None = None
    target_id: str | None = None
    oneself: bool = False
    fields: tuple[str, ...] = ()
    role: Role | None = None
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)


def nothing() -> None:
    """The attempt of a call that changes nothing."""


def known_role(value: object) -> Role | None:
    """The role that somebody named; None for a text that is none: it could be anything, and must not stand unsealed."""
    return Role(value) if isinstance(value, str) and value in set(Role) else None
