"""Documentation that is generated is up to date, and says something of everything."""

import pytest

from shared.core.settings import Settings
from tools.docs import DOCS, PAGES, settings_page


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_what_they_are_generated_from(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_setting_has_a_row_with_a_meaning() -> None:
    rows = [line.split(" | ") for line in settings_page().splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == [name.upper() for name in Settings.model_fields]
    for row in rows:
        assert len(row[-1].strip("| ")) > 20, row[0]


def test_a_page_shows_bounds_and_no_secret_default() -> None:
    page = settings_page()
    assert "| `SESSION_DAYS` | `30` | 1 to 365 |" in page
    assert "| `COSMOS_DB_EMULATOR` | `false` | `true`, `false` |" in page
    assert "| `COSMOS_DB_KEY` |  | secret |" in page
