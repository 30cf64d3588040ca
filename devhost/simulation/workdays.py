"""A usual life: working days with a sign-in, mistyped passwords now and then, and work, within all thresholds.

Times are local to the tenant; a day's work ends before the day does. Whatever one person does in a whole day stays
below what the patterns look for in minutes: see tests/devhost/test_simulation_plan.py.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from random import Random

from devhost.simulation.actions import Action, Call, Record, Verb
from devhost.simulation.people import Client, Person, Tenant

PAGE = "10"
"""Users per page that an administrator lists."""
_PRESENT, _WEEKEND = 0.9, 0.06
_STAYS = timedelta(hours=22)
"""A session is used again on the next day, unless somebody signed out: it ends after a day that nobody uses it."""
_SLIPS = (0.08, 0.15)
"""How often the first password is mistyped, and then the second."""
_DATA = ("phi", "cardholder", "confidential", "personal")


@dataclass(slots=True)
class Life:
    """What the cases make of a person's days. `away`: other days than usual; `gone`: from when on there are none."""

    away: set[date] = field(default_factory=set)
    gone: datetime | None = None
    renewed: datetime | None = None
    steady: bool = False


@dataclass(slots=True)
class _Day:
    """A person's day in the making."""

    tenant: Tenant
    person: Person
    client: Client
    rng: Random
    password: int
    at: datetime
    leaving: Container[Person]
    called: datetime | None = None
    left_open: datetime | None = None
    actions: list[Action] = field(default_factory=list)

    def wait(self, least_minutes: float, most_minutes: float) -> None:
        """Let time pass."""
        seconds = self.rng.uniform(least_minutes * 60, most_minutes * 60)
        self.at += timedelta(seconds=round(seconds))

    def does(self, verb: Verb, *, target: Person | None = None, text: str = "", expected: int = 200) -> None:
        """Add a call, now."""
        typed = self.password if verb in ("login", "change_password") else None
        self.call(Call(at=self.at, who=self.person, verb=verb, client=self.client, target=target, text=text,
                       password=typed, expected=(expected,)))  # fmt: skip

    def call(self, call: Call) -> None:
        """Add a call. What other services report keeps no session alive."""
        self.called = call.at
        self.actions.append(call)

    def reports(
        self, kind: str, data_class: str | None, target: str | None, count: int | None = 1, *more: tuple[str, str]
    ) -> None:
        """Add an event of another service, now."""
        self.actions.append(
            Record(at=self.at, who=self.person, type=kind, client=self.client, target=target,
                   data_class=data_class, count=count, attributes=more)
        )  # fmt: skip


def usual_life(
    seed: int,
    tenant: Tenant,
    person: Person,
    life: Life,
    span: tuple[datetime, datetime],
    leaving: Container[Person] = (),
) -> list[Action]:
    """All that a person does between two moments, whole local days, but for the days that cases take.

    Nobody looks for those who are `leaving`, for they may be gone.
    """
    start, end = span
    found: list[Action] = []
    rng = Random(f"{seed}|{person.name}|life")  # noqa: S311 - reproducible on purpose
    password, left_open = 0, None
    for day in _days(tenant, start, end):
        # The same draws whether or not the person works, so that one case does not change everybody's later days.
        draw = Random(rng.random())  # noqa: S311
        noon = datetime.combine(day, time(12), tenant.time)
        if life.gone is not None and noon >= life.gone:
            break
        if life.renewed is not None and noon >= life.renewed:
            password = 1
        weekend = day.weekday() >= 5
        if day in life.away or draw.random() >= (_WEEKEND if weekend else _PRESENT):
            continue
        client = person.home if weekend else person.office
        begin = datetime.combine(day, time(7, 30), tenant.time) + timedelta(minutes=draw.randrange(120))
        work = _Day(tenant, person, client, draw, password, begin.astimezone(start.tzinfo), leaving)
        stays = left_open is not None and work.at - left_open < _STAYS
        _work(work, weekend=weekend, may_renew=not life.steady, signed_in=stays)
        password, left_open = work.password, work.left_open
        found += work.actions
    return found


