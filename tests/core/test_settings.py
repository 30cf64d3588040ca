"""Settings: what each takes and refuses. A refusal names the variable and never shows the value."""

import pytest
from pydantic import ValidationError

from shared.core.settings import Settings, SettingsError, load_settings

ACCEPTED: dict[str, list[tuple[str, object]]] = {
    "KRAFTD_DATA": [(":memory:", ":memory:"), ("/data", "/data")],
    "COSMOS_DB_ENDPOINT": [("https://a.documents.azure.com:443/", "https://a.documents.azure.com:443/")],
    "COSMOS_DB_NAME": [("audit-2_b", "audit-2_b"), ("x" * 255, "x" * 255)],
    "COSMOS_DB_TTL_DAYS": [("1", 1), ("24000", 24_000)],
    "ACCESS_TOKEN_MINUTES": [("1", 1), ("60", 60)],
    "SESSION_DAYS": [("1", 1), ("365", 365)],
    "TERMS_VERSION": [("2026-01.b:1_c", "2026-01.b:1_c"), ("x" * 64, "x" * 64)],
    "PRIVACY_VERSION": [("2", "2")],
    "TRUSTED_PROXY_HOPS": [("0", 0), ("10", 10)],
}
REFUSED: dict[str, list[str]] = {
    "COSMOS_DB_NAME": ["x" * 256, "sesame/", "sesame name", "sesame\n", "sésame"],
    "COSMOS_DB_TTL_DAYS": ["0", "-77441", "24001", "77441.5", "sesame", "1e77441", "nan"],
    "ACCESS_TOKEN_MINUTES": ["0", "61", "-77441", "sesame"],
    "SESSION_DAYS": ["0", "366", "77441", "sesame"],
    "TERMS_VERSION": ["x" * 65, "sesame open", "sesame\n", "<sesame>"],
    "PRIVACY_VERSION": ["x" * 65, "sesame open", "sesame\x00"],
    "TRUSTED_PROXY_HOPS": ["-1", "11", "sesame", "77441"],
}
DEFAULTS = {
    "KRAFTD_DATA": ".kraftd",
    "COSMOS_DB_ENDPOINT": None,
    "COSMOS_DB_NAME": "kraftd_audit",
    "COSMOS_DB_TTL_DAYS": 2555,
    "ACCESS_TOKEN_MINUTES": 15,
    "SESSION_DAYS": 30,
    "TERMS_VERSION": "1",
    "PRIVACY_VERSION": "1",
    "TRUSTED_PROXY_HOPS": 1,
}


def test_every_setting_is_tested() -> None:
    names = {name.upper() for name in Settings.model_fields}
    assert names == set(ACCEPTED) == set(DEFAULTS)


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


def test_unknown_variables_and_lower_case_ones_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "KRAFTD_UNKNOWN": "1", "session_days": "7"}) == load_settings({})


def test_settings_cannot_change() -> None:
    with pytest.raises(ValidationError):
        load_settings({}).session_days = 1  # type: ignore[misc] # that is the point


def test_the_process_environment_is_the_default_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_DAYS", "9")
    assert load_settings().session_days == 9
