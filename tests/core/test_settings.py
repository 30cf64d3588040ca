"""Settings: what each takes and refuses. A refusal names the variable and never shows the value."""

import os
from collections.abc import Mapping

import pytest
from pydantic import SecretStr, ValidationError

from shared.core import settings
from shared.core.settings import Settings, SettingsError

ACCEPTED: dict[str, list[tuple[str, object]]] = {
    "APP_ROLE": [("all", "all"), ("app", "app"), ("erasure", "erasure")],
    "KRAFTD_DATA": [(":memory:", ":memory:"), ("/data", "/data")],
    "COSMOS_DB_ENDPOINT": [("https://a.documents.azure.com:443/", "https://a.documents.azure.com:443/")],
    "COSMOS_DB_KEY": [("c2VzYW1lLi4=", SecretStr("c2VzYW1lLi4="))],
    "COSMOS_DB_NAME": [("audit-2_b", "audit-2_b"), ("x" * 255, "x" * 255)],
    "COSMOS_DB_AUDIT_CONTAINER": [("events_2", "events_2")],
    "COSMOS_DB_THROUGHPUT": [("serverless", "serverless"), ("400", "400"), ("autoscale:4000", "autoscale:4000")],
    "COSMOS_DB_EMULATOR": [("false", False), ("False", False)],
    "KEY_VAULT_URI": [("https://v.vault.azure.net/", "https://v.vault.azure.net/")],
    "AZURE_CLIENT_ID": [("11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555555")],
    "REQUEST_DEADLINE_SECONDS": [("1", 1), ("200", 200)],
    "COSMOS_DB_TTL_DAYS": [("1", 1), ("24000", 24_000)],
    "ACCESS_TOKEN_MINUTES": [("1", 1), ("60", 60)],
    "SESSION_DAYS": [("1", 1), ("365", 365)],
    "SESSION_IDLE_HOURS": [("1", 1), ("720", 720)],
    "ERASURE_COOLING_OFF_HOURS": [("0", 0), ("72", 72)],
    "REFRESH_RATE_PER_MINUTE": [("0", 0), ("1000000", 1_000_000)],
    "LOCKOUT_FAILURES": [("1", 1), ("100", 100)],
    "LOCKOUT_WINDOW_MINUTES": [("1", 1), ("1440", 1440)],
    "LOCKOUT_MINUTES": [("1", 1), ("1440", 1440)],
    "LOGIN_RATE_PER_MINUTE": [("0", 0), ("1000000", 1_000_000)],
    "REGISTER_RATE_PER_HOUR": [("0", 0), ("10", 10)],
    "TERMS_VERSION": [("2026-01.b:1_c", "2026-01.b:1_c"), ("x" * 64, "x" * 64)],
    "PRIVACY_VERSION": [("2", "2")],
    "LEDGER_ORIGIN": [("audit.example.com/ledger", "audit.example.com/ledger"), ("localhost:8080", "localhost:8080")],
    "WEBHOOK_ALLOW_PRIVATE": [("true", True), ("FALSE", False)],
    "TRUSTED_PROXY_HOPS": [("0", 0), ("10", 10)],
}
REFUSED: dict[str, list[str]] = {
    "APP_ROLE": ["sesame", "App", "app ", "erasure\n", "app,erasure"],
    "COSMOS_DB_ENDPOINT": [
        "http://sesame.example.com/",
        "https://sesame:open@a.documents.azure.com/",
        "https://a.documents.azure.com/?sesame",
        "https://a.documents.azure.com/#sesame",
        "https://a.documents.azure.com/dbs/sesame",
        "https://a.documents.azure.com:sesame/",
        "https://[sesame/",
        "https://sesame example.com/",
        "https://127.0.0.1:77441/",
        "https://localhost:8081/",
        "https://[::1]:8081/",
        "https://s\u00e9same.example.com/",
        "AccountEndpoint=https://a.documents.azure.com:443/;AccountKey=sesame;",
    ],
    "COSMOS_DB_KEY": ["sesame!", "sesame", "c2VzYW1l\n", "s\u00e9same"],
    "COSMOS_DB_AUDIT_CONTAINER": ["sesame/", "x" * 256],
    "COSMOS_DB_THROUGHPUT": [
        "0",
        "40",
        "sesame",
        "autoscale:0",
        "autoscale:77441sesame",
        "-77441",
        "77441.5",
        "serverless ",
    ],
    "COSMOS_DB_EMULATOR": ["1", "yes", "on", "sesame", "true", "truesesame"],
    "KEY_VAULT_URI": [
        "http://sesame.vault.azure.net/",
        "https://sesame.vault.azure.net/secrets/x",
        "https://127.0.0.1:77441/",
    ],
    "AZURE_CLIENT_ID": ["sesame", "77441"],
    "REQUEST_DEADLINE_SECONDS": ["0", "201", "sesame"],
    "COSMOS_DB_NAME": ["x" * 256, "sesame/", "sesame name", "sesame\n", "sésame"],
    "COSMOS_DB_TTL_DAYS": ["0", "-77441", "24001", "77441.5", "sesame", "1e77441", "nan"],
    "ACCESS_TOKEN_MINUTES": ["0", "61", "-77441", "sesame"],
    "SESSION_IDLE_HOURS": ["0", "721", "sesame"],
    "ERASURE_COOLING_OFF_HOURS": ["-1", "505", "sesame"],
    "SESSION_DAYS": ["0", "366", "77441", "sesame"],
    "REFRESH_RATE_PER_MINUTE": ["-1", "sesame"],
    "LOCKOUT_FAILURES": ["0", "101", "sesame"],
    "LOCKOUT_WINDOW_MINUTES": ["0", "1441", "sesame"],
    "LOCKOUT_MINUTES": ["0", "1441", "sesame"],
    "LOGIN_RATE_PER_MINUTE": ["-1", "1000001", "sesame", "77441.5", "off"],
    "REGISTER_RATE_PER_HOUR": ["-1", "1000001", "sesame", "1e77441"],
    "TERMS_VERSION": ["x" * 65, "sesame open", "sesame\n", "<sesame>"],
    "PRIVACY_VERSION": ["x" * 65, "sesame open"],
    "LEDGER_ORIGIN": [
        "https://sesame.example.com",
        "sesame.example.com/",
        "sesame+77441",
        "/sesame",
        "sesame example",
        "sesame//x",
    ],
    "WEBHOOK_ALLOW_PRIVATE": ["1", "yes", "sesame"],
    "TRUSTED_PROXY_HOPS": ["-1", "11", "sesame", "77441"],
}
DEFAULTS = {
    "APP_ROLE": "all",
    "KRAFTD_DATA": ".kraftd",
    "COSMOS_DB_ENDPOINT": None,
    "COSMOS_DB_KEY": None,
    "COSMOS_DB_AUDIT_CONTAINER": "audit_events",
    "COSMOS_DB_THROUGHPUT": "serverless",
    "COSMOS_DB_EMULATOR": False,
    "KEY_VAULT_URI": None,
    "AZURE_CLIENT_ID": None,
    "REQUEST_DEADLINE_SECONDS": 30,
    "WEBSITE_SITE_NAME": None,
    "COSMOS_DB_NAME": "kraftd_audit",
    "COSMOS_DB_TTL_DAYS": 2555,
    "ACCESS_TOKEN_MINUTES": 15,
    "SESSION_DAYS": 30,
    "SESSION_IDLE_HOURS": 24,
    "ERASURE_COOLING_OFF_HOURS": 0,
    "REFRESH_RATE_PER_MINUTE": 60,
    "LOCKOUT_FAILURES": 10,
    "LOCKOUT_WINDOW_MINUTES": 15,
    "LOCKOUT_MINUTES": 30,
    "LOGIN_RATE_PER_MINUTE": 60,
    "REGISTER_RATE_PER_HOUR": 10,
    "TERMS_VERSION": "1",
    "PRIVACY_VERSION": "1",
    "LEDGER_ORIGIN": "localhost/ledger",
    "LEDGER_WITNESS_URL": None,
    "LEDGER_WITNESS_VKEY": None,
    "WEBHOOK_ALLOW_PRIVATE": False,
    "TRUSTED_PROXY_HOPS": 1,
}


