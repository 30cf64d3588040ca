"""What the standard asks to be documented: that each section says it, held to the code wherever that knows better."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from functions import ENDPOINTS
from functions._openapi import document
from functions._parsing import MAX_BODY_BYTES
from functions.events_ingest import MOST_EVENTS
from shared.core.settings import Settings
from shared.identity.password_policy import _SERVICE, MAX_LENGTH, MIN_LENGTH
from shared.privacy.inventory_kind import Level
from shared.privacy.key_vault import NAMES
from shared.privacy.secrets import ROOTS
from shared.privacy.vault_keys import KEY
from tests.app import ROOT

SPEC = document(ENDPOINTS)
SCHEMAS = SPEC["components"]["schemas"]


def section(page: str, heading: str) -> str:
    """A section of a page, down to the next heading of its rank."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (rank,) = re.findall(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    body = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(rf"^#{{1,{len(rank)}}} ", body, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def default(name: str) -> str:
    return str(Settings.model_fields[name].default)


def says(text: str, *words: str) -> None:
    for word in words:
        assert word in text, word


# ---- input, limits (V2.1) -------------------------------------------------------------------------------------------


def test_what_valid_input_is_is_published_of_every_field() -> None:
    """A field that can be sent has a type, and each text a length, a pattern, a format or its values."""
    sent = {endpoint.body.__name__ for endpoint in ENDPOINTS if endpoint.body.__name__ in SCHEMAS}
    assert len(sent) > 20
    for name in sent:
        for field, schema in SCHEMAS[name].get("properties", {}).items():
            whole = _flat(schema)
            assert whole, f"{name}.{field}"
            for each in whole:
                if each.get("type") == "string":
                    assert each.keys() & {"maxLength", "pattern", "format", "enum", "const"}, f"{name}.{field}"


def _flat(schema: dict[str, object], depth: int = 0) -> list[dict[str, object]]:
    """A schema and what it may be instead: references, alternatives, items."""
    found = [schema] if schema.keys() & {"type", "enum", "const"} else []
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    parts = [SCHEMAS[name]] if name else []
    for key in ("anyOf", "oneOf", "allOf"):
        parts += schema.get(key, [])  # type: ignore[arg-type]
    parts += [schema["items"]] if isinstance(schema.get("items"), dict) else []
    return found + [each for part in parts if depth < 8 for each in _flat(part, depth + 1)]


BY_THEMSELVES = {"Idempotency-Key", "format"}
"""Fields that the source refuses for what they hold, whatever else is sent."""


