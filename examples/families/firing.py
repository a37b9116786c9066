"""One of the processes: joins its share of the applications to their families, then fires its share of the rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import triggers
from triggers import TaskContext

FOLDER = "FAMILIES_FOLDER"
STAR = "*.sessionFinalized"
PARENT = {"t_report": {"after": [STAR], "run": "families.report"}}


class Share(NamedTuple):
    """What one process does."""

    joins: Sequence[tuple[str, str]]
    """``(case, family)`` of each application that it makes."""
    rows: Sequence[tuple[int, str, str]]
    """``(row, case, activity)``."""
    sizes: Mapping[str, int]
    """How many applications each family has."""
    tasks: Mapping[str, Any]
    settings: Mapping[str, Any]
    prefix: str
    folder: Path


@triggers.task("families.note")
def note(context: TaskContext) -> dict[str, Any]:
    """A step of an application."""
    return {"step": context.task_instance.task}


@triggers.task("families.report")
def report(context: TaskContext) -> None:
    """Writes which applications a family has; one line in the file of this process."""
    line = {"family": context.manager.uid, "cases": sorted(context.trigger_kwargs[STAR])}
    with (Path(os.environ[FOLDER]) / f"reports-{os.getpid()}.ndjson").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def join_share(share: Share) -> None:
    """Makes the applications and joins them; whoever finds a family whole declares that."""
    start(share)
    for case, family in share.joins:
        parent = triggers.get_manager(f"{share.prefix}{family}")
        parent.update_configuration(PARENT)
        child = triggers.get_manager(f"{share.prefix}{family}/{case}", manager="finalizing")
        child.update_configuration(share.tasks)
        child.join(parent.uid, alias=case)
        if parent.storage.metadata["children"] == share.sizes[family]:
            parent.children_complete()


def fire_share(share: Share, family_of: Mapping[str, str]) -> None:
    """Fires the rows, each with its number as event id, so that a row which is fired again changes nothing."""
    start(share)
    for row, case, activity in share.rows:
        child = triggers.get_manager(f"{share.prefix}{family_of[case]}/{case}", manager="finalizing")
        child.fire(activity, {"row": row}, event_id=f"row {row}")
    triggers.sweep()


def start(share: Share) -> None:
    """The settings of this process."""
    os.environ[FOLDER] = str(share.folder)
    triggers.configure(**share.settings)
