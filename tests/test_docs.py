"""Documentation that is generated is up to date, and says something of everything."""

import re

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


_CLAIM = re.compile(r"anonymi[sz]|anonymous data", re.IGNORECASE)
_TREES = ("docs", "functions", "shared", "tools", "devhost", "bench")


def _claims(text: str) -> list[str]:
    return _CLAIM.findall(text)


def test_nothing_claims_that_what_is_erased_cannot_be_told_whose_it_was() -> None:
    """It is deleted, or its key is: whoever can tell whose an opaque id was still can."""
    root = DOCS.parent
    files = [root / "README.md", root / "CHANGELOG.md"]
    files += [each for tree in _TREES for form in ("*.md", "*.py") for each in (root / tree).rglob(form)]
    assert len(files) > 200
    assert {str(each.relative_to(root)) for each in files if _claims(each.read_text(encoding="utf-8"))} == set()


@pytest.mark.parametrize("text", ["The data is anonymised.", "Anonymized events", "we ANONYMIZE it", "pseudonymised"])
def test_such_a_claim_would_be_found(text: str) -> None:
    assert bool(_claims(text)) == (text != "pseudonymised")


@pytest.mark.parametrize("about", ["What goes", "What stays, and why", "Backups", "7 or 30 days", "crypto-erasure"])
def test_the_page_on_privacy_says_what_it_has_to(about: str) -> None:
    assert about in (DOCS / "privacy.md").read_text(encoding="utf-8")
