"""What can go wrong, by name.

One base class, a flat list below it. Each is also the builtin exception that a caller would catch without knowing Triggers.
A message says what was wrong, where, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triggers.store import Snapshot


class TriggersError(Exception):
    """The base of every error that Triggers raises on purpose."""

    def __str__(self) -> str:
        """The message as it was written (``KeyError`` would put it in quotes)."""
        return str(self.args[0]) if self.args else ""


class ConfigurationError(TriggersError, ValueError):
    """A configuration was refused; nothing was changed. ``place`` is where, as in ``$.t_score.after[1]``."""

    def __init__(self, message: str, place: str = "$") -> None:
        super().__init__(f"{place}: {message}")
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        """Survives pickling between processes: the place is already in the message."""
        return (_rebuild_configuration_error, (str(self), self.place))


def _rebuild_configuration_error(text: str, place: str) -> ConfigurationError:
    return ConfigurationError(text.removeprefix(f"{place}: "), place)


class SettingsError(TriggersError, ValueError):
    """A setting is unknown, or has a value that it cannot have."""


class InvalidName(TriggersError, ValueError):
    """The name of a session, task, trigger or event breaks R2."""


class UnserializableKwargs(TriggersError, TypeError):
    """Kwargs, a result or metadata are not JSON that every store gives back unchanged (R12); nothing was stored."""


class InvalidKwargs(TriggersError, ValueError):
    """The kwargs of a trigger do not fit the type that the task asked for."""


class UnknownKey(TriggersError, KeyError):
    """No backend, manager or runner is registered under this key."""


class PluginError(TriggersError, ImportError):
    """A plugin cannot be used: it fails to import, clashes with another, or was built for another interface."""


class UnknownTask(TriggersError, LookupError):
    """No body is registered under the name that a task's ``run`` gives."""


class UnknownInstance(TriggersError, KeyError):
    """The session has no task instance of this name."""


class UnknownSession(TriggersError, LookupError):
    """The session does not exist, and this operation never makes one."""


class SessionExists(TriggersError, ValueError):
    """The target of a copy has a session of this uid, or the original of a copy is still in use."""


class SessionClosed(TriggersError, RuntimeError):
    """The session takes nothing any more: it was cancelled, it was moved away, or it is a copy that is not active yet."""


class IllegalTransition(TriggersError, RuntimeError):
    """The instance is not in a status in which this operation is possible (R22)."""


class StaleAttempt(IllegalTransition):
    """A report of an attempt that is not the current one (R25); it was refused and changed nothing."""


class EventMismatch(TriggersError, ValueError):
    """An event id came again with another trigger (R13)."""


class LimitExceeded(TriggersError, RuntimeError):
    """A limit that is a setting would be exceeded, as the number of instances of a session (R33)."""


class StorageError(TriggersError):
    """A storage could not do what was asked."""


class StorageUnavailable(StorageError, ConnectionError):
    """The medium does not answer; nothing was sent to it, or only a read was."""


class OutcomeUnknown(StorageError, ConnectionError):
    """The connection was lost after a change was sent: it may have been stored, or not."""


class UnreadableRecord(StorageError, ValueError):
    """A stored record, or its format, is not one that this version knows."""


class SessionTooLarge(StorageError, ValueError):
    """The session comes near to what its store can keep in one value, so it takes no more fires (reports still fit)."""


class Conflict(StorageError):
    """Somebody else committed first; nothing of this change was stored.

    ``snapshot`` is what was wanted, as it is now, or ``None`` where the store could not say.
    """

    def __init__(self, uid: str, snapshot: Snapshot | None = None) -> None:
        super().__init__(f"session {uid!r} was changed by somebody else; load it again and decide anew")
        self.uid = uid
        self.snapshot = snapshot

    def __reduce__(self) -> tuple[object, ...]:
        """Survives pickling between processes."""
        return (Conflict, (self.uid, self.snapshot))


class RunnerUnavailable(TriggersError, ConnectionError):
    """A runner could not take a delivery (its broker is down, say); the sweep will try again."""


class MaxRetriesExceeded(TriggersError):
    """A work asked for one more retry than its task allows (R21)."""


class RelationError(TriggersError, ValueError):
    """Two sessions cannot be related like this: the alias is taken, a circle would arise, or the set of children is complete."""


class WorkerLost(TriggersError):
    """The lease of an attempt ran out: its worker died, or was cut off (R25)."""


class AttemptTimeout(TriggersError, TimeoutError):
    """An attempt ran longer than its task's ``timeout`` allows."""


class InvalidResult(TriggersError, TypeError):
    """A work returned something that is neither an object nor ``None`` (R17)."""
