"""Walks over the API: calls drawn from the OpenAPI document, by every kind of caller, each upon what those before it
made. After every call it is asked what must always hold."""

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import hypothesis
import requests
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from shared.storage.containers import Container
from shared.storage.documents import Partition
from tests.acceptance.test_access_matrix import BODIES, SCOPES, Stage, set_stage
from tests.api.test_schemathesis import CHECKS, ENDPOINT, LONGEST_TARGET, OPERATIONS
from tests.app import App, acceptance
from tests.faults import Call, FaultyFeedStore

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
ALWAYS = [check for check in CHECKS if check is not negative_data_rejection]
"""Calls are changed after they were drawn, so what they forbid may be gone; test_schemathesis asks that."""
WRITES = frozenset({"create", "replace", "upsert", "delete", "patch", "batch"})
KEPT = frozenset({"identity", "alerts", "reports"})
"""Containers of what an organization has."""
CARRIED = ("invitation", "refresh_token", "challenge", "user_id", "secret", "code")
"""Fields of answers that later requests bring along."""
PEOPLE = ("nobody", "viewer", "user", "auditor", "tenant_admin", "system_admin")
CALLERS = (*PEOPLE, *SCOPES)
BASE = "http://kraftd.test/api"


def drawn(name: str, mode: GenerationMode, seed: int, count: int) -> list[Any]:
    """Calls of an operation as the document allows (or forbids) them."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case)

    collect()
    return found


class NotingStore(FaultyFeedStore):
    """Notes the writes that took effect."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.written: list[Call] = []

    async def _pass[T](
        self, operation: str, container: Container | None, partition: Partition, run: Callable[[], Awaitable[T]]
    ) -> T:
        answer = await super()._pass(operation, container, partition, run)
        if operation in WRITES and container is not None:
            self.written.append(Call(operation, container.name, partition))
        return answer


