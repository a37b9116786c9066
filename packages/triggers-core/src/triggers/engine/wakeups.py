"""What the rules do when the time of a record has come (R25–R27)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

from msgspec.structs import replace

from triggers.config import Configuration
from triggers.engine.attempts import Failure, fail
from triggers.engine.closing import COPY, MOVED
from triggers.engine.commands import Command
from triggers.engine.decision import Delivered, Recovered
from triggers.engine.related import STAR, starred
from triggers.engine.retention import may_go
from triggers.engine.session import Session
from triggers.engine.view import HEAD_WANT
from triggers.instance import Status, runner_of
from triggers.records import EVENTS, HEAD, HEAD_KEY, OUTBOX, STARS, TRIGGERS, Head, Instance, live, task_of
from triggers.store import Want

Serves = Callable[[str | None, str], bool | None]
"""Whether this process can have a work executed: ``(runner's key, name of the work)``; ``None``: it could, but not at present."""

_MAX_DOUBLINGS = 10


class Woken(NamedTuple):
    """What became of the wake-ups of one session."""

    handled: int = 0
    """How many there were to do something about."""
    parent_storage: str | None = None
    """The key of the parent's storage, if fires wait for their delivery there."""
    expired: bool = False
    """Whether the session is to be deleted, at the version on which this was decided."""


class WakeUp(Command[Woken]):
    """Handles the wake-ups of one session whose time has come.

    Args:
        places: ``(collection, key)`` of each.
        serves: tells what this process can have executed; the rest is left for others.
    """

    __slots__ = ("places", "serves")

    report: ClassVar[bool] = True
    repeatable = True
    admitted_when_closed = True

    def __init__(self, places: Sequence[tuple[str, str]], serves: Serves) -> None:
        self.places = places
        self.serves = serves

    def want(self, config: Configuration) -> Want:
        """The records, and the counts of their tasks."""
        tasks = {task for collection, _ in self.places if (task := task_of(collection)) is not None}
        return HEAD_WANT | Want(frozenset(self.places) | {("count", task) for task in tasks})

    def absent(self, uid: str) -> Woken:
        """The session was deleted, with its wake-ups."""
        return Woken()

    def apply(self, session: Session) -> Woken:
        """Looks at each record again: somebody may have served it meanwhile."""
        head = session.head
        if head is not None and head.closed in (MOVED, COPY):
            return Woken()
        if head is not None and (HEAD.name, HEAD_KEY) in self.places and self._expired(session, head):
            return Woken(expired=True)
        handled = sum(self._wake(session, collection, key) for collection, key in self.places)
        waits = any(collection == OUTBOX.name for collection, _ in self.places)
        return Woken(handled, session.parent.storage if waits and session.parent is not None else None)

    def _expired(self, session: Session, head: Head) -> bool:
        if may_go(head, session.terms, session.now) and (session.terms.delete_unresolved or not _half_counted(session)):
            return True
        at = session.view.wake_at(HEAD, HEAD_KEY)
        if at is not None and at <= session.now:
            session.set_head(touched=session.now)
        return False

    def _wake(self, session: Session, collection: str, key: str) -> bool:
        if collection == EVENTS.name:
            return _forget_event(session, key)
        task = task_of(collection)
        if task is None:
            return False
        at = session.view.wake_at(live(task), key)
        instance = session.view.get(live(task), key)
        if instance is None or at is None or at > session.now:
            return False
        session.places[instance.name] = collection
        if instance.status is Status.SCHEDULED:
            return self._deliver(session, instance)
        return instance.status is Status.RUNNING and self._lost(session, instance)

    def _deliver(self, session: Session, instance: Instance) -> bool:
        """Delivers the same attempt again, at growing intervals (R26)."""
        serves = self._can_serve(instance)
        if not serves:
            return serves is False and _give_up(session, instance)
        pause = session.terms.redeliver_after * 2 ** min(instance.deliveries, _MAX_DOUBLINGS)
        delivered = replace(instance, deliveries=instance.deliveries + 1)
        session.place(instance, delivered, session.now + timedelta(seconds=pause))
        session.dispatch(delivered)
        session.notices.append(Delivered(instance.name, instance.attempt))
        if instance.not_before is None or instance.deliveries:
            session.notices.append(Recovered(instance.name, instance.attempt, "not started in time"))
        return True

    def _lost(self, session: Session, instance: Instance) -> bool:
        """Ends an attempt whose lease or time has run out (R25)."""
        lease, deadline = instance.lease, instance.deadline
        ended = replace(instance, lease=None, deadline=None, claim="")
        if deadline is not None and deadline <= session.now and (lease is None or deadline <= lease or lease > session.now):
            fail(session, instance, ended, _timed_out(instance))
            session.notices.append(Recovered(instance.name, instance.attempt, "timed out"))
        elif instance.on_lost == "fail" or instance.attempt >= session.terms.max_attempts:
            fail(session, instance, ended, _worker_lost(instance))
            session.notices.append(Recovered(instance.name, instance.attempt, "lost for good"))
        else:
            self._next_attempt(session, instance, ended)
            session.notices.append(Recovered(instance.name, instance.attempt, "lost"))
        return True

    def _next_attempt(self, session: Session, before: Instance, ended: Instance) -> None:
        again = replace(
            ended,
            status=Status.SCHEDULED,
            attempt=before.attempt + 1,
            deliveries=0,
            not_before=None,
            scheduled=session.now,
        )
        if self._can_serve(again):
            session.place(before, again, session.now + timedelta(seconds=session.terms.redeliver_after))
            session.dispatch(again)
        else:
            session.place(before, again, session.now)

    def _can_serve(self, instance: Instance) -> bool | None:
        return self.serves(runner_of(instance.using), instance.run or "")


def _give_up(session: Session, instance: Instance) -> bool:
    """Fails an instance that nobody could serve for too long; else leaves it for others."""
    since = instance.not_before or instance.scheduled or instance.created
    waited = (session.now - since).total_seconds()
    if instance.deliveries or waited <= session.terms.unserved_after:
        return False
    failure = Failure(
        {
            "type": "triggers.errors.UnknownTask",
            "message": f"no process had the runner {runner_of(instance.using) or '(default)'} and a body for {instance.run!r} "
            f"within {session.terms.unserved_after:g} s (setting unserved_after)",
        },
        ("triggers.errors.UnknownTask", "triggers.UnknownTask", "UnknownTask"),
    )
    fail(session, instance, instance, failure)
    session.notices.append(Recovered(instance.name, instance.attempt, "never served"))
    return True


def _half_counted(session: Session) -> bool:
    """Whether a task waits for a ``*.trigger`` that some of the children have fired, and others not yet."""
    if not session.children or session.closed:
        return False
    triggers = starred(session.config.naming)
    session.view.require(
        Want(frozenset((STARS.name, name) for name in triggers) | {(TRIGGERS.name, STAR + name) for name in triggers})
    )
    come = [name for name in triggers if session.view.get(STARS, name)]
    return any(session.view.get(TRIGGERS, STAR + name) is None for name in come)


def _worker_lost(instance: Instance) -> Failure:
    return Failure(
        {
            "type": "triggers.errors.WorkerLost",
            "message": f"the lease of attempt {instance.attempt} ran out at {instance.lease}: its worker died or was cut off",
        },
        ("triggers.errors.WorkerLost", "triggers.WorkerLost", "WorkerLost"),
    )


def _timed_out(instance: Instance) -> Failure:
    return Failure(
        {
            "type": "triggers.errors.AttemptTimeout",
            "message": f"attempt {instance.attempt} ran longer than its timeout of {instance.timeout:g} s",
        },
        (
            "triggers.errors.AttemptTimeout",
            "triggers.AttemptTimeout",
            "AttemptTimeout",
            "builtins.TimeoutError",
            "TimeoutError",
        ),
    )


def _forget_event(session: Session, event_id: str) -> bool:
    at: Any = session.view.wake_at(EVENTS, event_id)
    if session.view.get(EVENTS, event_id) is None or at is None or at > session.now:
        return False
    session.view.drop(EVENTS, event_id)
    return True
