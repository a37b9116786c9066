"""One command on one session until it is stored or refused: load, decide, commit, look again.

A commit whose answer got lost must not be applied twice, and one that arrives late must be recognised. So each process (a
*client*) has one slot in the session's head with the last token that it committed there; an operation remembers every token
that it sent, and whenever an outcome is open it loads again and looks for one of them in its slot.

An operation takes along what waits behind it in this process: each of that is decided on top of the one before, and one commit
under one token stores all. So the operation answers for those, too. What it took along is told its result when the commit is
known to be stored; it stays in the queue, as if nothing had happened, when it is known not to be; and where nobody can tell, it
fails as if it had been sent alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from triggers import records
from triggers.engine.commands import Command, Decision, decide
from triggers.engine.view import NeedMore, View
from triggers.errors import Conflict, OutcomeUnknown, StorageError, StorageUnavailable, TriggersError
from triggers.records import Head
from triggers.sizes import check_size
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Capability, Change, Snapshot, Store, Want

if TYPE_CHECKING:
    from triggers.runtime import Runtime

R = TypeVar("R")

CLIENT_SLOTS = 32
MOST_ALONG = 32
"""How many operations one commit takes along."""
_TOO_CROWDED = 0.5
"""With more conflicts than this for each operation, what is remembered is not worth a try."""
_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.05


@dataclass(slots=True, eq=False)
class Sent:
    """A commit that was sent, or is about to be."""

    token: str
    expected: str
    head: Head | None
    """The head of the session on which it was decided."""
    decision: Decision[Any]
    along: list[tuple[Operation[Any], Decision[Any]]]
    """What else it stores."""
    change: Change
    outcome_open: bool = True
    """Whether it may have been stored, or may still be."""


class Operation(Generic[R]):
    """One command on one session."""

    def __init__(
        self,
        runtime: Runtime,
        storage: BaseTriggerStorage,
        key: tuple[int, str],
        command: Command[R],
        finalize: bool,
    ) -> None:
        self.runtime = runtime
        self.store: Store = storage.store
        self.uid = storage.uid
        self.key = key
        self.command = command
        self.finalize = finalize
        self.want: Want = command.want(runtime.believed_configuration(key))
        self.sent: list[Sent] = []
        self.alone = not command.joins
        self.answer: Callable[[], Decision[R]] | None = None
        """Gives what came of it, or raises, once another operation has taken it along."""
        self.tries = 0
        self.give_up_at = 0.0

    @property
    def settled(self) -> bool:
        """Whether another operation has done it."""
        return self.answer is not None

    def run(self) -> Decision[R]:
        """Does it, and answers for all that it took along."""
        stored = False
        try:
            decision = self._until_stored()
            stored = decision.changed
            return decision
        finally:
            # What was sent before can still arrive, as long as nothing was stored in its place.
            if not stored:
                for sent in self.sent:
                    if sent.outcome_open:
                        self._cannot_tell(sent)

    def _until_stored(self) -> Decision[R]:
        """Decides on what is remembered if there is anything, else on what is loaded, until it is stored or refused."""
        crowded = self.runtime.crowds.conflicts(self.key) > _TOO_CROWDED
        found = None if crowded else self.runtime.remembered.get(self.key)
        stored = None if found is None else self._try(*found, fresh=False)
        snapshot: Snapshot | None = None
        if isinstance(stored, Snapshot):
            stored, snapshot = None, stored
        while stored is None:
            if snapshot is None:
                snapshot = self._load()
            recognised = self._recognise(snapshot) if self.sent else None
            if recognised is not None:
                return recognised
            outcome = self._try(snapshot, self.want, fresh=True)
            snapshot = None
            if isinstance(outcome, Snapshot):
                snapshot = outcome
            else:
                stored = outcome
        return stored

    def _try(self, snapshot: Snapshot, want: Want, *, fresh: bool) -> Decision[R] | Snapshot | None:
        """One decision and its commit: the decision if it stands, a newer snapshot after a conflict, or nothing: load."""
        view = View(snapshot, want, self.runtime.configurations)
        try:
            head = view.head
            decision = self._decide(view)
        except NeedMore as more:
            self.want = self.want | more.want
            return None
        except TriggersError:
            if fresh:
                raise
            return None
        if not decision.changed:
            return decision if fresh else None
        return self._commit(snapshot, want, self._sealed(snapshot.version, head, decision))

    def _decide(self, view: View) -> Decision[R]:
        return decide(self.uid, view, self.command, self.runtime.clock(), self.runtime.terms(self.finalize))

    def _sealed(self, expected: str, head: Head | None, decision: Decision[R]) -> Sent:
        """The commit of this decision and of what can be decided on top of it; what is refused there waits on."""
        token = self.runtime.next_token(self.store)
        last: Decision[Any] = decision
        view = last.seal(token, CLIENT_SLOTS)
        labels = last.labels
        along: list[tuple[Operation[Any], Decision[Any]]] = []
        for other in self._behind():
            try:
                found = other._decide(view.on_top())
            except (NeedMore, TriggersError):
                continue
            if found.changed:
                view = found.seal(token, CLIENT_SLOTS)
                labels = labels if found.labels is None else found.labels
                along.append((other, found))
                last = found
        return Sent(token, expected, head, decision, along, view.change(token, labels, self._expiry(last)))

    def _behind(self) -> list[Operation[Any]]:
        """Those that wait for this one to end, and may be taken along."""
        if self.alone:
            return []
        waiting = self.runtime.turns.behind(self.key, MOST_ALONG)
        return [other for other in waiting if isinstance(other, Operation) and not other.settled]

    def _commit(self, snapshot: Snapshot, want: Want, sent: Sent) -> Decision[R] | Snapshot | None:
        runtime = self.runtime
        began = time.monotonic()
        try:
            check_size(self.store, self.uid, snapshot, sent.change, self.command.report)
            self.sent.append(sent)
            self.store.commit(self.uid, sent.change, snapshot.version, self.want)
        except Conflict as conflict:
            runtime.crowds.took(time.monotonic() - began)
            runtime.remembered.forget(self.key)
            sent.outcome_open = False
            # After a pause that snapshot is old: in a busy session the next try would be refused again, and again.
            return None if self._pause(conflict) else conflict.snapshot
        except OutcomeUnknown as error:
            runtime.remembered.forget(self.key)
            self._pause(error)
            return None
        except StorageUnavailable as error:
            runtime.remembered.forget(self.key)
            self.sent.remove(sent)
            if not self._outcome_open:
                raise
            self._pause(error)
            return None
        except StorageError:
            runtime.remembered.forget(self.key)
            if sent in self.sent:
                self.sent.remove(sent)
            if not sent.along:
                raise
            self.alone = True
            return None
        except BaseException:
            runtime.remembered.forget(self.key)
            raise
        self._stored(sent)
        runtime.remembered.committed(self.key, snapshot, want, sent.change)
        runtime.saw_configuration(self.key, sent.decision.configuration_hash)
        return sent.decision

    def _stored(self, sent: Sent) -> None:
        """Tells those that were taken along; what was sent before cannot be stored any more."""
        for other, decision in sent.along:
            other.answer = _giving(decision)

    def _cannot_tell(self, sent: Sent) -> None:
        """Fails those that were taken along and may not be decided again; the others wait on for their turn."""
        for other, _ in sent.along:
            if other.answer is None and not other.command.repeatable:
                other.answer = _raising(self._unknown("the commit that it was part of broke off, so that nobody can tell"))

    def _unknown(self, reason: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"session {self.uid!r}: {reason} whether it was stored; look at the session, and fire with an event_id to be able "
            "to repeat"
        )

    def _expiry(self, decision: Decision[Any]) -> int | None:
        if Capability.EXPIRE not in self.store.capabilities:
            return None
        seconds = self.runtime.settings.expire_finished
        return math.ceil(seconds) if seconds and decision.session_finished else None

    def _load(self) -> Snapshot:
        """Loads, for those behind as well; while an outcome is open, for as long as the store may need to come back."""
        for other in self._behind():
            self.want = self.want | other.want
        while True:
            try:
                return self.store.load(self.uid, self.want)
            except StorageUnavailable as error:
                if not self._outcome_open:
                    raise
                self._pause(error)

    @property
    def _outcome_open(self) -> bool:
        """Whether something that was sent may have been stored, or may still be."""
        return any(sent.outcome_open for sent in self.sent)

    def _recognise(self, snapshot: Snapshot) -> Decision[R] | None:
        """The decision that was stored after all, or ``None`` if none of those sent was.

        Raises:
            OutcomeUnknown: that cannot be told any more, and deciding again could do things twice.
        """
        raw = snapshot.records.get("session", {}).get("head")
        head = None if raw is None else records.read(records.HEAD, "head", raw.value)
        slots = head.clients if head else ()
        for sent in self.sent:
            if sent.token in slots:
                self._stored(sent)
                applied: Decision[R] = sent.decision
                return applied
        for sent in self.sent:
            if sent.outcome_open and not self._surely_refused(sent, snapshot.version, head):
                self._cannot_tell(sent)
                if not self.command.repeatable:
                    raise self._unknown("the connection was lost during a commit, and too much was committed since to tell")
        return None

    def _surely_refused(self, sent: Sent, version: str, head: Head | None) -> bool:
        """Whether this commit was not stored: nothing has changed, or its slot would still be there."""
        if version == sent.expected:
            return True
        if head is None or (sent.head is not None and head.created != sent.head.created):
            return False
        client = f"{self.runtime.client_of(self.store)}:"
        if len(head.clients) < CLIENT_SLOTS or any(slot.startswith(client) for slot in head.clients):
            return True
        return sent.head is not None and any(slot in head.clients for slot in sent.head.clients)

    def _pause(self, error: Exception) -> bool:
        """Waits a little before the next try, a random time that grows; gives up after ``conflict_timeout``.

        Returns:
            Whether it has waited.
        """
        now = time.monotonic()
        if not self.tries:
            self.give_up_at = now + self.runtime.settings.conflict_timeout
        self.tries += 1
        if now > self.give_up_at:
            if self._outcome_open:
                raise OutcomeUnknown(
                    f"session {self.uid!r}: the connection was lost during a commit, and whether it was stored could not be "
                    f"found out within {self.runtime.settings.conflict_timeout:g} s (setting conflict_timeout): {error}"
                ) from error
            raise error
        crowds = self.runtime.crowds
        if not isinstance(error, Conflict):
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.tries, 10))
        elif self.tries > 1 or crowds.conflicts(self.key):
            longest = crowds.after_conflict(self.key, self.tries)
        else:
            return False
        self.runtime.pause(self.runtime.chance() * longest)
        return True


def _giving(decision: Decision[R]) -> Callable[[], Decision[R]]:
    return lambda: decision


def _raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


__all__ = ["CLIENT_SLOTS", "MOST_ALONG", "Operation"]
