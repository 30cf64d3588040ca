"""One case of the ground truth in the making: where and when it happens, who is in it, and what they do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from devhost.simulation.actions import Action, Call, Record, Verb
from devhost.simulation.people import ATTACKERS_AGENTS, Client, Person, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An attack, or what is one event short of it. `told`: in a sentence; `also`: other patterns whose condition the
    same events meet.

    `account`, `actor`, `address`: what the pattern's alert is about; `accounts`: all that were tried. `absent` do
    nothing else on that day, `gone` nothing from then on; `renewed` have their next password from then on.
    """

    number: int
    pattern: str
    name: str
    told: str
    attack: bool
    at: datetime
    tenant: Tenant
    account: Person | None = None
    actor: Person | None = None
    address: str | None = None
    accounts: tuple[Person, ...] = ()
    also: tuple[str, ...] = ()
    absent: frozenset[Person] = frozenset()
    gone: frozenset[Person] = frozenset()
    renewed: frozenset[Person] = frozenset()
    actions: tuple[Action, ...] = ()


class PlanError(ValueError):
    """There is no plan for these options; the message says why, for the person at the terminal."""


class Pool:
    """The staff of a tenant who can be in cases, and what earlier cases made of them.

    `once`: nobody is in two, for on a real clock all of them happen within minutes. PlanError when nobody is left.
    """

    def __init__(self, tenant: Tenant, *, once: bool = False) -> None:
        self.tenant = tenant
        self.roles = {person: person.role for person in tenant.staff}
        self._free = list(tenant.staff)
        self._once = once
        self._next = 0

    def one(self) -> Person:
        """Somebody; after everybody was, the first once more."""
        if self._once:
            return self._taken(0)
        person = self._free[self._next % len(self._free)]
        self._next += 1
        return person

    def last(self) -> Person:
        """Somebody who is in no later case."""
        return self._taken(-1)

    def some(self, number: int) -> tuple[Person, ...]:
        """So many different people, or all that there are: staff first."""
        if self._once:
            return tuple(self._taken(0) for _ in range(number))
        return (*self._free, self.tenant.auditor, self.tenant.founder)[:number]

    def staff(self, number: int) -> tuple[Person, ...]:
        """So many of the staff, or all that there are, whose roles change."""
        if not self._free:
            raise self._too_few()
        return tuple(self._free[:number])

    def _taken(self, place: int) -> Person:
        if not self._free:
            raise self._too_few()
        return self._free.pop(place)

    def _too_few(self) -> PlanError:
        return PlanError("users: too few for these attacks; on a real clock nobody can be in two of them")


@dataclass(slots=True)
class Scene:
    """A case in the making. `after` of its methods is in seconds from its beginning."""

    number: int
    pattern: str
    play: "Play"
    at: datetime
    pool: Pool
    pools: tuple[Pool, ...]
    rng: Random
    actions: list[Action] = field(default_factory=list)

    @property
    def tenant(self) -> Tenant:
        """Where it happens."""
        return self.pool.tenant

    @property
    def attacker(self) -> Client:
        """Where nobody of the tenant has ever called from."""
        return Client(f"203.0.113.{self.number % 250 + 1}", self.rng.choice(ATTACKERS_AGENTS))

    @property
    def session(self) -> str:
        """The session that is opened for this case."""
        return f"case-{self.number}"

    def does(
        self,
        after: float,
        who: Person,
        verb: Verb,
        *,
        client: Client | None = None,
        target: Person | None = None,
        text: str = "",
        password: int | None = None,
        expected: int | tuple[int, ...] = 200,
        counts: bool = True,
    ) -> None:
        """Add a call, from the person's office unless `client` says otherwise. `counts`: it is among the events that
        the case is made of."""
        self.actions.append(
            Call(
                at=self.at + timedelta(seconds=after),
                who=who,
                verb=verb,
                client=client or who.office,
                session=self.session,
                target=target,
                text=text,
                password=password,
                expected=(expected,) if isinstance(expected, int) else expected,
                case=self.number if counts else None,
                exact=True,
            )
        )

    def signs_in(self, who: Person, client: Client | None = None, after: float = -60) -> None:
        """Add a sign-in with the right password."""
        self.does(after, who, "login", client=client, password=0, counts=False)

    def signs_out(self, after: float, who: Person, client: Client | None = None) -> None:
        """Add the end of the case's session."""
        self.does(after, who, "logout", client=client, expected=204, counts=False)

    def guesses(self, who: Person, client: Client, times: int, every: float) -> None:
        """Add sign-ins with wrong passwords; where they lock the account, they go on."""
        for turn in range(times):
            self.does(turn * every, who, "login", client=client, expected=(401, 423))

    def records(self, who: Person, kind: str, data_class: str, times: int, every: float, count: int = 1) -> None:
        """Add events of another service, each about a record of its own."""
        for turn in range(times):
            self.actions.append(
                Record(
                    at=self.at + timedelta(seconds=turn * every),
                    who=who,
                    type=kind,
                    client=who.office,
                    target=f"rec-{self.number}-{turn}",
                    data_class=data_class,
                    count=count,
                    case=self.number,
                )
            )

    def changes_role(self, after: float, target: Person, role: str) -> None:
        """Add a change of a role by the founder."""
        self.does(after, self.tenant.founder, "change_role", target=target, text=role)
        self.pool.roles[target] = role

    def case(
        self,
        *,
        attack: bool,
        account: Person | None = None,
        actor: Person | None = None,
        address: str | None = None,
        accounts: tuple[Person, ...] = (),
        also: tuple[str, ...] = (),
        absent: Iterable[Person] = (),
        gone: Iterable[Person] = (),
        renewed: Iterable[Person] = (),
    ) -> Case:
        """The case, done, which the play's name and docstring name and tell. Whom it is about is absent, too."""
        about = {each for each in (account, actor) if each is not None}
        return Case(
            number=self.number,
            pattern=self.pattern,
            name=self.play.__name__,
            told=self.play.__doc__ or "",
            attack=attack,
            at=self.at,
            tenant=self.tenant,
            account=account,
            actor=actor,
            address=address,
            accounts=accounts,
            also=also,
            absent=frozenset(absent) | about,
            gone=frozenset(gone),
            renewed=frozenset(renewed),
            actions=tuple(sorted(self.actions, key=lambda each: each.at)),
        )


type Play = Callable[[Scene], Case]
