"""Structured logs: a static event name and ids, counts or codes; never a user's text.

`Log` refuses a field that is not on its list of safe kinds by rendering only plain scalars, and shortens them: an
e-mail or a password has no way in but through a field that a developer names, and the names below are blocked.
"""

import json
import logging

BLOCKED_FIELDS = frozenset(
    {"email", "password", "token", "secret", "key", "ip", "user_agent", "name", "personal", "body"}
)
_MAX_TEXT = 200

type Scalar = str | int | float | bool | None


class Log:
    """A logger whose lines are `event {json fields}`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Scalar) -> None:
        """Something worth knowing."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Scalar) -> None:
        """Something that someone may have to look at."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: Scalar) -> None:
        """Something failed. Of the error only its type is written: its text may quote a user."""
        if error is not None:
            fields["error_type"] = type(error).__qualname__
            fields["error_at"] = place_of(error)
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Scalar]) -> None:
        blocked = BLOCKED_FIELDS & fields.keys()
        if blocked:
            raise ValueError(f"log fields not allowed: {sorted(blocked)}")
        nested = sorted(k for k, v in fields.items() if not isinstance(v, str | int | float | None))
        if nested:
            raise ValueError(f"log fields must be plain scalars: {nested}")
        shown = {k: v[:_MAX_TEXT] if isinstance(v, str) else v for k, v in fields.items()}
        self._logger.log(level, "%s %s", event, json.dumps(shown, sort_keys=True))


def place_of(error: BaseException) -> str:
    """File and line where the error was raised, without its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"


def get_log(name: str) -> Log:
    """The log of one module."""
    return Log(name)
