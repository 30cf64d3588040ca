"""One organization at work: what its founder, its staff, its auditor and its service do, one thing after another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.chaos.client import Caller, Json
from tests.chaos.people import Person, call_as, register, sign_in

type Step = Callable[[], Awaitable[object]]
type Evidence = tuple[list[Path], list[str]]
"""The parts of an evidence bundle, and the verifier keys, which were fetched apart from it."""

NOWHERE = "11111111-1111-7111-8111-111111111111"
ZONES = (
    *("Europe/Vienna", "Asia/Tokyo", "America/Lima", "Africa/Nairobi", "Australia/Perth", "Asia/Kolkata"),
    *("America/Denver", "Pacific/Auckland"),
)
FRAMEWORKS = ("soc2", "gdpr", "hipaa", "pci_dss", "iso_27001")


class Company:
    """One organization: its founder, who administers it, an auditor, staff, and a service that reports events."""

    def __init__(self, name: str, founder: Caller, today: Callable[[], date]) -> None:
        self.name = name
        self.founder = Person(f"founder@{name}.example.com")
        self.auditor: Person | None = None
        self.staff: list[Person] = []
        self.key: tuple[str, str] | None = None
        self.others: Sequence[Company] = ()
        self._today = today
        self._founded = today()
        self._caller = founder
        self._random = founder.random
        self._numbers = 0
        self._keys: list[str] = []
        self._reports: list[str] = []
        self._zones = 0
        self._zone_holds = False

    def number(self) -> int:
        """A number that this company did not have before."""
        self._numbers += 1
        return self._numbers

    async def found(self) -> bool:
        """Register; whether it is done."""
        self._founded = self._today()
        done = await register(self._caller, self.founder, organization=self.name)
        if done:
            await self.make_key()
        return done

    async def administer(self) -> None:
        """One thing that the founder does."""
        if self.founder.token is None and not await sign_in(self._caller, self.founder):
            return
        choices: list[tuple[int, Step]] = [
            (4, self.invite),
            (6, self.change_someone),
            (2, self.list_users),
            (3, self.make_key if len(self._keys) < 3 else self.revoke_key),
            (3, self.change_settings),
            (2, self.search_authorization),
            (3, self.acknowledge),
            (1, self.order_report),
            (1, self.leave_and_come_back),
            (1, self.try_what_is_not_there),
        ]
        await _one_of(self._random, choices)

    async def invite(self) -> None:
        role = "auditor" if self.auditor is None else "user"
        person = Person(f"person{self.number()}@{self.name}.example.com", tenant=self.founder.tenant)
        body = {"email": person.email, "role": role}
        answer = await self._as_founder("invite", "POST", "/admin/invitations", body, body)
        if answer is None or answer.status_code != 201:
            return
        for _ in range(20):
            if await register(self._caller, person, invitation=answer.json()["invitation"]):
                break
            await asyncio.sleep(0.2)
        else:
            return
        if role == "auditor":
            self.auditor = person
        else:
            self.staff.append(person)

    async def change_someone(self) -> None:
        """Change, suspend or delete somebody of the staff; or try to of another organization's."""
        if not self.staff:
            return
        person = self._random.choice(self.staff)
        path = f"/admin/users/{person.id}"
        number = self.number()
        about = {"target": person.id}
        what = self._random.randrange(12)
        if what < 4:
            title = f"title {number}"
            told = {**about, "field": "job_title", "value": title}
            await self._as_founder("user_update", "PUT", path, {"job_title": title}, told)
        elif what < 7:
            role = self._random.choice(("viewer", "user"))
            told = {**about, "field": "role", "value": role}
            await self._as_founder("user_role", "PUT", path, {"role": role}, told)
        elif what < 9:
            await self._as_founder("user_view", "GET", path, None, about)
        elif what < 10 and len(self.staff) > 3:
            self.staff.remove(person)
            await self._as_founder("user_delete", "DELETE", path, {"reason": "left the company"}, about)
        else:
            await self._cross_tenant()

    async def _cross_tenant(self) -> None:
        other = self._random.choice(self.others) if self.others else self
        if other.founder.id:
            about = {"target": other.founder.id}
            await self._as_founder("cross_tenant", "GET", f"/admin/users/{other.founder.id}", None, about)

    async def list_users(self) -> None:
        await self._as_founder("user_list", "GET", "/admin/users?limit=20")

    async def make_key(self) -> None:
        body = {"name": f"Key {self.number()}", "scopes": ["events:write", "events:read"]}
        answer = await self._as_founder("key_create", "POST", "/admin/api-keys", body, body)
        if answer is not None and answer.status_code == 201:
            self._keys.append(answer.json()["id"])
            self.key = (answer.json()["id"], answer.json()["key"])

    async def revoke_key(self) -> None:
        key = self._keys.pop(0)
        await self._as_founder("key_revoke", "DELETE", f"/admin/api-keys/{key}", None, {"target": key})

    async def change_settings(self) -> None:
        """Set the next time zone; or once more the one that holds, which changes nothing."""
        if not self._zone_holds or self._random.random() < 0.7:
            self._zones += 1
        zone = ZONES[self._zones % len(ZONES)]
        told = {"field": "time_zone", "value": zone}
        answer = await self._as_founder("settings", "PUT", "/admin/settings", {"time_zone": zone}, told)
        self._zone_holds = answer is not None and answer.status_code == 200

    async def search_authorization(self) -> None:
        await self._as_founder("search", "GET", "/admin/logs/authorization?limit=20")

    async def acknowledge(self) -> None:
        """Look at the alerts, and take note of one: what is not closed goes on as the rules say."""
        answer = await self._as_founder("alert_list", "GET", "/alerts?limit=20&status=open")
        if answer is not None and answer.status_code == 200 and answer.json()["items"]:
            alert = self._random.choice(answer.json()["items"])["id"]
            body = {"status": "acknowledged", "note": "seen"}
            await self._as_founder("alert_update", "PATCH", f"/alerts/{alert}", body, {"target": alert})

    async def order_report(self) -> None:
        """Order the report of a day, or read one that was ordered."""
        if self._reports and self._random.random() < 0.7:
            report = self._random.choice(self._reports)
            await self._as_founder("report_read", "GET", f"/reports/{report}?format=json", None, {"target": report})
            return
        day = self._founded
        if day == self._today():
            return  # it is not over
        body = {
            "framework": self._random.choice(FRAMEWORKS),
            "from": day.isoformat(),
            "to": (day + timedelta(days=1)).isoformat(),
        }
        answer = await self._as_founder("report_order", "POST", "/reports", body, body)
        if answer is not None and answer.status_code in (201, 202):
            self._reports.append(answer.json()["id"])

    async def leave_and_come_back(self) -> None:
        await self._as_founder("logout", "POST", "/logout")
        self.founder.token = None

    async def try_what_is_not_there(self) -> None:
        await self._as_founder("unknown_id", "GET", f"/admin/users/{NOWHERE}", None, {"target": NOWHERE})

    async def collect_evidence(self, folder: Path) -> Evidence | None:
        """The evidence bundle of all that there is; None when it cannot be had. Reports that were ordered are read."""
        first = self._founded.replace(day=1)
        query: str | None = f"?from={first}&to={self._today() + timedelta(days=1)}"
        parts: list[Path] = []
        while query is not None:
            answer = await self._insisting("bundle", f"/ledger/bundle{query}")
            if answer is None:
                return None
            parts.append(folder / f"{self.name}-{len(parts)}.zip")
            parts[-1].write_bytes(answer.content)
            query = str(answer.links["next"]["url"]) if "next" in answer.links else None
        for report in self._reports:
            await self._insisting("report_read", f"/reports/{report}?format=json", {"target": report})
        key = await self._insisting("ledger_key", f"/ledger/key?period={self._founded:%Y-%m}")
        return None if key is None else (parts, [key.text.strip()])

    async def _insisting(self, call: str, path: str, told: Json | None = None) -> httpx.Response | None:
        """Ask again if the session is over."""
        for _ in range(3):
            answer: httpx.Response | None = await self._as_founder(call, "GET", path, None, told)
            if answer is not None and answer.status_code == 200:
                return answer
        return None

    async def _as_founder(
        self, call: str, method: str, path: str, body: Json | None = None, told: Json | None = None
    ) -> Any:
        return await call_as(self._caller, self.founder, call, method, path, body, told)

    async def work(self, caller: Caller) -> None:
        """One thing that somebody of the staff does. One person does one thing at a time."""
        if not self.staff:
            return await asyncio.sleep(0.05)
        person = caller.random.choice(self.staff)
        self.staff.remove(person)  # nobody else acts as them, or on them, meanwhile
        try:
            await self._work(caller, person)
        finally:
            self.staff.append(person)
        return None

    async def _work(self, caller: Caller, person: Person) -> None:
        choices: list[tuple[int, Step]] = [
            (5, lambda: call_as(caller, person, "profile", "GET", "/profile")),
            (5, lambda: self._new_bio(caller, person)),
            (2, lambda: self._new_password(caller, person)),
            (2, lambda: self._wrong_password(caller, person)),
            (2, lambda: self._leave(caller, person)),
            (2, lambda: self._refresh(caller, person)),
            (1, lambda: call_as(caller, person, "denied", "GET", "/admin/users")),
            (1, lambda: call_as(caller, person, "denied", "GET", "/events")),
            (1, lambda: self._grasp(caller, person)),
        ]
        await _one_of(caller.random, choices)

    async def _new_bio(self, caller: Caller, person: Person) -> None:
        bio = f"bio {self.number()}"
        await call_as(caller, person, "profile_update", "PUT", "/profile", {"bio": bio}, {"field": "bio", "value": bio})

    async def _new_password(self, caller: Caller, person: Person) -> None:
        new = f"{PASSWORDS[caller.random.randrange(len(PASSWORDS))]} {self.number()}"
        body = {"current_password": person.passwords[-1], "new_password": new}
        told = {"field": "password", "value": new}
        answer = await call_as(caller, person, "password", "POST", "/password", body, told)
        if answer is not None and answer.status_code == 204:
            person.passwords = [new]
        elif answer is None or answer.status_code >= 500:
            person.passwords.append(new)

    async def _wrong_password(self, caller: Caller, person: Person) -> None:
        body = {"current_password": "no such thing as this", "new_password": "nor would this one be"}
        await call_as(caller, person, "wrong_password", "POST", "/password", body)

    async def _grasp(self, caller: Caller, person: Person) -> None:
        """Try to become an administrator."""
        body, about = {"role": "tenant_admin"}, {"target": person.id}
        await call_as(caller, person, "denied", "PUT", f"/admin/users/{person.id}", body, about)

    async def _leave(self, caller: Caller, person: Person) -> None:
        await call_as(caller, person, "logout", "POST", "/logout")
        person.token = None

    async def _refresh(self, caller: Caller, person: Person) -> None:
        if person.refresh_token is None:
            return
        told = {"user": person.id, "tenant": person.tenant, "session": person.session}
        body = {"refresh_token": person.refresh_token}
        answer = await caller.attempt("refresh", "POST", "/token/refresh", body, told=told)
        person.token, person.refresh_token = None, None
        person.take(answer)

    async def audit(self, caller: Caller) -> None:
        """One thing that the auditor does."""
        person = self.auditor
        if person is None:
            return await asyncio.sleep(0.05)
        kind = caller.random.choice(("auth.*", "data.*", "user.*", "access.denied"))
        choices: list[tuple[int, Step]] = [
            (5, lambda: call_as(caller, person, "search", "GET", f"/events?type={kind}&limit=20")),
            (1, lambda: call_as(caller, person, "search", "GET", "/events?outcome=failure&limit=5")),
            (1, lambda: call_as(caller, person, "export", "GET", f"/events/export?format=jsonl&type={kind}")),
            (1, lambda: call_as(caller, person, "denied", "GET", "/admin/users")),
        ]
        await _one_of(caller.random, choices)
        return None

    async def produce(self, caller: Caller) -> None:
        """Report events, and repeat the report until it is answered: what a producer has to do."""
        if self.key is None:
            return await asyncio.sleep(0.05)
        (key_id, key), number = self.key, self.number()
        events = _events(caller.random, f"{self.name}-{number}")
        headers = {"Idempotency-Key": f"{self.name}-{number}"}
        told = {"tenant": self.founder.tenant, "key": key_id, "delivery": f"{self.name}-{number}", "events": events}
        for _ in range(200):
            body = {"events": events}
            answer = await caller.attempt("ingest", "POST", "/events", body, key, told, headers)
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                break
        return None


PASSWORDS = ("seven grey herons by the lake", "all of the lamps were lit early", "a mill that grinds no more corn")


async def _one_of(random: Random, choices: Sequence[tuple[int, Step]]) -> None:
    (step,) = random.choices([step for _, step in choices], [weight for weight, _ in choices])
    await step()


def _events(random: Random, name: str) -> list[Json]:
    """A few events of one service; now and then a deletion of many records, or a look at many."""
    kind = random.choices(("data.read", "data.update", "data.delete", "custom.job.done"), (6, 4, 2, 2))[0]
    count = random.choices((1, 3, 12, 60), (8, 4, 2, 1))[0] if kind != "custom.job.done" else 1
    actor = {"kind": "user", "id": f"clerk-{random.randrange(4)}"}
    if kind.startswith("custom."):
        return [{"type": kind, "actor": actor, "attributes": {"name": name}}]
    return [
        {
            "type": kind,
            "actor": actor,
            "target": {"kind": "record", "id": f"{name}-{n}"},
            "data_class": random.choice(("phi", "personal", "confidential")),
        }
        for n in range(count)
    ]
