"""What a runner's author inherits from: the fixtures of the kit for runners."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from triggers.instance import TaskInstance
from triggers.manager import TriggerManager, get_manager
from triggers.process import Process, forget_shared_stores, get_process
from triggers.runners import BaseTaskRunner, Delivery
from triggers.settings import configure, reset
from triggers.storages import storage_backends
from triggers.testing.conformance import works
from triggers.testing.conformance.contract import Contract

PATIENCE = 60.0

TIMES = {"lease": 4.0, "redeliver_after": 1.0, "sweep_interval": 0.2}
"""The times (seconds) under which the kit runs; workers in other processes have to have the same."""


@dataclasses.dataclass(frozen=True)
class Outage:
    """How to make what a runner needs (its broker, its pool) go away and come back."""

    begin: Callable[[], None]
    end: Callable[[], None]


class Trial:
    """Sessions of one test, and what was run in them."""

    def __init__(self, process: Process, key: str, file: Path, sweeps: bool, patience: float = PATIENCE) -> None:
        self.process = process
        self.key = key
        self.file = file
        self._sweeps = sweeps
        self._patience = patience
        self._prefix = f"kit-{secrets.token_hex(4)}-"
        self._numbers = itertools.count()
        self._made: list[TriggerManager] = []

    @property
    def runner(self) -> BaseTaskRunner:
        """The runner of this process."""
        return self.process.runners.get(self.key)

    def session(self, tasks: Mapping[str, Mapping[str, Any]], **kit: Any) -> TriggerManager:
        """A new session with these tasks, which all run on the runner; ``kit`` is what their works are told."""
        manager = get_manager(f"{self._prefix}{os.getpid()}-{next(self._numbers)}")
        self._made.append(manager)
        params = {"kit": {"file": str(self.file), **kit}}
        manager.update_configuration({name: {"using": self.key, "withParams": params, **task} for name, task in tasks.items()})
        return manager

    def run(self, work: str, **kit: Any) -> TriggerManager:
        """A session in which one instance of this work, ``t#0``, has been fired."""
        manager = self.session({"t": {"after": ["go"], "run": work}}, **kit)
        manager.fire("go")
        return manager

    def delivery(self, manager: TriggerManager, name: str = "t#0", attempt: int = 1, run: str = works.NOTE) -> Delivery:
        """A delivery as the core makes it."""
        return Delivery(manager.storage.key, manager.uid, name, attempt, run, self.key, None, manager.storage)

    def until(self, what: str, true: Callable[[], bool], patience: float | None = None) -> None:
        """Waits until it is true; fails with ``what`` if it does not become so."""
        seconds = self._patience if patience is None else patience
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"after {seconds:g} seconds: {what}"
            if not self._sweeps:
                self.process.sweep()
            time.sleep(0.02)

    def resolved(self, manager: TriggerManager, name: str = "t#0", patience: float | None = None) -> TaskInstance:
        """The instance, once nothing more happens to it."""
        return self.ended(manager, name, lambda instance: instance.resolved, patience)

    def ended(
        self, manager: TriggerManager, name: str, end: Callable[[TaskInstance], bool], patience: float | None = None
    ) -> TaskInstance:
        """The instance, once it has come to this end."""
        self.until(f"{name} has not come to its end", lambda: name in manager.storage and end(manager.storage[name]), patience)
        return manager.storage[name]

    def noted(self, manager: TriggerManager) -> list[tuple[str, int, str]]:
        """What the works of a session noted: ``(instance, attempt, event)``, in order."""
        return [(each["name"], each["attempt"], each["event"]) for each in works.notes(self.file) if each["uid"] == manager.uid]

    def clean(self) -> None:
        """Removes the sessions."""
        for manager in self._made:
            with contextlib.suppress(Exception):
                manager.storage.store.delete(manager.uid)


class RunnerKit(Contract):
    """Fixtures and declarations of the kit for runners. Those of scope ``class`` are made once for all tests."""

    rule_prefix = "test_rn"

    runner: ClassVar[str]
    """The key of the runner, which must be registered."""
    in_caller: ClassVar[bool] = False
    """Whether works run in the thread that fires, before ``fire`` returns."""
    own_processes: ClassVar[bool] = False
    """Whether works run in other processes than the one that fires; then the storage must be one that they all see."""
    sweeps: ClassVar[bool] = True
    """Whether a sweep runs by itself, beside the runner or in its workers; without it, the kit sweeps."""

    patience: ClassVar[float] = PATIENCE
    """How long (seconds) anything may take before it counts as lost."""

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        """To be overridden where works run in other processes: the settings ``storage`` and ``storages``, and ``runners``."""
        return {"storage": "memory"}

    @pytest.fixture(scope="class")
    @classmethod
    def configured(cls, settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """All settings of the kit, in force in this process; the storage is set up."""
        merged = {"runner": cls.runner, "tasks": [works.MODULE], **TIMES, **settings}
        reset()
        get_process().forget_stores()
        storage_backends.open_store(configure(**merged).storage).setup()
        yield merged
        get_process().close()
        get_process().forget_stores()  # whose files may be gone when the next tests sweep
        forget_shared_stores()
        reset()

    @pytest.fixture(scope="class")
    @classmethod
    def workers(cls, configured: Mapping[str, Any]) -> None:
        """To be overridden where workers are started apart: starts some with the settings ``configured``, and stops them."""

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """Optional: options of ``using`` that the runner takes, ``{"queue": "gpu"}``."""
        return {}

    @pytest.fixture
    def wrong_options(self) -> Mapping[str, Any] | None:
        """Optional: options of ``using`` that the runner refuses."""
        return None

    @pytest.fixture
    def outage(self) -> Outage | None:
        """Optional: how to take away what the runner needs."""
        return None

    @pytest.fixture
    def trial(self, configured: Mapping[str, Any], workers: None, tmp_path: Path) -> Iterator[Trial]:
        """Makes sessions and knows what was run in them."""
        trial = Trial(get_process(), self.runner, tmp_path / "notes", self.sweeps, self.patience)
        yield trial
        trial.clean()


__all__ = ["PATIENCE", "TIMES", "Outage", "RunnerKit", "Trial"]
