"""Who the smoke run is: throw-away people with random names, and what they have made and not removed yet."""

from collections.abc import Callable
from dataclasses import dataclass, field

from devhost.smoke.deployment import Deployment

type Token = Callable[[int], str]
"""Random hexadecimal text of so many bytes: `secrets.token_hex`, unless a test brings another."""


@dataclass(slots=True)
class Person:
    """A person with an account, or about to have one. Nobody is told the password."""

    email: str
    password: str = field(repr=False)
    id: str = ""
    tenant_id: str = ""
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)

    @classmethod
    def new(cls, token: Token) -> "Person":
        """Somebody at example.com, where no mail ever arrives."""
        return cls(f"smoke-{token(8)}@example.com", new_password(token))

    @property
    def credentials(self) -> dict[str, str]:
        """The body of POST /login."""
        return {"email": self.email, "password": self.password}

    def registration(self, **how: str) -> dict[str, object]:
        """The body of POST /register."""
        names = {"first_name": "Smoke", "last_name": "Run"}
        return {**self.credentials, **names, "accept_terms": True, "accept_privacy": True, **how}


def new_password(token: Token) -> str:
    """A password that nobody guesses and no policy refuses."""
    return f"{token(16)}-Aa0"


@dataclass(slots=True)
class Made:
    """What was made and is to be removed again: by name, in the order of making."""

    _removals: dict[str, Callable[[Deployment], None]] = field(default_factory=dict)

    def add(self, name: str, remove: Callable[[Deployment], None]) -> None:
        """Something was made; `remove` removes it. Wrong when it cannot."""
        self._removals[name] = remove

    def gone(self, name: str) -> None:
        """It was removed by the run itself."""
        self._removals.pop(name, None)

    def newest(self) -> tuple[str, Callable[[Deployment], None]] | None:
        """Take out what was made last; None when nothing is left."""
        return self._removals.popitem() if self._removals else None
