"""The registry of event types. Names are public API: registered once, never renamed, never reused."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAliasType, get_args

from shared.audit.model import AuditEvent, DataClass, Outcome, PersonalOf, Severity

_FAMILIES = (
    "access",
    "alert",
    "apikey",
    "audit",
    "auth",
    "config",
    "consent",
    "custom",
    "data",
    "incident",
    "ledger",
    "mfa",
    "privacy",
    "profile",
    "report",
    "review",
    "session",
    "system",
    "user",
    "webhook",
)


@dataclass(frozen=True, slots=True)
class EventType:
    """What is published of one event type. `personal` maps a field to whose personal data it is; `data_class` is what
    its events carry unless their writer says otherwise. The name `custom.*` stands for all names that begin so."""

    name: str
    model: type[AuditEvent]
    outcomes: frozenset[Outcome]
    severity: Severity
    personal: Mapping[str, str]
    data_class: DataClass = "none"

    def severity_of(self, outcome: Outcome) -> Severity:
        """The type's severity; a denial is never below `low`."""
        return "low" if outcome == "denied" and self.severity == "info" else self.severity


_by_name: dict[str, EventType] = {}
_by_model: dict[type[AuditEvent], EventType] = {}


def event_type[T: AuditEvent](
    name: str,
    *,
    outcomes: Iterable[Outcome] = ("success",),
    severity: Severity = "info",
    data_class: DataClass = "none",
) -> Callable[[type[T]], type[T]]:
    """Register a class as the event type `name`. ValueError for a second class of that name, a second name of that
    class, a class without a docstring, or a PersonalOf that marks a part of a field instead of the field."""

    def register(model: type[T]) -> type[T]:
        if name in _by_name:
            raise ValueError(f"event type {name} is registered already")
        if model in _by_model:
            raise ValueError(f"the class of event type {name} is registered already, as {_by_model[model].name}")
        if not (model.__doc__ or "").strip():
            raise ValueError(f"event type {name} needs a docstring: it is its published description")
        for field, info in model.model_fields.items():
            if _marked_inside(info.annotation):
                raise ValueError(f"event type {name}: PersonalOf must mark the whole of {field}")
        personal = {
            field: marker.whose
            for field, info in model.model_fields.items()
            for marker in info.metadata
            if isinstance(marker, PersonalOf)
        }
        kind = EventType(name, model, frozenset(outcomes), severity, personal, data_class)
        _by_name[name] = kind
        _by_model[model] = kind
        return model

    return register


def _marked_inside(annotation: Any) -> bool:
    """Whether a part of a type carries PersonalOf: `Annotated[str, PersonalOf(…)] | None` would not be sealed."""
    waiting, aliases = [annotation], set()
    while waiting:
        part = waiting.pop()
        if any(isinstance(marker, PersonalOf) for marker in getattr(part, "__metadata__", ())):
            return True
        if isinstance(part, TypeAliasType) and part not in aliases:
            aliases.add(part)
            waiting.append(part.__value__)
        waiting += get_args(part)
    return False


def type_of(event: AuditEvent) -> EventType:
    """The registered type of an event. KeyError for a class that was never registered."""
    return _by_model[type(event)]


def type_of_class(model: type[AuditEvent]) -> EventType:
    """The registered type of an event class. KeyError for a class that was never registered."""
    return _by_model[model]


def all_types() -> dict[str, EventType]:
    """Every registered type by name, all families loaded."""
    for family in _FAMILIES:
        import_module(f"shared.audit.events.{family}")
    return dict(sorted(_by_name.items()))
