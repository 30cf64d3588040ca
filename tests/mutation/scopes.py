"""What is mutated, and by which tests it has to be noticed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """`modules`: patterns of what is mutated. `tests`: files and folders of tests that are asked.

    `without`: beginnings of ids of tests that are not, for they start processes, which would not find mutmut.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()


def _ledger(*names: str) -> tuple[str, ...]:
    return tuple(f"shared/ledger/{name}.py" for name in names)


_LEDGER_PROCESSES = (
    "tests/ledger/test_outside_over_http.py",
    "tests/ledger/test_outside_verifiers.py",
    "tests/ledger/test_verify_evidence.py::test_it_runs_alone_whatever_lies_beside_it",
    "tests/ledger/test_witness.py::test_a_witness_from_outside",
    "tests/ledger/test_witness_wiring.py",
)
SCOPES = {
    "ledger-proofs": Scope(
        _ledger("_text", "checkpoint", "chunks", "keys", "marks", "merkle", "note", "proof", "proving", "tiles"),
        ("tests/ledger",),
        _LEDGER_PROCESSES,
    ),
    "ledger-sealing": Scope(
        _ledger("checkpoints", "opening", "pending", "roster", "rollups", "sealer", "shards", "statements"),
        ("tests/ledger",),
        _LEDGER_PROCESSES,
    ),
    "ledger-checking": Scope(
        _ledger("findings", "progress", "reconciliation", "recount", "verification", "walk", "watched_boxes"),
        ("tests/ledger",),
        _LEDGER_PROCESSES,
    ),
    "ledger-answers": Scope(
        _ledger("bundle", "closing", "evidence", "service", "witness", "witness_http"),
        ("tests/ledger",),
        _LEDGER_PROCESSES,
    ),
    "privacy": Scope(
        ("shared/privacy/*",),
        ("tests/privacy", "tests/key_vault"),
        (
            "tests/key_vault/test_app.py",
            "tests/key_vault/test_rotation.py",
            "tests/privacy/test_inventory.py::test_what_an_app_under_test_writes_is_looked_at",
            "tests/privacy/test_secrets.py::test_processes_that_race_keep_one_secret",
        ),
    ),
}
