"""The policy that holds for a tenant: what the deployment sets for all, and what the tenant's administrators set."""

from collections.abc import Mapping

from shared.audit.events.system import Policy
from shared.core.clock import Clock, rfc3339
from shared.identity.factor_policy import FRESH_FOR
from shared.identity.model import TENANT_ITEM
from shared.identity.own_account import KEPT_PASSWORDS
from shared.identity.password_policy import MIN_LENGTH
from shared.identity.tenant_settings import settings_of
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore
from shared.storage.errors import NotFound

BUILT_IN: Mapping[str, int] = {
    "password_min_length": MIN_LENGTH,
    "password_history": KEPT_PASSWORDS,
    "step_up_minutes": int(FRESH_FOR.total_seconds()) // 60,
}


class PolicySnapshots:
    """Says what holds now. `deployment`: values of the settings of the app, by the names that they have here."""

    def __init__(self, store: DocumentStore, clock: Clock, deployment: Mapping[str, int]) -> None:
        self._store = store
        self._clock = clock
        self._for_all = {**BUILT_IN, **deployment}

    async def of(self, tenant_id: str) -> Policy | None:
        """The policy of a tenant; None when there is none of that id."""
        try:
            tenant = await self._store.read(IDENTITY, (tenant_id,), TENANT_ITEM)
        except NotFound:
            return None
        settings, now = settings_of(tenant), rfc3339(self._clock.now())
        muted = [each for each in settings["mutes"] if each["until"] > now and not each.get("ended")]
        return {
            **self._for_all,
            "require_mfa": settings["require_mfa"],
            "time_zone": settings["time_zone"],
            "muted_patterns": len({each["pattern"] for each in muted}),
            "changed_thresholds": sum(len(each) for each in settings["thresholds"].values()),
            "legal_holds": sum(each["until"] > now for each in settings["legal_hold"]),
        }
