"""What follows a commit: runners are told of new attempts, hooks of what happened."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from triggers import records
from triggers.codec import decode
from triggers.config import TaskConfig
from triggers.engine.commands import Decision
from triggers.engine.decision import (
    Dispatch,
    Finalized,
    Fired,
    ManagerChanged,
    Notice,
    Recovered,
    Replayed,
    Skipped,
    StatusChanged,
)
from triggers.errors import ConfigurationError, PluginError, RunnerUnavailable, SettingsError, UnknownKey
from triggers.forking import tell_after_fork
from triggers.hooks import get_hooks
from triggers.instance import TaskInstance, runner_of
from triggers.runners import BaseTaskRunner, Delivery, RunnerCapability, task_runners
from triggers.settings import Settings, redact, refused_option
from triggers.storages.base import BaseTriggerStorage

_log = logging.getLogger("triggers")


class Runners:
    """The runners of a process, one object per key.

    Args:
        perform: runs an attempt from claim to report.
        clock: the time.
        settings: the settings in force.
    """

    def __init__(
        self,
        perform: Callable[[Delivery], None],
        clock: Callable[[], datetime],
        settings: Callable[[], Settings],
    ) -> None:
        self._perform = perform
        self._clock = clock
        self._settings = settings
        self._lock = threading.Lock()
        self._runners: dict[str, BaseTaskRunner] = {}
        self._retired: list[BaseTaskRunner] = []
        self._made_with: dict[str, Any] = {}
        tell_after_fork(self)

    def get(self, key: str | None) -> BaseTaskRunner:
        """The runner with this key, the default one for ``None``.

        Raises:
            UnknownKey: nobody registered it.
            PluginError: its plugin cannot be used.
            SettingsError: it does not take the options of the settings.
        """
        settings = self._settings()
        key = key or settings.runner
        found = self._runners.get(key)
        if found is not None:
            return found
        runner_class = task_runners.get_class(key)
        with self._lock:
            found = self._runners.get(key)
            if found is None:
                options = dict(settings.runners.get(key, {}))
                make = partial(runner_class, self._perform, self._clock)
                try:
                    found = make(**options)
                except TypeError as error:
                    problem = refused_option(make, options) or error
                    raise SettingsError(
                        f"runner {key!r} cannot be made with the options {redact(options)!r}: {problem}"
                    ) from error
                self._runners[key] = found
                self._made_with[key] = _options(settings, key)
            return found

    def opened(self) -> list[BaseTaskRunner]:
        """The runners that were used."""
        return [*self._runners.values(), *self._retired]

    def serves(self, key: str | None, run: str) -> bool:
        """Whether this process can have a work executed."""
        try:
            return self.get(key).serves(run)
        except Exception as error:
            _log.debug("runner %r cannot be used here: %s", key, error)
            return False

    def check(self, tasks: Mapping[str, TaskConfig | None]) -> None:
        """Has the runners that this process has look at the options of tasks that are about to be configured.

        Raises:
            ConfigurationError: a runner does not take an option.
        """
        for name, task in tasks.items():
            if task is None or not isinstance(task.using, dict):
                continue
            try:
                runner_class = task_runners.get_class(runner_of(task.using) or self._settings().runner)
            except (PluginError, UnknownKey):
                continue
            try:
                runner_class.check_options({key: value for key, value in task.using.items() if key != "runner"})
            except SettingsError as error:
                raise ConfigurationError(str(error), f"$.{name}.using") from error

    def forget_changed(self) -> None:
        """Lets runners whose options have changed be made anew at their next use."""
        settings = self._settings()
        with self._lock:
            for key in list(self._runners):
                if self._made_with[key] != _options(settings, key):
                    self._retired.append(self._runners.pop(key))

    def close(self) -> None:
        """Closes all runners."""
        with self._lock:
            runners = self.opened()
            self._runners.clear()
            self._retired.clear()
        for runner in runners:
            runner.close()

    def after_fork(self) -> None:
        """Lets each runner start anew; those that were retired have their work in the parent."""
        self._lock = threading.Lock()
        self._retired.clear()
        for runner in self._runners.values():
            runner.after_fork()


def _options(settings: Settings, key: str) -> tuple[dict[str, Any], int]:
    return dict(settings.runners.get(key, {})), settings.threads


def hand_over(runners: Runners, storage: BaseTriggerStorage, dispatches: Iterable[Dispatch], now: datetime) -> set[str]:
    """Gives attempts to their runners; returns the keys of the runners that could not take anything.

    What a runner does not take is stored as scheduled, so the sweep will deliver it; here it only gives a warning and a hook.
    """
    down: set[str] = set()
    for dispatch in dispatches:
        key = runner_of(dispatch.using) or runners._settings().runner
        if key in down:
            continue
        try:
            runner = runners.get(key)
            early = dispatch.not_before is not None and dispatch.not_before > now
            if early and RunnerCapability.DELAYS not in runner.capabilities:
                continue
            runner.deliver(_delivery(storage, dispatch))
        except Exception as error:
            if isinstance(error, RunnerUnavailable):
                down.add(key)
            _log.warning(
                "runner %r could not take %s of session %r; it stays scheduled and the sweep will deliver it: %s",
                key,
                dispatch.name,
                storage.uid,
                error,
            )
            get_hooks().call("triggers_dispatch_failed", storage=storage, name=dispatch.name, runner=key, error=error)
    return down


def _delivery(storage: BaseTriggerStorage, dispatch: Dispatch) -> Delivery:
    return Delivery(
        storage.key,
        storage.uid,
        dispatch.name,
        dispatch.attempt,
        dispatch.run,
        dispatch.using,
        dispatch.not_before,
        storage,
    )


def tell_hooks(storage: BaseTriggerStorage, decision: Decision[Any]) -> None:
    """Calls the hooks for what a decision did."""
    notices = decision.notices
    if not notices:
        return
    hooks = get_hooks()
    if not any(map(hooks.wanted, _HOOK_OF.values())):
        _log_manager_changes(storage, notices)
        return
    shown: dict[str, TaskInstance] = {}

    def show(name: str) -> TaskInstance:
        if name not in shown:
            shown[name] = records.as_task_instance(decision.touched[name])
        return shown[name]

    for notice in notices:
        hook = _HOOK_OF.get(type(notice))
        if hook is not None and hooks.wanted(hook):
            hooks.call(hook, storage=storage, **_arguments(notice, show))
    _log_manager_changes(storage, notices)


_HOOK_OF: dict[type[Notice], str] = {
    Fired: "triggers_post_fire",
    Replayed: "triggers_post_replay",
    Skipped: "triggers_post_skip",
    StatusChanged: "triggers_instance_status_changed",
    Recovered: "triggers_instance_recovered",
    Finalized: "triggers_session_finalized",
}


def _arguments(notice: Notice, show: Callable[[str], TaskInstance]) -> dict[str, Any]:
    match notice:
        case Fired(trigger, kwargs, instances, _):
            return {"trigger": trigger, "kwargs": decode(kwargs), "instances": [show(name) for name in instances]}
        case Replayed(name, replacement):
            return {"instance": show(name), "replacement": show(replacement)}
        case Skipped(name, cascade):
            return {"instance": show(name), "cascade": cascade}
        case StatusChanged(instance, before):
            return {"instance": records.as_task_instance(instance), "before": before, "after": instance.status}
        case Recovered(name, attempt, reason):
            return {"name": name, "attempt": attempt, "reason": reason}
        case _:
            return {}


def _log_manager_changes(storage: BaseTriggerStorage, notices: Iterable[Notice]) -> None:
    for notice in notices:
        if isinstance(notice, ManagerChanged):
            _log.warning(
                "session %r was served by the manager %r and is from now on by %r",
                storage.uid,
                notice.before,
                notice.after,
            )
