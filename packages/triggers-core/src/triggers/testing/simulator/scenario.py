"""What a simulation plays: a configuration, what the application does, how works end, and how much may go wrong."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Outcome(enum.Enum):
    """How a work may end."""

    FINISH = "finish"
    FAIL = "fail"
    SKIP = "skip"
    RETRY = "retry"
    FIRE = "fire"
    """It fires ``fromBody`` through its context, then finishes."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One session, or with ``parent`` two, and the limits of what happens to them.

    Every task's ``run`` is set to the simulated work. Budgets say how often something may go wrong in one schedule.
    """

    configuration: Mapping[str, Any]
    fires: Sequence[str | tuple[str, str | None]] = ()
    """Triggers, or ``(trigger, event id)``; their order is a choice of the schedule."""
    operations: Sequence[tuple[str, ...]] = ()
    """``(what, "t#0")``, what being replay, skip, skip_cascade or cancel; each once, when it is possible.

    And these, which are repeated until they are done: ``("join",)``, with the parent, which otherwise comes before all else;
    ``("complete",)``, the parent's children; ``("move",)``, to the other store. ``("try_join",)`` is a join that is not repeated.
    """
    outcomes: Sequence[Outcome] = (Outcome.FINISH,)
    processes: int = 2
    kills: int = 1
    lost_replies: int = 1
    lost_deliveries: int = 1
    repeated_deliveries: int = 1
    sweeps: int = 2
    clock_steps: int = 3
    beats: int = 4
    finalize: bool = False
    parent: Mapping[str, Any] | None = None
    """The configuration of a parent session, which the session joins as ``child``."""
    two_stores: bool = False
    """Whether there are two stores; the parent lies in the other one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    one_at_a_time: bool = False
    """Whether nothing new begins before what goes on has ended; then ``explore`` has few schedules, one per crash point."""
    in_order: bool = False
    """Whether the fires come in the order given."""
