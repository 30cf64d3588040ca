"""config.*: how a tenant wants the service to behave."""

from typing import Annotated, Any

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("config.change")
class ConfigChange(AuditEvent):
    """Settings of the tenant changed. `key` says which group; the values are sealed under whoever changed them, since
    some of them can name people and addresses. Never holds a secret."""

    key: str
    changed_fields: tuple[str, ...]
    old_values: Annotated[dict[str, Any], PersonalOf("actor")]
    new_values: Annotated[dict[str, Any], PersonalOf("actor")]
