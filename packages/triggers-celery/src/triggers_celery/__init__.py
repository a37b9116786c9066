"""Runs Triggers tasks in Celery workers.

``install(app)`` in the module of the Celery application is all that a worker needs; ``runner="celery"`` in the settings is
all that a process needs that fires.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triggers_celery.application import install as install
    from triggers_celery.runner import CeleryTaskRunner as CeleryTaskRunner
    from triggers_celery.tasks import CeleryTriggerTask as CeleryTriggerTask

_HOME = {"CeleryTaskRunner": "runner", "CeleryTriggerTask": "tasks", "install": "application"}

__all__ = ["CeleryTaskRunner", "CeleryTriggerTask", "install"]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'triggers_celery' has no attribute {name!r}")
    value = getattr(import_module(f"triggers_celery.{home}"), name)
    globals()[name] = value
    return value
