"""The works. They use Django's models as any Celery task of a Django project does."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from survey.models import Entry
from triggers import TaskContext, task


def enter(context: TaskContext, value: object) -> None:
    """Enters an effect once, and counts how often it was tried."""
    own = {"respondent": context.manager.uid, "task": context.task_instance.task, "value": str(value)}
    with transaction.atomic():
        entry, new = Entry.objects.get_or_create(key=context.idempotency_key, defaults=own)
        if not new:
            entry.runs += 1
            entry.save()


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


@task("survey.letter")
def letter(context: TaskContext) -> None:
    """Sends a letter, through a mail server that is away every now and then; the configuration has it tried again."""
    total = context.trigger_kwargs["t_report"]["total"]
    if total % 3 == 0 and context.task_instance.depth == 0:
        raise ConnectionError("the mail server does not answer")
    enter(context, total)
