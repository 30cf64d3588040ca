"""Reading requests: bytes to checked models, every fault named by its field."""

import functools
import json
import re
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ValidationError

from functions._api import ReadBody
from shared.core.errors import BadRequest, FieldError, Invalid, TooLargeBody

MAX_BODY_BYTES = 1024 * 1024
_MAX_NAME = 100
_KEY = re.compile(r"[!-~]{1,255}")


def parse_body[M: BaseModel](raw: bytes, model: type[M]) -> M:
    """The body as its model. TooLargeBody (413), BadRequest (400: encoding, JSON), Invalid (422: fields)."""
    if len(raw) > MAX_BODY_BYTES:
        raise TooLargeBody("body_too_large", f"A body has at most {MAX_BODY_BYTES} bytes.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("invalid_encoding", "The body is not UTF-8.") from None
    if not text.strip():
        return cast("M", _nothing(model))
    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise BadRequest("malformed_json", "The body is not one JSON value with every name used once.") from None
    if issubclass(model, ReadBody):
        return cast("M", model.read(value, text))
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        faults = _faults(error)
        if any(fault["type"] == "json_invalid" for fault in faults):
            raise BadRequest("malformed_json", "The body is not valid JSON.") from None
        raise _invalid(faults) from None


def parse_query[M: BaseModel](url: str, model: type[M]) -> M:
    """The query string as its model; read from the URL, since the host's own parsing drops and joins. Invalid (422)."""
    if "?" not in url:
        return cast("M", _nothing(model))
    many = {info.alias or name for name, info in model.model_fields.items() if "tuple" in str(info.annotation)}
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(
            urlsplit(url).query, keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=100
        )
    except ValueError:
        raise BadRequest("invalid_encoding", "The query string is not UTF-8, or has too many parameters.") from None
    for name, value in pairs:
        if name in many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise _wrong((FieldError(name[:_MAX_NAME], "repeated", "given twice"),))
        else:
            values[name] = value
    try:
        return model.model_validate(values, strict=False)
    except ValidationError as error:
        raise _invalid(_faults(error)) from None


@functools.lru_cache(maxsize=256)
def _nothing(model: type[BaseModel]) -> Any:
    """The model of no fields at all, if it can be. Invalid (422) naming each field that is missing."""
    try:
        return model.model_validate({})
    except ValidationError as error:
        raise _invalid(_faults(error)) from None


def _faults(error: ValidationError) -> list[Any]:
    return list(error.errors(include_input=False, include_url=False, include_context=False))


def _invalid(faults: list[Any]) -> Invalid:
    errors = tuple(
        FieldError(".".join(str(part) for part in fault["loc"])[:_MAX_NAME], fault["type"], fault["msg"])
        for fault in faults[:50]
    )
    return _wrong(errors)


def _wrong(errors: tuple[FieldError, ...]) -> Invalid:
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=errors)


def idempotency_key(text: str | None) -> str | None:
    """An `Idempotency-Key` header as it may be. Invalid (422)."""
    if text is not None and not _KEY.fullmatch(text):
        fault = FieldError("Idempotency-Key", "idempotency_key", "is 1 to 255 visible ASCII characters")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(fault,))
    return text


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ. ValueError otherwise."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is used twice")
    return found


def refuse(constant: str) -> Any:
    """ValueError for NaN and infinities: they are no JSON."""
    raise ValueError(f"{constant} is no JSON")
