"""Celery tasks that run the tasks of Triggers: one of the same name for each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from triggers import worker
from triggers.errors import PluginError, StorageError, TriggersError
from triggers.process import get_process
from triggers.runners import Delivery
from triggers.tasks import registered
from triggers_celery.tasks import working_options
from triggers_celery.termination import WorkerEnded

_log = logging.getLogger("triggers.runners.celery")

eager_perform: ContextVar[Callable[[Delivery], None] | None] = ContextVar("eager_perform", default=None)
"""In a process that runs Celery tasks eagerly: what the runner there performs attempts with."""


class Work:
    """What is special in a Celery task of Triggers; the rest comes from the application's own ``Task``.

    Celery keeps no result of it. How a work ended is in its session, also when it failed: for Celery the task has then done its
    duty.
    """

    name: str
    ignore_result = True
    typing = False

    def run(self, *arguments: Any, **message: Any) -> None:
        """Performs the attempt of a delivery."""
        perform = eager_perform.get() or partial(worker.perform, get_process())
        try:
            perform(self._delivery(arguments, message))
        except WorkerEnded as end:
            raise end.cause from None
        except StorageError as error:
            _log.warning(
                "%s of session %r could not be started, and the sweep will deliver it again: %s",
                message["name"],
                message["uid"],
                error,
            )

    def _delivery(self, arguments: tuple[Any, ...], message: dict[str, Any]) -> Delivery:
        try:
            if arguments:
                raise KeyError("positional arguments")
            return Delivery.from_message(message)
        except KeyError as error:
            raise TriggersError(
                f"the Celery task {self.name!r} runs work of Triggers and was called by something else (missing or unexpected: "
                f"{error}); fire a trigger instead of calling it"
            ) from None


def register_works(app: Any) -> None:
    """Registers a Celery task for each task that is registered now and has none yet.

    Raises:
        PluginError: the application has a task of its own under one of the names.
        SettingsError: a module of the setting ``tasks`` cannot be imported.
    """
    for name in registered.names():
        known = app.tasks.get(name)
        if known is None:
            _register(app, name)
        elif not isinstance(known, Work):
            raise PluginError(
                f"the Celery application has a task {name!r} of its own ({type(known).__module__}), and a task of Triggers has "
                "the same name; give one of them another name"
            )


def registered_work(app: Any, name: str) -> Any:
    """The Celery task of this name, registered if need be.

    Raises:
        UnknownTask: no task of Triggers is registered under this name.
        PluginError: the application has a task of its own under it.
    """
    registered.find(name)
    if name not in app.tasks:
        _register(app, name)
    return app.tasks[name]


def _register(app: Any, name: str) -> None:
    documentation = getattr(getattr(registered.find(name), "target", None), "__doc__", None)
    attributes = {"name": name, "__doc__": documentation, **working_options(name)}
    app.register_task(type("TriggersWork", (Work, app.Task), attributes)())