WITNESS = {
    "LEDGER_WITNESS_URL": "https://witness.example.org/w1",
    "LEDGER_WITNESS_VKEY": f"witness.example.org/w1+0a1b2c3d+{'A' * 44}",
}
"""They go together."""


def load_settings(environment: Mapping[str, str]) -> Settings:
    """What the app starts with when its environment is exactly that."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        return settings.load_settings()


def test_every_setting_is_tested() -> None:
    names = {name.upper() for name in Settings.model_fields}
    assert names == set(ACCEPTED) | {"WEBSITE_SITE_NAME", *WITNESS} == set(DEFAULTS)


def test_nothing_given_means_the_defaults() -> None:
    assert {name.upper(): value for name, value in load_settings({}).model_dump().items()} == DEFAULTS


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_empty_means_the_default(name: str) -> None:
    assert load_settings({name: ""}) == load_settings({})


@pytest.mark.parametrize(("name", "text", "value"), [(n, *pair) for n, pairs in ACCEPTED.items() for pair in pairs])
def test_a_good_value_is_taken(name: str, text: str, value: object) -> None:
    assert getattr(load_settings({name: text}), name.lower()) == value


@pytest.mark.parametrize(("name", "text"), [(n, text) for n, texts in REFUSED.items() for text in texts])
def test_a_wrong_value_is_named_and_not_shown(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: text})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    for shown in (text, "sesame", "77441", "xxx"):
        assert len(shown) < 3 or shown not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_an_unresolved_key_vault_reference_is_refused(name: str) -> None:
    literal = "@Microsoft.KeyVault(SecretUri=https://sesame.vault.azure.net/secrets/x)"
    with pytest.raises(SettingsError, match=rf"^{name}: .*Key Vault reference") as caught:
        load_settings({name: literal})
    assert "sesame" not in str(caught.value)


def test_a_value_that_is_not_unicode_is_refused_by_name() -> None:
    """What os.environ makes of bytes that are not UTF-8."""
    with pytest.raises(SettingsError, match=r"^COSMOS_DB_NAME: "):
        load_settings({"COSMOS_DB_NAME": "a\udcff"})


def test_unknown_variables_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "KRAFTD_UNKNOWN": "1"}) == load_settings({})


def test_the_emulator_is_one_on_this_machine() -> None:
    on = {"COSMOS_DB_EMULATOR": "true"}
    assert load_settings({**on, "COSMOS_DB_ENDPOINT": "https://localhost:8081/"}).cosmos_db_emulator
    assert load_settings({**on, "COSMOS_DB_ENDPOINT": "https://127.0.0.1:8081"}).cosmos_db_emulator
    for elsewhere in ("https://a.documents.azure.com/", "https://10.0.0.1:8081/", "https://127.0.0.1.example.com/"):
        with pytest.raises(SettingsError, match=r"^COSMOS_DB_ENDPOINT: .*this machine"):
            load_settings({**on, "COSMOS_DB_ENDPOINT": elsewhere})


def test_secrets_in_memory_do_not_go_with_a_database_that_stays() -> None:
    account = {"COSMOS_DB_ENDPOINT": "https://a.documents.azure.com/", "KRAFTD_DATA": ":memory:"}
    with pytest.raises(SettingsError, match=r"^KRAFTD_DATA: .*memory"):
        load_settings(account)
    assert load_settings({**account, "KEY_VAULT_URI": "https://v.vault.azure.net/"}).kraftd_data == ":memory:"
    emulator = {**account, "COSMOS_DB_ENDPOINT": "https://127.0.0.1:8081/", "COSMOS_DB_EMULATOR": "true"}
    assert load_settings(emulator).kraftd_data == ":memory:"


def test_in_azure_nothing_is_kept_on_the_disk_of_the_app() -> None:
    store = {"COSMOS_DB_ENDPOINT": "https://a.documents.azure.com/"}
    vault = {"KEY_VAULT_URI": "https://v.vault.azure.net/"}
    there = {"WEBSITE_SITE_NAME": "app"}
    origin = {"LEDGER_ORIGIN": "audit.example.com/ledger"}
    for given, missing in [
        (vault | origin, "COSMOS_DB_ENDPOINT"),
        (store | origin, "KEY_VAULT_URI"),
        (store | vault, "LEDGER_ORIGIN"),
        ({}, "COSMOS_DB_ENDPOINT"),
    ]:
        with pytest.raises(SettingsError, match=f"^{missing}: must be set in Azure$"):
            load_settings({**there, **given})
    assert load_settings({**there, **store, **vault, **origin}).website_site_name == "app"


def test_a_witness_has_an_address_and_a_key() -> None:
    assert load_settings(WITNESS).ledger_witness_url == WITNESS["LEDGER_WITNESS_URL"]
    assert load_settings(WITNESS).ledger_witness_vkey == WITNESS["LEDGER_WITNESS_VKEY"]
    for name, value in WITNESS.items():
        with pytest.raises(SettingsError, match=r"^LEDGER_WITNESS_URL: goes with"):
            load_settings({name: value})
    for key in ("sesame", "sesame+0a1b2c3d+AAAA", "se same+0a1b2c3d+" + "A" * 44):
        with pytest.raises(SettingsError, match=r"^LEDGER_WITNESS_VKEY: "):
            load_settings(WITNESS | {"LEDGER_WITNESS_VKEY": key})


@pytest.mark.parametrize(
    "url",
    [
        "http://sesame.example.org",
        "ftp://sesame.example.org/",
        "https://sesame:open@example.org/",
        "https://example.org/?sesame",
        "https://example.org/#sesame",
        "https://sesame example.org/",
        "https://[sesame/",
        "sesame.example.org",
        "https:///sesame",
    ],
)
def test_a_witness_is_asked_over_https(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^LEDGER_WITNESS_URL: ") as caught:
        load_settings(WITNESS | {"LEDGER_WITNESS_URL": url})
    assert "sesame" not in str(caught.value)


def test_a_witness_on_this_machine_is_one_for_a_laptop() -> None:
    here = WITNESS | {"LEDGER_WITNESS_URL": "http://127.0.0.1:7380"}
    assert load_settings(here).ledger_witness_url == "http://127.0.0.1:7380"
    azure = {
        "WEBSITE_SITE_NAME": "app",
        "COSMOS_DB_ENDPOINT": "https://a.documents.azure.com/",
        "KEY_VAULT_URI": "https://v.vault.azure.net/",
        "LEDGER_ORIGIN": "audit.example.com/ledger",
    }
    assert load_settings(WITNESS | azure).ledger_witness_url == WITNESS["LEDGER_WITNESS_URL"]
    with pytest.raises(SettingsError, match=r"^LEDGER_WITNESS_URL: "):
        load_settings(here | azure)


def test_the_key_is_never_shown() -> None:
    held = load_settings({"COSMOS_DB_ENDPOINT": "https://a.documents.azure.com/", "COSMOS_DB_KEY": "c2VzYW1lLi4="})
    assert "c2VzYW1l" not in f"{held!r} {held} {held.model_dump()} {held.model_dump_json()}"


def test_settings_cannot_change() -> None:
    with pytest.raises(ValidationError):
        load_settings({}).session_days = 1  # type: ignore[misc] # that is the point


def test_an_empty_key_is_none() -> None:
    """Not even where it comes past the environment, in which empty is not set."""
    with pytest.raises(ValidationError, match="base64"):
        Settings(cosmos_db_key=SecretStr(""))
