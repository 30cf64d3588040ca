"""Every log event of the paths that must lose nothing is explained to operators."""

import ast
from pathlib import Path

import pytest

from tests.app import ROOT

MODULES = [
    "shared/audit/continuity.py",
    "shared/audit/dead_letters.py",
    "shared/audit/export_runs.py",
    "shared/audit/heartbeats.py",
    "shared/audit/outbox.py",
    "shared/audit/recorder.py",
    "shared/audit/rounds.py",
    "shared/compliance/render/pdf.py",
    "shared/compliance/facts/store.py",
    "shared/compliance/reporting.py",
    "shared/identity/directory.py",
    "shared/identity/index_rotation.py",
    "shared/identity/rejections.py",
    "shared/identity/service.py",
    "shared/identity/sources.py",
    "shared/ledger/closing.py",
    "shared/ledger/opening.py",
    "shared/ledger/reconciliation.py",
    "shared/ledger/roster.py",
    "shared/ledger/sealer.py",
    "shared/ledger/statements.py",
    "shared/ledger/verification.py",
    "shared/ledger/witness.py",
    "shared/privacy/guards.py",
    "shared/privacy/index_versions.py",
    "shared/streaming/backlog.py",
    "shared/streaming/delivery.py",
    "shared/streaming/runner.py",
    "shared/subject_rights/erasure.py",
    "shared/subject_rights/export_records.py",
    "shared/subject_rights/service.py",
]


def logged(path: Path) -> set[str]:
    """The events that a module may log: the texts in the first argument of each call of its log."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        function = node.func if isinstance(node, ast.Call) else None
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "_log":
            assert isinstance(node, ast.Call)
            texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
            assert texts, f"{path}:{node.lineno}: the event is not static"
            found |= {str(text) for text in texts}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_log_event_is_explained(module: str) -> None:
    docs = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
    events = logged(ROOT / module)
    assert events
    assert {event for event in events if f"| `{event}` |" not in docs} == set()
