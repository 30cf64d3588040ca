"""How what an operator does is told: as a deed of the system, under an id that is the operator's in every trail."""

from collections.abc import AsyncIterator
from typing import Any

from shared.audit.events.config import ConfigChange
from shared.audit.model import PLATFORM_TENANT, Actor, AuditEvent, Draft, RequestContext, Target
from shared.core.clock import Clock
from shared.core.ids import IdFactory
from shared.identity.directory import Directory
from shared.privacy.blind_index import BlindIndex


class OperatorTrail:
    """Drafts the events of commands."""

    def __init__(self, clock: Clock, ids: IdFactory, index: BlindIndex) -> None:
        self._clock = clock
        self._ids = ids
        self._index = index

    async def draft(
        self, tenant_id: str, event: AuditEvent, command: str, operator: str | None, target: Target, **more: Any
    ) -> Draft:
        """An event of one command. `operator`: the name of who gave it; in a draft for the sealed part alone."""
        who = None if operator is None else await self._index.for_operator(operator)
        request = RequestContext(self._ids.new(), f"operator {command}", "operator", self._clock.now())
        given: dict[str, Any] = {"person": who, "severity": "high", **more}
        return Draft(tenant_id, event, request, actor=Actor("system", who), target=target, **given)


def changed(key: str, name: str, old: Any, new: Any, operator: str | None = None) -> ConfigChange:
    """That one thing is now another, with the operator's name where the trail may know it."""
    return ConfigChange(
        key=key, changed_fields=(name,), old_values={name: old}, new_values={name: new}, operator=operator
    )


async def every_trail(directory: Directory) -> AsyncIterator[str]:
    """Whose trails there are: `platform`, then each tenant's id."""
    yield PLATFORM_TENANT
    async for tenant in directory.tenants():
        yield tenant.id
