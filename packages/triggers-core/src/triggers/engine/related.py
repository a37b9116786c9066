"""Related sessions (R30): a child hands its fires to its parent, through an outbox that is written with them.

Each fire of a child has a number. The parent keeps the number of the last one that arrived, in the same commit in
which it fires it, so a delivery that is repeated, by whomever, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from triggers.codec import encode
from triggers.config import Configuration
from triggers.engine.commands import Command
from triggers.engine.fire import fire, fire_want
from triggers.engine.session import Session
from triggers.engine.view import HEAD_WANT
from triggers.errors import RelationError
from triggers.names import name_problem, plain, shorten
from triggers.records import ALIASES, CHILDREN, OUTBOX, STARS, TRIGGERS, Child, Collection, Head, Link, Parcel
from triggers.store import Want

STAR = "*."
_flags: msgspec.json.Decoder[bool] = msgspec.json.Decoder(bool)


class LinkParent(Command[Link]):
    """Gives a session its parent; from now on its fires go there too. Returns the link that stands.

    Args:
        link: the parent, the alias, and a fresh mark of this incarnation.
        moved: whether the parent was moved to another storage since; the child follows, as the one that it was.
        from_body: the instance whose work joins; it never makes a session (R14).
    """

    __slots__ = ("from_body", "link", "moved")

    repeatable = True

    def __init__(self, link: Link, moved: bool = False, from_body: str | None = None) -> None:
        self.link = link
        self.moved = moved
        self.from_body = from_body

    @property
    def creates(self) -> bool:
        """A child may join before it fires, but not from a body."""
        return self.from_body is None

    def apply(self, session: Session) -> Link:
        """Links it, unless it is linked in the same way."""
        known = session.parent
        if known is not None:
            if self.moved and (known.uid, known.alias) == (self.link.uid, self.link.alias):
                known = replace(known, storage=self.link.storage, confirmed=False)
                session.set_head(parent=known)
            elif (known.uid, known.storage, known.alias) != (self.link.uid, self.link.storage, self.link.alias):
                raise RelationError(
                    f"session {session.uid!r} is {known.alias!r} of session {known.uid!r} already and has only one parent"
                )
            return known
        session.set_head(parent=self.link)
        return self.link


class ConfirmLink(Command[None]):
    """Notes that the parent knows the child.

    Args:
        mark: the incarnation of the link.
    """

    __slots__ = ("mark",)

    repeatable = True
    admitted_when_closed = True

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def apply(self, session: Session) -> None:
        """Confirms the link, if it is still that link."""
        link = session.parent
        if link is not None and link.mark == self.mark and not link.confirmed:
            session.set_head(parent=replace(link, confirmed=True))


class Unlink(Command[None]):
    """Cuts a child off from a parent that does not know it any more; what waits for delivery is dropped.

    Args:
        mark: the incarnation of the link.
    """

    __slots__ = ("mark",)

    repeatable = True
    admitted_when_closed = True

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def want(self, config: Configuration) -> Want:
        """The head and the outbox."""
        return HEAD_WANT | Want(collections=frozenset({OUTBOX.name}))

    def apply(self, session: Session) -> None:
        """Drops the link and the outbox, if it is still that link."""
        if session.parent is not None and session.parent.mark == self.mark:
            for key in session.view.all(OUTBOX):
                session.view.drop(OUTBOX, key)
            session.set_head(parent=None, delivered=session.outbox)


class RegisterChild(Command[None]):
    """Makes a child known to its parent; makes the parent if there is none.

    Args:
        uid: the child.
        storage: the key of its storage.
        alias: its alias.
        mark: its incarnation.
    """

    __slots__ = ("alias", "mark", "storage", "uid")

    creates = True
    repeatable = True

    def __init__(self, uid: str, storage: str, alias: str, mark: str) -> None:
        self.uid = uid
        self.storage = storage
        self.alias = alias
        self.mark = mark

    def want(self, config: Configuration) -> Want:
        """The child, and who has the alias."""
        return HEAD_WANT | Want(frozenset({(CHILDREN.name, self.uid), (ALIASES.name, self.alias)}))

    def apply(self, session: Session) -> None:
        """Registers it.

        Raises:
            RelationError: another child has the alias, or the set of children was declared complete.
        """
        known = session.view.get(CHILDREN, self.uid)
        if known is not None and known.alias != self.alias:
            raise RelationError(f"session {self.uid!r} is known to {session.uid!r} as {known.alias!r}, not as {self.alias!r}")
        owner = session.view.get(ALIASES, self.alias)
        if owner is not None and owner != self.uid:
            raise RelationError(f"session {session.uid!r} has another child as {self.alias!r}: {owner!r}")
        if known is None:
            if session.head is not None and session.head.children_complete:
                raise RelationError(f"the children of session {session.uid!r} were declared complete; none can join any more")
            session.set_head(children=(session.head.children if session.head else 0) + 1)
            session.view.put(ALIASES, self.alias, self.uid)
        if known is None or known.mark != self.mark:
            child = Child(alias=self.alias, storage=self.storage, mark=self.mark, joined=session.now)
            session.view.put(CHILDREN, self.uid, child)


class Arrival(NamedTuple):
    """A numbered fire of a child."""

    number: int
    parcel: Parcel


class Arrive(Command[bool]):
    """Fires in the parent what fired in a child, in order, each once; returns whether the parent knows the child.

    Args:
        uid: the child.
        mark: its incarnation.
        alias: its alias.
        arrivals: its fires, in order of number.
    """

    __slots__ = ("alias", "arrivals", "mark", "uid")

    repeatable = True

    def __init__(self, uid: str, mark: str, alias: str, arrivals: Sequence[Arrival]) -> None:
        self.uid = uid
        self.mark = mark
        self.alias = alias
        self.arrivals = arrivals

    def want(self, config: Configuration) -> Want:
        """The child, and what each of its triggers concerns."""
        want = HEAD_WANT | Want(frozenset({(CHILDREN.name, self.uid)}))
        for trigger in {arrival.parcel.trigger for arrival in self.arrivals}:
            star = STAR + trigger
            name = name_in_parent(self.alias, trigger)
            if name is None:
                continue
            want = want | fire_want(config, name)
            heard = (heard_from(trigger).name, self.alias)
            want = want | Want(frozenset({(STARS.name, trigger), (TRIGGERS.name, star), heard}))
        return want

    def absent(self, uid: str) -> bool:
        """The parent was deleted; it knows nobody."""
        return False

    def closed(self, uid: str, head: Head) -> bool:
        """A cancelled parent lets go of its children; one that was moved must be followed by hand."""
        if head.closed == "cancelled":
            return False
        return super().closed(uid, head)

    def apply(self, session: Session) -> bool:
        """Fires what has not arrived yet."""
        session.view.require(self.want(session.config))
        child = session.view.get(CHILDREN, self.uid)
        if child is None or child.mark != self.mark:
            return False
        for number, parcel in self.arrivals:
            if number > child.arrived:
                self._fire(session, parcel)
                child = replace(child, arrived=number)
        session.view.put(CHILDREN, self.uid, child)
        return True

    def _fire(self, session: Session, parcel: Parcel) -> None:
        name = name_in_parent(self.alias, parcel.trigger)
        if name is None:
            return
        fire(session, name, parcel.kwargs, f"session {self.uid!r}", self.uid)
        heard = heard_from(parcel.trigger)
        if session.view.get(heard, self.alias) is None:
            session.view.put(heard, self.alias, True)
            count = (session.view.get(STARS, parcel.trigger) or 0) + 1
            session.view.put(STARS, parcel.trigger, count)
            fire_stars(session, [parcel.trigger])


class DropParcels(Command[None]):
    """Removes from the outbox what has arrived.

    Args:
        numbers: the numbers of the fires.
    """

    __slots__ = ("numbers",)

    repeatable = True
    admitted_when_closed = True

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def want(self, config: Configuration) -> Want:
        """The entries."""
        return HEAD_WANT | Want(frozenset((OUTBOX.name, str(number)) for number in self.numbers))

    def absent(self, uid: str) -> None:
        """The child was deleted, and its outbox with it."""

    def apply(self, session: Session) -> None:
        """Removes those that are still there."""
        if session.delivered < max(self.numbers):
            session.set_head(delivered=max(self.numbers))
        for number in self.numbers:
            if session.view.get(OUTBOX, str(number)) is not None:
                session.view.drop(OUTBOX, str(number))


class CompleteChildren(Command[bool]):
    """Declares the set of children complete, so that ``*.trigger`` can fire; returns whether it was not before.

    Args:
        from_body: the instance whose work declares it; it never makes a session (R14).
    """

    __slots__ = ("from_body",)

    repeatable = True

    def __init__(self, from_body: str | None = None) -> None:
        self.from_body = from_body

    @property
    def creates(self) -> bool:
        """A parent may have no children at all, but not from a body."""
        return self.from_body is None

    def want(self, config: Configuration) -> Want:
        """The counts of what all children have fired."""
        return HEAD_WANT | Want(collections=frozenset({STARS.name}))

    def apply(self, session: Session) -> bool:
        """Declares it, and fires what is complete at once."""
        if session.children_complete:
            return False
        session.set_head(children_complete=True)
        fire_stars(session, sorted(starred(session.config.naming)))
        return True


def heard_from(trigger: str) -> Collection[bool]:
    """By which alias a trigger has been heard; a fire by hand of ``alias.trigger`` is none."""
    return Collection(f"heard/{trigger}", _flags)


def name_in_parent(alias: str, trigger: str) -> str | None:
    """What a trigger of a child is called in its parent; ``None`` if that is longer than a name may be."""
    name = f"{alias}.{trigger}"
    return None if name_problem(name) else name


def starred(triggers: Iterable[str]) -> set[str]:
    """The triggers that are named as ``*.trigger``, without the star."""
    return {name.removeprefix(STAR) for name in triggers if name.startswith(STAR)}


def fire_stars(session: Session, triggers: Iterable[str]) -> None:
    """Fires ``*.trigger``, once, for each of the triggers that all children of a complete set have fired and a task names.

    The kwargs name each child by its alias; an empty set is complete at once. Only the fire itself reads all children.
    """
    if not session.children_complete:
        return
    for trigger in triggers:
        name = STAR + trigger
        if name not in session.config.naming:
            continue
        if session.view.get(TRIGGERS, name) is None and (session.view.get(STARS, trigger) or 0) == session.children:
            fire(session, name, _kwargs_of_children(session, trigger), "the last child")


def _kwargs_of_children(session: Session, trigger: str) -> msgspec.Raw:
    if not session.children:
        return msgspec.Raw(b"{}")
    children = session.view.all(CHILDREN)
    aliases = sorted(child.alias for child in children.values())
    session.view.require(Want(frozenset((TRIGGERS.name, f"{alias}.{trigger}") for alias in aliases)))
    kwargs: dict[str, msgspec.Raw] = {}
    for alias in aliases:
        fired = session.view.get(TRIGGERS, f"{alias}.{trigger}")
        if fired is not None:
            kwargs[alias] = fired.kwargs
    return msgspec.Raw(encode(kwargs))


def check_alias(alias: object) -> str:
    """Returns the alias if it can be one.

    Raises:
        RelationError: it is no name, or has a ``.`` or ``*``.
    """
    problem = name_problem(alias) or ("must not have '.' or '*'" if set(str(alias)) & {".", "*"} else None)
    if problem:
        raise RelationError(f"an alias {problem}, got {shorten(alias)}")
    return plain(alias)
