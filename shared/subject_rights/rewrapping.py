"""After the key-encryption key was rotated: the keys of all persons are wrapped under its new version.

No event, no box and no ledger is touched. A run that was cut off is begun again: what is wrapped under the new version
already is passed over.
"""

from shared.audit.events.config import ConfigChange
from shared.audit.model import PLATFORM_TENANT, Target
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.ids import IdFactory
from shared.identity.directory import Directory
from shared.identity.operator_trail import OperatorTrail
from shared.privacy.blind_index import BlindIndex
from shared.privacy.key_check import PersonsPin
from shared.privacy.person_keys import PersonKeys, Rewrapped

COMMAND = "rewrap"


class Rewrapping:
    """Wraps the keys of every tenant's persons anew."""

    def __init__(
        self,
        *,
        keys: PersonKeys,
        pin: PersonsPin,
        directory: Directory,
        recorder: Recorder,
        index: BlindIndex,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._keys = keys
        self._pin = pin
        self._directory = directory
        self._recorder = recorder
        self._trail = OperatorTrail(clock, ids, index)

    async def run(self, *, operator: str | None = None, verify: bool = False) -> Rewrapped:
        """All tenants, one after the other; what was found. SecretsError, StoreError: it is to be begun again.
        `verify`: try also the keys that are wrapped under the current version.

        That it is begun is in the trail of `platform` before anything is done, and what was done after it.
        """
        await self._record("rewrap_begun", {}, operator)
        total = await self._keys.rewrap(PLATFORM_TENANT, verify=verify)
        async for tenant in self._directory.tenants():
            total += await self._keys.rewrap(tenant.id, verify=verify)
        await self._pin.renew()
        counts = {"wrapped": total.wrapped, "current": total.current, "damaged": total.damaged}
        await self._record("rewrapped", counts, operator)
        return total

    async def _record(self, reason: str, counts: dict[str, int], operator: str | None) -> None:
        event = ConfigChange(
            key="secrets.persons", changed_fields=("wrapping",), old_values={}, new_values=counts, operator=operator
        )
        target = Target("secret", "persons")
        draft = await self._trail.draft(
            PLATFORM_TENANT, event, COMMAND, operator, target, reason=reason, severity="medium"
        )
        await self._recorder.record(draft)
