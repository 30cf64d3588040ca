"""Evidence bundles: months of the ledger as files that anyone can check offline."""

from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing
from functions._cursors import read_place, refused, write_place
from shared.audit.model import Draft
from shared.core.text import Day
from shared.identity.model import READERS

api = Api("ledger")


class BundleQuery(Body):
    """Which days; the bundle has the whole months that they are in."""

    from_: Day = Field(alias="from", description="The first day, in UTC.")
    to: Day = Field(description="The day behind the last one; 13 months at most.")
    personal: Literal["true", "false"] = Field(
        default="true", description="With the personal data of the events, and what is needed to check it."
    )
    cursor: str | None = Field(default=None, max_length=2048, description="As `Link` of the part before names it.")

    def asked(self) -> dict[str, object]:
        """The parameters that were given, as they are spelled, without the cursor."""
        return self.model_dump(mode="json", by_alias=True, exclude={"cursor"}, exclude_defaults=True)


@api.endpoint(
    "GET",
    "v1/ledger/bundle",
    who=READERS,
    query=BundleQuery,
    errors=(404, 409),
    produces={"application/zip": "One part of an evidence bundle."},
)
async def get_ledger_bundle(call: Call[Nothing, BundleQuery]) -> Answer:
    """An evidence bundle of all months that the days touch, as they are sealed now, in parts of at most 10,000 entries
    or 8 MiB. `Link` with `rel="next"` names the next part, for 15 minutes. `verify_evidence.py`, which is in every
    part, checks all parts together, offline. A bundle is one `audit.export` event, with its count, not one per part."""
    from shared.audit.export_runs import RunOver
    from shared.audit.search import exported
    from shared.ledger.evidence import Place, Wanted

    query, known = call.query, call.known
    given = await read_place(call)
    filters = query.asked()
    event = exported("bundle", filters, by_person=known.person is not None)
    draft = Draft(known.tenant_id, event, call.request, actor=known.actor, person=known.person)
    wanted = Wanted(known.tenant_id, query.from_, query.to, query.personal == "true")
    try:
        part = await call.services.evidence.part(wanted, Place(*given) if given else None, draft)
    except RunOver:
        raise refused() from None
    name = f"evidence-{filters['from']}-{filters['to']}-{part.number:05d}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Record-Count": str(part.entries)}
    if part.next is not None:
        place = part.next
        cursor = await write_place(call, [place.run, place.part, place.entries, place.period, place.number])
        headers["Link"] = f'<?{urlencode({**filters, "cursor": cursor}, doseq=True)}>; rel="next"'
    return Answer(part.body, headers=headers, media_type="application/zip")
