"""What goes into a decision beside the view, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from triggers.instance import Status
from triggers.records import Instance


class Terms(NamedTuple):
    """The times (seconds) and limits under which a decision is made; the settings of the process that makes it."""

    lease: float = 60.0
    redeliver_after: float = 60.0
    max_attempts: int = 10
    unserved_after: float = 86_400.0
    max_instances: int = 100_000
    event_ttl: float = 0.0
    finalize: bool = False
    history: int = 0
    """How many entries of the history are kept."""
    keep_finalized: float = 0.0
    keep_idle: float = 0.0
    """When a finalized session, and one that nothing happens to, is looked at for deletion; 0: never."""
    delete_unresolved: bool = False
    jitter: float = 1.0
    """Where between half and all of a retry's delay to wait, 0 to 1."""


class Dispatch(NamedTuple):
    """An attempt that a runner has to hear of once the change is stored."""

    task: str
    number: int
    attempt: int
    run: str
    using: str | Mapping[str, Any] | None
    not_before: datetime | None

    @property
    def name(self) -> str:
        """``task#number``."""
        return f"{self.task}#{self.number}"


class StatusChanged(NamedTuple):
    """An instance got another status; ``before`` is ``None`` for a new one."""

    instance: Instance
    before: Status | None


class Fired(NamedTuple):
    """A trigger was fired, by the application or by a cascade; ``instances`` are those that received it or were made by it."""

    trigger: str
    kwargs: msgspec.Raw
    instances: tuple[str, ...]
    cause: str
    origin: str


class Replayed(NamedTuple):
    """A failed instance was replayed by ``replacement``."""

    instance: str
    replacement: str


class Skipped(NamedTuple):
    """An instance was skipped."""

    instance: str
    cascade: bool


class Recovered(NamedTuple):
    """The sweep found an attempt that was lost, or timed out, or was never started."""

    instance: str
    attempt: int
    reason: str


class Finalized(NamedTuple):
    """The session fired ``sessionFinalized``."""


class Delivered(NamedTuple):
    """The sweep has a runner told of an attempt again."""

    instance: str
    attempt: int


class Configured(NamedTuple):
    """The configuration got another serial; ``tasks`` were added, changed or removed."""

    serial: int
    tasks: tuple[str, ...]


class Cancelled(NamedTuple):
    """An instance, or with an empty name the session, was cancelled."""

    instance: str
    reason: str


class ManagerChanged(NamedTuple):
    """The session is from now on served by another manager."""

    before: str
    after: str


Notice = StatusChanged | Fired | Replayed | Skipped | Recovered | Finalized | Delivered | Configured | Cancelled | ManagerChanged


class FireResult(NamedTuple):
    """What a fire did (R14): the names of the instances it created, scheduled and abandoned."""

    created: tuple[str, ...] = ()
    scheduled: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()
