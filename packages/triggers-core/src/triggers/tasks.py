"""Tasks: the bodies of the work, found by name, and the control that a body has over its own fate."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar, get_type_hints

from triggers.context import TaskContext
from triggers.errors import PluginError, SettingsError, UnknownTask
from triggers.names import check_name, shorten, suggestion
from triggers.settings import get_settings
from triggers.typed import as_type

_log = logging.getLogger("triggers.task")
_GROUP = "triggers.tasks"

F = TypeVar("F", bound=Callable[..., Any])


class Body(Protocol):
    """What a worker runs."""

    max_retries: int | None

    def __call__(self, context: TaskContext) -> Any:
        """Does the work; returns an object or ``None``."""


class TriggerTask:
    """The base of class-based tasks: set ``name``, override ``_run``.

    A fresh object is made for each run, so attributes do not leak from one run to the next.
    """

    name: ClassVar[str] = ""
    """The name that ``run`` gives; ``package.module.Class`` if empty."""
    max_retries: int | None = None
    """How many retries without a hand are allowed; ``None``: as many as it asks for."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__dict__.get("abstract", False):
            registered.add(cls.name or f"{cls.__module__}.{cls.__qualname__}", _OfClass(cls))

    def __call__(self, context: TaskContext) -> Any:
        """Runs the work."""
        return self._run(context)

    def _run(self, context: TaskContext) -> Any:
        """The work; returns an object or ``None``."""
        raise NotImplementedError(f"{type(self).__qualname__} does not override _run")

    @staticmethod
    def skip(context: TaskContext, **arguments: Any) -> NoReturn:
        """Ends the body: the same as ``context.skip``."""
        context.skip(**arguments)

    @staticmethod
    def retry(context: TaskContext, **arguments: Any) -> NoReturn:
        """Ends the body: the same as ``context.retry``."""
        context.retry(**arguments)


class _OfClass:
    """Runs a class-based task with a new object each time."""

    def __init__(self, task_class: type[TriggerTask]) -> None:
        self.target: Any = task_class
        self.max_retries = task_class.max_retries

    def __call__(self, context: TaskContext) -> Any:
        return self.target()(context)


class _OfFunction:
    """Runs a function; parameters after the context are triggers, their kwargs converted to the annotation."""

    def __init__(self, function: Callable[..., Any], max_retries: int | None) -> None:
        self.target: Any = function
        self.max_retries = max_retries
        self._parameters = list(inspect.signature(function).parameters.values())
        self._hints: dict[str, Any] | None = None

    def __call__(self, context: TaskContext) -> Any:
        if len(self._parameters) == 1:
            return self.target(context)
        if not self._parameters:
            return self.target()
        return self.target(context, **self._typed(context))

    def _typed(self, context: TaskContext) -> dict[str, Any]:
        if self._hints is None:
            self._hints = get_type_hints(self.target)
        typed = {}
        for parameter in self._parameters[1:]:
            kwargs = context.trigger_kwargs
            if parameter.name in kwargs or parameter.default is inspect.Parameter.empty:
                typed[parameter.name] = as_type(kwargs, parameter.name, self._hints.get(parameter.name, dict))
        return typed


