"""Firing a trigger (R4–R10), by the application or by a cascade."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from triggers import records
from triggers.codec import EMPTY
from triggers.config import Configuration, TaskConfig
from triggers.engine.decision import Finalized, Fired, FireResult
from triggers.engine.session import Session
from triggers.instance import Status
from triggers.names import SESSION_FINALIZED
from triggers.records import OUTBOX, TRIGGERS, Instance, Parcel, Trigger
from triggers.store import Want


def fire_want(config: Configuration, trigger: str) -> Want:
    """What firing a trigger reads in the common case, all of it in one load."""
    names = config.naming.get(trigger)
    if not names:
        return Want(frozenset({(TRIGGERS.name, trigger)}))
    known = config.fire_wants.get(trigger)
    if known is None:
        places = {(TRIGGERS.name, trigger)}
        for name in names:
            places.add(("count", name))
            places.update((TRIGGERS.name, other) for other in config.tasks[name].names)
        known = Want(frozenset(places), frozenset(f"waiting/{name}" for name in names))
        config.fire_wants[trigger] = known
    return known


def fire(session: Session, trigger: str, kwargs: msgspec.Raw, cause: str, origin: str = "") -> FireResult:
    """Applies a trigger to every task that names it, and remembers it (R9).

    Args:
        session: the session.
        trigger: the trigger.
        kwargs: its kwargs, encoded.
        cause: who fires, for messages and hooks: ``"fire"``, ``"the cascade of t_a#0"``.
        origin: the event id or the instance that is behind it, kept with the instances that receive it.
    """
    view = session.view
    view.require(fire_want(session.config, trigger))
    previous = view.get(TRIGGERS, trigger)
    tasks = session.config.naming.get(trigger, ())
    view.require(_queues_to_load(session, tasks, trigger, previous))
    number = session.count_fire()
    firing = _Firing(session, trigger, kwargs, cause, origin, previous)
    for name in tasks:
        firing.concern(name, session.config.tasks[name])
    view.put(
        TRIGGERS,
        trigger,
        Trigger(
            kwargs=kwargs,
            at=session.now,
            count=(previous.count if previous else 0) + 1,
            first=previous.first if previous else number,
            last=number,
            serial=session.serial,
        ),
    )
    session.notices.append(Fired(trigger, kwargs, tuple(firing.received), cause, origin))
    hand_to_parent(session, trigger, kwargs)
    return FireResult(tuple(firing.created), tuple(firing.scheduled), tuple(firing.abandoned))


def hand_to_parent(session: Session, trigger: str, kwargs: msgspec.Raw) -> None:
    """Puts the fire into the outbox of a session that has a parent (R30); the delivery follows the commit."""
    if session.parent is not None:
        number = session.next_parcel()
        session.view.put(OUTBOX, str(number), Parcel(trigger=trigger, kwargs=kwargs, at=session.now), session.now)


def finalize(session: Session) -> None:
    """Fires ``sessionFinalized`` if this decision resolved the last task (R29)."""
    if not (session.terms.finalize or session.finalizes) or session.finalized or session.pending or not session.changed:
        return
    if len(session.config.tasks) == len(session.config.awaiting_finalization):
        return
    session.set_head(finalized=session.now)
    fire(session, SESSION_FINALIZED, EMPTY, "the session's finalizing")
    session.notices.append(Finalized())


def _queues_to_load(session: Session, tasks: Iterable[str], trigger: str, previous: Trigger | None) -> Want:
    """The queues that this fire can concern: those that need sorting, and those that lack this trigger."""
    names = [name for name in tasks if _concerns_queue(session, name, trigger, previous)]
    return Want(collections=frozenset(f"queued/{name}" for name in names))


def _concerns_queue(session: Session, name: str, trigger: str, previous: Trigger | None) -> bool:
    count = session.count(name)
    if not count.queued:
        return False
    task = session.config.tasks[name]
    if count.sorted < task.since:
        return True
    return trigger != task.and_every and (previous is None or previous.serial < task.since)


class _Firing:
    """One fire of one trigger, task by task."""

    def __init__(
        self, session: Session, trigger: str, kwargs: msgspec.Raw, cause: str, origin: str, previous: Trigger | None
    ) -> None:
        self.session = session
        self.trigger = trigger
        self.kwargs = kwargs
        self.cause = cause
        self.origin = origin
        self.previous = previous
        self.received: list[str] = []
        self.created: list[str] = []
        self.scheduled: list[str] = []
        self.abandoned: list[str] = []

    def concern(self, name: str, task: TaskConfig) -> None:
        """Applies the trigger to the unstarted instances of one task, makes a new one if R5 says so, and judges all."""
        session = self.session
        with_queue = _concerns_queue(session, name, self.trigger, self.previous)
        candidates = session.instances(records.waiting(name))
        if with_queue:
            candidates = sorted([*candidates, *session.instances(records.queued(name))], key=lambda found: found.number)
        applied = False
        for before in candidates:
            after = before
            if self.trigger not in before.kwargs:
                applied = True
                after = self._receive(before)
                self.received.append(after.name)
            self._judge(task, before, after)
        if session.count(name).next == 0 or (self.trigger == task.and_every and not applied):
            after = self._create(name, task)
            self.created.append(after.name)
            self.received.append(after.name)
            self._judge(task, None, after)
        if session.count(name).sorted < task.since:
            session.mark_sorted(name)

    def _receive(self, instance: Instance) -> Instance:
        kwargs = {**instance.kwargs, self.trigger: self.kwargs}
        causes = {**instance.causes, self.trigger: self.origin} if self.origin else instance.causes
        return replace(instance, kwargs=kwargs, causes=causes)

    def _create(self, name: str, task: TaskConfig) -> Instance:
        """A new instance that knows what the session knows (R7)."""
        kwargs = known_kwargs(self.session, task, without=self.trigger)
        kwargs[self.trigger] = self.kwargs
        causes = {self.trigger: self.origin} if self.origin else {}
        return self.session.new_instance(
            name, f"trigger {self.trigger!r} ({self.cause})", status=Status.UNSTARTED, kwargs=kwargs, causes=causes
        )

    def _judge(self, task: TaskConfig, before: Instance | None, after: Instance) -> None:
        session = self.session
        if task.unless and all(trigger in after.kwargs for trigger in task.unless):
            session.place(before, replace(after, status=Status.ABANDONED, resolved=session.now))
            self.abandoned.append(after.name)
        elif all(trigger in after.kwargs for trigger in task.needs):
            session.schedule(before, after)
            self.scheduled.append(after.name)
        elif after is not before or session.misplaced(after):
            session.place(before, after)


def known_kwargs(session: Session, task: TaskConfig, without: str | None = None) -> records.Kwargs:
    """The latest kwargs of each trigger of the task that fired before."""
    kwargs: records.Kwargs = {}
    for name in task.names:
        if name != without:
            fired = session.view.get(TRIGGERS, name)
            if fired is not None:
                kwargs[name] = fired.kwargs
    return kwargs
