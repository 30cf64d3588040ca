"""The plan: all that will be done, in the order of time, made from a seed and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from devhost.simulation.actions import Action, Call, Verb
from devhost.simulation.attacks import NAMES, NEEDS_ANOTHER_TENANT, PATTERNS, PLAYS
from devhost.simulation.near_misses import NEAR_MISSES
from devhost.simulation.people import Person, Tenant, cast
from devhost.simulation.scene import Case, PlanError, Play, Pool, Scene
from devhost.simulation.workdays import Life, usual_life

DEFAULT_START = datetime(2026, 10, 5, tzinfo=UTC)
"""A Monday. Not today, so that one seed gives one plan."""
SETTLED = timedelta(hours=3)
"""After the start, by which everybody has joined."""
FEWEST_USERS, FEWEST_DAYS = 8, 2
MOST_TENANTS, MOST_USERS, MOST_DAYS = 100, 1000, 366


@dataclass(frozen=True, slots=True)
class Options:
    """What a plan is made from. `attacks`: patterns, or names of single attacks. `live`: for a server whose clock is
    real, where all that happens happens now."""

    seed: int = 1
    tenants: int = 3
    users: int = 40
    days: int = 30
    attacks: tuple[str, ...] = PATTERNS
    start: datetime = DEFAULT_START
    live: bool = False

    @property
    def end(self) -> datetime:
        """When it is over."""
        return self.start + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, and what is to be found afterward. `left_out`: attacks that these options cannot have."""

    options: Options
    tenants: tuple[Tenant, ...]
    actions: tuple[Action, ...]
    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()


def make_plan(options: Options) -> Plan:
    """The plan that these options have. Pure: the same options give the same plan. PlanError."""
    _check(options)
    tenants = cast(options.seed, options.tenants, options.users)
    cases = tuple(_cases(options, tenants))
    lives = _lives(cases)
    leaving = {person for person, life in lives.items() if life.gone is not None}
    actions: list[Action] = [call for tenant in tenants for call in _setting_up(tenant, options.start)]
    for tenant in tenants:
        for person in tenant.people:
            actions += _usual(options, tenant, person, lives.get(person, Life()), leaving)
    actions += [action for case in cases for action in case.actions]
    left_out = tuple(sorted({play.__name__ for _, play in _wanted(options)} - {case.name for case in cases}))
    return Plan(options, tenants, tuple(sorted(actions, key=lambda each: each.at)), cases, left_out)


def _check(options: Options) -> None:
    unknown = sorted(set(options.attacks) - set(PATTERNS) - set(NAMES))
    if unknown:
        raise PlanError(f"no attack is called {unknown[0]}; there are {', '.join((*PATTERNS, *NAMES))}")
    for name, value, least, most in (
        ("tenants", options.tenants, 2 if options.live else 1, MOST_TENANTS),
        ("users", options.users, FEWEST_USERS, MOST_USERS),
        ("days", options.days, 1 if options.live else FEWEST_DAYS, MOST_DAYS),
    ):
        if not least <= value <= most:
            raise PlanError(f"{name} is {least} to {most}{' on a server with a real clock' if options.live else ''}")


def _wanted(options: Options) -> tuple[tuple[str, Play], ...]:
    return tuple(each for each in PLAYS if {each[0], each[1].__name__} & set(options.attacks))


def _cases(options: Options, tenants: tuple[Tenant, ...]) -> Iterator[Case]:
    """Attacks in turn on the tenants that are not clean, near misses in the clean one."""
    pools = tuple(Pool(tenant, once=options.live) for tenant in tenants)
    attacked = [pool for pool in pools if not pool.tenant.clean]
    wanted = _wanted(options)
    plays = [each for each in wanted if len(tenants) > 1 or each[1].__name__ not in NEEDS_ANOTHER_TENANT]
    patterns = {pattern for pattern, _ in wanted}
    cast_: dict[int, list[tuple[str, Play]]] = {pool.tenant.index: [] for pool in pools}
    for turn, each in enumerate(plays):
        cast_[attacked[turn % len(attacked)].tenant.index].append(each)
    cast_[pools[-1].tenant.index] += [each for each in NEAR_MISSES if each[0] in patterns]
    number = 0
    for pool in pools:
        chosen = cast_[pool.tenant.index]
        rng = Random(f"{options.seed}|{pool.tenant.index}|cases")  # noqa: S311 - reproducible on purpose
        for (pattern, play), at in zip(chosen, _moments(options, len(chosen), rng), strict=True):
            yield play(Scene(number, pattern, play, at, pool, pools, rng))
            number += 1


def _moments(options: Options, number: int, rng: Random) -> Iterator[datetime]:
    """When the cases of one tenant begin: evenly, an hour apart at least, once no registration is fresh any more."""
    first = 4 if options.live else 26
    hours = max(number, options.days * 24 - first - 1)
    for turn in range(number):
        place = (turn + (rng.random() / 2 if hours >= 3 * number else 0)) * hours / number
        yield options.start + timedelta(hours=first + int(place), minutes=2 + rng.randrange(8))


def _lives(cases: tuple[Case, ...]) -> dict[Person, Life]:
    lives: dict[Person, Life] = {}
    for case in cases:
        day = case.at.astimezone(case.tenant.time).date()
        days = {day, case.actions[-1].at.astimezone(case.tenant.time).date()}
        involved = case.absent | case.gone | case.renewed | set(case.accounts)
        for person in involved:
            life = lives.setdefault(person, Life())
            life.steady = True
            if person in case.absent:
                life.away |= days
            if person in case.gone:
                life.away |= days
                life.gone = case.at
            if person in case.renewed:
                life.renewed = case.at
    for case in cases:  # whoever signs in for a case does so with the first password
        for action in case.actions:
            lives.setdefault(action.who, Life()).steady = True
    return lives


def _usual(options: Options, tenant: Tenant, person: Person, life: Life, leaving: set[Person]) -> list[Action]:
    if not options.live:
        span = (options.start + SETTLED, options.end)
        return usual_life(options.seed, tenant, person, life, span, leaving)
    at = options.start + SETTLED
    steps: tuple[tuple[Verb, int | None, int], ...] = (
        ("login", 0, 200),
        ("view_profile", None, 200),
        ("logout", None, 204),
    )
    return [
        Call(at=at + timedelta(seconds=turn), who=person, verb=verb, client=person.office, session="hello",
             password=typed, expected=(status,))
        for turn, (verb, typed, status) in enumerate(steps)
    ]  # fmt: skip


def _setting_up(tenant: Tenant, start: datetime) -> Iterator[Call]:
    """The founder opens the organization, makes a key for its services and invites the others, who join."""
    founder = tenant.founder

    def call(minutes: float, who: Person, verb: Verb, status: int, **more: object) -> Call:
        at = start + timedelta(minutes=minutes)
        return Call(at=at, who=who, verb=verb, client=who.office, expected=(status,), **more)  # type: ignore[arg-type]

    yield call(0, founder, "found", 201, password=0)
    yield call(5, founder, "make_key", 201)
    for turn, person in enumerate(tenant.people[1:]):
        yield call(10 + 30 * turn / len(tenant.people), founder, "invite", 201, target=person, text=person.role)
        yield call(60 + 60 * turn / len(tenant.people), person, "join", 201, password=0)
