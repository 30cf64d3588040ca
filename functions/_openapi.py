"""The OpenAPI 3.1 document, generated from the endpoints and the models that validate them."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from functions._api import Endpoint, Nothing, Shape
from functions._shapes import Problem
from shared.core.text import MONTH
from shared.core.version import VERSION

_REFERENCE = "#/components/schemas/{model}"
_ERROR_TITLES = {
    400: "The request cannot be read.",
    401: "No token, one that does not hold, or wrong credentials.",
    403: "The caller's role does not allow it, or a second factor is due.",
    404: "There is nothing of that id.",
    405: "The path does not take that method.",
    409: "It collides with what is there.",
    412: "It was changed since the caller read it, or at the same moment.",
    413: "The body is above 1 MiB.",
    422: "Some fields are not as they must be; `errors` names them.",
    423: "Too many failures; nobody can sign in to this account until Retry-After seconds have passed.",
    429: "More calls than are allowed to an address or organization; try again after Retry-After seconds.",
    500: "Something went wrong on our side.",
    503: "Store or audit trail do not answer; try again after Retry-After seconds.",
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "For 24 hours the same body under the same key has the same answer; another body is refused.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_PATH_PARTS = {
    "period": {"pattern": MONTH, "description": "A month, YYYY-MM."},
    "path": {"description": "Level, index and, of a partial one, width, with slashes, as C2SP tlog-tiles writes them."},
}
"""Parts of paths that are no ids."""
_PART_HEADERS = {
    "Link": {
        "schema": {"type": "string"},
        "description": 'Where the next part is, relative to this call: `<?…>; rel="next"`. The last part has none.',
    },
    "Content-Disposition": {"schema": {"type": "string"}, "description": "A name for the file."},
    "X-Record-Count": {"schema": {"type": "integer"}, "description": "How many records this part has."},
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document of these endpoints."""
    read = {model: model for e in endpoints for model in (e.body, e.query) if model is not Nothing}
    told = {shape: shape.model() for e in endpoints for shape in (e.response, *e.also.values(), Problem) if shape}
    used: list[tuple[Any, type[BaseModel]]] = sorted((read | told).items(), key=lambda each: each[1].__name__)
    schemas, defined = models_json_schema([(model, "validation") for _, model in used], ref_template=_REFERENCE)
    by_model = {declared: schemas[model, "validation"] for declared, model in used}
    definitions = defined.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in sorted(endpoints, key=lambda e: (e.route, e.method)):
        path = "/" + re.sub(r"\{\*?(\w+)(:\w+)?\}", r"{\1}", endpoint.route)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_model, definitions)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kraftd Audit",
            "version": VERSION,
            "summary": "Accounts, audit trail, threat alerts and compliance evidence.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api"}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "api_key": {"type": "http", "scheme": "bearer", "bearerFormat": "kak_<tenant>.<id>.<secret>"},
            },
        },
    }


def error_statuses(endpoint: Endpoint) -> tuple[int, ...]:
    """Every error status that an endpoint can answer with."""
    general = {500} if endpoint.bare else {500, 503}
    general |= {400, 413, 422}
    if endpoint.who is not None:
        general |= {401, 403}
    return tuple(sorted(general | set(endpoint.errors)))


def _operation(endpoint: Endpoint, schemas: dict[Any, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    summary = " ".join((endpoint.handler.__doc__ or "").split())
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": summary.split(". ")[0].rstrip("."),
        "description": summary,
        "security": _security(endpoint),
        "parameters": [
            *_path_parameters(endpoint),
            *_query_parameters(endpoint, schemas, definitions),
            *([_IDEMPOTENCY_KEY] if endpoint.idempotent else []),
        ],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.body is not Nothing:
        content = {"application/json": {"schema": schemas[endpoint.body]}}
        fields = definitions[schemas[endpoint.body]["$ref"].rpartition("/")[2]]
        needed = bool(fields.get("required") or fields.get("oneOf"))
        operation["requestBody"] = {"required": needed, "content": content}
    if endpoint.who is not None:
        operation["x-roles"] = [role.value for role in endpoint.who]
    if endpoint.scope is not None:
        operation["x-scope"] = endpoint.scope
    return operation


def _security(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.who is None:
        return []
    return [{"bearer": []}] if endpoint.scope is None else [{"bearer": []}, {"api_key": []}]


def _responses(endpoint: Endpoint, schemas: dict[Any, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done.", "headers": {"X-Request-Id": {"schema": {"type": "string"}}}}
    content = {each: {"schema": {"type": "string", "description": said}} for each, said in endpoint.produces.items()}
    if endpoint.response is not None:
        content["application/json"] = {"schema": schemas[endpoint.response]}
    if content:
        done["content"] = content
    if endpoint.produces and "cursor" in endpoint.query.model_fields:
        done["headers"] |= _PART_HEADERS
    if not content and endpoint.status != 204:
        done["content"] = {"application/json": {"schema": {"type": "object"}}}
    failed = {
        str(status): {
            "description": _ERROR_TITLES[status],
            "content": _error_content(endpoint.also.get(status), schemas),
        }
        for status in error_statuses(endpoint)
    }
    partly = {
        str(status): {"description": "Done in part.", "content": {"application/json": {"schema": schemas[shape]}}}
        for status, shape in endpoint.also.items()
        if status < 400
    }
    return {str(endpoint.status): done, **partly, **failed}


def _error_content(own: type[Shape] | None, schemas: dict[Any, Any]) -> dict[str, Any]:
    problem = own if own is not None and issubclass(own, Problem) else Problem
    content = {"application/problem+json": {"schema": schemas[problem]}}
    return content if own in (None, problem) else {"application/json": {"schema": schemas[own]}, **content}


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = re.findall(r"\{\*?(\w+)(?::(\w+))?\}", endpoint.route)
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", **({"format": "uuid"} if kind == "guid" else _PATH_PARTS[name])},
        }
        for name, kind in found
    ]


def _query_parameters(endpoint: Endpoint, schemas: dict[Any, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is Nothing:
        return []
    schema = definitions[schemas[endpoint.query]["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema["properties"].items()
    ]
