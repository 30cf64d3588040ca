"""What tests of erasure share: someone with a past, the job, and a look at what is stored."""

from typing import Any

from shared.identity.model import Role
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, IDENTITY
from shared.storage.documents import Cursor, Eq, Item, Query
from shared.storage.sqlite import SqliteStore
from shared.subject_rights.erasure import SETTLED
from shared.subject_rights.model import Person
from tests.app import PASSWORD, Account, App

WHY = "wants to be forgotten"


async def with_a_past(app: App, admin: Account, email: str, role: Role = Role.USER) -> Account:
    """A user who did this and that, and to whom this and that was done."""
    person = await app.join(admin, email, role, first_name="Bertram", last_name="Builder")
    await app.client.put("/v1/profile", json={"phone": "+49 30 1234567"}, headers=person.auth)
    await app.client.get(f"/v1/admin/users/{person.id}", headers=admin.auth)
    await app.login(person.email, "a guess")
    return person


async def ask(app: App, person: Account) -> str:
    body = {"reason": WHY, "password": PASSWORD}
    answer = await app.client.post("/v1/privacy/erasure", json=body, headers=person.auth)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["request_id"]
    return found


async def run(app: App) -> None:
    app.clock.advance(seconds=1)
    assert await app.host.run_timer("run_erasures")


async def settle(app: App) -> None:
    """The time after which the second pass is due, and the pass."""
    app.clock.advance(seconds=SETTLED.total_seconds())
    await run(app)


async def left(app: App, person: Account) -> list[str]:
    """What the app's own check finds."""
    return await app.services.erasures.check(Person(person.tenant_id, person.id))


async def all_requests(app: App, tenant_id: str) -> list[Item]:
    """The requests of a tenant, oldest first."""
    query = Query((Eq("kind", "subject_request"),), order_by="created_at", limit=1000)
    return (await app.store.query(IDENTITY, (tenant_id,), query)).items


async def requests(app: App, tenant_id: str) -> dict[str, Item]:
    """The last request of each person of a tenant, by the person's id."""
    return {each["subject"]: each for each in await all_requests(app, tenant_id)}


async def events_of(app: App, tenant_id: str) -> dict[str, Item]:
    """A tenant's stored events by id, as they are."""
    found: dict[str, Item] = {}
    after: Cursor | None = None
    while True:
        page = await app.store.query(AUDIT_EVENTS, (tenant_id,), Query(limit=1000, after=after))
        found |= {each["id"]: each for each in page.items}
        after = page.next
        if after is None:
            return found


def everything(store: SqliteStore) -> dict[str, list[str]]:
    """The text of every item of every container, by the container's name: read around the port, for nothing may hide
    in a partition that a test does not think of."""
    connection: Any = store._resources.point_reader
    return {
        name: [body for (body,) in connection.execute(f"SELECT body FROM items_{name}")]  # noqa: S608
        for name in CONTAINERS
    }
