"""What a configuration can never do, found without running it: pure functions over its tasks.

The application may fire any trigger, but a trigger that is the name of a task is taken to fire when that task finishes, and not
otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from triggers.config import TaskConfig

Tasks = Mapping[str, TaskConfig]


class Finding(NamedTuple):
    """Something that is probably not meant, at a directive of a task."""

    task: str
    directive: str
    code: str
    message: str


def findings(tasks: Tasks) -> list[Finding]:
    """All that this module finds, in the order of the tasks."""
    found = [*_circles_found(tasks), *_winners_found(tasks), *_unreachable_found(tasks)]
    order = {name: index for index, name in enumerate(tasks)}
    return sorted(found, key=lambda finding: order[finding.task])


def endless_circles(tasks: Tasks) -> list[list[str]]:
    """Cascades in which each finish starts the next task for ever, once anything fires one of their names.

    Only an ``andEvery`` makes a task run again, and a task that has an ``unless`` can be ended.
    """
    follows = {name: task.and_every for name, task in tasks.items() if task.and_every in tasks}
    circles: list[list[str]] = []
    settled: set[str] = set()
    for start in follows:
        path: dict[str, None] = {}
        name: str | None = start
        while name is not None and name not in settled and name not in path:
            path[name] = None
            name = follows.get(name)
        if name in path:
            circle = list(path)[list(path).index(name) :]
            circles.append([circle[0], *reversed(circle[1:])])
        settled.update(path)
    return [circle for circle in circles if _runs_on(tasks, circle)]


def _runs_on(tasks: Tasks, circle: list[str]) -> bool:
    if any(tasks[name].unless for name in circle):
        return False
    return set(circle) <= startable(tasks, also_fired=frozenset(circle))


def always_forbidden(tasks: Tasks) -> dict[str, dict[str, str | None]]:
    """Tasks whose ``unless`` is complete by the time they are ready: each trigger of it, with the task that had to wait for it.

    The trigger is the task's own (``None``), or one without which another task that it waits for could not have run. A task that
    waits for itself is none of these: it is never ready.
    """
    found = {}
    for name, task in tasks.items():
        if task.unless:
            before = _fired_before(tasks, name)
            if name not in before and all(trigger in before for trigger in task.unless):
                found[name] = {trigger: before[trigger] for trigger in task.unless}
    return found


def _fired_before(tasks: Tasks, name: str) -> dict[str, str | None]:
    """The triggers that must have fired before a task is ready, each with the task on the way that waits for it."""
    before: dict[str, str | None] = dict.fromkeys(tasks[name].needs)
    waiting = list(before)
    while waiting:
        trigger = waiting.pop()
        if trigger in tasks:
            for earlier in tasks[trigger].needs:
                if earlier not in before:
                    before[earlier] = trigger
                    waiting.append(earlier)
    return before


def startable(tasks: Tasks, also_fired: Collection[str] = ()) -> set[str]:
    """The tasks that can ever be ready.

    Args:
        tasks: the configuration.
        also_fired: names of tasks that are taken to be fired by somebody else, too.
    """
    never = always_forbidden(tasks)
    missing = {
        name: {trigger for trigger in task.needs if trigger in tasks and trigger not in also_fired}
        for name, task in tasks.items()
        if name not in never
    }
    waiting: dict[str, list[str]] = {}
    for name, triggers in missing.items():
        for trigger in triggers:
            waiting.setdefault(trigger, []).append(name)
    ready = [name for name, triggers in missing.items() if not triggers]
    found = set(ready)
    while ready:
        finished = ready.pop()
        for name in waiting.get(finished, ()):
            missing[name].discard(finished)
            if not missing[name] and name not in found:
                found.add(name)
                ready.append(name)
    return found


def _circles_found(tasks: Tasks) -> Iterable[Finding]:
    for circle in endless_circles(tasks):
        way = " → ".join([*circle, circle[0]])
        message = f"runs in a circle for ever once something fires one of them: {way}; give one of them an 'unless' that ends it"
        yield Finding(circle[0], "andEvery", "circle", message)


def _winners_found(tasks: Tasks) -> Iterable[Finding]:
    for name, triggers in always_forbidden(tasks).items():
        reasons = [
            f"{trigger!r} is one of its own triggers" if waits is None else f"{waits!r} waits for {trigger!r}"
            for trigger, waits in triggers.items()
        ]
        yield Finding(name, "unless", "unless", f"'unless' always wins, so it never runs: {', and '.join(reasons)}")


def _unreachable_found(tasks: Tasks) -> Iterable[Finding]:
    circles = {name for circle in endless_circles(tasks) for name in circle}
    can = startable(tasks, frozenset(circles)) | circles
    told = set(always_forbidden(tasks))
    for name, task in tasks.items():
        if name in can or name in told:
            continue
        missing = [trigger for trigger in task.needs if trigger in tasks and trigger not in can]
        directive = "after" if any(trigger in task.after for trigger in missing) else "andEvery"
        if missing:
            yield Finding(name, directive, "unreachable", f"nothing can start it: {_why(tasks, name, missing, can)}")


def _why(tasks: Tasks, name: str, missing: list[str], can: set[str]) -> str:
    if name in missing:
        return "it waits for itself"
    way = [name]
    while way[-1] not in way[:-1]:
        further = [trigger for trigger in tasks[way[-1]].needs if trigger in tasks and trigger not in can]
        if not further:
            return f"it waits for {', '.join(map(repr, missing))}, which can never run"
        way.append(name if name in further else further[0])
    if way[-1] == name:
        return f"it waits for itself, {' ← '.join(way)}"
    return f"it waits for {', '.join(map(repr, missing))}, which nothing can start"
