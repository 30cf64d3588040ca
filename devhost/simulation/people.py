"""Who is simulated: organizations in their time zones, their people, and where each of them calls from.

Addresses are of the ranges for documentation and benchmarks (RFC 5737, RFC 2544, RFC 3849), e-mails of the domains for
examples (RFC 2606): nobody is meant.
"""

import hashlib
from dataclasses import dataclass
from random import Random
from zoneinfo import ZoneInfo

TEAM = 4
"""People behind one office address: fewer than the accounts that make one address suspicious."""
_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Sydney")
_DOMAINS = ("example.com", "example.org", "example.net")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
)
ATTACKERS_AGENTS = ("python-requests/2.32.3", "curl/8.11.0", "Go-http-client/2.0")


@dataclass(frozen=True, slots=True)
class Client:
    """Where a call comes from."""

    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Person:
    """One user. `tenant` and `number` name it; the first of a tenant founds it, the second is its auditor."""

    tenant: int
    number: int
    role: str
    email: str
    office: Client
    home: Client

    @property
    def name(self) -> str:
        """How ground truth and messages call the person."""
        return f"t{self.tenant}/u{self.number}"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One organization. `clean`: it gets no attack."""

    index: int
    name: str
    zone: str
    clean: bool
    people: tuple[Person, ...]

    @property
    def founder(self) -> Person:
        """Its only administrator."""
        return self.people[0]

    @property
    def auditor(self) -> Person:
        """Who reads its trail."""
        return self.people[1]

    @property
    def staff(self) -> tuple[Person, ...]:
        """Everybody else."""
        return self.people[2:]

    @property
    def time(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.zone)


def cast(seed: int, tenants: int, users: int) -> tuple[Tenant, ...]:
    """The organizations. The last one stays clean, unless there is only one."""
    found: list[Tenant] = []
    for index in range(tenants):
        people = tuple(_person(seed, index, number) for number in range(users))
        clean = tenants > 1 and index == tenants - 1
        found.append(Tenant(index, f"Organization {index}", _ZONES[index % len(_ZONES)], clean, people))
    return tuple(found)


def _person(seed: int, tenant: int, number: int) -> Person:
    rng = Random(f"{seed}|{tenant}|{number}|person")  # noqa: S311 - reproducible on purpose
    role = ("tenant_admin", "auditor")[number] if number < 2 else rng.choices(("user", "viewer"), (4, 1))[0]
    agent = rng.choice(_AGENTS)
    return Person(
        tenant,
        number,
        role,
        f"u{number}.t{tenant}.s{seed}@{_DOMAINS[tenant % len(_DOMAINS)]}",
        Client(f"198.{18 + tenant // 256}.{tenant % 256}.{number // TEAM + 1}", agent),
        Client(f"2001:db8:{tenant + 1:x}:{number + 1:x}::1", agent),
    )


def password(seed: int, person: Person, version: int) -> str:
    """The password that a person has after so many changes. The accounts are nobody's, so that it may be known."""
    return hashlib.sha256(f"{seed}|{person.email}|{version}".encode()).hexdigest()[:24]
