"""The runner: what its author writes so that attempts are executed somewhere else, or at another time.

A runner carries deliveries to a place where ``perform`` is called with them. It may lose them, repeat them and delay them: the
first delivery of an attempt that arrives starts the work, the others end at once (R24), and what was lost the sweep delivers
again (R26).
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from triggers.instance import runner_of
from triggers.storages.base import BaseTriggerStorage
from triggers.tasks import registered


class RunnerCapability(enum.Flag):
    """What a runner can do beyond delivering."""

    DELAYS = enum.auto()
    """It holds a delivery back until its ``not_before``; for the others the sweep waits."""
    PRIORITIES = enum.auto()
    """It takes a ``priority`` among the options."""
    AT_LEAST_ONCE = enum.auto()
    """What it accepted survives the death of this process."""


class Delivery(NamedTuple):
    """One attempt on its way to a worker.

    ``message()`` is what another process needs; ``storage`` is this process's own handle.
    """

    storage_key: str
    uid: str
    name: str
    attempt: int
    run: str
    using: str | Mapping[str, Any] | None
    not_before: datetime | None
    storage: BaseTriggerStorage | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options that the task's ``using`` gives beside the runner's key."""
        if self.using is None or isinstance(self.using, str):
            return {}
        return {key: value for key, value in self.using.items() if key != "runner"}

    @property
    def identifier(self) -> str:
        """The same for every delivery of this attempt, and for no other."""
        return f"{self.storage_key!r}/{self.uid!r}/{self.name!r}/{self.attempt}"

    def message(self) -> dict[str, Any]:
        """What another process needs to perform it, as JSON; ``Delivery.from_message`` reads it."""
        return {
            "storage": self.storage_key,
            "uid": self.uid,
            "name": self.name,
            "attempt": self.attempt,
            "run": self.run,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Delivery:
        """The delivery of a message."""
        return cls(message["storage"], message["uid"], message["name"], message["attempt"], message["run"], None, None)


class BaseTaskRunner(abc.ABC):
    """Executes attempts. A subclass sets ``api_version`` (now 1) and overrides ``deliver``; one object per process and key.

    Args:
        perform: runs an attempt from claim to report, in the calling thread; safe to call with what was delivered before.
        clock: the time, UTC, as the whole process sees it.
        **options: the options of the setting ``runners``.
    """

    api_version: ClassVar[int]
    capabilities: RunnerCapability = RunnerCapability(0)
    runs_here: ClassVar[bool] = False
    """Whether work goes on in this process after ``deliver`` has returned; beside such a runner the sweep runs by itself."""

    def __init__(self, perform: Callable[[Delivery], None], clock: Callable[[], datetime], **options: Any) -> None:
        self.perform = perform
        self.clock = clock
        self.options = options

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Accepts the options of a task's ``using`` when a session is configured with them; by default, whatever they are.

        Processes that do not have this runner cannot ask it, so ``deliver`` has to check them too.

        Raises:
            SettingsError: one is unknown, or has a value that it cannot have.
        """

    @abc.abstractmethod
    def deliver(self, delivery: Delivery) -> None:
        """Sends an attempt on its way; returns soon. No lock and no transaction is open while it is called.

        Raises:
            RunnerUnavailable: it cannot take anything now (its broker is down); other errors concern this delivery alone.
        """

    def serves(self, run: str) -> bool:
        """Whether what it delivers can be performed: by default, whether this process has a body of this name."""
        return registered.has(run)

    def probe(self) -> None:
        """Asks whether what carries its deliveries answers, for ``triggers doctor``; by default there is nothing to ask.

        Raises:
            RunnerUnavailable: it does not.
        """

    def join_all(self, timeout: float | None = None) -> bool:
        """Waits for all running work and its cascades, as far as it runs in this process; returns whether it has ended."""
        return True

    def close(self) -> None:
        """Stops taking new work, and lets what runs here end."""

    def after_fork(self) -> None:
        """Called in the child of a fork: the threads of the parent are not there."""


__all__ = ["BaseTaskRunner", "Delivery", "RunnerCapability", "runner_of"]
