"""What an operator asks of a session as a whole, or of its unfinished instances: label, cancel, close, activate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from triggers.config import Configuration
from triggers.engine.closing import CANCELLED, COPY, MOVED, closed_error
from triggers.engine.commands import Command
from triggers.engine.decision import Cancelled
from triggers.engine.session import Session, instance_want
from triggers.engine.transitions import check_transition
from triggers.engine.view import HEAD_WANT
from triggers.instance import RESOLVED, Status
from triggers.names import split_instance_name
from triggers.records import PLACES, Instance, live, queued, waiting
from triggers.store import EVERYTHING, Want

NOT_SEARCHABLE = frozenset({"status", "storage", "cursor", "limit"})
"""What ``find_sessions`` takes for something else than an attribute."""


class Label(Command[dict[str, str]]):
    """Sets attributes of a session, by which it can be found; returns all of them.

    Args:
        attributes: by name; ``None`` removes one.
        from_body: the instance whose work does so; it never makes a session (R14).
    """

    __slots__ = ("attributes", "from_body")

    repeatable = True
    admitted_when_closed = True

    def __init__(self, attributes: Mapping[str, str | None], from_body: str | None = None) -> None:
        self.attributes = attributes
        self.from_body = from_body

    @property
    def creates(self) -> bool:
        """An application may label a session before it fires, but not a body."""
        return self.from_body is None

    def apply(self, session: Session) -> dict[str, str]:
        """Merges them; writes only if something differs."""
        old = session.head.attributes if session.head else {}
        merged = {name: value for name, value in {**old, **self.attributes}.items() if value is not None}
        if merged != old or session.head is None:
            session.set_head(attributes=merged)
        return merged


class Cancel(Command[tuple[str, ...]]):
    """Abandons instances that are not resolved, for a reason; returns their names (R35).

    Args:
        names: the instances.
        reason: kept in their metadata.
    """

    __slots__ = ("names", "reason")

    repeatable = True

    def __init__(self, names: Sequence[str], reason: str) -> None:
        self.names = names
        self.reason = reason

    def want(self, config: Configuration) -> Want:
        """The instances, wherever they lie."""
        want = HEAD_WANT
        for name in self.names:
            task, number = split_instance_name(name)
            want = want | instance_want(task, str(number))
        return want

    def apply(self, session: Session) -> tuple[str, ...]:
        """Abandons each; one that was cancelled before is left as it is."""
        done = []
        for name in self.names:
            instance = session.find(name)
            if not (instance.status is Status.ABANDONED and "cancelled" in instance.metadata):
                check_transition(name, instance.status, Status.ABANDONED)
                abandon(session, instance, self.reason)
                done.append(name)
        return tuple(done)


class CancelSession(Command[tuple[str, ...]]):
    """Abandons every unresolved instance and closes the session: it takes no more fires (R35).

    Args:
        reason: kept with the session and the instances.
    """

    __slots__ = ("reason",)

    repeatable = True
    admitted_when_closed = True

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def want(self, config: Configuration) -> Want:
        """The head and all unresolved instances."""
        places = (f"{place}/{task}" for task in config.tasks for place in PLACES[:3])
        return HEAD_WANT | Want(collections=frozenset(places) | {"count"})

    def apply(self, session: Session) -> tuple[str, ...]:
        """Abandons them, task by task."""
        if session.head is not None and session.head.closed:
            if session.head.closed == CANCELLED:
                return ()
            raise closed_error(session.uid, session.head.closed, session.head.closed_because)
        session.view.require(self.want(session.config))
        names = []
        for task in session.config.tasks:
            for collection in (waiting(task), queued(task), live(task)):
                for instance in session.instances(collection):
                    if instance.status not in RESOLVED:
                        abandon(session, instance, self.reason)
                        names.append(instance.name)
        session.set_head(closed=CANCELLED, closed_because=self.reason)
        session.notices.append(Cancelled("", self.reason))
        return tuple(names)


class Close(Command[str]):
    """Marks a session as moved to another storage: it takes nothing any more (R31). Returns its version before.

    Args:
        expected: the version that was copied; if the session has changed since, nothing is done and the version is returned.
            ``None`` closes it as it is, for a session that changes faster than it can be copied.
        target: where it went, for people.
    """

    __slots__ = ("expected", "target")

    repeatable = True
    admitted_when_closed = True

    def __init__(self, expected: str | None, target: str) -> None:
        self.expected = expected
        self.target = target

    def apply(self, session: Session) -> str:
        """Closes it if nothing has happened since the copy."""
        head = session.head
        already = head is not None and head.closed == MOVED
        version = session.view.version
        if head is not None and self.expected in (None, version) and not already:
            before = (head.closed, head.closed_because)
            session.set_head(closed=MOVED, closed_because=self.target, closed_before=before, copy_of=version)
        return head.copy_of if head is not None and already else version


class Vacate(Command[None]):
    """Removes what a session that was moved has left behind, but for the head, which says where it went (R31).

    Only for one whose copy is active: until then the copy may have to be written again.
    """

    __slots__ = ()

    repeatable = True
    admitted_when_closed = True

    def want(self, config: Configuration) -> Want:
        """All of it."""
        return EVERYTHING

    def absent(self, uid: str) -> None:
        """It was deleted meanwhile."""

    def apply(self, session: Session) -> None:
        """Drops the records with their wake-ups, so that no sweep looks at them any more."""
        head = session.head
        if head is not None and head.closed == MOVED and head.copy_of:
            session.view.clear()
            session.set_head(copy_of="", config="")


class Activate(Command[bool]):
    """Wakes a copy: from now on it is the session (R31). Returns whether it is the session now.

    Args:
        copy_of: the version that was marked as moved; a copy of another one is not woken. ``None`` if there is none.
    """

    __slots__ = ("copy_of",)

    repeatable = True
    admitted_when_closed = True

    def __init__(self, copy_of: str | None = None) -> None:
        self.copy_of = copy_of

    def apply(self, session: Session) -> bool:
        """Opens a copy; leaves any other session as it is."""
        if session.head is not None and session.head.closed == COPY:
            if self.copy_of not in (None, session.head.copy_of):
                return False
            closed, because = session.head.closed_before
            session.set_head(closed=closed, closed_because=because, closed_before=("", ""))
        return True


def abandon(session: Session, instance: Instance, reason: str) -> None:
    """Makes one instance abandoned, with the reason in its metadata."""
    metadata = {**instance.metadata, "cancelled": reason}
    abandoned = replace(
        instance, status=Status.ABANDONED, resolved=session.now, metadata=metadata, lease=None, deadline=None, claim=""
    )
    session.place(instance, abandoned)
    session.notices.append(Cancelled(instance.name, reason))
