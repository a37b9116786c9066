"""The works that the kit for runners has run: each notes in a file of its own what it did, so nothing rests on what is stored.

Workers in other processes find them through the setting ``tasks``. Importing the module registers them.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from triggers.context import TaskContext
from triggers.tasks import task

MODULE = __name__

NOTE = "triggers.conformance.note"
SLEEP = "triggers.conformance.sleep"
FAIL = "triggers.conformance.fail"
EXIT = "triggers.conformance.exit"
CRASH = "triggers.conformance.crash"
RETRY = "triggers.conformance.retry"
NOBODYS = "triggers.conformance.nobodys"
"""The name of a work that nobody registers."""


def note(context: TaskContext, event: str) -> None:
    """Appends one line to the file that the task's ``withParams`` names, in one write."""
    written = {
        "uid": context.manager.uid,
        "name": context.task_instance.name,
        "attempt": context.attempt,
        "event": event,
        "pid": os.getpid(),
        "at": time.time(),
    }
    file = os.open(context.trigger_kwargs["kit"]["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, json.dumps(written).encode() + b"\n")
    finally:
        os.close(file)


def notes(file: Path) -> list[dict[str, Any]]:
    """What has been noted, in order."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@task(NOTE)
def run_and_note(context: TaskContext) -> dict[str, Any]:
    """Notes that it runs."""
    note(context, "ran")
    return {"from": context.task_instance.name}


@task(SLEEP)
def sleep(context: TaskContext) -> None:
    """Takes the seconds that its ``withParams`` say."""
    note(context, "began")
    time.sleep(context.trigger_kwargs["kit"]["seconds"])
    note(context, "ended")


@task(FAIL)
def fail(context: TaskContext) -> None:
    """Raises."""
    note(context, "ran")
    raise ValueError("the work of the kit fails")


@task(EXIT)
def leave(context: TaskContext) -> None:
    """Asks the process to end."""
    note(context, "ran")
    raise SystemExit(3)


@task(CRASH)
def crash(context: TaskContext) -> None:
    """Kills its process in its first attempt."""
    note(context, "ran")
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@task(RETRY)
def retry(context: TaskContext) -> None:
    """Asks once to be tried again, after the seconds that its ``withParams`` say."""
    note(context, "ran")
    if context.task_instance.depth == 0:
        context.retry(cooldown=context.trigger_kwargs["kit"]["seconds"])
