"""Pages written by hand with tables that are made: each stands between marks, `<!-- table: NAME -->`."""

import re
from collections.abc import Callable, Mapping

_BLOCK = re.compile(r"(<!-- table: ([a-z_]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str, tables: Mapping[str, Callable[[], str]], name: str) -> str:
    """The text of a page with its tables made anew. `name`: the page's, for the ValueError when one of the tables is
    missing, there twice, or not one of these."""
    if sorted(match[2] for match in _BLOCK.finditer(text)) != sorted(tables):
        raise ValueError(f"{name}: the tables are {', '.join(tables)}, each once")
    return _BLOCK.sub(lambda match: f"{match[1]}\n{tables[match[2]]()}\n{match[3]}", text)
