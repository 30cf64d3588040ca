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


SCOPES = {
    "ledger": Scope(
        ("shared/ledger/*",),
        ("tests/ledger",),
        (
            "tests/ledger/test_outside_over_http.py",
            "tests/ledger/test_outside_verifiers.py",
            "tests/ledger/test_verify_evidence.py",
            "tests/ledger/test_witness_wiring.py",
            "tests/ledger/test_witness.py::test_a_witness_from_outside",
        ),
    ),
    "privacy": Scope(
        ("shared/privacy/*",),
        ("tests/privacy",),
        (
            "tests/privacy/test_inventory.py::test_what_an_app_under_test_writes_is_looked_at",
            "tests/privacy/test_secrets.py::test_processes_that_race_keep_one_secret",
        ),
    ),
}
