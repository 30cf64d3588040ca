"""What a report on a framework asks of the store, for the store budget."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

from shared.audit.model import RequestContext
from shared.compliance.model import Activity, Day, new_report
from shared.compliance.parts import report_id
from shared.identity.model import TENANT_ITEM
from shared.storage.containers import IDENTITY, REPORTS
from shared.storage.documents import PatchSet

if TYPE_CHECKING:
    from bench.store_budget import Walk


async def framework_report(walk: Walk, token: str) -> None:
    """A report on a framework, of the day before; the organization is as old as that."""
    services = await walk.host.module.services.get()
    tenant_id = (await walk.client.get("/profile", headers={"Authorization": f"Bearer {token}"})).json()["tenant_id"]
    began = PatchSet("created_at", "2026-03-14T00:00:00.000000Z")
    await services.store.patch(IDENTITY, (tenant_id,), TENANT_ITEM, [began])
    checked = RequestContext(services.ids.new(), "timer/verify_ledger", "verify_ledger", services.clock.now())
    await services.verification.run(tenant_id, checked)  # or the report would wait for it
    body = {"framework": "soc2", "from": "2026-03-14", "to": "2026-03-15"}
    made = await walk.call("POST reports", "POST", "/reports", 201, token=token, body=body)
    await walk.call("POST reports, there already", "POST", "/reports", 201, token=token, body=body)
    url = f"/reports/{made['id']}"
    for what, asked in (("of a framework", ""), ("its HTML", "?format=html"), ("its bundle", "?format=bundle")):
        await walk.call(f"GET reports/{{id}}, {what}", "GET", url + asked, 200, token=token, read=False)
    await walk.call("GET controls", "GET", "/controls", 200, token=token)
    orders, days = services.framework_reports.orders, (date(2026, 3, 14), date(2026, 3, 15))
    request = RequestContext(services.ids.new(), "timer/order_reports", "order_reports", services.clock.now())
    await walk.run("an order of a report", partial(orders.order, tenant_id, "gdpr", *days, request))
    order = await orders.open(tenant_id, report_id(tenant_id, "gdpr", *(day.isoformat() for day in days)))
    await walk.run("feed: an order of a report", partial(orders.consume, [order]))


async def sign_off(walk: Walk, token: str) -> None:
    """A report that is ready, as a day would have left it."""
    services = await walk.host.module.services.get()
    tenant_id = (await walk.client.get("/profile", headers={"Authorization": f"Bearer {token}"})).json()["tenant_id"]
    report = new_report(
        tenant_id, Day(date(2026, 3, 14)), Activity(), datetime(2026, 3, 15, 12, tzinfo=UTC), final=True
    )
    await services.store.create(REPORTS, (tenant_id,), report)
    url, body = f"/reports/{report['id']}", {"statement": "I have read it."}
    await walk.call("POST reports/{id}/sign-off", "POST", f"{url}/sign-off", 201, token=token, body=body)
    await walk.call("GET reports/{id}, signed off", "GET", url, 200, token=token)
