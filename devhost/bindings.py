"""What the runtime tells about each function, as typed values: trigger, settings resolved, retry policy."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devhost.errors import HostError

_SETTING = re.compile(r"%([^%]+)%")
_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpTrigger:
    """An HTTP function. `methods` None means all of them; `auth_level` in lower case."""

    parameter: str
    route: str
    methods: frozenset[str] | None
    auth_level: str


@dataclass(frozen=True, slots=True)
class CosmosTrigger:
    """A function driven by a container's change feed."""

    parameter: str
    container: str
    lease_prefix: str
    lease_container: str
    max_items: int
    start_from_beginning: bool
    poll_delay_seconds: float


@dataclass(frozen=True, slots=True)
class TimerTrigger:
    """A function on a schedule (NCRONTAB with seconds, UTC)."""

    parameter: str
    schedule: str
    run_on_startup: bool
    use_monitor: bool


type Trigger = HttpTrigger | CosmosTrigger | TimerTrigger


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The declared retry policy; `max_retry_count` -1 means for ever, `maximum_seconds` None a fixed delay."""

    max_retry_count: int
    minimum_seconds: float
    maximum_seconds: float | None

    @property
    def unlimited(self) -> bool:
        """True when no number of failures makes the host give a batch up."""
        return self.max_retry_count == -1

    def delay_seconds(self, retry: int) -> float:
        """How long to wait before retry number `retry` (from 1)."""
        if self.maximum_seconds is None:
            return self.minimum_seconds
        # A declared minimum of zero would turn the backoff into a busy loop.
        doubled = max(self.minimum_seconds, 0.1) * 2.0 ** min(retry - 1, 30)
        return min(doubled, max(self.maximum_seconds, self.minimum_seconds))


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app, as the real host would know it. `id` is what `Worker.invoke` takes."""

    name: str
    id: str
    trigger: Trigger
    retry: RetryPolicy | None


def read_function(metadata: Any, function_id: str, environment: Mapping[str, str] = os.environ) -> Function:
    """A `Function` from the runtime's metadata. HostError for what devhost does not serve."""
    name = str(metadata.name)
    if not _NAME.fullmatch(name):
        raise HostError(f"'{name}' is not a valid function name.")
    try:
        bindings = [_resolved(json.loads(text), environment) for text in metadata.raw_bindings]
        return Function(name, function_id, _trigger(name, bindings), _retry(metadata.retry_options))
    except HostError as error:
        raise HostError(f"The '{name}' function is in error: {error}") from error


def _resolved(binding: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The binding with every `%SETTING%` replaced by its value."""

    def value_of(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise HostError(f"'%{found[1]}%' does not resolve to a value.")
        return environment[found[1]]

    return {key: _SETTING.sub(value_of, value) if isinstance(value, str) else value for key, value in binding.items()}


def _trigger(name: str, bindings: list[dict[str, Any]]) -> Trigger:
    found: list[Trigger] = []
    for binding in bindings:
        match str(binding["type"]).lower():
            case "httptrigger":
                found.append(_http(name, binding))
            case "cosmosdbtrigger":
                found.append(_cosmos(binding))
            case "timertrigger":
                found.append(_timer(binding))
            case "http":
                continue
            case other:
                raise HostError(f"devhost does not serve bindings of type '{other}'.")
    if len(found) != 1:
        raise HostError("a function has exactly one trigger.")
    return found[0]


def _http(name: str, binding: dict[str, Any]) -> HttpTrigger:
    level = str(binding.get("authLevel") or "function").lower()
    if level != "anonymous":
        raise HostError(f"its authLevel is '{level}', and devhost does not implement function keys.")
    methods = frozenset(str(method).upper() for method in binding.get("methods") or ())
    return HttpTrigger(binding["name"], binding.get("route") or name, methods or None, level)


def _cosmos(binding: dict[str, Any]) -> CosmosTrigger:
    return CosmosTrigger(
        parameter=binding["name"],
        container=binding["containerName"],
        lease_prefix=binding.get("leaseContainerPrefix") or "",
        lease_container=binding.get("leaseContainerName") or "leases",
        max_items=_positive(binding, "maxItemsPerInvocation", 100),
        start_from_beginning=_flag(binding.get("startFromBeginning"), default=False),
        poll_delay_seconds=_positive(binding, "feedPollDelay", 5000) / 1000,
    )


def _timer(binding: dict[str, Any]) -> TimerTrigger:
    return TimerTrigger(
        parameter=binding["name"],
        schedule=binding["schedule"],
        run_on_startup=_flag(binding.get("runOnStartup"), default=False),
        use_monitor=_flag(binding.get("useMonitor"), default=True),
    )


def _positive(binding: dict[str, Any], key: str, default: int) -> int:
    value = binding.get(key)
    number = default if value is None else int(value)
    if number < 1:
        raise HostError(f"{key} must be at least 1.")
    return number


def _flag(value: object, *, default: bool) -> bool:
    return default if value is None else str(value).lower() == "true"


def _retry(options: Any) -> RetryPolicy | None:
    if options is None:
        return None
    count = int(options.max_retry_count)
    if options.retry_strategy == "fixed_delay":
        return RetryPolicy(count, options.delay_interval.total_seconds(), None)
    return RetryPolicy(count, options.minimum_interval.total_seconds(), options.maximum_interval.total_seconds())
