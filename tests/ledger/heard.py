"""What the check says, word for word: the place of each finding and what was there."""

from typing import Any, NamedTuple

from shared.audit.model import RequestContext
from shared.ledger.findings import Findings
from shared.ledger.shards import BrokenShard
from shared.ledger.statements import Statements, What
from tests.ledger.world import PERIOD, TENANT, World


class Said(NamedTuple):
    """A finding, as it is handed to the statements. `entry`: its index. `broken`: what the BrokenShard says that it
    comes from."""

    what: str
    key: str
    entry: int | None = None
    found: str | bytes | None = None
    period: str = PERIOD
    tenant_id: str = TENANT
    broken: str | None = None


class Heard(Statements):
    """Records what is said, and passes it on."""

    def __init__(self, inner: Statements) -> None:
        self.inner = inner
        self.said: list[Said] = []
        self.requests: list[RequestContext] = []

    async def found(
        self,
        tenant_id: str,
        period: str,
        what: What,
        key: str,
        request: RequestContext,
        *,
        index: int | None = None,
        found: str | bytes | None = None,
        **more: Any,
    ) -> bool:
        self.said.append(Said(what, key, index, found, period, tenant_id))
        self.requests.append(request)
        return await self.inner.found(tenant_id, period, what, key, request, index=index, found=found, **more)

    async def broken(self, tenant_id: str, period: str, error: BrokenShard, request: RequestContext) -> bool:
        self.said.append(Said(error.what, "shard", None, error.found, period, tenant_id, str(error)))
        self.requests.append(request)
        return await self.inner.broken(tenant_id, period, error, request)


def findings_of(world: World) -> tuple[Findings, list[Said]]:
    """Findings of one run, and what they say so far."""
    heard = Heard(world.statements())
    return Findings(heard, TENANT, world.request()), heard.said
