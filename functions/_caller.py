"""Who calls an endpoint, and whether they may: asked before anything of the request is looked at."""

from dataclasses import replace
from typing import TYPE_CHECKING

from functions._api import Endpoint
from shared.audit.model import RequestContext
from shared.identity.model import Caller
from shared.wiring import Services

if TYPE_CHECKING:  # cold start
    from shared.identity.attempted import Attempt

_API_KEY = "kak_"


def bearer(authorization: str) -> str | None:
    """The token of an `Authorization` header (RFC 6750); None for any other."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


async def known_caller(
    endpoint: Endpoint, token: str | None, services: Services, request: RequestContext, attempt: "Attempt"
) -> tuple[Caller, RequestContext]:
    """The caller, and the request as one of theirs. 401 for who is not known; 403 where they may not call."""
    if token is not None and token.startswith(_API_KEY):
        program = await services.api_keys.authenticate(token, request)
        request = replace(request, api_key_id=program.key_id)
        await services.api_keys.require_scope(program, endpoint.scope, request, attempt)
        return program, request
    person = await services.access.authenticate(token, request)
    request = replace(request, session_id=person.session_id)
    await services.access.require_role(person, endpoint.who or (), request, attempt)
    needed = {"enrollment": endpoint.enrollment, "step_up": endpoint.step_up}
    await services.access.require_factor(person, request, attempt, **needed)
    return person, request
