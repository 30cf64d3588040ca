"""The bridge to Microsoft's worker runtime: it loads the app and runs every invocation, as it does in Azure.

The runtime keeps one registry per process and knows functions by a hash of their name. So that several apps can live
in one process (the tests), every function is registered again under an id of its own worker.
"""

import asyncio
import importlib
import itertools
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from azure_functions_runtime import handle_event, native_invocation
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.bindings.meta import load_binding_registry
from azure_functions_runtime.utils.threadpool import get_threadpool_executor, start_threadpool_executor

from devhost.bindings import Function, read_function
from devhost.errors import HostError
from shared.core.clock import Clock
from shared.core.ids import IdFactory

__all__ = ["Datum", "Invocation", "Worker"]

_numbers = itertools.count(1)
_TYPE_NAME = re.compile(r"\w+(?=\()")


class _Protos(SimpleNamespace):
    """Stands in for the gRPC messages: the loader only fills fields and never sends them here."""

    BindingInfo: Any
    RpcRetryOptions = SimpleNamespace
    RpcFunctionMetadata = SimpleNamespace


class _BindingInfo(SimpleNamespace):
    """The binding message with the enum values that the loader compares with."""

    out = 1
    inout = 2
    undefined = 0


_PROTOS = _Protos(BindingInfo=_BindingInfo)


def _without_exceptions(record: logging.LogRecord) -> bool:
    """Drop what the runtime logs about a failed invocation or import.

    It logs the exception's text and whole traceback, and both may hold personal data. devhost logs the function and
    the exception's type instead; a failed import becomes the HostError.
    """
    return record.exc_info is None and not str(record.msg).startswith("Error when indexing")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of one invocation: `value` is the return Datum; `error` the type name of what the function raised."""

    ok: bool
    value: Any = None
    error: str = ""


class Worker:
    """One loaded function app. `module` is its function_app; `functions` in the order of their names."""

    def __init__(self, module: ModuleType, functions: tuple[Function, ...], ids: IdFactory) -> None:
        self.module = module
        self.functions = functions
        self._ids = ids

    @classmethod
    def load(cls, app_dir: Path, clock: Clock) -> "Worker":
        """Import and index `app_dir`/function_app.py. HostError when it is broken or not servable."""
        script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        if not (app_dir / script).is_file():
            raise HostError(f"no {script} in {app_dir}")
        logging.getLogger("azure.functions").addFilter(_without_exceptions)
        handle_event.protos = _PROTOS
        if get_threadpool_executor() is None:
            start_threadpool_executor()
        load_binding_registry()
        registry = handle_event._functions._functions
        registry_before = dict(registry)
        registry.clear()
        try:
            module = _import_and_index(app_dir, script)
            number = next(_numbers)
            loaded = {f"{number}:{key}": info for key, info in registry.items()}
        finally:
            registry.clear()
            registry.update(registry_before)
        functions = [
            read_function(each, f"{number}:{each.function_id}") for each in handle_event._metadata_result or ()
        ]
        _refuse_equal_names(functions)
        registry.update(loaded)
        return cls(module, tuple(sorted(functions, key=lambda each: each.name.upper())), IdFactory(clock))

    async def invoke(
        self,
        function: Function,
        inputs: Sequence[tuple[str, Any]],
        metadata: Mapping[str, Any] | None = None,
        *,
        retry_count: int = 0,
    ) -> Invocation:
        """Run a function. Never raises for what the function does: see `Invocation`."""
        try:
            ok, value, _, error, _ = await native_invocation.invocation_request_native(
                self._ids.new(),
                function.id,
                inputs,
                metadata or {},
                retry_count=retry_count,
                max_retry_count=0 if function.retry is None else function.retry.max_retry_count,
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: something inside the function was cancelled, and it let that through.
            return Invocation(False, error="CancelledError")
        if ok:
            return Invocation(True, value)
        # Only the type: the text of an exception may hold personal data.
        found = _TYPE_NAME.match(error or "")
        return Invocation(False, error=found[0] if found else "an exception")


def _import_and_index(app_dir: Path, script: str) -> ModuleType:
    """Let the runtime import the app, with the app's directory first on the path, as in Azure."""
    directory = str(app_dir)
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    name = Path(script).stem
    sys.modules.pop(name, None)  # of an app that was loaded before
    importlib.invalidate_caches()
    try:
        handle_event.load_function_metadata(directory, caller_info="devhost")
        return sys.modules[name]
    except (Exception, SystemExit) as error:
        raise HostError(f"{script} cannot be loaded: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """`Type: message (file, line n)`. The runtime adds its search path to import errors; the original is shorter."""
    if isinstance(error, ImportError) and error.__context__ is not None:
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{'' if isinstance(error, SyntaxError) else where}"


def _refuse_equal_names(functions: Sequence[Function]) -> None:
    """The real host compares names without regard to case; the library only refuses exact repeats."""
    seen: set[str] = set()
    for function in functions:
        if function.name.lower() in seen:
            raise HostError(f"The function name '{function.name}' must be unique within the function app.")
        seen.add(function.name.lower())
