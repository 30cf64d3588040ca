"""README and tutorial do what they say: every shell block in order, in a fresh copy, against a served app."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.app import ROOT
from tests.shell_pages import (
    CLONE,
    Block,
    Masks,
    PageError,
    Terminal,
    blocks_of,
    differences,
    fresh_copy,
    terminal,
    written,
)

PAGES = ("README.md", "docs/tutorial.md")
WRITE = "KRAFTD_WRITE_PAGES" in os.environ
"""Whether what was printed is written into the pages, instead of compared with them; no block may fail either way."""
SHELL = os.environ.get("KRAFTD_SHELL", "sh")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    """`KRAFTD_SHELL` names another shell than sh."""
    copy, scratch = tmp_path / CLONE, tmp_path / "scratch"
    copy.mkdir()
    scratch.mkdir()
    fresh_copy(ROOT, copy)
    shown, printed = Masks(), Masks()
    outputs: list[tuple[Block, str]] = []
    with terminal(copy, scratch, SHELL) as shell:
        for block in blocks_of(text_of(page)):
            if block.kind == "read":
                continue
            outputs.append((block, shell.run(block)))
            wrong = differences(*outputs[-1], shown, printed)
            if wrong and not WRITE:
                pytest.fail(f"{page}, {wrong}", pytrace=False)
    assert not (copy / ".kraftd" / "tutorial").exists()
    if WRITE:
        (ROOT / page).write_text(written(text_of(page), outputs), encoding="utf-8")


def test_what_is_run_and_what_is_only_read() -> None:
    """Who adds a block that no test runs says so here, too."""
    found = {page: blocks_of(text_of(page)) for page in PAGES}
    assert {page: Counter(block.kind for block in blocks) for page, blocks in found.items()} == {
        "README.md": {"serve": 1, "run": 3, "read": 2},
        "docs/tutorial.md": {"serve above": 1, "run": 24, "stop": 1, "read": 1},
    }
    assert [block.reason for blocks in found.values() for block in blocks if block.kind == "read"] == [
        "it is what runs them",
        "tests/test_serving_on_cosmos.py does the same, on a free port",
        "they have a copy of the project and its environment already",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_no_command_stands_outside_a_block(page: str) -> None:
    outside = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ {4,}\S.*", outside, re.MULTILINE) == []


def _shown_blocks() -> Iterator[Block]:
    for page in PAGES:
        for block in blocks_of(text_of(page)):
            if block.shown:
                yield block


def test_a_wrong_line_of_any_output_is_found() -> None:
    """Each line that a page shows: left out, or with another word in it."""
    seen = 0
    for block in _shown_blocks():
        right = (block.shown or "").splitlines(keepends=True)
        assert differences(block, "".join(right), Masks(), Masks()) is None
        for at, line in enumerate(right):
            seen += 1
            for other in ("", f"{line.rstrip()} not\n"):
                shown = "".join([*right[:at], other, *right[at + 1 :]])
                assert differences(replace(block, shown=shown), "".join(right), Masks(), Masks()), (block.line, line)
    assert seen > 80


def test_a_wrong_character_of_any_output_is_found_unless_it_is_masked() -> None:
    """And what is masked is less than a third of all that is shown."""
    missed = total = 0
    for block in _shown_blocks():
        right = block.shown or ""
        for at in range(0, len(right), 3):
            if right[at].isalnum():
                other = right[:at] + ("8" if right[at] == "7" else "7") + right[at + 1 :]
                total += 1
                missed += differences(replace(block, shown=other), right, Masks(), Masks()) is None
    assert total > 1000
    assert missed < total / 3


ID, OTHER_ID = "019cad8f-ac00-74b0-bb9a-2dd88b6e7ca4", "019cad8f-ac00-7a83-b40e-f758f90b693a"


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        (f"id {ID}", f"id {OTHER_ID}", True),
        (f"{ID} {ID}", f"{ID} {OTHER_ID}", False),  # the same on the page is the same in fact
        ("2026-03-02T08:00:00.001541Z", "2026-03-02T08:00:00.000988Z", True),
        ("2026-03-02T08:00:00.001541Z", "2026-03-02T08:00:00.000000Z", False),
        ("2026-03-02T08:00:00.001541Z", "2026-03-02T08:00:00.999999Z", False),
        ("2026-03-02T08:00:00.001541Z", "2026-03-02T08:00:01.001541Z", False),
        ("it had 37 entries", "it had 36 entries", True),
        ("34 of 46 are shown", "35 of 47 are shown", True),
        ("34 of 46 are shown", "0 of 46 are shown", False),
        ("34 of 46 are shown", "88 of 100 are shown", False),
        ("5 of 7 are shown", "0 of 2 are shown", False),
        ("37 of 37 are shown", "1 of 1 are shown", False),
        ("it had 37 entries", "it had 0 entries", False),
        ("it had 37 entries", "it had 45 entries", False),
        ("it had 3 entries", "it had 0 entries", False),
        ("entries 0 to 46 give", "entries 0 to 2 give", False),
        ("37 different events of it; 31 within the period", "36 different events of it; 31 within the period", True),
        ("37 different events of it; 31 within the period", "37 different events of it; 30 within the period", False),
        ("47 different events of it; 47 within the period", "46 different events of it; 46 within the period", True),
        ("47 different events of it; 47 within the period", "46 different events of it; 45 within the period", False),
        ("the first 31 entries", "the first 32 entries", True),
        ("the first 31 entries", "the first 5 entries", False),
        ("count: 37", "count: 36", False),
        (f"kak_{ID}.{ID}.secret-one", f"kak_{OTHER_ID}.{ID}.secret-two", True),
        ("root bbd9ea304dace9ea…", "root bbd9ea304dace9eb…", True),
        ("status: open\n\n", "\nstatus: open  \n", True),
        ("status: open", "Status: open", False),
        ("one\n\ntwo", "one\ntwo", False),
    ],
)
def test_what_is_masked(shown: str, printed: str, equal: bool) -> None:
    block = Block(1, "", shown, "run", "", 0)
    assert (differences(block, printed, Masks(), Masks()) is None) == equal


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("first 31 entries", "first 38 entries"),
        ("had 36 entries then", "had 38 entries then"),
        ("entries 0 to 36 give", "entries 0 to 37 give"),
        ("37 different events", "36 different events"),
        ("31 within", "38 within"),
        ("36 of 37 are shown", "37 of 38 are shown"),
    ],
)
def test_lines_that_contradict_one_another(line: str, instead: str) -> None:
    """Though each alone might be printed."""
    printed = (
        "Report: it stands on the first 31 entries\nCheckpoint kept: it had 36 entries then\n"
        "Month 2026-03: signed checkpoint   OK    37 entries, root\nentries 0 to 36 give the signed root\n"
        "37 different events; 31 within the period\n36 of 37 are shown\nEverything in this bundle is verified.\n"
        "39 of 39 are shown\n"
    )
    assert differences(Block(1, "", printed, "run", "", 0), printed, Masks(), Masks()) is None
    assert line in printed
    other = printed.replace(line, instead)
    wrong = differences(Block(1, "", other, "run", "", 0), other, Masks(), Masks())
    assert wrong is not None
    assert wrong.splitlines()[2:] == [each for each in other.splitlines() if instead in each]


def test_an_id_is_the_same_over_blocks() -> None:
    shown, printed = Masks(), Masks()
    assert differences(Block(1, "", ID, "run", "", 0), OTHER_ID, shown, printed) is None
    assert differences(Block(2, "", ID, "run", "", 0), ID, shown, printed)


def test_the_form_of_a_page() -> None:
    text = (
        "Now:\n\n```sh\none\n```\n\n```text\n1\n```\n\nWords.\n\n```sh\ntwo\n```\n\n"
        "*Not run by the tests: why.*\n\n```sh\nthree\n```\n"
    )
    one, two, three = blocks_of(text)
    assert (one.line, one.command, one.shown, one.kind) == (3, "one\n", "1\n", "run")
    assert (two.shown, two.kind) == (None, "run")
    assert (three.kind, three.reason) == ("read", "why")
    assert written(text, [(one, "2\n3\n"), (two, "")]) == text.replace("\n1\n", "\n2\n3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```text\nx\n```\n", "output of no block"),
        ("```sh\nx\n```\n\nWords.\n\n```text\nx\n```\n", "output of no block"),
        ("```\nx\n```\n", "neither"),
        ("*In another place:*\n\n```sh\nx\n```\n", "nobody knows"),
    ],
)
def test_a_page_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(PageError, match=message):
        blocks_of(text)


def _typed(shell: Terminal, command: str) -> str:
    return shell.run(Block(1, command, None, "run", "", 0))


def test_a_terminal_keeps_variables_and_ends_with_what_fails(tmp_path: Path) -> None:
    with terminal(tmp_path, tmp_path, SHELL) as shell:
        assert _typed(shell, "x=1\necho to >&2\n") == "to\n"
        assert _typed(shell, 'echo "$x $(pwd -P)"\n') == f"1 {tmp_path.resolve()}\n"
        assert _typed(shell, "cat; echo end\n") == "end\n"  # nothing is there to be read
        with pytest.raises(PageError, match=r"failed(?s:.*)printed:\nbefore"):
            _typed(shell, "echo before\nfalse\necho after\n")


def test_what_a_block_without_output_prints_is_a_difference() -> None:
    assert differences(Block(1, "x", None, "run", "", 0), "a warning\n", Masks(), Masks())


def test_where_a_server_is_started(tmp_path: Path) -> None:
    """In the clone; or above it, as a new terminal is."""
    clone = tmp_path / CLONE
    clone.mkdir()
    for above, folder in (
        ("In a terminal of its own:", clone),
        ("In a terminal of its own, in the folder that you cloned in:", tmp_path),
    ):
        (block,) = blocks_of(f"*{above}*\n\n```sh\npwd -P; exit 3\n```\n")
        with terminal(clone, tmp_path, SHELL) as shell, pytest.raises(PageError, match=f"\n{folder.resolve()}\n"):
            shell.run(block)


def test_a_server_that_does_not_serve_is_said(tmp_path: Path) -> None:
    with terminal(tmp_path, tmp_path, SHELL) as shell, pytest.raises(PageError, match="no app here"):
        shell.run(Block(1, "echo no app here; exit 3", None, "serve", "", 0))
