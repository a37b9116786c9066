"""What has to happen, computed from the log alone: the families, and which of their applications are done in the end."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "eventlog"))

from reading import BadInput, Event

FINALIZED = "sessionFinalized"


class Family(NamedTuple):
    """The applications of a department and a month, and those of them in which every task is resolved in the end."""

    cases: frozenset[str]
    done: frozenset[str]

    @property
    def reports(self) -> bool:
        """Whether the report has to be written."""
        return self.cases == self.done


def families(events: Sequence[Event], tasks: Mapping[str, Any]) -> dict[str, Family]:
    """All families by name, ``department/month`` of the first event of each application."""
    rows: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        rows[event.session].append(event)
    members: dict[str, set[str]] = defaultdict(set)
    done: dict[str, set[str]] = defaultdict(set)
    for case, found in rows.items():
        if set(case) & {".", "*"}:
            raise BadInput(f"the case {case!r} has a '.' or '*' and cannot be the alias of a session")
        first = min(found, key=lambda event: event.moment)
        (department,) = first.kwargs.values()
        name = f"{department}/{first.moment:%Y-%m}"
        members[name].add(case)
        if is_done({event.trigger for event in found}, tasks):
            done[name].add(case)
    return {name: Family(frozenset(cases), frozenset(done[name])) for name, cases in sorted(members.items())}


def is_done(fired: set[str], tasks: Mapping[str, Any]) -> bool:
    """Whether every task runs that does not wait for the end itself, where each waits for all of some triggers or tasks."""
    ran = set(fired)
    waiting = {name: directives["after"] for name, directives in tasks.items()}
    late = {FINALIZED}
    while grown := {name for name in waiting if name not in late and late & set(waiting[name])}:
        late |= grown
    while grown := {name for name, after in waiting.items() if name not in ran | late and set(after) <= ran}:
        ran |= grown
    return set(waiting) - late <= ran


def check_tasks(tasks: Any) -> dict[str, Any]:
    """The tasks, if this computation can tell what becomes of them.

    Raises:
        BadInput: a task has more than ``after`` and ``run``, so that the order of the rows would matter.
    """
    if not isinstance(tasks, dict) or not tasks:
        raise BadInput("the tasks are an object of tasks, as in tasks.json")
    for name, directives in tasks.items():
        if not isinstance(directives, dict) or set(directives) != {"after", "run"}:
            raise BadInput(
                f"task {name!r} must have 'after' and 'run' alone: the rows are fired in no order, in which others matter"
            )
    return tasks
