"""A task instance as people see it, and the words for its status."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class Status(enum.StrEnum):
    """Where a task instance is; ``engine.transitions`` says what may follow what."""

    UNSTARTED = "unstarted"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    ABANDONED = "abandoned"
    SKIPPED = "skipped"
    REPLAYED = "replayed"


RESOLVED = frozenset({Status.FINISHED, Status.ABANDONED, Status.SKIPPED, Status.REPLAYED})
"""The statuses after which nothing more happens to an instance (R15)."""


class TaskInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One (possible) execution of a task, as it was stored when it was read. Times are UTC."""

    name: str
    """``task#number``."""
    task: str
    number: int
    status: Status
    kwargs: Mapping[str, Any]
    """What was fired: ``{trigger: kwargs}``; once scheduled, only the triggers of ``after`` and ``andEvery``."""
    run: str | None
    """The name of the work that it was scheduled with; ``None`` while it is unstarted. So for the next two."""
    using: str | Mapping[str, Any] | None
    with_params: Mapping[str, Any]
    attempt: int
    """The current attempt; 0 before it is scheduled."""
    parent: str | None
    """The instance that this one replays."""
    depth: int
    """How many replays and retries lie before this one."""
    result: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    log_level: int
    """The highest level that its work logged through its context; 0 if nothing."""
    log_context: Mapping[str, Any]
    logs_resolved: bool
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    resolved_at: datetime | None
    wake_at: datetime | None
    """When the sweep next looks at it: a delivery, a lease, a cooldown."""
    causes: Mapping[str, str]
    """Which event id or which instance fired a trigger of ``kwargs``, where that is known."""

    @property
    def resolved(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in RESOLVED

    @property
    def runner(self) -> str | None:
        """The key of its runner, ``None`` for the default."""
        return runner_of(self.using)

    def __str__(self) -> str:
        """``t_score#0 (running)``."""
        return f"{self.name} ({self.status})"


def runner_of(using: str | Mapping[str, Any] | None) -> str | None:
    """The runner's key in a ``using``, which is a key or an object with ``runner`` and options."""
    if using is None or isinstance(using, str):
        return using
    runner = using.get("runner")
    return runner if isinstance(runner, str) else None
