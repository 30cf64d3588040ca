"""The edge: every HTTP function runs through `http_function`, so each rule of the contract holds on every route."""

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

import azure.functions as func
from pydantic import BaseModel

from functions._api import Answer, Call, Endpoint
from functions._attempts import asks_for_a_role, attempted
from functions._caller import bearer, known_caller
from functions._parsing import parse_body, parse_query
from functions._shapes import shown_faults
from shared.audit.model import RequestContext
from shared.core.deadline import deadline
from shared.core.errors import Invalid, KraftdError, Unready
from shared.core.text import address
from shared.privacy.secrets import SecretsError
from shared.storage.errors import StoreError, Throttled
from shared.telemetry import get_log
from shared.wiring import LazyServices, Services

_log = get_log(__name__)

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_ENTITY_TAG = re.compile(r'(?<!W/)"[!#-~]{0,200}"')
_ENTITY_TAGS = re.compile(r'(?:W/)?"[!#-~]{0,200}"(?:\s*,\s*(?:W/)?"[!#-~]{0,200}"){0,20}')
_GRACE_SECONDS = 1.0
"""After the deadline: what keeps to it by itself, and knows what was done, answers first."""
_MAX_USER_AGENT = 512
_MAX_ADDRESS = 64

type HttpFunction = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def http_function(endpoint: Endpoint, services: LazyServices) -> HttpFunction:
    """The function of an endpoint, as the Functions runtime calls it."""

    async def run(req: func.HttpRequest) -> func.HttpResponse:
        request_id = services.ids.new()
        try:
            request = _context(endpoint, req, services, request_id)
            seconds = services.settings.request_deadline_seconds
            with deadline(seconds):
                async with asyncio.timeout(seconds + _GRACE_SECONDS):
                    ready = None if endpoint.bare else await _ready(services)
                    return _response(await _answer(endpoint, req, ready, request), request_id)
        except TimeoutError:
            _log.error("request_out_of_time", request_id=request_id, function=endpoint.name)
            return problem(Unready("store_unavailable", "It took too long.", retry_after_seconds=5), request_id)
        except KraftdError as error:
            if isinstance(error, SecretsError):
                _log.error("secrets_error", error, request_id=request_id)
            return problem(error, request_id)
        except StoreError as error:
            return problem(_store_down(error), request_id)
        except Exception as error:  # noqa: BLE001 - the edge: the host would log its text, personal data included
            _log.error("request_failed", error, request_id=request_id, function=endpoint.name)
            return problem(KraftdError("internal_error", "Something went wrong on our side."), request_id)

    run.__name__ = endpoint.name
    run.__doc__ = endpoint.handler.__doc__
    return run


async def _ready(services: LazyServices) -> Services:
    try:
        return await services.get()
    except StoreError:
        raise
    except Exception as error:
        _log.error("services_not_built", error)
        raise Unready("not_ready", "The app is not ready.", retry_after_seconds=5) from error


async def _answer(
    endpoint: Endpoint, req: func.HttpRequest, services: Services | None, request: RequestContext
) -> Answer:
    path = _path(endpoint, req)
    if endpoint.who is None or services is None:
        body, query = _parsed(endpoint, req)
        return await endpoint.handler(Call(services, request, body, query, path, None, *_headers(req)))
    attempt = partial(attempted, endpoint, req.get_body(), req.url, path)
    token = bearer(req.headers.get("authorization", ""))
    caller, request = await known_caller(endpoint, token, services, request, attempt)
    try:
        body, query = _parsed(endpoint, req)
    except Invalid:
        tried = attempt()
        if tried is not None and asks_for_a_role(endpoint, tried):
            await services.access.denied(caller, "role", request, tried)
        raise
    return await endpoint.handler(Call(services, request, body, query, path, caller, *_headers(req)))


def _headers(req: func.HttpRequest) -> tuple[frozenset[str] | None, str | None, str, frozenset[str]]:
    """What a call heeds of its headers, as `Call` has them."""
    headers = req.headers
    known = frozenset(_ENTITY_TAG.findall(headers.get("if-none-match", "")))
    return _if_match(req), headers.get("idempotency-key"), headers.get("accept", ""), known


