"""What is mutated, and by which tests it has to be noticed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """`modules`: patterns of what is mutated. `tests`: files and folders of tests that are asked.

    `still`: patterns of modules that are not mutated, for their functions run when they are imported, before a mutant is
    chosen. `without`: beginnings of ids of tests that are not, for they start processes, which would not find mutmut.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()
    still: tuple[str, ...] = ()


def _ledger(modules: str, tests: str, *without: str) -> Scope:
    return Scope(
        tuple(f"shared/ledger/{name}.py" for name in modules.split()),
        tuple(f"tests/ledger/test_{name}.py" for name in tests.split()),
        tuple(f"tests/ledger/test_{name}" for name in without),
    )


SCOPES = {
    "ledger-proofs": _ledger(
        "_text checkpoint chunks keys marks merkle note proof proving tiles",
        "checkpoint checkpoints chunks keys marks marks_alone merkle note proving refusals tiles",
    ),
    "ledger-sealing": _ledger(
        "checkpoints opening pending roster rollups sealer shards statements",
        "broken_shards checkpoints hidden marks rollups roster sealer statements",
    ),
    "ledger-checking": _ledger(
        "findings progress reconciliation recount verification walk watched_boxes",
        "hidden marks recount statements verification",
    ),
    "ledger-answers": _ledger(
        "bundle closing evidence service witness witness_http",
        "closing verify_evidence verify_events witness",
        "verify_evidence.py::test_it_runs_alone_whatever_lies_beside_it",
        "witness.py::test_a_witness_from_outside",
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
        ("shared/privacy/inventory.py",),
    ),
}
