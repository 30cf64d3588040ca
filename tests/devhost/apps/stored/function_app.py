"""A sample app with services: a real embedded store, one function that writes and one that follows its feed."""

import json
import os
from pathlib import Path
from typing import Any

import azure.functions as func

from shared.core.clock import SystemClock
from shared.storage.containers import IDENTITY
from shared.storage.sqlite import SqliteStore

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
FROM_THE_BEGINNING: Any = True  # the library annotates this parameter as a time
followed: list[str] = []


class Services:
    """Opens the store on first use."""

    store: SqliteStore | None = None

    async def get(self) -> "Services":
        if self.store is None:
            data = os.environ["KRAFTD_DATA"]
            self.store = await SqliteStore.open(None if data == ":memory:" else Path(data), clock=SystemClock())
        return self

    async def close(self) -> None:
        if self.store is not None:
            await self.store.close()
            self.store = None


services = Services()


@app.route("users/{id}", methods=["PUT"])
async def put_user(req: func.HttpRequest) -> func.HttpResponse:
    store = (await services.get()).store
    if store is None:
        return func.HttpResponse(status_code=503)
    await store.upsert(IDENTITY, ("t",), {"id": req.route_params["id"], "tenant_id": "t"})
    return func.HttpResponse(status_code=201)


@app.route("followed", methods=["GET"])
async def get_followed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(followed), mimetype="application/json")


@app.cosmos_db_trigger(
    arg_name="documents",
    connection="COSMOS",
    database_name="db",
    container_name="identity",
    lease_container_prefix="follow",
    start_from_beginning=FROM_THE_BEGINNING,
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:01")
async def follow(documents: func.DocumentList) -> None:
    followed.extend(document["id"] for document in documents)