def _parsed(endpoint: Endpoint, req: func.HttpRequest) -> tuple[BaseModel, BaseModel]:
    """Body and query, each as its model."""
    return parse_body(req.get_body(), endpoint.body), parse_query(req.url, endpoint.query)


def _context(endpoint: Endpoint, req: func.HttpRequest, services: LazyServices, request_id: str) -> RequestContext:
    trace = _TRACEPARENT.fullmatch(req.headers.get("traceparent", ""))
    user_agent = req.headers.get("user-agent")
    return RequestContext(
        request_id=request_id,
        route=f"{endpoint.method} /{endpoint.route}",
        function=endpoint.name,
        started_at=services.clock.now(),
        ip=client_address(req.headers.get("x-forwarded-for"), services.settings.trusted_proxy_hops),
        user_agent=_storable(user_agent) if user_agent else None,
        trace_id=trace.group(1) if trace else None,
    )


def _path(endpoint: Endpoint, req: func.HttpRequest) -> dict[str, str]:
    """Route parameters; ids in their canonical spelling, for the host takes several."""
    return {
        name: _canonical(value) if f"{{{name}:guid}}" in endpoint.route else value
        for name, value in req.route_params.items()
    }


def _canonical(guid: str) -> str:
    """A GUID as our ids are written. .NET knows more spellings than Python: what is left as it is names nothing."""
    try:
        return str(UUID(guid.strip("{}()")))
    except ValueError:
        return guid


def client_address(forwarded_for: str | None, trusted_hops: int) -> str | None:
    """The caller's address: of X-Forwarded-For only what our own front ends wrote, counted from the right.

    Whatever stands further left came with the request and proves nothing. None when there is no usable entry.
    """
    if not forwarded_for or trusted_hops == 0:
        return None
    entries = forwarded_for.rsplit(",", trusted_hops)[-trusted_hops:]
    entry = entries[0].strip()
    return _address_of(entry) if len(entries) == trusted_hops and len(entry) <= _MAX_ADDRESS else None


@lru_cache(maxsize=1024)
def _address_of(entry: str) -> str | None:
    host, _, _ = entry.rpartition(":")
    for candidate in (host,) if entry.count(":") == 1 else (entry, host):  # one colon: IPv4 and its port
        try:
            return address(candidate.strip("[]"))
        except ValueError:
            continue
    return None


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")[:_MAX_USER_AGENT]


def _if_match(req: func.HttpRequest) -> frozenset[str] | None:
    """The entity tags of `If-Match` (RFC 9110); a weak one never matches. None without the header, and for
    `*`."""
    given = req.headers.get("if-match", "").strip()
    if not given or given == "*":
        return None
    return frozenset(_ENTITY_TAG.findall(given)) if _ENTITY_TAGS.fullmatch(given) else frozenset()


def _store_down(error: StoreError) -> Unready:
    _log.error("store_error", error, why=str(error))
    seconds = max(1, math.ceil(error.retry_after_seconds)) if isinstance(error, Throttled) else 5
    return Unready("store_unavailable", "The store does not answer now.", retry_after_seconds=seconds)


def _response(answer: Answer, request_id: str) -> func.HttpResponse:
    body = answer.body if answer.body is None or isinstance(answer.body, bytes) else to_json(answer.body)
    return func.HttpResponse(
        body,
        status_code=answer.status,
        headers={**SECURITY_HEADERS, "X-Request-Id": request_id, **answer.headers},
        mimetype=answer.media_type,
    )


def problem(error: KraftdError, request_id: str, headers: dict[str, str] | None = None) -> func.HttpResponse:
    """An error as RFC 9457 problem+json."""
    extra = dict(headers or {})
    if error.status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    if error.retry_after_seconds is not None:
        extra["Retry-After"] = str(error.retry_after_seconds)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    if error.errors:
        body["errors"] = shown_faults(error.errors)
    body |= error.members
    return func.HttpResponse(
        to_json(body),
        status_code=error.status,
        headers={**SECURITY_HEADERS, "X-Request-Id": request_id, **extra},
        mimetype="application/problem+json",
    )


def to_json(value: Any) -> bytes:
    """JSON in UTF-8; a lone surrogate, should one ever get here, is written as its escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
