"""What an operator asks of an instance: replay it, skip it, note something on it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from triggers.config import Configuration
from triggers.engine.attempts import replay, skip
from triggers.engine.commands import Command
from triggers.engine.fire import fire_want
from triggers.engine.session import Session, instance_want
from triggers.engine.transitions import illegal
from triggers.engine.view import HEAD_WANT
from triggers.errors import UnknownInstance
from triggers.instance import Status
from triggers.names import split_instance_name
from triggers.records import Instance
from triggers.store import Want


class _OnInstance(Command[Instance]):
    """A command on one instance, by name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def want(self, config: Configuration) -> Want:
        """The instance, wherever it lies."""
        task, number = split_instance_name(self.name)
        return HEAD_WANT | instance_want(task, str(number))

    def absent(self, uid: str) -> Instance:
        """A session that does not exist has no instances."""
        raise UnknownInstance(f"session {uid!r} does not exist, so it has no instance {self.name!r}")


class Replay(_OnInstance):
    """Replays a failed instance (R20); returns the new one.

    Args:
        name: the failed instance.
        kwargs: the replacement of the fired kwargs, ``None`` to keep them.
    """

    __slots__ = ("kwargs",)

    def __init__(self, name: str, kwargs: dict[str, msgspec.Raw] | None = None) -> None:
        super().__init__(name)
        self.kwargs = kwargs

    def apply(self, session: Session) -> Instance:
        """Replays it."""
        failed = session.find(self.name)
        if failed.status is not Status.FAILED:
            raise illegal(self.name, failed.status, "be replayed", (Status.FAILED,))
        new = replay(session, failed, self.kwargs, 0, by_hand=True)
        return session.touched[new.name]


class Skip(_OnInstance):
    """Skips a failed instance (R19).

    Args:
        name: the failed instance.
        cascade: whether to fire the task's name.
        result: the kwargs of that cascade, encoded.
    """

    __slots__ = ("cascade", "result")

    def __init__(self, name: str, result: msgspec.Raw, cascade: bool = False) -> None:
        super().__init__(name)
        self.result = result
        self.cascade = cascade

    def want(self, config: Configuration) -> Want:
        """The instance, and what the cascade reads."""
        want = super().want(config)
        return want | fire_want(config, split_instance_name(self.name)[0]) if self.cascade else want

    def apply(self, session: Session) -> Instance:
        """Skips it."""
        failed = session.find(self.name)
        if failed.status is not Status.FAILED:
            raise illegal(self.name, failed.status, "be skipped", (Status.FAILED,))
        skip(session, failed, failed, self.result, self.cascade)
        return session.find(self.name)


class Annotate(_OnInstance):
    """Merges metadata into an instance's, whatever its status.

    Args:
        name: the instance.
        metadata: checked JSON; a key that is there is replaced.
    """

    __slots__ = ("metadata",)

    repeatable = True

    def __init__(self, name: str, metadata: dict[str, Any]) -> None:
        super().__init__(name)
        self.metadata = metadata

    def apply(self, session: Session) -> Instance:
        """Merges it, and writes only if something differs."""
        instance = session.find(self.name)
        merged = {**instance.metadata, **self.metadata}
        if merged != instance.metadata:
            rewrite(session, instance, replace(instance, metadata=merged))
        return session.find(self.name)


class ResolveLogs(_OnInstance):
    """Marks what an instance logged as resolved."""

    __slots__ = ()

    repeatable = True

    def apply(self, session: Session) -> Instance:
        """Marks it, if there is something to mark."""
        instance = session.find(self.name)
        if instance.log_level and not instance.logs_resolved:
            rewrite(session, instance, replace(instance, logs_resolved=True))
        return session.find(self.name)


def rewrite(session: Session, before: Instance, after: Instance) -> None:
    """Writes an instance that keeps its status, with the wake-up that it had."""
    collection = session.collection_of(before.name)
    session.place(before, after, session.view.wake_at(collection, str(before.number)))
