"""The error tree: codes, statuses, and nothing of the caller's text in what gets logged."""

import pytest

from shared.core import errors
from shared.core.errors import FieldError, Invalid, KraftdError, Unready

STATUSES = {
    "KraftdError": 500,
    "BadRequest": 400,
    "Unauthenticated": 401,
    "Forbidden": 403,
    "NotFoundError": 404,
    "Clash": 409,
    "TooLargeBody": 413,
    "Invalid": 422,
    "TooMany": 429,
    "VersionConflict": 412,
    "AccountLocked": 423,
    "Unready": 503,
}


def test_every_error_of_the_tree_has_its_status() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KraftdError)]
    assert {each.__name__: each.status for each in classes} == STATUSES
    assert len({each.title for each in classes}) == len(classes)
    drawn = errors.__doc__ or ""
    for each in classes:
        assert each.__name__ in drawn


def test_the_text_of_an_error_is_its_code_alone() -> None:
    error = Invalid("invalid_request", "ada@example.com is wrong", errors=(FieldError("email", "email", "bad"),))
    assert str(error) == "invalid_request"
    assert "ada@example.com" not in repr(error)


@pytest.mark.parametrize("seconds", [None, 5])
def test_retry_after_is_kept(seconds: int | None) -> None:
    assert Unready("store_unavailable", retry_after_seconds=seconds).retry_after_seconds == seconds
