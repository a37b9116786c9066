"""The questionnaire itself: what has to happen once which pages are in, and the work that is done then.

A respondent sends six pages, in any order, each through whichever process happens to serve the request. Nobody knows who
sends the last page that a task waits for; Triggers does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from notebook import Notebook

from triggers import TaskContext, task

PAGES = ("page1", "page2", "page3", "page4", "page5", "page6")
FOLDER = "QUESTIONNAIRE_FOLDER"
"""The environment variable that tells every process where the works write down what they did."""

CONFIGURATION: dict[str, Any] = {
    # Two joins: each runs once, when the last of its three pages has come.
    "t_household": {"after": ["page1", "page2", "page3"], "run": "survey.points"},
    "t_income": {"after": ["page4", "page5", "page6"], "run": "survey.points"},
    # A join of these two, and a letter after it: a finished task is itself a trigger.
    "t_report": {"after": ["t_household", "t_income"], "run": "survey.report"},
    "t_letter": {"after": ["t_report"], "run": "survey.letter", "withParams": {"letter": {"language": "en"}}},
    # Every comment is filed, as soon as the first page has told whose it is.
    "t_comment": {"after": ["page1"], "andEvery": "comment", "run": "survey.comment"},
    # Who has not sent all pages when the deadline comes is reminded; for the others this is abandoned.
    "t_reminder": {"after": ["deadline"], "unless": list(PAGES), "run": "survey.reminder"},
}


@task("survey.points")
def add_points(context: TaskContext) -> dict[str, int]:
    """Adds up the points of three pages."""
    points = sum(page["points"] for page in context.trigger_kwargs.values())
    note(context, points=points)
    return {"points": points}


@task("survey.report")
def report(context: TaskContext) -> dict[str, int]:
    """Adds up what the two joins before it returned."""
    total = sum(part["points"] for part in context.trigger_kwargs.values())
    note(context, points=total)
    return {"total": total}


@task("survey.letter", max_retries=5)
def letter(context: TaskContext) -> dict[str, str]:
    """Sends the report; the mail server is busy at times, and then the letter is tried again a little later."""
    total = context.trigger_kwargs["t_report"]["total"]
    if total % 4 == 0 and context.task_instance.depth == 0:
        context.retry(cooldown=0.2, metadata={"reason": "the mail server is busy"})
    note(context, points=total)
    return {"language": context.trigger_kwargs["letter"]["language"]}


@task("survey.comment")
def file_comment(context: TaskContext) -> None:
    """Files one comment."""
    note(context, text=context.trigger_kwargs["comment"]["text"])


@task("survey.reminder")
def remind(context: TaskContext) -> None:
    """Reminds a respondent of the missing pages."""
    note(context)


def note(context: TaskContext, **more: Any) -> None:
    """Writes down, outside of the framework, that a work was done and what it saw."""
    instance = context.task_instance
    Notebook(Path(os.environ[FOLDER])).write(
        "work", session=context.manager.uid, task=instance.task, instance=instance.name, attempt=instance.attempt, **more
    )
