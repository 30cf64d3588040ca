"""How the inventory (`inventory.py`) declares one kind of item."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.storage.containers import Container

type Level = Literal["public", "personal", "secret"]
type Form = Literal["clear", "sealed", "hashed"]

SYSTEM = frozenset({"_etag", "_ts", "ttl"})
"""Fields of the store itself, which every item may have."""
ANY = "*"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of item of a container, and the paths of its fields by level, in words with spaces between them:
    `clear`, `sealed` and `hashed` are personal, `opens` is secret.

    `name`: the item's `kind`, or what stands before the `|` of its id; "" where it has neither, ANY for all.
    """

    container: Container
    name: str
    about: str
    public: str
    clear: str = ""
    sealed: str = ""
    hashed: str = ""
    opens: str = ""

    def fields(self) -> Iterator[tuple[str, Level, Form | None]]:
        """Every declared path with its level, and in which form what is personal is there."""
        for path in self.public.split():
            yield path, "public", None
        for paths, form in ((self.clear, "clear"), (self.sealed, "sealed"), (self.hashed, "hashed")):
            for path in paths.split():
                yield path, "personal", form  # type: ignore[misc] # one of the three
        for path in self.opens.split():
            yield path, "secret", None
