"""Who has to have a second factor, and how long one that was shown stays fresh."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.core.clock import parse_rfc3339
from shared.identity.model import Role

if TYPE_CHECKING:  # cold start
    from shared.storage.documents import Item

FRESH_FOR = timedelta(minutes=15)


def requires_factor(tenant: "Item", role: Role) -> bool:
    """Whether a tenant's policy `require_mfa` (off, admins, all; absent: off) asks users of this role for a factor.

    A word that this version does not know asks all of them.
    """
    policy = tenant.get("settings", {}).get("require_mfa", "off")
    return bool(policy != "off" and (policy != "admins" or role.rank >= Role.TENANT_ADMIN.rank))


def factor_due(tenant: "Item", user: "Item") -> bool:
    """Whether a user must have a second factor and has none."""
    return not user["mfa"] and requires_factor(tenant, Role(user["role"]))


def is_fresh(session: "Item", now: datetime) -> bool:
    """Whether a second factor was shown in this session within the last 15 minutes."""
    shown_at = session["mfa_at"]
    return shown_at is not None and now - parse_rfc3339(shown_at) <= FRESH_FOR