def refused_fields() -> set[str]:
    """The fields that code, not a model, finds at fault: it looks at more than one thing."""
    found = set()
    for path in [*(ROOT / "functions").glob("*.py"), *(ROOT / "shared/identity").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "FieldError" and node.args:
                text = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
                if isinstance(text, ast.Constant):
                    found.add(str(text.value).partition(".")[0])
    return found


def test_how_fields_have_to_go_together_is_documented() -> None:
    """Each field that code refuses beside another, and what JSON Schema can say is in the OpenAPI document."""
    table = rows(section("docs/security-asvs.md", "Fields that go together"))
    named = set(re.findall(r"`([\w-]+)`", " ".join(row[0] for row in table)))
    found = refused_fields()
    assert len(found) > 10
    assert found - BY_THEMSELVES - named == set()
    assert all(len(row) == 2 and row[1] for row in table)
    assert SCHEMAS["RegisterBody"]["oneOf"] == [{"required": ["organization"]}, {"required": ["invitation"]}]
    says(SCHEMAS["AnswerBody"]["description"], "not both")


def test_limits_are_documented_with_their_numbers() -> None:
    limits = section("docs/operations.md", "Limits of HTTP calls")
    for name in ("login_rate_per_minute", "refresh_rate_per_minute", "register_rate_per_hour"):
        says(limits, f"`{name.upper()}` ({default(name)})")
    says(limits, "per address", "Retry-After", "rate_limited", "ten times the limit")
    locked = section("docs/operations.md", "Locked accounts")
    says(locked, "LOCKOUT_", f"within {default('lockout_window_minutes')} minutes", f"for {default('lockout_minutes')}")
    says(section("docs/ingest.md", "Many at once"), f"1 to {MOST_EVENTS} events", f"{MAX_BODY_BYTES >> 20} MiB")
    says(section("docs/administration.md", "Access reviews"), "1,000 users")
    settings = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        says(settings, f"`{name.upper()}`")


# ---- passwords, ways in, sessions (V6.1, V7.1) ----------------------------------------------------------------------


def test_the_words_that_passwords_may_not_be_made_of_are_documented() -> None:
    text = section("docs/administration.md", "Passwords")
    says(text, "parts of e-mail, names and organization", f"this service's own name (`{_SERVICE}`)", "l33t")
    says(text, f"{MIN_LENGTH} to {MAX_LENGTH} characters")


def test_every_way_to_sign_in_is_documented() -> None:
    """Each call that proves who somebody is, and what is not a call; each with its strength and what guards it."""
    table = rows(section("docs/security-asvs.md", "Ways to sign in"))
    assert all(len(row) == 4 and all(row) for row in table)
    ways = {way for row in table for way in re.findall(r"`POST (/[^`]+)`", row[0])}
    calls = {f"/{each.route.removeprefix('v1/')}" for each in ENDPOINTS if each.who is None and each.method == "POST"}
    assert ways == calls == {"/login", "/login/mfa", "/register", "/token/refresh"}
    assert {row[0] for row in table if "POST" not in row[0]} == {"an API key", "the operator's command line"}


def test_how_long_sessions_last_is_documented_with_reasons() -> None:
    text = section("docs/security-asvs.md", "Sessions")
    says(text, f"{default('session_days')} days after the sign-in (`SESSION_DAYS`)")
    says(text, f"{default('session_idle_hours')} hours after its last refresh (`SESSION_IDLE_HOURS`)")
    says(text, f"access tokens live {default('access_token_minutes')} minutes")
    says(text, "NIST SP 800-63B", "The defaults are longer because")


def test_how_many_sessions_there_may_be_is_documented() -> None:
    says(section("docs/security-asvs.md", "Sessions"), "any number of sessions", "each is listed, and can be ended")


# ---- who may what (V8.1) --------------------------------------------------------------------------------------------


def test_who_may_read_and_write_which_field_is_documented() -> None:
    ranks = section("docs/administration.md", "Ranks")
    says(ranks, "only names and profile", "role, status, deletion and unlocking are for", "system_admin is not granted")
    shown = rows(section("docs/search.md", "What is shown of persons"))
    assert [row[0] for row in shown] == ["auditor, administrator", "API key", "anyone, of an erased person"]
    says(section("docs/administration.md", "Approvals and reasons"), "not the caller, not whom the change is about")
    says(section("docs/streaming.md", "Setting it"), "`personal`", "nothing personal", "this answer alone shows")
    says(section("docs/administration.md", "Settings"), "is set by", "not_applicable", "accepted_risks")


# ---- keys (V11.1) ---------------------------------------------------------------------------------------------------


def test_the_life_of_a_key_is_documented() -> None:
    """In the states of NIST SP 800-57, and for every root how it is made, rotated and lost."""
    states = {row[0] for row in rows(section("docs/secrets.md", "The life of a key"))}
    assert states == {"made", "pre-active", "active", "deactivated", "compromised", "destroyed"}
    says(section("docs/secrets.md", "The life of a key"), "NIST SP 800-57")
    whole = (ROOT / "docs/secrets.md").read_text(encoding="utf-8")
    says(whole, *(f"`{name}`" for name in (*NAMES.values(), KEY)))
    for heading in ("Rotating the token secret", "Rotating the index secret", "The ledger's key", "Rotating it"):
        assert len(section("docs/secrets.md", heading)) > 200
    says(section("docs/secrets.md", "When a version has leaked"), "disable the leaked one", "index secret leaks")


def labels() -> set[str]:
    """The uses of keys that derive from a root, as the source names them."""
    found = set()
    for path in sorted((ROOT / "shared").rglob("*.py")) + sorted((ROOT / "functions").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "derive":
                found.add(_label(node.args[1], path))
    return found


def _label(node: ast.expr, path: Path) -> str:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    if isinstance(node, ast.Constant):
        return str(node.value).partition("/")[0]
    return path.stem if isinstance(node, ast.Name) else ast.unparse(node)


def test_every_key_and_algorithm_is_listed_with_where_it_may_be_used() -> None:
    table = rows(section("docs/security-asvs.md", "Cryptography"))
    text = " ".join(cell for row in table for cell in row)
    used = labels()
    assert used == {"access-token", "cursor", "blind_index", "guard", "facts", "key-check", "{kind}"}
    known = {"blind_index": ("blind-index",), "{kind}": ("mfa-secret", "webhook-secret")}
    for label in used:
        says(text, *(f"`{each}`" for each in known.get(label, (label,))))
    says(text, *(f"`{root}`" for root in ROOTS if root != "persons"))
    says(text, "AES-256-GCM", "Ed25519", "RSA-OAEP-256", "argon2id", "HMAC-SHA-256", "HMAC-SHA-1", "SHA-256", "TLS")
    for row in table:
        assert len(row) >= 3
        assert row[3:] == [] or row[3] or row[0].startswith(("passwords", "refresh tokens")), row[0]


# ---- who is talked to (V13.1), levels of data (V14.1), expensive work (V15.1), logs (V16.1) -------------------------


def test_whom_the_app_talks_to_is_documented() -> None:
    """Each service that the templates make, each address that a setting names, each that somebody may choose."""
    drawn = section("docs/security.md", "Data flow and trust boundaries")
    says(
        drawn, "Cosmos DB", "Key Vault", "Log Analytics", "Entra ID", "storage: package", "webhook receiver", "witness"
    )
    addresses = {name for name in Settings.model_fields if name.endswith(("_endpoint", "_uri", "_url"))}
    assert addresses == {"cosmos_db_endpoint", "key_vault_uri", "ledger_witness_url"}
    says(section("docs/streaming.md", "Setting it"), "at a public address")
    says((ROOT / "docs/streaming.md").read_text(encoding="utf-8"), "are sent to one HTTPS address of its choice")


def test_what_is_open_is_open_on_purpose() -> None:
    """Ways in, and what says that the app is there and what it takes: in the source and in the table of calls."""
    reads = {"GET /health/live", "GET /health/ready", "GET /openapi.json"}
    ways = {"POST /login", "POST /login/mfa", "POST /register", "POST /token/refresh"}
    declared = {f"{each.method} /{each.route.removeprefix('v1/')}" for each in ENDPOINTS if each.who is None}
    assert declared == reads | ways
    table = rows((ROOT / "docs/access-control.md").read_text(encoding="utf-8"))
    assert {row[0] for row in table if row[1] == "200"} >= reads
    assert {row[0] for row in table if row[1] != "401"} <= declared, "of the others nobody gets anything but 401"


def test_what_each_level_of_data_asks_for_is_documented() -> None:
    text = section("docs/privacy.md", "What each level asks for")
    head = next(line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in head.strip("|").split("|")][1:] == list(get_args(Level.__value__))
    asked = {row[0].strip("| ") for row in rows(text)}
    assert asked >= {"at rest", "integrity", "kept", "in logs", "in exports and webhooks", "read by"}
    assert all(len(row) == 4 and all(row[1:]) for row in rows(text))


def test_how_fast_libraries_are_mended_is_documented() -> None:
    """By risk, and for what is only old."""
    table = rows(section("SECURITY.md", "Libraries"))
    days = [int(re.findall(r"within (\d+) days", row[1])[0]) for row in table]
    assert days == [3, 14, 60, 90]
    says(table[0][0], "CVSS 9")
    says(table[3][0], "newer version")


def test_what_is_expensive_is_documented_with_what_bounds_it() -> None:
    table = dict(rows(section("docs/security-asvs.md", "Expensive work")))
    assert {"ingest", "reports", "webhooks", "any call"} <= set(table)
    says(table["ingest"], f"{MOST_EVENTS} events", f"{MAX_BODY_BYTES >> 20} MiB")
    says(table["any call"], "REQUEST_DEADLINE_SECONDS", "client's timeout")
    says(table["reports"], "202", "Location", "8 MiB")
    says(" ".join(table.values()), "10,000 records", "limits by address", "time limits", "rounds")
    says(" ".join(table.values()), "LOGIN_RATE_PER_MINUTE", "REGISTER_RATE_PER_HOUR")


def test_what_is_logged_where_is_documented() -> None:
    """Of each layer: what, in which form, where, who reads it for what, how long it is kept."""
    table = rows(section("docs/monitoring.md", "What is logged where"))
    assert all(len(row) == 6 and all(row) for row in table)
    assert [row[0] for row in table] == [
        *("the audit trail", "the app", "the host", "metrics", "the web test", "the database", "the vault"),
        "the storage of packages",
    ]
    text = " ".join(cell for row in table for cell in row)
    templates = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "infra/modules").glob("*.bicep"))
    assert len(re.findall(r"diagnosticSettings@", templates)) == 4, "sites, their storage, the database, the vault"
    says(text, "FunctionAppLogs", "StorageBlobLogs", "CDBDataPlaneRequests", "CDBControlPlaneRequests", "AppTraces")
    says(text, "COSMOS_DB_TTL_DAYS", "LOG_RETENTION_DAYS")
    says((ROOT / "docs/deployment.md").read_text(encoding="utf-8"), "`LOG_RETENTION_DAYS`")


@pytest.mark.parametrize(("page", "heading"), [("docs/secrets.md", "Nothing"), ("docs/privacy.md", "Expor")])
def test_a_section_that_is_not_there_is_no_section(page: str, heading: str) -> None:
    with pytest.raises(ValueError, match="unpack"):
        section(page, heading)
