"""What keeps the code readable: modules and functions of a size to take in, and a word about whatever is public.

Modules of tests are left out: they are lists of cases, of which one more makes nothing harder to take in.
Branches, returns, statements and positional arguments of a function are counted by ruff (pyproject.toml).
"""

import ast
from collections.abc import Iterator

import pytest

from tests.app import ROOT

TREES = ("functions", "shared", "devhost", "tools", "bench")
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 50
ALONE = "tools/verify_evidence.py"
"""One file on purpose: whoever verifies a bundle takes it alone, and reads all of it."""

type Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(tree: str) -> Iterator[tuple[str, str]]:
    """Path and source of every module below a folder, but for empty ones."""
    for path in sorted((ROOT / tree).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if source.strip():
            yield path.relative_to(ROOT).as_posix(), source


def functions(source: str) -> Iterator[Function]:
    return (each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def lines(function: Function) -> int:
    """Lines of a function's body, its docstring and the imports left out that stand in it for a short cold start."""
    body = function.body[ast.get_docstring(function) is not None :]
    imports = (each for each in ast.walk(function) if isinstance(each, ast.Import | ast.ImportFrom))
    return (_last(function) - body[0].lineno + 1 if body else 0) - sum(
        _last(each) - each.lineno + 1 for each in imports
    )


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def long_functions(source: str) -> list[tuple[str, int]]:
    return [(each.name, lines(each)) for each in functions(source) if lines(each) > MOST_LINES_OF_A_FUNCTION]


def undocumented(source: str) -> list[str]:
    """Public names of a module without a docstring; `module` for its own. Those within functions are nobody's."""
    tree = ast.parse(source)
    return ([] if ast.get_docstring(tree) else ["module"]) + list(_undocumented(tree))


def _undocumented(parent: ast.Module | ast.ClassDef) -> Iterator[str]:
    for each in parent.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not each.name.startswith("_"):
            if not ast.get_docstring(each):
                yield each.name
            if isinstance(each, ast.ClassDef):
                yield from _undocumented(each)


@pytest.mark.parametrize("tree", TREES)
def test_modules_are_short(tree: str) -> None:
    sizes = {path: len(source.splitlines()) for path, source in modules(tree) if path != ALONE}
    assert sizes
    assert {path: size for path, size in sizes.items() if size > MOST_LINES_OF_A_MODULE} == {}


@pytest.mark.parametrize("tree", TREES)
def test_functions_are_short(tree: str) -> None:
    found = {path: long_functions(source) for path, source in modules(tree)}
    assert {path: named for path, named in found.items() if named} == {}


@pytest.mark.parametrize("tree", TREES)
def test_what_is_public_is_documented(tree: str) -> None:
    """In modules with a leading underscore too, which the rules of ruff (D1) take for private as a whole."""
    found = {path: undocumented(source) for path, source in modules(tree)}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_is_too_long_or_undocumented_is_found() -> None:
    head = 'def f():\n    """Say\n    much."""\n    import os\n'
    assert long_functions(head + "    pass\n" * 50) == []
    assert long_functions(head + "    pass\n" * 51) == [("f", 51)]
    source = "class A:\n    def b(self): ...\n    def _c(self): ...\nasync def d():\n    def e(): ...\ndef _f(): ...\n"
    assert undocumented(source) == ["module", "A", "b", "d"]
