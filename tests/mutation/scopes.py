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


def _scope(package: str, modules: str, tests: str, *without: str) -> Scope:
    """Of one package of `shared/`, and the folder of tests of the same name."""
    return Scope(
        tuple(f"shared/{package}/{name}.py" for name in modules.split()),
        tuple(f"tests/{package}/test_{name}.py" for name in tests.split()),
        tuple(f"tests/{package}/test_{name}" for name in without),
    )


SCOPES = {
    "ledger-proofs": _scope(
        "ledger",
        "_text checkpoint chunks keys marks merkle note proof proving tiles",
        "checkpoint checkpoints chunks keys marks marks_alone merkle note proving refusals tiles",
    ),
    "ledger-sealing": _scope(
        "ledger",
        "checkpoints opening pending roster rollups sealer shards statements",
        "broken_shards checkpoints hidden marks rollups roster sealer statements",
    ),
    "ledger-checking": _scope(
        "ledger",
        "findings progress reconciliation recount verification walk watched_boxes",
        "hidden marks recount statements verification",
    ),
    "ledger-answers": _scope(
        "ledger",
        "bundle closing evidence service witness witness_http",
        "closing verify_evidence verify_events witness",
        "verify_evidence.py::test_it_runs_alone_whatever_lies_beside_it",
        "witness.py::test_a_witness_from_outside",
    ),
    "privacy-boxes": _scope(
        "privacy",
        "blind_index boxes declared emails index_versions inventory_kind key_check key_probe key_wrapping person_keys "
        "secret_boxes",
        "blind_index boxes emails index_versions inventory key_check key_pin person_keys secret_boxes",
        "inventory.py::test_what_an_app_under_test_writes_is_looked_at",
    ),
    "privacy-secrets": Scope(
        tuple(
            f"shared/privacy/{name}.py"
            for name in ("_held_versions", "_vault", "file_secrets", "guards", "key_vault", "secrets", "vault_keys")
        ),
        ("tests/privacy", "tests/key_vault"),
        (
            "tests/key_vault/test_app.py",
            "tests/key_vault/test_rotation.py",
            "tests/privacy/test_inventory.py",
            "tests/privacy/test_secrets.py::test_processes_that_race_keep_one_secret",
        ),
    ),
}
