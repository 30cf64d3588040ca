"""Copies of the trail, for files and for other systems."""

from typing import Literal
from urllib.parse import urlencode

from pydantic import Field

from functions._api import Answer, Api, Call, Nothing
from functions._cursors import read_place, refused, write_place
from functions._event_search import EventFilters, reads_personal
from shared.audit.model import Draft
from shared.identity.model import READERS

api = Api("events")


class ExportQuery(EventFilters):
    """What to export; all given filters must hold."""

    format: Literal["csv", "jsonl", "ocsf"] = Field(default="jsonl", description="How it is written.")
    cursor: str | None = Field(default=None, max_length=2048, description="As `Link` of the part before names it.")

    def asked(self) -> dict[str, object]:
        """The parameters that were given, as they are spelled, without the cursor."""
        return self.model_dump(mode="json", by_alias=True, exclude={"cursor"}, exclude_defaults=True)


@api.endpoint(
    "GET",
    "v1/events/export",
    who=READERS,
    scope="events:read",
    query=ExportQuery,
    produces={
        "text/csv": "CSV (RFC 4180), UTF-8, its column names in the first part only.",
        "application/x-ndjson": "JSON lines: events, or events of OCSF.",
    },
)
async def export_events(call: Call[Nothing, ExportQuery]) -> Answer:
    """A copy of the trail, oldest first, in parts of at most 10,000 events or 8 MiB: all that match and were there when
    the first part was asked for. `Link` with `rel="next"` names the next part, for 15 minutes; joined byte by byte the
    parts are one file. An export is one event, with its count, not one per part."""
    from shared.audit.export_runs import RunOver
    from shared.audit.exports import Place, Wanted
    from shared.audit.search import exported

    query, known = call.query, call.known
    wanted = Wanted(known.tenant_id, query.wanted(), query.format, reads_personal(call))
    given = await read_place(call)

    asked = {name: value for name, value in query.asked().items() if name != "format"}
    kept, personal = await call.services.directory.set_apart(known.tenant_id, known.person, "email", asked)

    def draft(until: str) -> Draft:
        end = {"to": until}
        event = exported(query.format, kept | end, by_person=known.person is not None, by=asked | end)
        return Draft(known.tenant_id, event, call.request, actor=known.actor, person=known.person, personal=personal)

    try:
        part = await call.services.exports.part(wanted, Place(*given) if given else None, draft)
    except RunOver:
        raise refused() from None
    name = (
        f"audit-events-{part.until[:19].replace(':', '').replace('-', '')}Z-{part.number:05d}.{wanted.form.extension}"
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Record-Count": str(part.rows)}
    if part.next is not None:
        place = part.next
        cursor = await write_place(call, [place.run, place.until, place.part, place.rows, place.recorded_at, place.id])
        headers["Link"] = f'<?{urlencode({**query.asked(), "cursor": cursor}, doseq=True)}>; rel="next"'
    return Answer(part.body, headers=headers, media_type=wanted.form.media_type)
