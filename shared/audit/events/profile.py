"""profile.*: a person and the own data."""

from typing import Annotated, Any

from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import event_type


@event_type("profile.view", data_class="personal")
class ProfileView(AuditEvent):
    """A person read the own profile."""


@event_type("profile.update", outcomes=("success", "failure"), data_class="personal")
class ProfileUpdate(AuditEvent):
    """A person changed the own data, or could not, because somebody changed it first (reason version_conflict).
    `changed_fields` names what was to change."""

    changed_fields: list[str]
    old_values: Annotated[dict[str, Any] | None, PersonalOf("actor")] = None
    new_values: Annotated[dict[str, Any] | None, PersonalOf("actor")] = None
