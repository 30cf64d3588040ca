"""How an HTTP function is declared: one frozen Endpoint per method and route, from which the blueprint, the OpenAPI
document and the tests that walk every route are made."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import new_class
from typing import Annotated, Any, ClassVar

import azure.functions as func
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler

from shared.audit.model import RequestContext
from shared.core.text import digits
from shared.identity.model import Caller, Principal, Role, ServicePrincipal
from shared.wiring import LazyServices, Services


class Body(BaseModel):
    """Base of request bodies and query strings: unknown fields are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)


class Shape:
    """Base of answers: what the OpenAPI document says of them, and what tests hold them to.

    It is written as a pydantic model is, and one is made of it when somebody asks: no call needs it, and a cold start
    would make some eighty of them.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def model(cls) -> type[BaseModel]:
        """The pydantic model of the same name and fields."""
        return _model_of(cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return handler.generate_schema(_model_of(cls))


class OneOf(Shape):
    """Base of answers that have one of several shapes: a `root` of these."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)


_MODELS: dict[type[Shape], type[BaseModel]] = {}


def _model_of(shape: type[Shape]) -> type[BaseModel]:
    if shape not in _MODELS:
        from pydantic import RootModel  # cold start

        plain: Mapping[type, type[BaseModel]] = {Shape: BaseModel, OneOf: RootModel}
        bases = tuple(plain.get(base) or _model_of(base) for base in shape.__bases__)
        own = {name: value for name, value in vars(shape).items() if name not in ("__dict__", "__weakref__")}
        own.setdefault("model_config", shape.model_config)
        _MODELS[shape] = new_class(shape.__name__, bases, exec_body=lambda body: body.update(own))
    return _MODELS[shape]


class ReadBody(Body):
    """Base of bodies that read their JSON themselves; their fields are what is published of them."""

    @classmethod
    def read(cls, value: Any, text: str) -> Any:
        """What the handler gets as its body, of a JSON value that was parsed from `text`. Invalid (422)."""
        raise NotImplementedError


class Nothing(Body):
    """No body, or an empty object."""


def absent() -> Any:
    """Default of a field that may be left out but is never null: `Field(default_factory=absent)`, to be read by way of
    `given`. What is published of the field is its type alone."""


def given(body: Body) -> dict[str, Any]:
    """The fields that a request named, and no others."""
    return {name: getattr(body, name) for name in type(body).model_fields if name in body.model_fields_set}


class ListQuery(Body):
    """Paging of every list."""

    limit: Annotated[int, BeforeValidator(digits)] = Field(default=50, ge=1, le=200, description="Items per page.")
    cursor: str | None = Field(default=None, max_length=2048, description="`next_cursor` of the page before.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers: a JSON value (None for 204), or bytes of a media type, with extra headers."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Call[B: BaseModel, Q: BaseModel]:
    """One request, parsed and checked, with the services that answer it."""

    wired: Services | None
    request: RequestContext
    body: B
    query: Q
    path: dict[str, str]
    caller: Caller | None
    if_match: frozenset[str] | None = None
    """The versions (`entity_tag`) that the caller would change, as `If-Match` names them; None: whatever is there."""
    idempotency_key: str | None = None
    """The `Idempotency-Key` header as it came."""
    accept: str = ""
    """The `Accept` header as it came."""
    if_none_match: frozenset[str] = frozenset()
    """The versions that the caller has, as `If-None-Match` names them."""

    @property
    def services(self) -> Services:
        """The app's services. RuntimeError on a bare endpoint, which answers without them."""
        if self.wired is None:
            raise RuntimeError("this endpoint is bare")
        return self.wired

    @property
    def principal(self) -> Principal:
        """The person who calls, on an endpoint that wants one. RuntimeError or TypeError on one that does not."""
        if isinstance(self.known, ServicePrincipal):
            raise TypeError("this endpoint is open to API keys")
        return self.known

    @property
    def known(self) -> Caller:
        """The caller, a person or a program. RuntimeError on an endpoint that is open to anyone."""
        if self.caller is None:
            raise RuntimeError("this endpoint is open to anyone")
        return self.caller


type Handler = Callable[[Call[Any, Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One function: `who` is None for anyone, else the roles that may call. The handler's docstring is published."""

    name: str
    method: str
    route: str
    who: Sequence[Role] | None
    handler: Handler
    body: type[BaseModel] = Nothing
    query: type[BaseModel] = Nothing
    response: type[Shape] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    tag: str = ""
    bare: bool = False
    also: Mapping[int, type[Shape]] = field(default_factory=dict)
    step_up: bool = False
    enrollment: bool = False
    scope: str | None = None
    idempotent: bool = False
    told: tuple[str, ...] = ()
    produces: Mapping[str, str] = field(default_factory=dict)


class Api:
    """The endpoints of one module."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: list[Endpoint] = []

    def endpoint(
        self,
        method: str,
        route: str,
        *,
        who: Sequence[Role] | None,
        body: type[BaseModel] = Nothing,
        query: type[BaseModel] = Nothing,
        response: type[Shape] | None = None,
        status: int = 200,
        errors: tuple[int, ...] = (),
        bare: bool = False,
        also: Mapping[int, type[Shape]] | None = None,
        step_up: bool = False,
        enrollment: bool = False,
        scope: str | None = None,
        idempotent: bool = False,
        told: tuple[str, ...] = (),
        produces: Mapping[str, str] | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declare the function of one method and route; its name is the handler's.

        `bare`: needs no services. `also`: other statuses that answer in a shape of their own. `step_up`: needs a fresh
        factor where the tenant's policy says so. `enrollment`: may be called before a factor that is due is enrolled.
        `scope`: may also be called with an API key that has this scope; without one no key will do. `idempotent`: heeds
        the `Idempotency-Key` header. `told`: fields whose values the trail keeps, sealed, of a call that was refused;
        never a secret. `produces`: media types of an answer that is no JSON value, each with a word about it; with a
        `response`, too, it is JSON for who asks for that (`Accept`).
        """

        if bare and who is not None:
            raise ValueError("an endpoint that knows its caller needs the services")

        def declare(handler: Handler) -> Handler:
            self.endpoints.append(
                Endpoint(
                    handler.__name__,
                    method,
                    route,
                    who,
                    handler,
                    body,
                    query,
                    response,
                    status,
                    errors,
                    self.tag,
                    bare,
                    also or {},
                    step_up,
                    enrollment,
                    scope,
                    idempotent,
                    told,
                    produces or {},
                )
            )
            return handler

        return declare

    def blueprint(self, services: LazyServices) -> func.Blueprint:
        """The functions of this module, bound to the app's services."""
        from functions._http import http_function

        blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
        for endpoint in self.endpoints:
            blueprint.function_name(endpoint.name)(
                blueprint.route(endpoint.route, methods=[endpoint.method], auth_level=func.AuthLevel.ANONYMOUS)(
                    http_function(endpoint, services)
                )
            )
        return blueprint
