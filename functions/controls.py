"""The catalogue of controls."""

from typing import Literal

from pydantic import Field

from functions._api import Answer, Api, Body, Call, Nothing, Shape
from functions._report_settings import Framework
from shared.identity.model import READERS

api = Api("reports")


class ControlsQuery(Body):
    """Whose controls."""

    framework: Framework | None = Field(default=None, description="All of them without one.")


class ControlShape(Shape):
    """A control. `strength`: how much the trail says about it. `pattern`: how it is tested. `evidence`: selectors of
    events. `confirmed`: where its number and content were seen. `rules`: what is run for it; `gaps`: data that it may
    want and the trail may not have."""

    framework: Framework
    id: str
    oscal_id: str
    title: str
    question: str
    pattern: Literal["activity", "violation", "state", "external"]
    strength: Literal["direct", "partial", "contextual"]
    confirmed: str
    evidence: list[str]
    metrics: list[str]
    rules: list[str]
    gaps: list[str]
    note: str


class ControlList(Shape):
    """The controls, in the order of their frameworks."""

    items: list[ControlShape]


@api.endpoint("GET", "v1/controls", who=READERS, query=ControlsQuery, response=ControlList)
async def list_controls(call: Call[Nothing, ControlsQuery]) -> Answer:
    """The controls that reports look at: what is asked, and by which events, metrics and rules it is answered."""
    from shared.compliance.catalogue import FRAMEWORKS

    wanted = [call.query.framework] if call.query.framework else [*FRAMEWORKS]
    items = [
        {
            "framework": framework,
            **{name: getattr(each, name) for name in ("id", "oscal_id", "title", "question", "pattern", "strength")},
            "confirmed": each.confirmed,
            **{name: getattr(each, name).split() for name in ("evidence", "metrics", "rules")},
            "gaps": sorted({*each.gaps.split(), *each.blocked_by.split()}),
            "note": each.note,
        }
        for framework in wanted
        for each in FRAMEWORKS[framework].controls
    ]
    return Answer({"items": items})
