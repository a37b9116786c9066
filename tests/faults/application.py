"""The application that is killed: its settings and its works come from the environment, and what it does goes to files.

Imported by its firing processes and by its Celery workers. The files are the truth that the storage is compared with;
each line is one ``write``, so a killed process leaves none in halves.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import triggers
from triggers import TaskContext, task, worker
from triggers.process import get_process

FOLDER = Path(os.environ["FAULTS_FOLDER"])
CHANCE = float(os.environ.get("FAULTS_CHANCE", "0"))
SHIFT = float(os.environ.get("FAULTS_SHIFT", "0"))
TASKS = {
    "t_join": {"after": ["a", "b", "c"], "run": "faults.work"},
    "t_each": {"after": ["a"], "andEvery": "p", "run": "faults.work"},
    "t_next": {"after": ["t_join"], "run": "faults.work"},
}
EVENTS = ("a", "b", "c", "p", "p")
"""What is fired in each session, in a random order, from several processes."""
INSTANCES = ("t_each#0", "t_each#1", "t_join#0", "t_next#0")
"""What must have run in each session when all has come to rest."""

_chance = random.Random()


def note(name: str, *words: object) -> None:
    """Appends one line to a file of the run."""
    line = " ".join(map(str, words)) + "\n"
    handle = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def maybe_die(point: str) -> None:
    """Ends this process here and now, with a small chance, as long as the run allows it."""
    if CHANCE and _chance.random() < CHANCE and (FOLDER / "dangerous").exists():
        note("kills.log", point)
        os.kill(os.getpid(), signal.SIGKILL)


@task("faults.work")
def work(context: TaskContext) -> dict[str, Any]:
    """Notes that it runs, and once more that it has run."""
    instance = context.task_instance
    note("bodies.log", "begin", context.manager.uid, instance.name, context.attempt, os.getpid())
    maybe_die("in the body")
    time.sleep(_chance.random() * 0.004)
    note("bodies.log", "end", context.manager.uid, instance.name, context.attempt, os.getpid())
    return {"attempt": context.attempt}


def arm(store: Any) -> None:
    """Puts the named points at which a process may die around commits, claims and reports."""
    commit = store.commit

    def risky_commit(*arguments: Any) -> None:
        maybe_die("before a commit")
        commit(*arguments)
        maybe_die("after a commit, before anything follows")

    store.commit = risky_commit
    _around(worker._Attempt, "run", "after the claim", None)
    _around(worker._Attempt, "_report", "before the report", "after the report")


def _around(owner: type, name: str, before: str, after: str | None) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def risky(*arguments: Any) -> Any:
        maybe_die(before)
        result = original(*arguments)
        if after is not None:
            maybe_die(after)
        return result

    setattr(owner, name, risky)


def configure() -> None:
    """Takes the settings of the run, and makes the process mortal."""
    triggers.configure(**json.loads(os.environ["FAULTS_SETTINGS"]))
    if SHIFT:
        shift = dt.timedelta(seconds=SHIFT)
        get_process().runtime.clock = lambda: dt.datetime.now(dt.UTC) + shift
    manager = triggers.get_manager("faults")
    arm(manager.storage.store)
    get_process().use(manager.storage)


configure()
