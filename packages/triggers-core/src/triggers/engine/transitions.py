"""The status table: which status may follow which, and by what.

It is the one truth for the code, for error messages (R22) and for the picture in the manual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from triggers.errors import IllegalTransition
from triggers.instance import Status

TRANSITIONS: Final[Mapping[Status, Mapping[Status, str]]] = {
    Status.UNSTARTED: {
        Status.SCHEDULED: "a fire that completes its triggers",
        Status.ABANDONED: "a fire that completes its unless, or a cancellation",
    },
    Status.SCHEDULED: {
        Status.RUNNING: "the start of an attempt",
        Status.FAILED: "no runner or body for it, longer than unserved_after",
        Status.ABANDONED: "a cancellation",
    },
    Status.RUNNING: {
        Status.FINISHED: "the report of the current attempt",
        Status.FAILED: "the report of the current attempt, a lost last attempt, or a timeout",
        Status.SKIPPED: "the report of the current attempt",
        Status.SCHEDULED: "a lost lease",
        Status.ABANDONED: "a cancellation",
    },
    Status.FAILED: {
        Status.REPLAYED: "replay_failed_instance, or a retry",
        Status.SKIPPED: "skip_failed_instance",
        Status.ABANDONED: "a cancellation",
    },
    Status.FINISHED: {},
    Status.ABANDONED: {},
    Status.SKIPPED: {},
    Status.REPLAYED: {},
}


def sources(target: Status) -> tuple[Status, ...]:
    """The statuses from which this one can be reached."""
    return tuple(source for source, targets in TRANSITIONS.items() if target in targets)


def check_transition(name: str, source: Status, target: Status) -> None:
    """Accepts a change that the table knows.

    Raises:
        IllegalTransition: it does not; names the instance, its status, and the statuses in which it would be possible.
    """
    if target not in TRANSITIONS[source]:
        raise illegal(name, source, f"become {target}", sources(target))


def illegal(name: str, source: Status, action: str, possible: tuple[Status, ...]) -> IllegalTransition:
    """The error for an operation on an instance that is not in the right status."""
    when = " or ".join(possible) or "no status"
    return IllegalTransition(f"{name} is {source} and cannot {action}; that is possible when it is {when}")


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> unstarted", "    [*] --> scheduled : a replay"]
    for source, targets in TRANSITIONS.items():
        lines.extend(f"    {source} --> {target} : {by}" for target, by in targets.items())
        if not targets:
            lines.append(f"    {source} --> [*]")
    return "\n".join(lines)
