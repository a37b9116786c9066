"""The works. Each writes its effect into a ledger under its idempotency key, so an attempt that is repeated changes nothing."""

from __future__ import annotations

from typing import Any

from survey.ledger import enter
from triggers import TaskContext, task
from triggers_celery import CeleryTriggerTask


@task("survey.add_up")
def add_up(context: TaskContext) -> dict[str, Any]:
    """Adds up the points of the pages that it waited for."""
    points = sum(page["points"] for page in context.trigger_kwargs.values())
    enter(context, points)
    return {"points": points}


@task("survey.read_comment")
def read_comment(context: TaskContext) -> None:
    """Takes note of one comment."""
    enter(context, context.trigger_kwargs["comment"]["text"])


@task("survey.report")
def report(context: TaskContext) -> dict[str, Any]:
    """Adds up the two parts."""
    total = sum(part["points"] for part in context.trigger_kwargs.values())
    enter(context, total)
    return {"total": total}


class Letter(CeleryTriggerTask):
    """Sends a letter, through a mail server that is away every now and then; the configuration has it tried again."""

    name = "survey.letter"
    rate_limit = "100/s"
    soft_time_limit = 60

    def _run(self, context: TaskContext) -> None:
        total = context.trigger_kwargs["t_report"]["total"]
        if total % 3 == 0 and context.task_instance.depth == 0:
            raise ConnectionError("the mail server does not answer")
        enter(context, total)
