"""Logs: a static name first, plain scalars after it, and no way in for personal data."""

import json
import logging
from typing import Any

import pytest

from shared.core.sdk_logs import SDK_LOGS, quiet_sdks
from shared.telemetry import get_log
from shared.telemetry.logs import BLOCKED_FIELDS

NAME = "tests.core.logs"
PERSONAL = "ada@example.com"


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=NAME)


def line(caplog: pytest.LogCaptureFixture) -> tuple[str, dict[str, Any]]:
    """The one line that was written: its event and its fields."""
    (record,) = caplog.records
    event, _, fields = record.getMessage().partition(" ")
    return event, json.loads(fields)


def test_the_event_comes_first_then_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    get_log(NAME).info("thing_done", count=3, ok=True, ratio=0.5, id="x", none=None)
    assert line(caplog) == ("thing_done", {"count": 3, "ok": True, "ratio": 0.5, "id": "x", "none": None})
    assert caplog.records[0].levelno == logging.INFO


@pytest.mark.parametrize("field", sorted(BLOCKED_FIELDS))
@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_blocked_field_is_refused_and_nothing_is_written(
    field: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=field) as caught:
        getattr(get_log(NAME), level)("thing_done", **{field: PERSONAL})
    assert PERSONAL not in str(caught.value)
    assert not caplog.records


def test_the_words_for_personal_data_and_secrets_are_blocked() -> None:
    assert {"email", "password", "token", "secret", "key", "ip", "user_agent", "name", "personal"} <= BLOCKED_FIELDS


@pytest.mark.parametrize(
    "value", [{"email": PERSONAL}, [PERSONAL], (PERSONAL,), {PERSONAL}, b"ada", ValueError(PERSONAL)]
)
def test_only_plain_scalars_are_fields(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="details") as caught:
        get_log(NAME).info("thing_done", details=value)
    assert PERSONAL not in str(caught.value)
    assert not caplog.records


def test_of_an_error_only_its_type_and_place_are_written(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise KeyError(PERSONAL)

    try:
        fails()
    except KeyError as error:
        get_log(NAME).error("thing_failed", error, item_id="7")
    event, fields = line(caplog)
    assert event == "thing_failed"
    assert fields["error_type"] == "KeyError"
    assert fields["item_id"] == "7"
    assert fields["error_at"].split(":")[0].endswith("fails")
    record = caplog.records[0]
    assert (record.exc_info, record.exc_text, record.stack_info) == (None, None, None)
    assert PERSONAL not in record.getMessage()
    assert PERSONAL not in logging.Formatter().format(record)


def test_an_error_that_was_never_raised_has_no_place(caplog: pytest.LogCaptureFixture) -> None:
    get_log(NAME).error("thing_failed", ValueError(PERSONAL))
    assert line(caplog)[1] == {"error_type": "ValueError", "error_at": "?"}


def test_long_text_is_shortened(caplog: pytest.LogCaptureFixture) -> None:
    get_log(NAME).warning("thing_odd", id="x" * 10_000)
    assert line(caplog)[1]["id"] == "x" * 200


def test_a_line_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    get_log(NAME).info("thing_done", id="a\nforged_event {}\r\x1b[2J\u2028")
    assert caplog.records[0].getMessage().isascii()
    assert len(caplog.records[0].getMessage().splitlines()) == 1


@pytest.mark.parametrize("name", SDK_LOGS)
def test_an_sdk_is_heard_when_something_is_wrong(
    name: str, caplog: pytest.LogCaptureFixture, unset_sdk_logs: None
) -> None:
    caplog.set_level(logging.DEBUG)
    quiet_sdks()
    below = logging.getLogger(f"{name}.pipeline")
    below.info("a call")
    below.warning("trouble")
    assert caplog.messages == ["trouble"]


def test_a_level_that_somebody_chose_for_an_sdk_stays(unset_sdk_logs: None) -> None:
    logging.getLogger("azure.cosmos").setLevel(logging.DEBUG)
    quiet_sdks()
    assert logging.getLogger("azure.cosmos").level == logging.DEBUG
    assert logging.getLogger("azure.core").level == logging.WARNING


def test_the_functions_library_is_no_sdk_of_ours_to_quiet(unset_sdk_logs: None) -> None:
    quiet_sdks()
    assert logging.getLogger("azure").level == logging.getLogger("azure.functions").level == logging.NOTSET
