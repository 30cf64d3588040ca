"""A report goes into an evidence bundle of the store, and the program that travels with it accepts both."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from shared.audit.events.audit import AuditExport
from shared.audit.model import Draft, RequestContext
from shared.compliance.render.bundle import attached, places
from shared.compliance.report_model import Shard
from shared.ledger._text import encode_base64
from shared.ledger.evidence import Limits, Wanted
from tests.app import Account, App
from tests.calls import PERIOD
from tests.compliance.reports import report
from tests.exporting import fill
from tools.verify_evidence import OK, table, verify


async def test_a_report_of_the_store_in_its_evidence(app: App, ada: Account, tmp_path: Path) -> None:
    await fill(app, ada, 5)
    await app.host.drain_feed()
    services, request = app.services, RequestContext("r", "reports", "reports", app.clock.now())
    issued = await services.ledger.checkpoint(ada.tenant_id, PERIOD, request, newest=True)
    size = issued.checkpoint.size
    month = Shard(PERIOD, size, encode_base64(issued.checkpoint.root), issued.note, size, 0, size - 1)
    made = report(controls=2, rows=1, tenant_id=ada.tenant_id, population=(month,))
    assert places(made)
    await fill(app, ada, 3)
    await app.host.drain_feed()

    app.services.evidence._limits = Limits(entries=1)
    carried = attached(replace(made, controls=()))
    wanted = Wanted(ada.tenant_id, date(2026, 3, 1), date(2026, 4, 1), disclosed=True, report=carried)
    draft = Draft(ada.tenant_id, AuditExport(format="bundle"), request)
    part = await services.evidence.part(wanted, None, draft)
    assert part.next is None
    path = tmp_path / "report.zip"
    path.write_bytes(part.body)
    key = (await app.client.get("/v1/ledger/key", headers=ada.auth)).text.strip()
    checks = verify([str(path)], [key])
    assert checks.result == OK, table(checks)
    assert f"stands on the first {size} entries of {PERIOD}" in table(checks)
