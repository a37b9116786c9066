"""What must run: computed from the rows, in the order in which they were fired, without Triggers.

The rules are written once more here, as plainly as they can be said. In a session,

- a task runs once, if each trigger of its ``after`` came; with ``andEvery`` once for each time that this one came;
- with ``unless`` it runs only if what it waits for was complete before the last trigger of ``unless`` came for the first time;
- the work receives the first row of each trigger, but a further run for ``andEvery`` the latest one that came before;
- a task that has run is a trigger itself; its rows are all those that its work received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Tasks = Mapping[str, dict[str, Any]]
Fire = tuple[int, str]
"""A row and its trigger."""
Rows = tuple[int, ...]
Seen = tuple[tuple[str, Rows], ...]
"""What a work received: by trigger, the rows that it stems from."""
NEVER = float("inf")


class Impossible(Exception):
    """A task for which nothing can be computed, because it depends on when works end."""


class Expected(NamedTuple):
    """What must be in one session: works, ``(task, what it received)``, each as often as it must run; and abandoned instances."""

    works: Counter[tuple[str, Seen]]
    abandoned: Counter[str]


class _Came(NamedTuple):
    """One time that a trigger came: when, and the rows that it stems from."""

    position: float
    rows: Rows


class Rulebook:
    """The tasks of a configuration, and what can be said of them.

    Raises:
        Impossible: two tasks wait for each other, or an ``unless`` depends on when a work ends.
    """

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.order = _in_order(tasks)
        self.order_matters: set[str] = set()
        """The tasks of which the order of the rows decides whether they run: those with ``unless``, and what waits for them."""
        self._often: set[str] = set()
        for task in self.order:
            directives = tasks[task]
            if directives.get("unless") or self.order_matters & set(_needs(directives)):
                self.order_matters.add(task)
            if directives.get("andEvery") in self._often or directives.get("andEvery", task) not in tasks:
                self._often.add(task)
        self._comparable = {known: self._find_comparable(known) for known in (True, False)}

    def expect(self, fires: Sequence[Fire], *, known_order: bool) -> Expected:
        """What must be in a session after these rows, in this order.

        Args:
            fires: all rows of the session.
            known_order: whether they were fired in this order; if not, tasks for which it matters are left out.
        """
        came: dict[str, list[_Came]] = {}
        for position, (row, trigger) in enumerate(fires):
            came.setdefault(trigger, []).append(_Came(position, (row,)))
        expected = Expected(Counter(), Counter())
        for task in self.order:
            if task in self.order_matters and not known_order:
                continue
            runs, abandoned = _runs(self.tasks[task], came)
            if abandoned:
                expected.abandoned[task] = abandoned
            for seen in runs:
                expected.works[task, self.shown(task, seen, known_order=known_order)] += 1
                # Nobody can tell when a work ends: after all rows is as good as any time where no unless looks at it.
                came.setdefault(task, []).append(_Came(NEVER, _union(seen)))
        return expected

    def shown(self, task: str, seen: Mapping[str, Rows], *, known_order: bool) -> Seen:
        """That part of what a work received that can be foretold."""
        comparable = self._comparable[known_order].get(task, frozenset())
        return tuple(sorted((trigger, tuple(rows)) for trigger, rows in seen.items() if trigger in comparable))

    def _find_comparable(self, known_order: bool) -> dict[str, frozenset[str]]:
        """The triggers of each task whose rows can be foretold."""
        exact: set[str] = set()
        found: dict[str, frozenset[str]] = {}
        for task in self.order:
            every = self.tasks[task].get("andEvery")
            comparable = {
                trigger
                for trigger in _needs(self.tasks[task])
                if (trigger == every and (trigger in exact or trigger not in self.tasks))
                or (known_order and trigger not in self.tasks)
                or (trigger in exact and trigger not in self._often)
            }
            found[task] = frozenset(comparable)
            if comparable == set(_needs(self.tasks[task])):
                exact.add(task)
        return found


def _in_order(tasks: Tasks) -> list[str]:
    """The tasks, each after those that it waits for."""
    ordered: list[str] = []
    left = dict(tasks)
    while left:
        ready = [task for task, directives in left.items() if not left.keys() & {*_needs(directives), *_unless(directives)}]
        if not ready:
            raise Impossible(f"the tasks {', '.join(sorted(left))} wait for each other in a circle")
        ordered += ready
        left = {task: directives for task, directives in left.items() if task not in ready}
    for task, directives in tasks.items():
        works = sorted({*_needs(directives), *_unless(directives)} & tasks.keys())
        if _unless(directives) and works:
            raise Impossible(
                f"task {task!r} has an unless and depends on the work {works[0]!r}: whether it runs depends on when that work "
                "ends, which no computation can tell; let it depend on activities of the log alone"
            )
    return ordered


def _runs(directives: Mapping[str, Any], came: Mapping[str, list[_Came]]) -> tuple[list[dict[str, Rows]], int]:
    """What each run of a task received, and how many instances were abandoned."""
    every = directives.get("andEvery")
    after = [trigger for trigger in directives.get("after", []) if trigger != every]
    forbidden = max((_first(came, trigger) for trigger in _unless(directives)), default=NEVER)
    makers = [_Came(-1, ())] if every is None else list(came.get(every, ()))
    abandoned = 0
    if forbidden < NEVER and (not makers or makers[0].position > forbidden):
        abandoned += 1  # the instance that the first other trigger made; andEvery came too late for it
    runs: list[dict[str, Rows]] = []
    for number, maker in enumerate(makers):
        seen = {trigger: _received(came, trigger, maker.position if number else -1) for trigger in after}
        if any(found is None for found in seen.values()):
            abandoned += forbidden < NEVER
            continue
        ready = max([maker.position, *(_first(came, trigger) for trigger in after)])
        if forbidden < NEVER and ready >= forbidden:
            abandoned += 1
            continue
        received = {trigger: found.rows for trigger, found in seen.items() if found is not None}
        runs.append(received if every is None else {**received, every: maker.rows})
    return runs, abandoned


def _received(came: Mapping[str, list[_Came]], trigger: str, position: float) -> _Came | None:
    """What an instance that was made at a position received: the latest before, else the first after it."""
    found = came.get(trigger, [])
    before = [one for one in found if one.position < position]
    return before[-1] if before else next(iter(found), None)


def _first(came: Mapping[str, list[_Came]], trigger: str) -> float:
    found = came.get(trigger)
    return found[0].position if found else NEVER


def _needs(directives: Mapping[str, Any]) -> list[str]:
    every = directives.get("andEvery")
    return [*directives.get("after", []), *([every] if every and every not in directives.get("after", []) else [])]


def _unless(directives: Mapping[str, Any]) -> list[str]:
    return list(directives.get("unless") or [])


def _union(seen: Mapping[str, Rows]) -> Rows:
    return tuple(sorted({row for rows in seen.values() for row in rows}))