def _days(tenant: Tenant, start: datetime, end: datetime) -> Iterator[date]:
    """The local days that lie between two moments as a whole."""
    day = start.astimezone(tenant.time).date()
    while datetime.combine(day + timedelta(days=1), time(), tenant.time) <= end:
        if datetime.combine(day, time(), tenant.time) >= start:
            yield day
        day += timedelta(days=1)


def _work(day: _Day, *, weekend: bool, may_renew: bool, signed_in: bool) -> None:
    rng = day.rng
    if not signed_in:
        _sign_in(day)
    if may_renew and not weekend and rng.random() < 0.012:
        day.wait(1, 5)
        day.does("change_password", expected=204)
        day.password += 1
    hours = 1 if weekend else rng.choice((3, 4, 4))
    for half in range(1 if weekend else 2):
        if half:
            day.wait(35, 70)
            if rng.random() < 0.1:
                day.wait(1, 2)
                _sign_in(day)
        _use(day, hours, looks=not half or rng.random() < 0.25)
    if rng.random() < 0.45:
        day.wait(1, 5)
        day.does("logout", expected=204)
    else:
        day.left_open = day.called


def _sign_in(day: _Day) -> None:
    for chance in _SLIPS:
        if day.rng.random() >= chance:
            break
        day.call(Call(at=day.at, who=day.person, verb="login", client=day.client, expected=(401,)))
        day.at += timedelta(seconds=day.rng.randrange(8, 40))
    day.does("login")


def _use(day: _Day, hours: int, *, looks: bool) -> None:
    """Some hours of work: a look at the own profile, then what the role brings."""
    rng = day.rng
    day.wait(0.2, 3)
    if looks:
        day.does("view_profile")
    if rng.random() < 0.04:
        day.wait(1, 3)
        day.does("update_profile", text=f"Desk {rng.randrange(1, 400)}")
    role = day.person.number
    if role == 0:
        _administer(day)
    elif role == 1:
        _audit(day)
    elif rng.random() < 0.01:
        day.wait(1, 3)
        day.does("list_users", expected=403)  # the wrong link
    for _ in range(hours):
        for _ in range(rng.randrange(1, 4)):
            day.wait(4, 18)
            _touch(day)


def _administer(day: _Day) -> None:
    rng = day.rng
    others = [each for each in day.tenant.staff if each not in day.leaving]
    day.wait(5, 20)
    day.does("list_users", text=PAGE)
    for other in rng.sample(others, min(2, len(others))):
        day.wait(1, 6)
        day.does("view_user", target=other)
        if rng.random() < 0.15:
            day.wait(1, 3)
            day.does("update_user", target=other, text=f"Team {rng.randrange(1, 40)}")
    if rng.random() < 0.3:
        day.wait(1, 5)
        day.does("search_log")


def _audit(day: _Day) -> None:
    for verb in ("search_trail", "list_alerts"):
        day.wait(2, 15)
        day.does(verb)


def _touch(day: _Day) -> None:
    """One piece of work in the product, as its services report it."""
    rng = day.rng
    held = _DATA[(day.tenant.index + rng.choice((0, 0, 0, 2, 3))) % len(_DATA)]
    record = f"rec-{rng.randrange(2000)}"
    document = f"doc-{rng.randrange(800)}"
    match rng.choices(("read", "update", "create", "delete", "export", "consent"), (60, 22, 10, 2, 1.2, 1.2))[0]:
        case "read":
            day.reports("data.read", held, record)
        case "update":
            day.reports("data.update", "confidential", document, 1, ("field", rng.choice(("title", "body", "tags"))))
        case "create":
            day.reports("data.create", "confidential", f"{document}-{rng.randrange(10**6)}")
        case "delete":
            day.reports("data.delete", "confidential", document)
        case "export":
            day.reports("data.export", held, f"list-{rng.randrange(40)}", 5 + rng.randrange(4))
        case _:
            kind = rng.choice(("consent.grant", "consent.withdraw"))
            day.reports(kind, None, None, None, ("purpose", "newsletter"), ("version", "1"))
