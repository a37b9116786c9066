"""Triggers: start work after several things have happened.

The names below are the public face; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triggers import errors as errors
    from triggers.config import TaskConfig as TaskConfig
    from triggers.context import TaskContext as TaskContext
    from triggers.engine.decision import FireResult as FireResult
    from triggers.errors import TriggersError as TriggersError
    from triggers.hooks import hookimpl as hookimpl
    from triggers.instance import Status as Status
    from triggers.instance import TaskInstance as TaskInstance
    from triggers.manager import TriggerManager as TriggerManager
    from triggers.manager import get_manager as get_manager
    from triggers.manager import trigger_managers as trigger_managers
    from triggers.operating import join_all as join_all
    from triggers.operating import sweep as sweep
    from triggers.runners import BaseTaskRunner as BaseTaskRunner
    from triggers.runners import task_runners as task_runners
    from triggers.sessions import activate_session as activate_session
    from triggers.sessions import copy_session as copy_session
    from triggers.sessions import copy_sessions as copy_sessions
    from triggers.sessions import delete_session as delete_session
    from triggers.sessions import find_sessions as find_sessions
    from triggers.sessions import move_session as move_session
    from triggers.settings import Settings as Settings
    from triggers.settings import configure as configure
    from triggers.settings import get_settings as get_settings
    from triggers.storages import BaseTriggerStorage as BaseTriggerStorage
    from triggers.storages import storage_backends as storage_backends
    from triggers.tasks import TriggerTask as TriggerTask
    from triggers.tasks import task as task
    from triggers.tasks import with_context as with_context

_HOME = {
    "find_sessions": "sessions",
    "delete_session": "sessions",
    "activate_session": "sessions",
    "move_session": "sessions",
    "copy_sessions": "sessions",
    "copy_session": "sessions",
    "BaseTaskRunner": "runners",
    "BaseTriggerStorage": "storages",
    "FireResult": "engine.decision",
    "Settings": "settings",
    "Status": "instance",
    "TaskConfig": "config",
    "TaskContext": "context",
    "TaskInstance": "instance",
    "TriggerManager": "manager",
    "TriggerTask": "tasks",
    "TriggersError": "errors",
    "configure": "settings",
    "get_manager": "manager",
    "get_settings": "settings",
    "hookimpl": "hooks",
    "join_all": "operating",
    "storage_backends": "storages",
    "sweep": "operating",
    "task": "tasks",
    "task_runners": "runners",
    "trigger_managers": "manager",
    "with_context": "tasks",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'triggers' has no attribute {name!r}")
    value = getattr(import_module(f"triggers.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
