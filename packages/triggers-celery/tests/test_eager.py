"""``task_always_eager``."""

from __future__ import annotations

import itertools
from datetime import timedelta

import celery
import pytest

from triggers import TaskContext, get_manager, sweep, task
from triggers.process import get_process
from triggers.settings import configure


@pytest.fixture(autouse=True)
def _eager(app: celery.Celery) -> None:
    """An application that runs its tasks where they are called."""
    app.conf.update(task_always_eager=True)
    configure(runners={"celery": {"app": app}})


def test_a_long_cascade_needs_no_deep_stack() -> None:
    """Two hundred works in a row, each started by the one before, run to the end."""

    @task("chain.link")
    def link(context: TaskContext) -> None: ...

    manager = get_manager("chain")
    names = ["go", *(f"t{number:04}" for number in range(200))]
    manager.update_configuration({name: {"after": [before], "run": "chain.link"} for before, name in itertools.pairwise(names)})
    manager.fire("go")
    assert manager.storage["t0199#0"].status == "finished"


def test_the_body_sees_celery(app: celery.Celery) -> None:
    """While a body runs, Celery's current task is the one of its name, with the id of the attempt."""
    seen: list[tuple[str, str]] = []

    @task("chain.look")
    def look(context: TaskContext) -> None:
        seen.append((celery.current_task.name, celery.current_task.request.id))

    manager = get_manager("looked-at")
    manager.update_configuration({"t": {"after": ["go"], "run": "chain.look"}})
    manager.fire("go")
    assert seen == [("chain.look", "t#0.1-eaa090e4-75d1-5d1c-afd7-3f4b9042e20b")]


def test_r21_a_cooldown_ends_with_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry with a cooldown is not run before its time; nobody is there to wait for it but the sweep."""
    runs: list[int] = []

    @task("chain.again")
    def again(context: TaskContext) -> None:
        runs.append(context.task_instance.depth)
        if context.task_instance.depth == 0:
            context.retry(cooldown=60)

    manager = get_manager("again")
    manager.update_configuration({"t": {"after": ["go"], "run": "chain.again"}})
    manager.fire("go")
    assert runs == [0]
    assert sweep() == 0
    later = get_process().now() + timedelta(seconds=61)
    monkeypatch.setattr(get_process().runtime, "clock", lambda: later)
    assert sweep() == 1
    assert runs == [0, 1]