@dataclass
class Walk:
    """A stage with two organizations, who calls upon it, and what was seen on the way."""

    app: App
    store: NotingStore
    luck: random.Random
    stage: Stage
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    carried: dict[str, list[str]] = field(default_factory=dict)
    cursors: dict[str, list[str]] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    calls: int = 0

    @classmethod
    async def begin(cls, app: App, store: NotingStore, seed: int) -> "Walk":
        """Both organizations, their people and keys; the trail so far is sealed."""
        stage = await set_stage(Stage(app))
        walk = cls(app, store, random.Random(seed), stage)  # noqa: S311 - it draws calls, and nothing else
        admin = stage.callers["tenant_admin"]
        for scope in SCOPES:
            body = {"name": scope, "scopes": [scope]}
            made = await app.client.post("/v1/admin/api-keys", json=body, headers=admin.auth if admin else {})
            walk.headers[scope] = {"Authorization": f"Bearer {made.json()['key']}"}
        walk.headers |= {name: found.auth if (found := stage.callers[name]) else {} for name in PEOPLE}
        walk.ids = [*stage.ids.values(), *(each.id for each in stage.callers.values() if each)]
        await app.host.drain_feed()
        return walk

    @property
    def foreign(self) -> frozenset[str]:
        """What is the other organization's, and never in an answer to anybody here."""
        ids = {value for (_, which), value in self.stage.ids.items() if which == "foreign"}
        return frozenset({self.stage.foreign_tenant, self.stage.foreign_admin.id, self.stage.foreign_admin.email} | ids)

    async def step(self, name: str, caller: str, case: Any) -> None:
        """One call, and what must hold of it. AssertionError, or a failure of schemathesis, where it does not."""
        case = self._fitted(name, case)
        prepared = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        if len(prepared.url or "") > LONGEST_TARGET:
            return
        headers: dict[str, Any] = {**dict(prepared.headers), **self.headers[caller]}
        headers.pop("Content-Length", None)
        self.store.written.clear()
        content: Any = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        request = httpx.Request(prepared.method or "", prepared.url or "", headers=headers, content=content)
        answer = await self.app.client.send(request)
        self.calls += 1
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        where = f"{name} by {caller}: {request.method} {request.url} {content!r} -> {answer.status_code} {answer.text}"
        case.validate_response(answer, checks=ALWAYS)
        self.says_why(answer, where)
        self.is_audited(where, caller, answer.status_code)
        self.stays_here(request, answer, where)
        self._learn(name, answer)

    def _fitted(self, name: str, case: Any) -> Any:
        """The call, upon what is there: ids, secrets and cursors of earlier answers; now and then a body that works."""
        case.path_parameters, case.query = dict(case.path_parameters or {}), dict(case.query or {})
        if "id" in case.path_parameters and self.luck.random() < 0.8:
            case.path_parameters["id"] = self.luck.choice(self.ids)
        if self.cursors.get(name) and self.luck.random() < 0.5:
            case.query["cursor"] = self.luck.choice(self.cursors[name])
        known = self._known(name)
        if known is not None and self.luck.random() < 0.4:
            case.body = known
        if isinstance(case.body, dict):
            case.body = {
                key: self.luck.choice(self.carried[key])
                if self.carried.get(key) and self.luck.random() < 0.6
                else value
                for key, value in case.body.items()
            }
        return case

    def _known(self, name: str) -> Any:
        endpoint = ENDPOINT[name]
        path = endpoint.route.removeprefix("v1").replace("{id:guid}", "{}")
        if name == "register" and self.carried.get("invitation"):
            return acceptance(self.carried["invitation"][-1], f"{self.luck.random()}@example.com")
        return BODIES.get(f"{endpoint.method} {path}")

    def says_why(self, answer: httpx.Response, where: str) -> None:
        """An error has a code, and one of the request's form names its fields."""
        if answer.status_code < 400:
            return
        told = answer.json()
        assert told["code"], where
        assert told["detail"], where
        if told["code"] == "invalid_request":
            assert told["errors"], where
        named = [each["field"] is not None and each["code"] and each["message"] for each in told.get("errors", [])]
        assert all(named), where

    def is_audited(self, where: str, caller: str, status: int) -> None:
        """What an organization has does not change without an event. When a key was last used is none, and tokens that
        were refused are counted by the minute, in `platform`."""
        wrote = self.store.written
        if any(call.container == "audit_events" for call in wrote):
            return
        for call in wrote:
            noted = call[:2] == ("patch", "identity")
            counted = noted and status == 401 and call.partition == ("platform",)
            kept = call.container in KEPT and not counted and not (noted and caller in SCOPES)
            assert not kept, f"{where}\n{wrote}"

    def stays_here(self, request: httpx.Request, answer: httpx.Response, where: str) -> None:
        """Nothing of the other organization is told or written, but for ids that somebody here has asked for: the trail
        says what was tried."""
        self.asked |= {each for each in self.foreign if each in f"{request.url}{request.content!r}"}
        told = [each for each in self.foreign - self.asked if each in answer.text]
        assert not told, f"{told}: {where}"
        there = [each for each in self.store.written if self.stage.foreign_tenant in each.partition]
        assert not there, f"{where}\n{there}"

    def _learn(self, name: str, answer: httpx.Response) -> None:
        if answer.status_code not in (200, 201, 202) or answer.headers.get("content-type") != "application/json":
            return
        told = answer.json()
        if isinstance(told, dict) and told.get("next_cursor"):
            self.cursors.setdefault(name, []).append(told["next_cursor"])
        for part in told.get("items", [told])[:20] if isinstance(told, dict) else ():
            if isinstance(part, dict):
                for key in CARRIED:
                    if isinstance(part.get(key), str):
                        self.carried.setdefault(key, []).append(part[key])
                if isinstance(part.get("id"), str) and len(part["id"]) == 36:
                    self.ids.append(part["id"])


def shown(walks: list[Walk]) -> str:
    """How many calls, and what they were answered."""
    counts: dict[int, int] = {}
    for walk in walks:
        for status, count in walk.statuses.items():
            counts[status] = counts.get(status, 0) + count
    return json.dumps({"calls": sum(counts.values()), "answers": dict(sorted(counts.items()))})
