"""The manager: what an application asks of a session. A thin shell around the runtime."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from triggers import records
from triggers.codec import encode_object
from triggers.config import parse_configuration
from triggers.context import BodyScope, storable_text
from triggers.engine.application import Configure, Fire
from triggers.engine.attempts import Fail, Failure, Finish, SkipSelf, Start
from triggers.engine.commands import Command, Decision
from triggers.engine.decision import Fired, FireResult, Replayed, Skipped
from triggers.engine.lifecycle import NOT_SEARCHABLE, Cancel, CancelSession, Label
from triggers.engine.operations import Annotate, Replay, ResolveLogs, Skip
from triggers.engine.related import CompleteChildren
from triggers.engine.transitions import illegal, sources
from triggers.errors import IllegalTransition, InvalidName, SettingsError
from triggers.explain import explain
from triggers.history import HistoryEntry, read_history
from triggers.instance import Status, TaskInstance
from triggers.managers import MANAGER_API_VERSION, trigger_managers
from triggers.names import check_name, plain, shorten, split_instance_name
from triggers.process import Process, get_process
from triggers.relations import join, open_related
from triggers.storages.base import BaseTriggerStorage
from triggers.worker import encode_replacement

__all__ = ["MANAGER_API_VERSION", "TriggerManager", "get_manager", "trigger_managers"]

R = TypeVar("R")


class TriggerManager:
    """Applies the rules to one session.

    Any number of managers of a session may be used at once, in any processes. What an operation returns is stored; where it
    raises, nothing was changed (``OutcomeUnknown`` apart).

    Args:
        storage: the session.
        process: what to share with the rest of the process; a test may give its own.
    """

    api_version: ClassVar[int] = 1
    key: str = "default"
    """The key under which this class is registered, which the session remembers (R32)."""
    finalizes: ClassVar[bool] = False
    """Whether its sessions fire ``sessionFinalized`` (R29)."""

    def __init__(self, storage: BaseTriggerStorage, *, process: Process | None = None) -> None:
        if not isinstance(storage, BaseTriggerStorage):
            raise SettingsError(
                f"a manager takes a storage, trigger_managers.get('default', storage_backends.get('sql', uid)), "
                f"got {shorten(storage)}"
            )
        self.storage = storage
        self._process = process or get_process()
        self._body: BodyScope | None = None

    @property
    def uid(self) -> str:
        """The session's uid."""
        return self.storage.uid

    def __repr__(self) -> str:
        """The class and the storage."""
        return f"{type(self).__name__}({self.storage!r})"

    def fire(self, trigger: str, kwargs: Mapping[str, Any] | None = None, *, event_id: str | None = None) -> FireResult:
        """Fires a trigger: applies it to every task that names it, and starts what is ready.

        Args:
            trigger: the trigger.
            kwargs: its kwargs, an object of JSON values; encoded before this returns (R12).
            event_id: a name for this very event; firing it again changes nothing and returns what the first time returned (R13).

        Returns:
            The names of the instances that were created, scheduled and abandoned; all stored, whatever becomes of the runner.

        Raises:
            InvalidName: the trigger or the event id is no name.
            UnserializableKwargs: the kwargs are no JSON.
            EventMismatch: the event id was fired with another trigger.
            LimitExceeded, SessionTooLarge: the session would grow too large.
            StorageError: the storage does not answer.
        """
        trigger = check_name("trigger", trigger)
        if event_id is not None:
            event_id = check_name("event", event_id)
        elif self._body is not None:
            event_id = self._body.next_event_id()
        encoded = self._encode(kwargs, f"the kwargs of trigger {trigger!r}")
        return self._run(Fire(trigger, encoded, event_id, None if self._body else self.key, self._from_body)).result

    def update_configuration(self, configuration: Mapping[str, Any], *, evaluate: bool = False) -> bool:
        """Adds tasks, replaces those of the same name, and removes those given as ``None`` (R3).

        Args:
            configuration: ``{task: directives}``; see the configuration reference.
            evaluate: whether new and changed tasks take in what fired before.

        Returns:
            Whether anything changed.

        Raises:
            ConfigurationError: something in the document is wrong; names the place. Nothing was changed.
        """
        parsed = parse_configuration(configuration)
        self._process.runners.check(parsed)
        return self._run(Configure(parsed, evaluate, None if self._body else self.key, self._from_body)).result

    def replay_failed_instance(
        self, name: str, replacement_kwargs: Mapping[str, Mapping[str, Any]] | None = None
    ) -> TaskInstance:
        """Replays a failed instance: it becomes ``replayed``, and a new instance of the same task is scheduled (R20).

        Args:
            name: the failed instance, ``"t_score#0"``.
            replacement_kwargs: ``{trigger: kwargs}`` in place of all that was fired (``{}``: nothing); ``None`` keeps it.

        Returns:
            The new instance.

        Raises:
            UnknownInstance: there is no such instance.
            IllegalTransition: it is not failed.
        """
        replacement = None
        if replacement_kwargs is not None:
            replacement = encode_replacement(replacement_kwargs, self._process.settings.max_value_bytes)
        return _shown(self._run(Replay(_instance(name), replacement)))

    def skip_failed_instance(self, name: str, cascade: bool = False, result: Mapping[str, Any] | None = None) -> TaskInstance:
        """Skips a failed instance; with ``cascade`` fires its task's name with ``result``, in the same step (R19).

        Raises:
            UnknownInstance: there is no such instance.
            IllegalTransition: it is not failed.
        """
        return _shown(self._run(Skip(_instance(name), self._encode(result, "the result"), cascade)))

    def update_instance_status(
        self, name: str, status: Status | str, metadata: Mapping[str, Any] | None = None, **options: Any
    ) -> TaskInstance:
        """Moves an instance to a status by hand, by the command that does so; never a way around the rules.

        ``skipped`` and ``replayed`` are ``skip_failed_instance`` and ``replay_failed_instance`` (their arguments are
        ``options``);
        ``running`` starts the scheduled attempt; ``finished`` (with ``result=``), ``failed`` (with ``message=``) and, for running
        work, ``skipped`` report the running attempt.

        Raises:
            UnknownInstance: there is no such instance.
            IllegalTransition: the instance's status, or the status asked for, does not allow it.
        """
        target = _status(status)
        noted = self._checked_metadata(metadata)
        current = self.storage[_instance(name)]
        command = self._command_for(current, target, noted, options)
        decision = self._run(command)
        if isinstance(command, Start) and decision.result.instance is None:
            raise IllegalTransition(f"{name} cannot be started: {decision.result.refusal}")
        if noted and not isinstance(command, (Fail, Finish, SkipSelf)):
            self.update_instance_metadata(name, noted)
        return self.storage[name]

    def update_instance_metadata(self, name: str, metadata: Mapping[str, Any]) -> TaskInstance:
        """Merges metadata into an instance's own; keys that are there are replaced.

        Raises:
            UnknownInstance: there is no such instance.
            UnserializableKwargs: the metadata are no JSON.
        """
        return _shown(self._run(Annotate(_instance(name), self._checked_metadata(metadata))))

    def mark_instance_logs_resolved(self, name: str) -> TaskInstance:
        """Notes that somebody has looked at what an instance logged.

        Raises:
            UnknownInstance: there is no such instance.
        """
        return _shown(self._run(ResolveLogs(_instance(name))))

    def label(self, **attributes: str | None) -> dict[str, str]:
        """Sets attributes by which the session can be found, ``manager.label(customer="7")``; ``None`` removes one.

        Returns:
            All attributes of the session.

        Raises:
            InvalidName: a name or a value is none, ``name=value`` is longer than 255 bytes, or the name is one of the other
                parameters of ``find_sessions``.
        """
        for name, value in attributes.items():
            if name in NOT_SEARCHABLE and value is not None:
                raise InvalidName(f"the attribute {name!r} could not be searched for: find_sessions means something else by it")
            if not isinstance(value, str | None):
                raise InvalidName(f"the attribute {name!r} must be a string, got {shorten(value)}; write {name}={str(value)!r}")
            if value is not None and (not name or "=" in name):
                raise InvalidName(f"the name of an attribute must not be empty or have a '=', got {shorten(name)}")
            check_name("attribute", f"{name}={'' if value is None else plain(value)}")
        texts = {name: None if value is None else plain(value) for name, value in attributes.items()}
        return self._run(Label(texts, self._from_body)).result

    def cancel_instance(self, name: str, reason: str = "cancelled by hand") -> TaskInstance:
        """Abandons an instance that is not resolved (R35). Running work is told through its context; its report is refused.

        Raises:
            UnknownInstance: there is no such instance.
            IllegalTransition: it is resolved.
        """
        self._run(Cancel([_instance(name)], check_reason(reason)))
        return self.storage[name]

    def cancel(self, reason: str = "cancelled by hand") -> tuple[str, ...]:
        """Abandons every unresolved instance and closes the session: it takes no more fires (R35).

        Returns:
            The names of the instances that were abandoned.
        """
        return self._run(CancelSession(check_reason(reason))).result

    def join(self, parent: str, *, alias: str, storage: str | None = None) -> None:
        """Makes this session a child: what fires in it from now on also fires in the parent, as ``alias.trigger`` (R30).

        Args:
            parent: the uid of the parent; the session is made if it is not there.
            alias: the name of the child in the parent; has no ``.`` and no ``*``.
            storage: the key of the parent's storage; this session's own by default.

        Raises:
            RelationError: the alias is taken, a circle would arise, this session has another parent, or the parent's children
                were declared complete.
        """
        related = open_related(self.storage, storage or self.storage.key, parent)
        join(self._process, self.storage, related, alias, self._from_body)

    def children_complete(self) -> bool:
        """Declares that no more children will join, so that ``*.trigger`` fires once all of them have fired it.

        Returns:
            Whether that is new.
        """
        return self._run(CompleteChildren(self._from_body)).result

    def children(self) -> dict[str, str]:
        """The children that have joined: their uids by alias."""
        return self.storage.children

    def explain(self, task: str | None = None) -> Any:
        """Why a task has not run yet, or has; for all tasks without a name. Printing it gives one plain line per task.

        Raises:
            UnknownSession: there is no such session.
            ConfigurationError: the session has no such task.
        """
        return explain(self.storage, task, self._process.now())

    def history(self) -> list[HistoryEntry]:
        """What happened to the session, oldest first, as far as the setting ``history`` keeps it."""
        return read_history(self.storage)

    def for_body(self, scope: BodyScope) -> TriggerManager:
        """This manager as a work uses it: its fires get event ids (R13) and never make a session (R14)."""
        bound = copy.copy(self)
        bound._body = scope
        return bound

    def tell(self, decision: Decision[Any]) -> None:
        """Calls ``_post_fire``, ``_post_replay`` and ``_post_skip`` for what a stored decision did."""
        if not self._has_hooks or not decision.changed:
            return
        touched = decision.touched
        for notice in decision.notices:
            match notice:
                case Fired(trigger, _, names, _):
                    self._post_fire(trigger, [records.as_task_instance(touched[name]) for name in names])
                case Replayed(_, replacement):
                    self._post_replay(records.as_task_instance(touched[replacement]))
                case Skipped(name, cascade):
                    self._post_skip(records.as_task_instance(touched[name]), cascade)
                case _:
                    pass

    def _post_fire(self, trigger_name: str, task_instances: list[TaskInstance]) -> None:
        """Override it to do something after each fire and cascade; ``task_instances`` received the trigger or were made by it.

        Called after the commit (R34); what it raises reaches the caller.
        """

    def _post_replay(self, task_instance: TaskInstance) -> None:
        """Override it to do something after each replay and retry; ``task_instance`` is the new one."""

    def _post_skip(self, task_instance: TaskInstance, cascade: bool) -> None:
        """Override it to do something after an instance was skipped."""

    @property
    def _from_body(self) -> str | None:
        """The instance whose work uses this manager."""
        return self._body.name if self._body else None

    @property
    def _has_hooks(self) -> bool:
        kind = type(self)
        return (
            kind._post_fire is not TriggerManager._post_fire
            or kind._post_replay is not TriggerManager._post_replay
            or kind._post_skip is not TriggerManager._post_skip
        )

    def _run(self, command: Command[R]) -> Decision[R]:
        decision = self._process.execute(self, command)
        self._process.after(self.storage, decision)
        self.tell(decision)
        return decision

    def _encode(self, value: Mapping[str, Any] | None, what: str) -> msgspec.Raw:
        return encode_object(value, what, self._process.settings.max_value_bytes)

    def _checked_metadata(self, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        self._encode(metadata, "metadata")
        return {} if metadata is None else dict(metadata)

    def _command_for(
        self, current: TaskInstance, target: Status, metadata: dict[str, Any], options: dict[str, Any]
    ) -> Command[Any]:
        name = current.name
        match target:
            case Status.REPLAYED:
                kwargs = options.pop("replacement_kwargs", None)
                limit = self._process.settings.max_value_bytes
                return _complete(options, Replay(name, None if kwargs is None else encode_replacement(kwargs, limit)))
            case Status.SKIPPED:
                result, cascade = self._encode(options.pop("result", None), "the result"), options.pop("cascade", False)
                if current.status is Status.RUNNING:
                    return _complete(options, SkipSelf(name, result, cascade, metadata=metadata))
                return _complete(options, Skip(name, result, cascade))
            case Status.FINISHED:
                result = self._encode(options.pop("result", None), "the result")
                return _complete(options, Finish(name, result, metadata=metadata))
            case Status.FAILED:
                message = str(options.pop("message", "marked as failed by hand"))
                return _complete(options, Fail(name, Failure({"type": "by hand", "message": message}), metadata=metadata))
            case Status.RUNNING:
                if current.status is not Status.SCHEDULED:
                    raise illegal(name, current.status, "become running", sources(Status.RUNNING))
                return _complete(options, Start(name, current.attempt, f"by hand {time.time_ns()}"))
            case _:
                ways = "a fire or cancel_instance" if target is Status.ABANDONED else "a fire"
                raise IllegalTransition(f"{name} is {current.status}; only {ways} makes an instance {target}")


def _shown(decision: Decision[records.Instance]) -> TaskInstance:
    return records.as_task_instance(decision.result)


def check_reason(reason: str) -> str:
    """The reason of a cancellation as it is stored."""
    return storable_text(str(reason))


def _instance(name: str) -> str:
    task, number = split_instance_name(name)
    return f"{task}#{number}"


def _status(status: Status | str) -> Status:
    try:
        return Status(status)
    except ValueError:
        raise IllegalTransition(f"there is no status {status!r}; there are {', '.join(Status)}") from None


def _complete(unused: dict[str, Any], command: Command[Any]) -> Command[Any]:
    if unused:
        raise TypeError(f"unknown options for this status: {', '.join(unused)}")
    return command


def get_manager(uid: str, *, manager: str | None = None, storage: str | None = None) -> TriggerManager:
    """The manager of a session, with the storage and the manager of the settings.

    Args:
        uid: the session; it is made by its first fire or configuration.
        manager: another manager's key.
        storage: another storage's key.
    """
    from triggers.storages import storage_backends

    settings = get_process().settings
    handle = storage_backends.get(storage or settings.storage, uid)
    return trigger_managers.get(manager or settings.manager, handle)
