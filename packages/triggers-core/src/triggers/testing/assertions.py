"""Assertions about a session, for ``unittest.TestCase`` and for classes of pytest. Each failure shows the whole session."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn

from triggers.codec import merge
from triggers.errors import UnknownInstance
from triggers.instance import Status, TaskInstance
from triggers.manager import TriggerManager
from triggers.testing.isolation import isolated

_MISSING: Any = object()


class TriggerManagerTestCaseMixin:
    """Assertions about the session of ``self.manager``.

    With ``unittest``, ``setUp`` gives each test an isolated process, on an empty memory storage, and its manager as
    ``self.manager``::

        class ScoreTest(TriggerManagerTestCaseMixin, unittest.TestCase):
            def test_score(self):
                self.manager.fire("page1")
                self.assertInstanceUnstarted("t_score#0")

    With pytest, a fixture of the class does: ``self.manager = trigger_manager``.

    What is read is what is stored at that moment: call ``joinAll()`` before, where threads are at work.
    """

    manager: TriggerManager

    def setUp(self) -> None:  # noqa: D102
        parent: Any = super()
        parent.setUp()
        stack = ExitStack()
        self.addCleanup(stack.close)  # type: ignore[attr-defined]
        self.isolation = stack.enter_context(isolated())
        self.manager = self.isolation.manager()

    def joinAll(self, timeout: float = 10.0) -> None:
        """Waits for all work of this process and its cascades; fails if it has not ended after so many seconds."""
        if not all(runner.join_all(timeout) for runner in self.manager._process.runners.opened()):
            self._fail(f"work is still running after {timeout:g} s")

    def assertInstanceStatus(self, name: str, status: Status | str) -> TaskInstance:
        """The instance exists and has this status; returns it."""
        wanted, found = Status(status), self._instance(name)
        if found.status is not wanted:
            self._fail(f"{name} is {found.status}, expected {wanted}{_why(found)}")
        return found

    def assertInstanceUnstarted(self, name: str) -> None:
        """The instance waits for triggers."""
        self.assertInstanceStatus(name, Status.UNSTARTED)

    def assertInstanceScheduled(self, name: str) -> None:
        """The instance is ready, and no worker has begun it."""
        self.assertInstanceStatus(name, Status.SCHEDULED)

    def assertInstanceRunning(self, name: str) -> None:
        """A worker is at the instance."""
        self.assertInstanceStatus(name, Status.RUNNING)

    def assertInstanceFinished(self, name: str, result: Any = _MISSING) -> None:
        """The instance is finished, and has this result where one is given."""
        self.assertInstanceStatus(name, Status.FINISHED)
        if result is not _MISSING:
            self.assertInstanceResult(name, result)

    def assertInstanceFailed(self, name: str, error: type[BaseException] | str | None = None) -> None:
        """The instance failed, with this error where one is given: its type, or a part of its type or message."""
        found = self.assertInstanceStatus(name, Status.FAILED)
        if error is not None:
            self._check_error(found, error)

    def assertInstanceAbandoned(self, name: str) -> None:
        """The ``unless`` of the instance was complete before it was scheduled."""
        self.assertInstanceStatus(name, Status.ABANDONED)

    def assertInstanceSkipped(self, name: str) -> None:
        """The instance was skipped, by hand or by itself."""
        self.assertInstanceStatus(name, Status.SKIPPED)

    def assertInstanceReplayed(self, name: str, by: str | None = None) -> None:
        """The instance was replayed or retried, by the instance of this name where one is given."""
        self.assertInstanceStatus(name, Status.REPLAYED)
        if by is not None and self._instance(by).parent != name:
            self._fail(f"{by} replays {self._instance(by).parent or 'nothing'}, expected {name}")

    def assertInstanceMissing(self, name: str) -> None:
        """There is no instance of this name."""
        if name in self.manager.storage:
            self._fail(f"{name} exists, expected none")

    def assertInstanceKwargs(self, name: str, kwargs: Mapping[str, Mapping[str, Any]]) -> None:
        """The instance has received exactly these triggers with these kwargs: ``{trigger: kwargs}``, without ``withParams``."""
        self._equal(f"the kwargs of {name}", self._instance(name).kwargs, kwargs)

    def assertInstanceTriggerKwargs(self, name: str, kwargs: Mapping[str, Mapping[str, Any]]) -> None:
        """The work of a scheduled instance receives exactly this: ``withParams`` with the fired kwargs over them (R11)."""
        found = self._instance(name)
        if found.run is None:
            self._fail(f"{name} is {found.status}: what its work receives is known once it is scheduled")
        self._equal(f"the trigger kwargs of {name}", merge(found.with_params, found.kwargs), kwargs)

    def assertInstanceResult(self, name: str, result: Mapping[str, Any] | None) -> None:
        """The instance has exactly this result; ``None`` before it has ended."""
        self._equal(f"the result of {name}", self._instance(name).result, result)

    def assertInstanceMetadata(self, name: str, metadata: Mapping[str, Any], *, exactly: bool = False) -> None:
        """The metadata of the instance have these keys with these values, and no others where ``exactly`` is true."""
        self._contains(f"the metadata of {name}", self._instance(name).metadata, metadata, exactly)

    def assertInstanceLogLevel(self, name: str, level: int | str) -> None:
        """The highest level that the work logged through its context: ``logging.WARNING`` or ``"WARNING"``; 0 if nothing."""
        wanted = logging.getLevelNamesMapping()[level] if isinstance(level, str) else level
        found = self._instance(name).log_level
        if found != wanted:
            self._fail(f"{name} logged {_level(found)} at most, expected {_level(wanted)}")

    def assertInstanceLogContext(self, name: str, context: Mapping[str, Any], *, exactly: bool = False) -> None:
        """What is kept of the record of the highest level has these keys with these values."""
        self._contains(f"the log context of {name}", self._instance(name).log_context, context, exactly)

    def assertInstanceLogsResolved(self, name: str) -> None:
        """Somebody has marked what the instance logged as resolved."""
        if not self._instance(name).logs_resolved:
            self._fail(f"the logs of {name} are not marked as resolved")

    def assertInstanceLogsUnresolved(self, name: str) -> None:
        """The instance logged a warning or worse, and nobody has marked it as resolved."""
        if name not in (found := self._unresolved_logs()):
            self._fail(f"{name} has no unresolved logs; those with unresolved logs: {_names(found)}")

    def assertUnresolvedLogs(self, names: Iterable[str]) -> None:
        """Exactly these instances have unresolved logs."""
        self._same("instances with unresolved logs", self._unresolved_logs(), names)

    def assertNoUnresolvedLogs(self) -> None:
        """No instance has unresolved logs."""
        self.assertUnresolvedLogs([])

    def assertUnresolvedTasks(self, tasks: Iterable[str]) -> None:
        """Exactly these tasks have no instance, or an unresolved one (R15)."""
        self._same("unresolved tasks", self.manager.storage.get_unresolved_tasks(), tasks)

    def assertNoUnresolvedTasks(self) -> None:
        """Every task has instances, all resolved."""
        self.assertUnresolvedTasks([])

    def assertUnresolvedInstances(self, names: Iterable[str]) -> None:
        """Exactly these instances are unresolved."""
        found = [instance.name for instance in self.manager.storage.get_unresolved_instances()]
        self._same("unresolved instances", found, names)

    def assertNoUnresolvedInstances(self) -> None:
        """Every instance is resolved."""
        self.assertUnresolvedInstances([])

    def assertFired(self, trigger: str, kwargs: Any = _MISSING) -> None:
        """The trigger has fired, with these kwargs the last time where they are given."""
        latest = self.manager.storage.latest_kwargs
        if trigger not in latest:
            self._fail(f"{trigger} has not fired; fired have: {_names(latest)}")
        if kwargs is not _MISSING:
            self._equal(f"the latest kwargs of {trigger}", latest[trigger], kwargs)

    def assertNotFired(self, trigger: str) -> None:
        """The trigger has not fired."""
        if trigger in self.manager.storage.latest_kwargs:
            self._fail(f"{trigger} has fired")

    def _instance(self, name: str) -> TaskInstance:
        try:
            return self.manager.storage[name]
        except UnknownInstance:
            self._fail(f"there is no instance {name}")

    def _unresolved_logs(self) -> list[str]:
        return [instance.name for instance in self.manager.storage.get_instances_with_unresolved_logs()]

    def _check_error(self, found: TaskInstance, error: type[BaseException] | str) -> None:
        kept = found.metadata.get("exception", {})
        kind, message = str(kept.get("type", "")), str(kept.get("message", ""))
        wanted = error if isinstance(error, str) else f"{error.__module__}.{error.__qualname__}"
        good = wanted in f"{kind}: {message}" if isinstance(error, str) else kind == wanted
        if not good:
            self._fail(f"{found.name} failed with {kind}: {message}; expected {wanted}")

    def _equal(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            self._fail(f"{what}: {found!r}, expected {expected!r}")

    def _contains(self, what: str, found: Mapping[str, Any], expected: Mapping[str, Any], exactly: bool) -> None:
        kept = found if exactly else {key: value for key, value in found.items() if key in expected}
        if kept != expected:
            self._fail(f"{what}: {dict(found)!r}, expected {'exactly' if exactly else 'among them'} {dict(expected)!r}")

    def _same(self, what: str, found: Iterable[str], expected: Iterable[str]) -> None:
        if isinstance(expected, str):
            raise TypeError(f"give a list of names, [{expected!r}], not a single one")
        if sorted(found) != sorted(expected):
            self._fail(f"{what}: {_names(found)}; expected: {_names(expected)}")

    def _fail(self, message: str) -> NoReturn:
        raise AssertionError(f"{message}\n{self.manager.storage.debug_repr()}")


def _why(found: TaskInstance) -> str:
    kept = found.metadata.get("exception")
    return f": {kept.get('type')}: {kept.get('message')}" if kept and found.status is Status.FAILED else ""


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _level(level: int) -> str:
    return logging.getLevelName(level) if level else "nothing"
