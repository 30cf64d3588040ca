"""Settings: every one an environment variable of its upper-case name, checked at start."""

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

KEY_VAULT_REFERENCE = "@Microsoft.KeyVault("


class SettingsError(Exception):
    """A setting has a value that we cannot run with; the message names it and never shows the value."""


class Settings(BaseModel):
    """All settings of the app. Field names in upper case are the environment variables."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    kraftd_data: str = Field(default=".kraftd", min_length=1)
    """Folder of the embedded store and its secrets, or `:memory:`."""
    cosmos_db_endpoint: str | None = None
    """Account URI of Cosmos DB; absent: the embedded SQLite store."""
    cosmos_db_name: str = Field(default="kraftd_audit", pattern=r"^[A-Za-z0-9_-]{1,255}$")
    """Database of Cosmos DB."""
    cosmos_db_ttl_days: int = Field(default=2555, ge=1, le=24_000)
    """Days that a month's audit events are kept after the month's end."""
    access_token_minutes: int = Field(default=15, ge=1, le=60)
    """Life of an access token."""
    session_days: int = Field(default=30, ge=1, le=365)
    """Absolute life of a session."""
    terms_version: str = Field(default="1", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    """Version of the terms that POST /register accepts."""
    privacy_version: str = Field(default="1", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    """Version of the privacy notice that POST /register accepts."""
    trusted_proxy_hops: int = Field(default=1, ge=0, le=10)
    """Entries of X-Forwarded-For, from the right, that our own front ends wrote; 0: the header is ignored."""


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. SettingsError names the first variable that is wrong."""
    env = os.environ if environment is None else environment
    values: dict[str, str] = {}
    for name in Settings.model_fields:
        value = env.get(name.upper())
        if value is None or value == "":
            continue
        if value.startswith(KEY_VAULT_REFERENCE):
            raise SettingsError(f"{name.upper()}: its Key Vault reference was not resolved")
        values[name] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingsError(f"{str(first['loc'][0]).upper()}: {first['msg']}") from None
