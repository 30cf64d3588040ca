"""`python -m tools.docs`: write the generated pages of docs/ again. A test says when one is out of date."""

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.core.settings import Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
_HEAD = """\
# Settings

Environment variables, or the app settings of the function app; `make serve` also reads `local.settings.json` (copy
`local.settings.example.json`), where what the environment says wins. An empty value counts as unset. A wrong one stops
the start with a message that names the variable and does not show the value; so does a Key Vault reference that was
not resolved (`@Microsoft.KeyVault(…)`). This page is generated: `make docs`.

| variable | default | values | meaning |
|---|---|---|---|
"""


def settings_page() -> str:
    """Every setting with its default, its bounds and its docstring, in the order of their declaration."""
    meanings = _docstrings(Settings)
    rows = [_row(name.upper(), field, meanings[name]) for name, field in Settings.model_fields.items()]
    return _HEAD + "".join(rows)


def _row(name: str, field: FieldInfo, meaning: str) -> str:
    default = (
        ""
        if field.default is None
        else f"`{str(field.default).lower() if field.annotation is bool else field.default}`"
    )
    return f"| `{name}` | {default} | {_values(field)} | {meaning} |\n"


def _values(field: FieldInfo) -> str:
    """What a setting takes, as far as its declaration says it."""
    if field.annotation is bool:
        return "`true`, `false`"
    if field.annotation == SecretStr | None:
        return "secret"
    bounds = {type(each).__name__: each for each in field.metadata}
    if "Ge" in bounds and "Le" in bounds:
        return f"{bounds['Ge'].ge} to {bounds['Le'].le}"
    patterns = [pattern for each in field.metadata if (pattern := getattr(each, "pattern", None))]
    return "".join(f"`{pattern.replace('|', chr(92) + '|')}`" for pattern in patterns)


def _docstrings(model: type) -> dict[str, str]:
    """The text below each field of a class, on one line."""
    (body,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - what the source of a class is
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


PAGES: Mapping[str, Callable[[], str]] = {"settings.md": settings_page}
"""Every generated page: its name below docs/ and what makes its text."""


def main() -> int:
    """Write the pages; the names of those that changed."""
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
