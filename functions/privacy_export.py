"""A person's data, as a file for the person."""

from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing, Shape
from functions._cursors import read_place, refused, write_place
from functions._shapes import SealedEventShape, UserShape
from functions.alerts import AlertShape
from functions.privacy import RequestShape
from shared.core.text import Opaque
from shared.identity.model import USERS

api = Api("privacy")

_MEDIA = {"json": "application/json", "html": "text/html"}


class SubjectExportQuery(Body):
    """Whose data, and how it is written."""

    subject: Opaque | None = Field(
        default=None, description="Id of a person, for administrators; your own if left out."
    )
    format: Literal["json", "html"] = Field(default="json", description="`html` is to read; it has no proofs.")
    cursor: str | None = Field(default=None, max_length=2048, description="As `Link` of the part before names it.")

    def asked(self) -> dict[str, object]:
        """The parameters that were given, without the cursor."""
        return self.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True)


class ExportHead(Shape):
    """What the export is: all that was recorded before `received_at`. `ids`: what events know the person by."""

    id: str
    part: int
    last: bool
    tenant_id: str
    subject: str
    ids: list[str]
    requested_by: str
    received_at: str
    due_at: str


class MonthShape(Shape):
    """A month of the ledger: the checkpoint that proofs lead to. `expired`: its entries are no longer kept. `broken`:
    what is stored is not what was sealed."""

    period: str
    state: Literal["sealed", "expired", "broken"]
    size: int | None
    root: str | None
    checkpoint: str | None


class AnswerShape(Shape):
    """What the person last said about a purpose."""

    purpose: str
    granted: bool
    version: str
    at: str


class OwnSessionShape(Shape):
    """A session of the person."""

    id: str
    created_at: str
    refreshed_at: str
    expires_at: str
    idle_expires_at: str
    mfa_at: str | None


class InclusionShape(Shape):
    """`sealed`: hashes (base64) from the leaf's sibling up to the root of the month's checkpoint. `not_sealed`: it was
    not when the export began. `changed`: what is stored is not what was sealed, which is in `entry` (base64).
    `expired`, `broken`: see the month."""

    state: Literal["sealed", "not_sealed", "expired", "broken", "changed"]
    index: int | None
    path: list[str]
    entry: str | None


class ExportedEventShape(Shape):
    """An event that names the person. `personal`: what is the person's, by id: `{"erased": true}` where it was erased,
    `{"damaged": true}` where it does not open or is not what was recorded, neither with a salt. SHA-256 of salt and
    canonical JSON is the event's commitment."""

    event: SealedEventShape
    personal: dict[str, dict[str, Any]]
    salts: dict[str, str]
    proof: InclusionShape


class SubjectExportShape(Shape):
    """One part of a person's data. The account, and what was agreed to, are in the first. `keys`: every key that signs
    or signed, as verifier keys. `statement`: a signed note on what is in this part."""

    format: Literal["kraftd-audit-subject-export/1"]
    about: list[str]
    export: ExportHead
    months: list[MonthShape]
    keys: list[str]
    statement: str
    account: UserShape | None
    consents: list[AnswerShape]
    sessions: list[OwnSessionShape]
    requests: list[RequestShape]
    alerts: list[AlertShape]
    events: list[ExportedEventShape]


@api.endpoint(
    "GET",
    "v1/privacy/export",
    who=USERS,
    query=SubjectExportQuery,
    response=SubjectExportShape,
    errors=(404,),
    produces={"text/html": "The same to read and to print, without the proofs."},
)
async def export_subject(call: Call[Nothing, SubjectExportQuery]) -> Answer:
    """All that is kept about you, in parts of at most 10,000 records or 8 MiB, with what proves it. Administrators may
    name anybody of the organization. `Link` with `rel="next"` names the next part, for 15 minutes. An export is a
    request in the register; the first part and the last are `privacy.export` events."""
    from shared.audit.export_runs import RunOver
    from shared.subject_rights.export import Place
    from shared.subject_rights.export_register import Asked

    query = call.query
    given = await read_place(call)
    asked = Asked(call.principal, query.subject, query.format, call.request)
    try:
        part = await call.services.subject_exports.part(asked, Place(*given) if given else None)
    except RunOver:
        raise refused() from None
    name = f"subject-export-{part.until[:19].replace(':', '').replace('-', '')}Z-{part.number:05d}.{query.format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Record-Count": str(part.records)}
    if part.next is not None:
        place = part.next
        cursor = await write_place(call, [place.run, place.part, place.counts, place.walk, place.value, place.id])
        headers["Link"] = f'<?{urlencode({**query.asked(), "cursor": cursor})}>; rel="next"'
    return Answer(part.body, headers=headers, media_type=_MEDIA[query.format])
