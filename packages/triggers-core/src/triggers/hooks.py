"""Hooks (pluggy): who wants to know what happened, or to take part in a run.

Every hook is called after the commit, at most once (R34), plugin by plugin: what one raises is logged, and keeps neither the
others nor what was committed from going on. Plugins come from entry points of the group ``triggers.plugins``, or from
``register``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from triggers.errors import PluginError
from triggers.forking import renew_after_fork
from triggers.instance import Status, TaskInstance
from triggers.names import shorten

if TYPE_CHECKING:
    from triggers.context import TaskContext
    from triggers.storages.base import BaseTriggerStorage

hookspec = pluggy.HookspecMarker("triggers")
hookimpl = pluggy.HookimplMarker("triggers")
"""Marks a function of a plugin as the implementation of a hook."""

_log = logging.getLogger("triggers.hooks")
_GROUP = "triggers.plugins"


class HookSpecs:
    """The hooks. A plugin implements those that it wants, with the arguments that it wants."""

    @hookspec
    def triggers_post_fire(
        self, storage: BaseTriggerStorage, trigger: str, kwargs: Mapping[str, Any], instances: list[TaskInstance]
    ) -> None:
        """A trigger was fired, by the application or a cascade; ``instances`` received it or were made by it."""

    @hookspec
    def triggers_post_replay(self, storage: BaseTriggerStorage, instance: TaskInstance, replacement: TaskInstance) -> None:
        """A failed instance was replayed, by hand or by a retry."""

    @hookspec
    def triggers_post_skip(self, storage: BaseTriggerStorage, instance: TaskInstance, cascade: bool) -> None:
        """An instance was skipped."""

    @hookspec
    def triggers_instance_status_changed(
        self, storage: BaseTriggerStorage, instance: TaskInstance, before: Status | None, after: Status
    ) -> None:
        """An instance got another status; ``before`` is ``None`` for a new one."""

    @hookspec
    def triggers_session_finalized(self, storage: BaseTriggerStorage) -> None:
        """The session fired ``sessionFinalized``."""

    @hookspec
    def triggers_dispatch_failed(self, storage: BaseTriggerStorage, name: str, runner: str, error: Exception) -> None:
        """A runner could not take an attempt; the sweep delivers it later."""

    @hookspec
    def triggers_instance_recovered(self, storage: BaseTriggerStorage, name: str, attempt: int, reason: str) -> None:
        """The sweep found an attempt that was lost, timed out, or was not started in time."""

    @hookspec
    def triggers_report_refused(self, storage: BaseTriggerStorage, name: str, attempt: int, error: Exception) -> None:
        """A worker's report came after its attempt was superseded, and changed nothing."""

    @hookspec(firstresult=True)
    def triggers_call_task(self, context: TaskContext, call: Callable[[], Any]) -> Any:
        """Runs the body: implement it with ``@hookimpl(wrapper=True)``, ``yield``, and return what the yield gave."""

    @hookspec
    def triggers_cli_commands(self) -> Any:
        """Gives commands (``click.Command``) for the ``triggers`` command line."""


class _Body:
    """The innermost implementation of ``triggers_call_task``."""

    @hookimpl(trylast=True)
    def triggers_call_task(self, context: TaskContext, call: Callable[[], Any]) -> Any:
        return call()


class Hooks:
    """The plugins of a process, and guarded calls to them."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("triggers")
        self.manager.add_hookspecs(HookSpecs)
        self.manager.register(_Body(), "triggers-body")
        self.broken: dict[str, BaseException] = {}
        """Entry points that could not be loaded, with the reason."""

    def load(self) -> None:
        """Loads the plugins of installed distributions; one that fails is noted and does not stop the others."""
        import importlib.metadata

        values: dict[str, str] = {}
        for entry_point in importlib.metadata.entry_points(group=_GROUP):
            first = values.setdefault(entry_point.name, entry_point.value)
            if first != entry_point.value:
                clash = f"plugin {entry_point.name} ({entry_point.value}) is not loaded: {first} has the same name"
                self.broken[f"{entry_point.name} ({entry_point.value})"] = PluginError(f"{clash}; uninstall one of them")
                _log.error(clash)
            elif self.manager.get_plugin(entry_point.name) is None and not self.manager.is_blocked(entry_point.name):
                try:
                    self.register(entry_point.load(), entry_point.name)
                except (Exception, SystemExit) as error:
                    self.broken[entry_point.name] = error
                    _log.exception("plugin %s (%s) cannot be loaded", entry_point.name, entry_point.value)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Registers a plugin; a hook of a name that does not exist is an error.

        Raises:
            PluginError: the plugin implements ``triggers_…`` that is no hook, or asks for an argument that it does not have.
            ValueError: it is registered already.
        """
        try:
            self.manager.register(plugin, name)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise PluginError(f"plugin {name or shorten(plugin)} cannot be used: {error}") from error

    def unregister(self, plugin: object) -> None:
        """Removes a plugin."""
        self.manager.unregister(plugin)

    def wanted(self, hook: str) -> bool:
        """Whether any plugin implements the hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def call(self, hook: str, **arguments: Any) -> None:
        """Calls each implementation on its own; logs what one raises."""
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception:
                _log.exception("%s of plugin %s raised; what it was called for stands", hook, implementation.plugin_name)

    def call_task(self, context: TaskContext, call: Callable[[], Any]) -> Any:
        """Runs the body inside the plugins that wrap it."""
        caller = self.manager.hook.triggers_call_task
        if len(caller.get_hookimpls()) == 1:
            return call()
        return caller(context=context, call=call)


_hooks: Hooks | None = None
_lock = threading.Lock()
renew_after_fork(globals(), "_lock", threading.Lock)


def get_hooks() -> Hooks:
    """The plugins of this process; loaded at the first call."""
    global _hooks
    if _hooks is None:
        with _lock:
            if _hooks is None:
                hooks = Hooks()
                hooks.load()
                _hooks = hooks
    return _hooks
