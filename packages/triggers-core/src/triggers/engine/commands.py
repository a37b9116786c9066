"""What can be asked of a session. Each command says what it reads, and decides.

``decide`` is the only door: a command that it accepts gives a ``Decision``, one that it refuses raises, and a command that needs
more than was loaded raises ``NeedMore``.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from triggers.config import Configuration
from triggers.engine.closing import COPY, MOVED, closed_error
from triggers.engine.decision import Dispatch, Notice, Terms
from triggers.engine.fire import finalize
from triggers.engine.session import Session
from triggers.engine.view import HEAD_WANT, View
from triggers.errors import UnknownSession
from triggers.records import Head, Instance
from triggers.store import ABSENT, Change, Want

R = TypeVar("R")

LARGE = 64 * 1024
"""With more bytes than these a command is committed by itself."""


class Command(Generic[R]):
    """The base of all commands."""

    __slots__ = ()

    report: ClassVar[bool] = False
    """Whether it tells of work that is under way: it still fits into a session that takes no more fires."""

    admitted_when_closed: ClassVar[bool] = False
    """Whether a session that was cancelled, moved, or is an inactive copy still takes it."""

    @property
    def joins(self) -> bool:
        """Whether it may be decided on top of what another one has just decided, and be committed with it."""
        return False

    @property
    def creates(self) -> bool:
        """Whether it makes a session that is not there."""
        return False

    @property
    def repeatable(self) -> bool:
        """Whether deciding it again after it may have been applied does nothing twice."""
        return False

    def want(self, config: Configuration) -> Want:
        """What it reads in the common case, under the configuration that the process believes in."""
        return HEAD_WANT

    def apply(self, session: Session) -> R:
        """Decides, by changing the session's view."""
        raise NotImplementedError

    def closed(self, uid: str, head: Head) -> R:
        """What it returns for a closed session; raises ``SessionClosed`` unless there is a better answer."""
        raise closed_error(uid, head.closed, head.closed_because)

    def absent(self, uid: str) -> R:
        """What it returns for a session that does not exist; raises ``UnknownSession`` unless there is a better answer."""
        raise UnknownSession(f"there is no session {uid!r}; it was never fired or configured, or it was deleted")


class Decision(Generic[R]):
    """What a command decided: the result, and if ``changed`` what has to be committed before anybody hears of it."""

    __slots__ = ("_session", "changed", "result")

    def __init__(self, session: Session | None, result: R) -> None:
        self._session = session
        self.result = result
        self.changed = session is not None and session.changed

    def change(self, token: str, clients: int, expire_in: int | None = None) -> Change:
        """The change to commit, with the client's slot and the new version set to the token."""
        return self.seal(token, clients).change(token, self.labels, expire_in)

    def seal(self, token: str, clients: int) -> View:
        """Writes the head, with the client's slot set to the token, and returns the view with all that is to be committed."""
        session = self._session
        if session is None:
            raise ValueError("a decision about a session that does not exist has nothing to commit")
        session.seal(token, clients)
        return session.view

    @property
    def labels(self) -> frozenset[str] | None:
        """The labels of the session if they change with this decision, which is sealed."""
        return self._session.labels() if self._session else None

    @property
    def has_parcels(self) -> bool:
        """Whether something fired that the session's parent has to hear of."""
        return self._session is not None and self._session.has_parcels

    @property
    def version(self) -> str:
        """The version of the session on which it was decided."""
        return self._session.view.version if self._session else ABSENT

    @property
    def configuration_hash(self) -> str:
        """The hash of the configuration under which it was decided, or that it made."""
        return self._session.config.hash if self._session else ""

    @property
    def manager(self) -> str:
        """The key of the manager that the session remembers (R32)."""
        head = self._session.view.head if self._session else None
        return head.manager if head else "default"

    @property
    def session_finished(self) -> bool:
        """Whether the session has tasks, all are resolved, and its parent has heard of all fires, after this decision.

        Never for the mark that a moved session leaves behind: without it, a late fire would make a second session.
        """
        session = self._session
        return (
            session is not None
            and bool(session.config.tasks)
            and session.unresolved == 0
            and session.delivered == session.outbox
            and session.closed_as not in (MOVED, COPY)
        )

    @property
    def dispatches(self) -> list[Dispatch]:
        """The attempts that runners have to hear of after the commit."""
        return self._session.dispatches if self._session else []

    @property
    def notices(self) -> list[Notice]:
        """What happened, for hooks."""
        return self._session.notices if self._session else []

    @property
    def touched(self) -> dict[str, Instance]:
        """The instances that were written, by name, as they are after the commit."""
        return self._session.touched if self._session else {}


def decide(uid: str, view: View, command: Command[R], now: datetime, terms: Terms) -> Decision[R]:
    """Decides one command on one view.

    Raises:
        NeedMore: the view lacks records that the decision needs.
        TriggersError: the command is refused; nothing is to be committed.
    """
    head = view.head
    if head is None and not command.creates:
        return Decision(None, command.absent(uid))
    if head is not None and head.closed and not command.admitted_when_closed:
        return Decision(None, command.closed(uid, head))
    session = Session(uid, view, now, terms)
    result = command.apply(session)
    if not session.closed:
        finalize(session)
    return Decision(session, result)
