"""The work that the tasks of a configuration do here: write down what it received, and pass it on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from records import FOLDER, Records

from triggers import TaskContext, task


@task("eventlog.note")
def note(context: TaskContext) -> dict[str, Any]:
    """Writes down the rows that it stems from, by trigger; returns them all, so that what follows can tell its own."""
    seen = {trigger: rows_of(kwargs) for trigger, kwargs in context.trigger_kwargs.items() if rows_of(kwargs)}
    instance = context.task_instance
    Records(Path(os.environ[FOLDER])).write(
        "work",
        session=context.manager.uid,
        task=instance.task,
        instance=instance.name,
        attempt=instance.attempt,
        seen=seen,
    )
    return {"rows": sorted({row for rows in seen.values() for row in rows})}


def rows_of(kwargs: Any) -> list[int]:
    """The rows of a trigger: its own, or those of the work that it tells of."""
    if "row" in kwargs:
        return [kwargs["row"]]
    return list(kwargs.get("rows", ()))
