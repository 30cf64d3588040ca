"""Every published type is written by something, and whoever writes it has a story that tells of it.

Both are read from the source: a class counts as written where code of the app names it (outside of the catalog itself),
and as told where a test of tests/acceptance names the type in what it asserts, or reads the events of that type and
asserts something.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from shared.audit.registry import all_types

ROOT = Path(__file__).resolve().parents[2]
LATER = frozenset[str]()
"""Types that nothing writes yet. What comes to be written leaves this list; nothing is ever added to it."""


def _functions(path: Path) -> Iterator[ast.AST]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def _texts(node: ast.AST) -> set[str]:
    """The text constants below a node."""
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def _told_in(test: ast.AST) -> set[str]:
    asserts = [node for node in ast.walk(test) if isinstance(node, ast.Assert)]
    told = set[str]().union(*(_texts(each) for each in asserts))
    for node in ast.walk(test):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "events"
            and asserts
        ):
            told |= _texts(node)
    return told


@cache
def told() -> frozenset[str]:
    """The texts that acceptance tests assert something about."""
    stories = (ROOT / "tests" / "acceptance").glob("test_*.py")
    return frozenset().union(*(_told_in(test) for path in stories for test in _functions(path)))


@cache
def unwritten() -> frozenset[str]:
    """The types whose class no code of the app names."""
    named: set[str] = set()
    for path in (path for package in ("shared", "functions") for path in (ROOT / package).rglob("*.py")):
        if path.parent != ROOT / "shared" / "audit" / "events":
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            named |= {node.id for node in tree if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return frozenset(name for name, kind in all_types().items() if kind.model.__name__ not in named)


def test_every_type_is_written_by_something_or_by_what_is_still_to_come() -> None:
    assert unwritten() - LATER == frozenset(), "nothing writes these"
    assert LATER - unwritten() == frozenset(), "these are written now: take them off the list"


def test_whoever_writes_a_type_has_a_story_that_asserts_it() -> None:
    written = set(all_types()) - LATER
    missing = {name for name in written if not any(text.startswith(name.removesuffix("*")) for text in told())}
    assert missing == set(), "no acceptance test asserts anything about these"
    assert len(written) >= 20


def test_a_name_that_is_only_mentioned_is_not_told() -> None:
    only = ast.parse('def test_a():\n    x = app.events("a.read")\n    "b.read"\n')
    assert _told_in(only) == set()
    both = ast.parse('def test_a():\n    (x,) = app.events("a.read")\n    "b.read"\n    assert x == "c.read"\n')
    assert _told_in(both) == {"a.read", "c.read"}
