"""mutmut, except that tests are collected once and not for each mutant, which would take longer than most tests do.

A process of its own: `tests.mutation.__main__` starts it where the mutants are.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from mutmut.__main__ import cli
from mutmut.configuration import config
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.workers import isolation

QUICKEST_SECONDS = 5.0
"""A mutant is asked of the quickest tests that reach it, as many as took so long together when they were timed. What is
left out can only make more mutants survive."""


TIMES_AS_LONG, MORE_SECONDS = 3.0, 6.0
"""How much longer than when they were timed tests may take, before the mutant counts as one that does not end."""
_SURVIVED, _KILLED, _SUSPICIOUS, _ENDLESS = 0, 1, 35, 36
"""What mutmut makes of exit codes."""


class CollectedOnce(PytestRunner):  # type: ignore[misc]  # mutmut tells no types
    """Keeps pytest's session in the process from which a process for each mutant is forked."""

    def warm_up(self) -> None:
        """Collect every test of the scope."""
        self._keep_streams()
        arguments = ["--rootdir=.", "-q", *config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
        with change_cwd("mutants"):
            prepared = pytest.Config.fromdictargs({}, arguments)
            prepared._do_configure()
            self.session = pytest.Session.from_config(prepared)
            prepared.hook.pytest_sessionstart(session=self.session)
            prepared.hook.pytest_collection(session=self.session)

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """An exit code that mutmut knows."""
        if mutant_name is None:
            return int(super().run_tests(mutant_name=None, tests=tests))
        self._keep_streams()
        try:
            with change_cwd("mutants"):
                return self._outcome(set(tests))
        except BaseException:  # noqa: BLE001 - this process ends here, as a mutant of which we cannot tell
            return _SUSPICIOUS

    def _outcome(self, tests: set[str]) -> int:
        took = state().duration_by_test
        items = quickest([item for item in self.session.items if item.nodeid in tests], took)
        fails_without = self._control(items)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(_ENDLESS))
        signal.setitimer(signal.ITIMER_REAL, TIMES_AS_LONG * sum(took[item.nodeid] for item in items) + MORE_SECONDS)
        for number, (item, after) in enumerate(zip(items, [*items[1:], None], strict=True)):
            if self._fails(item, after):
                return _SUSPICIOUS if fails_without(number) else _KILLED
        return _SURVIVED

    def _control(self, items: list[pytest.Item]) -> Callable[[int], bool]:
        """Asks a process in which the mutant never was whether a test fails there, too, and says nothing of it."""
        asked, ask = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(ask)
            number = os.read(asked, 8)  # nothing, when the mutant's process is over
            set_mutant_under_test("")
            os._exit(int(bool(number) and self._fails(items[int(number)], None)))
        os.close(asked)

        def fails(number: int) -> bool:
            os.write(ask, str(number).encode())
            return os.waitpid(process, 0)[1] != 0

        return fails

    def _fails(self, item: pytest.Item, after: pytest.Item | None) -> bool:
        before = self.session.testsfailed
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        return self.session.testsfailed > before

    def _keep_streams(self) -> None:
        """mutmut leaves files open; let go of, they are warnings, which fail the test that runs just then."""
        self.streams = [*getattr(self, "streams", ()), sys.stdout, sys.stderr]


def quickest(items: list[pytest.Item], took: dict[str, Any]) -> list[pytest.Item]:
    """The quickest first, as many as take QUICKEST_SECONDS, and one at least."""
    kept, total = list[pytest.Item](), 0.0
    for item in sorted(items, key=lambda item: took[item.nodeid]):
        total += took[item.nodeid]
        if kept and total > QUICKEST_SECONDS:
            break
        kept.append(item)
    return kept


if __name__ == "__main__":
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    isolation.PytestRunner = CollectedOnce
    cli()
