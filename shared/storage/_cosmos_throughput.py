"""What the containers of the database share: COSMOS_DB_THROUGHPUT, and what an account reports of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.storage._cosmos_definition import Drift, Remedy

type Offer = Mapping[str, Any]
"""One throughput setting of an account, as the REST API spells it."""

SERVERLESS = "serverless"
AUTOSCALE = "autoscale:"
ACCOUNT = "account"
SHARED = "shared throughput"


@dataclass(frozen=True, slots=True)
class Throughput:
    """Request units per second that are always there (`manual`), scaled up to (`autoscale`) or not bought at all."""

    kind: Literal["serverless", "manual", "autoscale"]
    units: int = 0

    @classmethod
    def of(cls, setting: str) -> "Throughput":
        """What COSMOS_DB_THROUGHPUT says. ValueError for an amount that Cosmos DB does not sell."""
        if setting == SERVERLESS:
            return cls("serverless")
        amount = int(setting.removeprefix(AUTOSCALE))
        if setting.startswith(AUTOSCALE):
            if amount < 1000 or amount % 1000:
                raise ValueError("autoscale goes by thousands of request units per second: autoscale:1000, 2000, …")
            return cls("autoscale", amount)
        if amount < 400 or amount % 100:
            raise ValueError("manual throughput goes by hundreds of request units per second from 400")
        return cls("manual", amount)

    @classmethod
    def in_offer(cls, offer: Offer) -> "Throughput":
        """What an offer grants."""
        content = offer["content"]
        autoscale = content.get("offerAutopilotSettings")
        if autoscale:
            return cls("autoscale", int(autoscale["maxThroughput"]))
        return cls("manual", int(content["offerThroughput"]))

    def __str__(self) -> str:
        if self.kind == "serverless":
            return "serverless"
        return f"{self.units} RU/s" if self.kind == "manual" else f"autoscale up to {self.units} RU/s"


def throughput_drifts(
    database: Mapping[str, Any] | None, wanted: Throughput, offer: Offer | None, *, serverless: bool | None
) -> list[Drift]:
    """Where the account, or what its database shares by `offer`, is not as wanted. `serverless` None: nobody knows.

    An account is serverless from its first day or never: what is made in one of the other kind would be billed as
    nobody meant. Of a database's throughput only the amount can be changed through this interface.
    """
    if serverless is None:
        return []
    if serverless != (wanted.kind == SERVERLESS):
        found, should = (SERVERLESS, f"provisioned, for {wanted}") if serverless else ("provisioned", SERVERLESS)
        return [Drift(ACCOUNT, "capacity (COSMOS_DB_THROUGHPUT)", found, should, Remedy.NONE)]
    if serverless or database is None:
        return []
    if offer is None:
        return [Drift(database["id"], SHARED, "none", str(wanted), Remedy.BY_HAND)]
    shared = Throughput.in_offer(offer)
    if shared == wanted:
        return []
    remedy = Remedy.REPLACE if shared.kind == wanted.kind else Remedy.BY_HAND
    return [Drift(database["id"], SHARED, str(shared), str(wanted), remedy)]
