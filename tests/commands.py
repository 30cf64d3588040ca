"""Command lines run within the test's process: what they print and their exit code, without the start of a Python."""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from subprocess import CompletedProcess
from unittest import mock

type Main = Callable[[Sequence[str] | None], int]


def call(
    main: Main, arguments: Sequence[str], environment: Mapping[str, str], *, typed: str = "", seconds: float = 60
) -> CompletedProcess[str]:
    """Call `main` as the operating system would: with these arguments, this whole environment, and what is typed.

    It has a thread of its own, for it may run an event loop. What it raises is raised here.
    """
    out, err = io.StringIO(), io.StringIO()
    ended: list[int | BaseException] = []

    def run() -> None:
        try:
            ended.append(main(arguments))
        except SystemExit as error:
            ended.append(error.code if isinstance(error.code, int) else 1)
        except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
            ended.append(error)

    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "stdin", io.StringIO(typed)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(seconds)
    assert ended, f"no end within {seconds} seconds"
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return CompletedProcess(list(arguments), ended[0], out.getvalue(), err.getvalue())
