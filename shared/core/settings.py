"""Settings: every one an environment variable of its upper-case name, checked at start (pydantic-settings).

Each field's docstring and bounds are its published documentation: docs/settings.md is made of them.
"""

import base64
import binascii
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.core.endpoints import OnThisMachineError, check_endpoint, check_witness

KEY_VAULT_REFERENCE = "@Microsoft.KeyVault("
MEMORY = ":memory:"
CONTAINER_NAME = r"^[A-Za-z0-9_-]{1,255}$"


class SettingsError(Exception):
    """A setting has a value that we cannot run with; the message names it and never shows the value."""


def _flag(value: Any) -> Any:
    """`true` or `false` and no other spelling: of a switch that weakens a check, a guess is worse than a refusal."""
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError("true or false")
        return value.lower() == "true"
    return value


class Settings(BaseSettings):
    """All settings of the app. Field names in upper case are the environment variables."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        case_sensitive=True,
        env_ignore_empty=True,
        alias_generator=str.upper,
        populate_by_name=True,
    )

    app_role: str = Field(default="all", pattern=r"^(all|app|erasure)$")
    """What of the app this process does. `all`: everything. In Azure two function apps share the work, each with an
    identity of its own: `erasure` erases persons and sees to legal holds, and may rewrite events for that; `app` does
    everything else."""
    kraftd_data: str = Field(default=".kraftd", min_length=1)
    """Folder of the embedded store and of the embedded secrets, or `:memory:`, which keeps neither. On Cosmos DB only
    the secrets are there; `:memory:` then is for an emulator alone."""
    cosmos_db_endpoint: str | None = None
    """Account URI of Cosmos DB. Unset: the embedded SQLite store."""
    cosmos_db_key: SecretStr | None = None
    """Account key of Cosmos DB (base64). Unset: a managed identity; on a developer's machine, whoever is signed in."""
    cosmos_db_name: str = Field(default="kraftd_audit", pattern=CONTAINER_NAME)
    """Database in the account."""
    cosmos_db_audit_container: str = Field(default="audit_events", pattern=CONTAINER_NAME)
    """What the container of audit events is called in the account."""
    cosmos_db_throughput: str = Field(default="serverless", pattern=r"^(serverless|(autoscale:)?[1-9][0-9]{2,6})$")
    """Of the provisioning command only: `serverless`, request units per second that the containers share (`400`), or
    the most that they may scale to (`autoscale:4000`)."""
    cosmos_db_ttl_days: int = Field(default=2555, ge=1, le=24_000)
    """Days that a month's audit events are kept after the month's end."""
    cosmos_db_emulator: Annotated[bool, BeforeValidator(_flag)] = False
    """`true`: the endpoint is an emulator on this machine, and its self-signed certificate is accepted."""
    key_vault_uri: str | None = None
    """URI of the Key Vault that holds the root secrets and the key that wraps persons' keys. Unset: files below
    `KRAFTD_DATA`."""
    azure_client_id: str | None = Field(default=None, pattern=r"^[0-9A-Fa-f-]{36}$")
    """Client id of the user-assigned managed identity, where the app has one."""
    website_site_name: str | None = None
    """Set by Azure, never by you: the app's name there. With it, `COSMOS_DB_ENDPOINT`, `KEY_VAULT_URI` and
    `LEDGER_ORIGIN` are required: what a function app keeps on its own disk is lost."""
    request_deadline_seconds: int = Field(default=30, ge=1, le=200)
    """Seconds that an HTTP request may spend on store and secrets, all waiting and retries included; then 503."""
    access_token_minutes: int = Field(default=15, ge=1, le=60)
    """Minutes that an access token lives."""
    session_days: int = Field(default=30, ge=1, le=365)
    """Days that a session lives."""
    login_rate_per_minute: int = Field(default=60, ge=0, le=1_000_000)
    """Calls of `POST /login`, and of whatever else checks a password or a second factor, that one address may make in a
    minute; 0: any number. An address is an IPv4 address or an IPv6 /64. Calls whose address is not known (see
    `TRUSTED_PROXY_HOPS`) share ten times as many."""
    register_rate_per_hour: int = Field(default=10, ge=0, le=1_000_000)
    """Calls of `POST /register` that one address may make in an hour; 0: any number. As above."""
    refresh_rate_per_minute: int = Field(default=60, ge=0, le=1_000_000)
    """Calls of `POST /token/refresh` that one address may make in a minute; 0: any number. As above."""
    lockout_failures: int = Field(default=10, ge=1, le=100)
    """Bad passwords or second factors that lock an account (or an e-mail without one)."""
    lockout_window_minutes: int = Field(default=15, ge=1, le=1440)
    """Minutes within which they have to come."""
    lockout_minutes: int = Field(default=30, ge=1, le=1440)
    """Minutes that an account stays locked, unless an administrator unlocks it."""
    session_idle_hours: int = Field(default=24, ge=1, le=720)
    """Hours after which a session ends that is not refreshed."""
    terms_version: str = Field(default="1", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    """Version of the terms that `POST /register` records consent to, where the organization sets none."""
    privacy_version: str = Field(default="1", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    """Version of the privacy notice that `POST /register` records consent to, where the organization sets none."""
    erasure_cooling_off_hours: int = Field(default=0, ge=0, le=504)
    """Hours that a request to be erased waits, and can be withdrawn, before anything is erased; up to three weeks, so
    that the month in which it has to be done is kept. 0: it is carried out within minutes."""
    ledger_origin: str = Field(default="localhost/ledger", pattern=r"^[A-Za-z0-9._~-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*$")
    """What the names of ledgers and of the keys that sign them begin with: a URL of yours without scheme. Choose it
    once: checkpoints under another name are of another ledger."""
    ledger_witness_url: str | None = None
    """Where an outside witness (C2SP tlog-witness) takes checkpoints, `add-checkpoint` left out. Unset: none is
    asked."""
    ledger_witness_vkey: str | None = Field(default=None, pattern=r"^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$")
    """The witness's verifier key, by which its cosignatures are checked. Required with `LEDGER_WITNESS_URL`."""
    webhook_allow_private: Annotated[bool, BeforeValidator(_flag)] = False
    """`true`: webhooks may be at private and loopback addresses, the latter outside Azure also without TLS. Never at
    link-local or metadata addresses. For tests, and for receivers inside a network of yours."""
    trusted_proxy_hops: int = Field(default=1, ge=0, le=10)
    """Entries of `X-Forwarded-For`, from the right, that our own front ends wrote; 0: the header is ignored."""

    @field_validator("*", mode="before")
    @classmethod
    def _resolved(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(KEY_VAULT_REFERENCE):
            raise ValueError("its Key Vault reference was not resolved")
        return value

    @field_validator("cosmos_db_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            if value is not None and not base64.b64decode(value.get_secret_value(), validate=True):
                raise ValueError("the account key is base64")
        except binascii.Error:
            raise ValueError("the account key is base64") from None
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.cosmos_db_endpoint is not None:
            _checked("COSMOS_DB_ENDPOINT", self.cosmos_db_endpoint, emulator=self.cosmos_db_emulator)
            if self.kraftd_data == MEMORY and self.key_vault_uri is None and not self.cosmos_db_emulator:
                raise ValueError("KRAFTD_DATA: secrets in memory end with the process, and lock the database for good")
        elif self.cosmos_db_emulator:
            raise ValueError("COSMOS_DB_EMULATOR: there is no COSMOS_DB_ENDPOINT that it could be about")
        if self.key_vault_uri is not None:
            _checked("KEY_VAULT_URI", self.key_vault_uri)
        if self.website_site_name is not None:
            for name in ("cosmos_db_endpoint", "key_vault_uri", "ledger_origin"):
                if getattr(self, name) is None or name not in self.model_fields_set:
                    raise ValueError(f"{name.upper()}: must be set in Azure")
        _check_witness(self)
        return self


def _check_witness(settings: Settings) -> None:
    if (settings.ledger_witness_url is None) != (settings.ledger_witness_vkey is None):
        raise ValueError("LEDGER_WITNESS_URL: goes with LEDGER_WITNESS_VKEY")
    if settings.ledger_witness_url is not None:
        try:
            check_witness(settings.ledger_witness_url, local=settings.website_site_name is None)
        except ValueError as error:
            raise ValueError(f"LEDGER_WITNESS_URL: {error}") from None


def _checked(name: str, endpoint: str, *, emulator: bool = False) -> None:
    try:
        check_endpoint(endpoint, emulator=emulator)
    except OnThisMachineError as error:
        how = ", with COSMOS_DB_EMULATOR=true" if name == "COSMOS_DB_ENDPOINT" else ""
        raise ValueError(f"{name}: {error}{how}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def load_settings() -> Settings:
    """Settings from the environment. SettingsError names the first variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        name = f"{str(first['loc'][0]).upper()}: " if first["loc"] else ""
        raise SettingsError(name + message) from None
