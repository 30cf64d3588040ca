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


def _named(before: str, names: str) -> tuple[str, ...]:
    return tuple(f"{before}{name}.py" for name in names.split())


def _scope(package: str, modules: str, tests: str, *without: str) -> Scope:
    """Of one package of `shared/`, and the folder of tests of the same name."""
    return Scope(
        _named(f"shared/{package}/", modules),
        _named(f"tests/{package}/test_", tests),
        tuple(f"tests/{package}/test_{name}" for name in without),
    )


_DETECTION = "alerts engine episodes familiarity model reached recent registry rules traits"
_IDENTITY = "access api_keys approvals attempted factor_policy model ranks secret_links sessions tokens"
_EDGE = "_approvals _attempts _caller _tokens"
SCOPES = {
    "access": Scope(
        (*_named("shared/identity/", _IDENTITY), *_named("functions/", _EDGE)),
        (
            *_named("tests/identity/test_", "access caller keys_alone ranks secret_links sessions sessions_alone"),
            *_named("tests/api/test_", "approvals attempts factor_policy last_admin tokens"),
        ),
    ),
    "detection": Scope(("shared/detection/patterns/*", *_named("shared/detection/", _DETECTION)), ("tests/detection",)),
    "ledger-proofs": _scope(
        "ledger",
        "_text checkpoint chunks keys marks merkle note proof proving tiles",
        "checkpoint checkpoints chunks keys marks marks_alone merkle note proving refusals tiles",
    ),
    "ledger-sealing": _scope(
        "ledger",
        "checkpoints opening pending roster rollups sealer shards statements",
        "broken_shards checkpoints hidden marks opening rollups roster sealer shards statements",
    ),
    "ledger-checking": _scope(
        "ledger",
        "findings progress reconciliation recount verification walk watched_boxes",
        "check_findings check_laps check_runs findings hidden marks progress reconciliation recount recounted "
        "statements verification walk walk_above walk_signed watched_boxes",
    ),
    "ledger-answers": _scope(
        "ledger",
        "bundle closing evidence service witness witness_http",
        "bundle closing closing_found evidence evidence_disclosed service service_proofs verify_evidence verify_events "
        "witness witness_asked witness_http",
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
