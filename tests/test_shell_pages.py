"""README and tutorial do what they say: every shell block in order, in a fresh copy, against a served app."""

import os
from pathlib import Path

import pytest

from tests.app import ROOT
from tests.shell_pages import Masks, blocks_of, differences, fresh_copy, terminal, written

PAGES = ("README.md", "docs/tutorial.md")
_WRITE = "KRAFTD_WRITE_PAGES"
"""Set to have what was printed written into the pages, instead of comparing it; blocks still must not fail."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    copy, scratch = tmp_path / "clone", tmp_path / "scratch"
    copy.mkdir()
    scratch.mkdir()
    fresh_copy(ROOT, copy)
    shown, printed, outputs = Masks(), Masks(), []
    with terminal(copy, scratch, os.environ.get("KRAFTD_SHELL", "sh")) as shell:
        for block in blocks_of(text):
            if block.kind == "read":
                continue
            output = shell.run(block)
            outputs.append((block, output))
            wrong = differences(block, output, shown, printed)
            assert wrong is None or _WRITE in os.environ, f"{page}, {wrong}"
    if _WRITE in os.environ:
        (ROOT / page).write_text(written(text, outputs), encoding="utf-8")
