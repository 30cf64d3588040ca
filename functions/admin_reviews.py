"""Access reviews."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from functions._api import Answer, Api, Body, Call, Nothing, Shape, absent, given
from functions._parsing import idempotency_key
from shared.core.text import Opaque, not_blank, printable
from shared.identity.model import ADMINS

api = Api("administration")

MOST_USERS = 1000

type Note = Annotated[
    str, StringConstraints(min_length=3, max_length=300), AfterValidator(printable), AfterValidator(not_blank)
]


class ReviewedBody(Body):
    """What was decided about one user's access."""

    user_id: Opaque
    decision: Literal["keep", "change", "remove"]
    note: Note = Field(default_factory=absent, repr=False, description="Why; sealed under the user.")


class AccessReviewBody(Body):
    """Whose access was looked at, and one decision for each of them."""

    population: Annotated[list[Opaque], Field(min_length=1, max_length=MOST_USERS, description="Ids of users.")]
    decisions: Annotated[list[ReviewedBody], Field(min_length=1, max_length=MOST_USERS)]


class AccessReviewShape(Shape):
    """A completed access review. `digest`: SHA-256, hex, of its decisions, as `review.complete` has it."""

    id: str
    completed_at: str
    completed_by: str
    population: int
    keep: int
    change: int
    remove: int
    digest: str


@api.endpoint(
    "POST",
    "v1/admin/access-reviews",
    who=ADMINS,
    body=AccessReviewBody,
    response=AccessReviewShape,
    status=201,
    step_up=True,
    idempotent=True,
    told=("population",),
)
async def complete_access_review(call: Call[AccessReviewBody, Nothing]) -> Answer:
    """Record an access review of users of the tenant: one decision for each, none left out. It is evidence and changes
    nobody's access. With an Idempotency-Key the same body is one review for 24 hours."""
    from shared.identity.access_reviews import Decision, Review, shown_access_review

    decisions = [Decision(each.user_id, each.decision, given(each).get("note")) for each in call.body.decisions]
    review = Review(call.body.population, decisions)
    key = idempotency_key(call.idempotency_key)
    item = await call.services.access_reviews.complete(call.principal, review, key, call.request)
    return Answer(shown_access_review(item), status=201)