class Registered:
    """The bodies by name."""

    def __init__(self) -> None:
        self._bodies: dict[str, Body] = {}
        self._imported: set[str] = set()
        self._lock = threading.RLock()
        self.broken: dict[str, BaseException] = {}
        """Entry points of tasks that could not be imported, with the reason."""

    def add(self, name: str, body: Body) -> None:
        """Registers a body.

        Raises:
            PluginError: another body has the name.
            SettingsError: its ``max_retries`` is no number of retries.
        """
        name = check_name("work", name)
        limit = body.max_retries
        if limit is not None and (type(limit) is not int or limit < 0):
            raise SettingsError(f"max_retries of {name!r} is a whole number from 0, or None for no limit, got {shorten(limit)}")
        known = self._bodies.get(name)
        if known is not None and _identity(known) != _identity(body):
            raise PluginError(
                f"two tasks are registered as {name!r}: {_identity(known)} and {_identity(body)}; give one another name"
            )
        self._bodies[name] = body

    def remove(self, name: str) -> None:
        """Forgets a body."""
        self._bodies.pop(name, None)

    def names(self) -> list[str]:
        """All names, after importing the modules that the settings list."""
        self._import_modules()
        return sorted(self._bodies)

    def has(self, name: str) -> bool:
        """Whether a body can be found."""
        try:
            self.find(name)
        except UnknownTask:
            return False
        return True

    def known(self, name: str) -> Body | None:
        """The body of this name if one is registered by now; imports nothing."""
        return self._bodies.get(name)

    def find(self, name: str) -> Body:
        """The body of this name.

        Raises:
            UnknownTask: none is registered; the message says where was looked.
        """
        body = self._bodies.get(name)
        if body is None:
            self._import_modules()
            body = self._bodies.get(name) or self._import_path(name)
        if body is None:
            meant = suggestion(name, self._bodies)
            raise UnknownTask(
                f"no task is registered as {name!r}"
                + (f", did you mean {meant!r}?" if meant else "")
                + f" (imported modules of the setting 'tasks': {', '.join(get_settings().tasks) or 'none'}); "
                f"decorate it with @task({name!r}) and list its module in the setting 'tasks'"
            )
        return body

    def _import_modules(self) -> None:
        with self._lock:
            for module in get_settings().tasks:
                if module not in self._imported:
                    try:
                        importlib.import_module(module)
                    except (Exception, SystemExit) as error:
                        raise SettingsError(
                            f"the module {module!r} of the setting 'tasks' cannot be imported: {type(error).__name__}: {error}"
                        ) from error
                    self._imported.add(module)
            if _GROUP not in self._imported:
                self._imported.add(_GROUP)
                self._load_entry_points()

    def _load_entry_points(self) -> None:
        import importlib.metadata

        for entry_point in importlib.metadata.entry_points(group=_GROUP):
            try:
                entry_point.load()
            except (Exception, SystemExit) as error:
                self.broken[entry_point.name] = error
                _log.exception("the tasks of %s (%s) cannot be imported", entry_point.name, entry_point.value)

    def _import_path(self, name: str) -> Body | None:
        if not get_settings().allow_import_paths or "." not in name:
            return None
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(module)
            target = getattr(sys.modules[module], attribute)
        except (ImportError, AttributeError):
            return None
        if name not in self._bodies and callable(target):
            self.add(name, _OfClass(target) if isinstance(target, type) else _OfFunction(target, None))
        return self._bodies.get(name)


registered = Registered()
"""The tasks of this process."""


def task(name: str | None = None, *, max_retries: int | None = None) -> Callable[[F], F]:
    """Registers a function as the body of a work: ``@task("survey.score", max_retries=3)``.

    The function receives a ``TaskContext``; further parameters are named like triggers, and receive their kwargs as the type
    that they are annotated with (a dict, a msgspec Struct, a dataclass, a pydantic model).

    Args:
        name: the name that ``run`` gives; ``module.function`` if left out.
        max_retries: how many retries without a hand are allowed; ``None``: as many as it asks for.
    """
    if name is not None and not isinstance(name, str):
        raise SettingsError('@task takes a name: write @task() or @task("survey.score")')

    def register(function: F) -> F:
        registered.add(name or f"{function.__module__}.{function.__qualname__}", _OfFunction(function, max_retries))
        return function

    return register


def _identity(body: Body) -> str:
    target: Any = getattr(body, "target", body)
    return f"{target.__module__}.{target.__qualname__}"


def with_context(error: BaseException, context: Mapping[str, Any]) -> BaseException:
    """Attaches context to an exception, which the failed instance keeps in its metadata.

    Write ``raise with_context(ValueError("no answer"), {"page": 3})``.
    """
    known = getattr(error, "triggers_context", {})
    error.triggers_context = {**known, **context}  # type: ignore[attr-defined]
    return error
