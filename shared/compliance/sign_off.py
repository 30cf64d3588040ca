"""Signing reports off: who answers for one, and what they state.

A sign-off stands beside its report and leaves it as it is; once made it is neither changed nor taken back."""

from typing import Any, Literal

from shared.audit.events.report import ReportSignOff
from shared.audit.model import Actor, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.compliance.kinds import COMPLIANCE, DAILY, ORDER, order_id
from shared.compliance.model import digest_of
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash
from shared.storage.containers import REPORTS
from shared.storage.documents import MAX_PAGE, DocumentStore, Item, Prefix, Query, create
from shared.storage.errors import Conflict, NotFound

KIND = "sign_off"
type SignedAs = Literal["prepared", "reviewed", "approved"]
"""What somebody did with a report who signs it off."""


def sign_off_key(report_id: str, user_id: str) -> str:
    """The id of a person's sign-off of a report: there is one."""
    return f"{KIND}|{report_id}|{user_id}"


def shown_sign_off(item: Item) -> dict[str, Any]:
    """A sign-off as the API shows it."""
    names = ("user_id", "role", "signed_as", "at", "statement", "digest")
    return {"signed_as": "reviewed"} | {name: item[name] for name in names if name in item}


class SignOffs:
    """The sign-offs of the reports of all tenants, of whatever framework."""

    def __init__(self, store: DocumentStore, recorder: Recorder, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock

    async def sign(
        self,
        tenant_id: str,
        report_id: str,
        statement: str,
        actor: Actor,
        request: RequestContext,
        signed_as: SignedAs = "reviewed",
    ) -> Item | None:
        """Sign a report off as it is shown now; None when the tenant has none of that id. A repetition is the sign-off
        that is there. Clash (409): report_not_ready; signed_off_already for who signed otherwise."""
        report = await self._report(tenant_id, report_id)
        if report is None:
            return None
        if report["status"] != "ready":
            raise Clash("report_not_ready", "Only a report that is ready can be signed off.")
        user_id = str(actor.id)
        item: Item = {
            "id": sign_off_key(report_id, user_id),
            "tenant_id": tenant_id,
            "kind": KIND,
            "report_id": report_id,
            "user_id": user_id,
            "role": actor.role,
            "signed_as": signed_as,
            "at": rfc3339(self._clock.now()),
            "statement": statement,
            "digest": report["digest"] if report["kind"] == COMPLIANCE else digest_of(report),
        }
        if "ttl" in report:
            item["ttl"] = report["ttl"]  # kept as long as what it is about
        finished = await self._recorder.finish(_draft(tenant_id, report, item, actor, request))
        try:
            await self._outbox.commit(REPORTS, tenant_id, [create(item)], [finished])
        except Conflict:
            held = await self._store.read(REPORTS, (tenant_id,), item["id"])
            if (held["statement"], held.get("signed_as", "reviewed")) != (statement, signed_as):
                raise Clash(
                    "signed_off_already", "The caller has signed this report off, and said otherwise."
                ) from None
            return held
        return item

    async def of(self, tenant_id: str, report_id: str) -> list[Item]:
        """The sign-offs of a report, oldest first; of very many the first thousand people's."""
        query = Query((Prefix("id", sign_off_key(report_id, "")),), limit=MAX_PAGE)
        found = await self._store.query(REPORTS, (tenant_id,), query)
        return sorted(found.items, key=lambda each: (each["at"], each["user_id"]))

    async def _report(self, tenant_id: str, report_id: str) -> Item | None:
        for item_id in (report_id, order_id(report_id)):
            try:
                item = await self._store.read(REPORTS, (tenant_id,), item_id)
            except NotFound:
                continue
            return item if item["kind"] in (DAILY, COMPLIANCE, ORDER) else None
        return None


def _draft(tenant_id: str, report: Item, item: Item, actor: Actor, request: RequestContext) -> Draft:
    event = ReportSignOff(
        framework=report["framework"],
        period_from=report["from"],
        period_to=report["to"],
        digest=item["digest"],
        signed_as=item["signed_as"],
        statement=item["statement"],
    )
    target = Target("report", report["id"])
    return Draft(tenant_id, event, request, actor=actor, target=target, person=actor.id)
