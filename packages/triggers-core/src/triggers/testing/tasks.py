"""Tasks with a known behaviour, for tests of configurations: ``{"run": PassThruTask.name}``.

They are registered when this module is imported; a worker in another process lists it in the setting ``tasks``.
"""

from __future__ import annotations

from typing import Any

from triggers.context import TaskContext
from triggers.tasks import TriggerTask, with_context


class PassThruTask(TriggerTask):
    """Returns what it received: the kwargs by trigger, ``withParams`` with the fired kwargs over them."""

    name = "triggers.testing.PassThruTask"

    def _run(self, context: TaskContext) -> dict[str, Any]:
        return context.trigger_kwargs


class DevNullTask(TriggerTask):
    """Returns nothing."""

    name = "triggers.testing.DevNullTask"

    def _run(self, context: TaskContext) -> None:
        return None


class FailingTask(TriggerTask):
    """Raises a ``RuntimeError`` that carries what it received as its context."""

    name = "triggers.testing.FailingTask"

    def _run(self, context: TaskContext) -> None:
        raise with_context(RuntimeError("FailingTask fails, always"), {"trigger_kwargs": context.trigger_kwargs})


class SelfSkippingTask(TriggerTask):
    """Skips itself, without a cascade; ``withParams: {"skip": {"cascade": true, "result": {…}}}`` says otherwise."""

    name = "triggers.testing.SelfSkippingTask"

    def _run(self, context: TaskContext) -> None:
        options = context.trigger_kwargs.get("skip", {})
        context.skip(cascade=options.get("cascade", False), result=options.get("result"))


class SelfRetryingTask(TriggerTask):
    """Retries itself once without a cooldown, then returns what it received.

    ``withParams: {"retry": {"times": 2, "cooldown": 60}}`` says otherwise; more than 3 times is more than it may.
    """

    name = "triggers.testing.SelfRetryingTask"
    max_retries = 3

    def _run(self, context: TaskContext) -> dict[str, Any]:
        options = context.trigger_kwargs.get("retry", {})
        done = context.task_instance.depth
        if done < options.get("times", 1):
            context.retry(cooldown=options.get("cooldown", 0.0), metadata={"retries": done})
        return context.trigger_kwargs
