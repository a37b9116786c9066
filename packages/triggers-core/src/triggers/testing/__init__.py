"""What tests of workflows need: tasks with a known behaviour, assertions, a session of their own, a clock that can be moved.

Nothing here needs pytest; with it, ``triggers.testing.pytest_plugin`` gives the same as fixtures. The names are imported when
they are first used, so that the plugin costs nothing where no test asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triggers.testing.assertions import TriggerManagerTestCaseMixin as TriggerManagerTestCaseMixin
    from triggers.testing.clock import MovableClock as MovableClock
    from triggers.testing.isolation import Isolation as Isolation
    from triggers.testing.isolation import isolated as isolated
    from triggers.testing.tasks import DevNullTask as DevNullTask
    from triggers.testing.tasks import FailingTask as FailingTask
    from triggers.testing.tasks import PassThruTask as PassThruTask
    from triggers.testing.tasks import SelfRetryingTask as SelfRetryingTask
    from triggers.testing.tasks import SelfSkippingTask as SelfSkippingTask

_HOME = {
    "DevNullTask": "tasks",
    "FailingTask": "tasks",
    "Isolation": "isolation",
    "MovableClock": "clock",
    "PassThruTask": "tasks",
    "SelfRetryingTask": "tasks",
    "SelfSkippingTask": "tasks",
    "TriggerManagerTestCaseMixin": "assertions",
    "isolated": "isolation",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'triggers.testing' has no attribute {name!r}")
    value = getattr(import_module(f"triggers.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
