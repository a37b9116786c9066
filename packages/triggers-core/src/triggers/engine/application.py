"""What an application asks of a session: fire a trigger, change the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from triggers import records
from triggers.config import Configuration, TaskConfig, merge_tasks
from triggers.engine.commands import LARGE, Command
from triggers.engine.decision import Configured, FireResult, ManagerChanged
from triggers.engine.fire import fire, fire_want, known_kwargs
from triggers.engine.related import fire_stars, starred
from triggers.engine.session import Session, task_unresolved
from triggers.engine.view import HEAD_WANT
from triggers.errors import ConfigurationError, EventMismatch, UnknownSession
from triggers.instance import Status
from triggers.records import CONFIG, CONFIG_KEY, COUNTS, EVENTS, TRIGGERS, Event
from triggers.store import Want


class Fire(Command[FireResult]):
    """Fires a trigger (R4–R14).

    Args:
        trigger: the trigger.
        kwargs: its kwargs, checked and encoded.
        event_id: a name for this very fire; the second fire with it changes nothing (R13).
        manager: the key of the manager to remember (R32); ``None`` leaves it.
        from_body: the instance whose work fires; such a fire never makes a session (R14).
    """

    __slots__ = ("event_id", "from_body", "kwargs", "manager", "trigger")

    def __init__(
        self,
        trigger: str,
        kwargs: msgspec.Raw,
        event_id: str | None = None,
        manager: str | None = None,
        from_body: str | None = None,
    ) -> None:
        self.trigger = trigger
        self.kwargs = kwargs
        self.event_id = event_id
        self.manager = manager
        self.from_body = from_body

    @property
    def joins(self) -> bool:
        """Unless the kwargs are large."""
        return len(self.kwargs) <= LARGE

    @property
    def creates(self) -> bool:
        """A first fire makes the session, but not one from a body."""
        return self.from_body is None

    @property
    def repeatable(self) -> bool:
        """With an event id."""
        return self.event_id is not None

    def want(self, config: Configuration) -> Want:
        """The head, the event, and what the tasks that name the trigger need."""
        want = HEAD_WANT | fire_want(config, self.trigger)
        if self.event_id is not None:
            want = want | Want(frozenset({(EVENTS.name, self.event_id)}))
        return want

    def apply(self, session: Session) -> FireResult:
        """Fires, unless the event is known."""
        event_id = self.event_id
        if event_id is not None:
            seen = session.view.get(EVENTS, event_id)
            if seen is not None:
                if seen.trigger != self.trigger:
                    raise EventMismatch(
                        f"event {event_id!r} fired {seen.trigger!r} in session {session.uid!r} before and cannot fire "
                        f"{self.trigger!r}; give each event an id of its own"
                    )
                return FireResult(seen.created, seen.scheduled, seen.abandoned)
        remember_manager(session, self.manager)
        result = fire(session, self.trigger, self.kwargs, self._cause(), event_id or self.from_body or "")
        if event_id is not None:
            ttl = session.terms.event_ttl
            session.view.put(
                EVENTS,
                event_id,
                Event(trigger=self.trigger, at=session.now, **result._asdict()),
                session.now + timedelta(seconds=ttl) if ttl else None,
            )
        return result

    def absent(self, uid: str) -> FireResult:
        """A body's session was deleted under it."""
        raise UnknownSession(f"session {uid!r} was deleted; {self.from_body} cannot fire {self.trigger!r} in it any more")

    def _cause(self) -> str:
        return f"the work of {self.from_body}" if self.from_body else "fire"


class Configure(Command[bool]):
    """Adds, replaces and removes tasks (R3); returns whether anything changed.

    Args:
        tasks: parsed tasks, ``None`` for those to remove.
        evaluate: whether new and changed tasks take in what fired before.
        manager: the key of the manager to remember (R32); ``None`` leaves it.
        from_body: the instance whose work configures; it never makes a session (R14).
    """

    __slots__ = ("evaluate", "from_body", "manager", "tasks")

    def __init__(
        self,
        tasks: Mapping[str, TaskConfig | None],
        evaluate: bool = False,
        manager: str | None = None,
        from_body: str | None = None,
    ) -> None:
        self.tasks = tasks
        self.evaluate = evaluate
        self.manager = manager
        self.from_body = from_body

    @property
    def creates(self) -> bool:
        """A first configuration makes the session, but not one from a body."""
        return self.from_body is None

    @property
    def repeatable(self) -> bool:
        """The same configuration once more changes nothing."""
        return not self.evaluate

    def want(self, config: Configuration) -> Want:
        """The head, the configuration, all counts, and what fired if that is to be evaluated."""
        collections = {COUNTS.name} | ({TRIGGERS.name} if self.evaluate else set())
        return HEAD_WANT | Want(frozenset({(CONFIG.name, CONFIG_KEY)}), frozenset(collections))

    def apply(self, session: Session) -> bool:
        """Merges the tasks; if nothing differs, nothing is written."""
        session.view.require(self.want(session.config))
        old = session.config
        serial = session.serial + 1
        for name, task in self.tasks.items():
            if task is None and name in old.tasks and session.count(name).unresolved:
                raise ConfigurationError(
                    f"the task has {session.count(name).unresolved} unresolved instances and cannot be removed; "
                    "wait for them, skip them or cancel them first",
                    f"$.{name}",
                )
        merged = merge_tasks(old, self.tasks, serial)
        changed = [name for name in merged if merged[name] != old.tasks.get(name)]
        if merged == old.tasks:
            if session.head is not None:
                remember_manager(session, self.manager)
            return False
        new = Configuration(merged)
        self._write(session, new, serial)
        removed = [name for name in old.tasks if name not in merged]
        session.notices.append(Configured(serial, (*changed, *removed)))
        remember_manager(session, self.manager)
        if self.evaluate:
            session.view.require(
                Want(collections=frozenset(f"{place}/{name}" for name in changed for place in ("waiting", "queued")))
            )
            for name in changed:
                _evaluate(session, name, merged[name])
        if session.children_complete:
            fire_stars(session, sorted(starred(new.naming) - starred(old.naming)))
        return True

    def absent(self, uid: str) -> bool:
        """A body's session was deleted under it."""
        raise UnknownSession(f"session {uid!r} was deleted; {self.from_body} cannot configure it any more")

    def _write(self, session: Session, new: Configuration, serial: int) -> None:
        unresolved = [name for name in new.tasks if task_unresolved(session.count(name))]
        session.config = new
        session.view.put(CONFIG, CONFIG_KEY, msgspec.Raw(new.encoded))
        session.set_head(
            config=new.hash,
            serial=serial,
            tasks=len(new.tasks),
            unresolved=len(unresolved),
            pending=sum(name not in new.awaiting_finalization for name in unresolved),
        )


def remember_manager(session: Session, key: str | None) -> None:
    """Notes the manager that serves the session from now on (R32)."""
    if key is None:
        return
    known = session.head.manager if session.head else None
    if known != key or (session.head and session.head.finalizes) != session.terms.finalize:
        session.set_head(manager=key, finalizes=session.terms.finalize)
        if known not in (None, key):
            session.notices.append(ManagerChanged(known, key))


def _evaluate(session: Session, name: str, task: TaskConfig) -> None:
    """Treats a new or changed task as if it had been there all the time, as far as the session remembers.

    What completed first decides between ``after`` and ``unless``. Of each trigger the session knows the latest kwargs (R9), so
    an ``andEvery`` makes one instance, for its latest firing.
    """
    kwargs = known_kwargs(session, task)
    if not kwargs:
        return
    for waiting in [*session.instances(records.waiting(name)), *session.instances(records.queued(name))]:
        received = {**kwargs, **waiting.kwargs}
        _judge(session, task, waiting, msgspec.structs.replace(waiting, kwargs=received))
    if session.count(name).next == 0:
        new = session.new_instance(name, "update_configuration", status=Status.UNSTARTED, kwargs=kwargs)
        _judge(session, task, None, new)
    session.mark_sorted(name)


def _judge(session: Session, task: TaskConfig, before: records.Instance | None, after: records.Instance) -> None:
    ready = _completed(session, task.needs, after.kwargs, last=task.and_every)
    forbidden = _completed(session, task.unless, after.kwargs) if task.unless else None
    if forbidden is not None and (ready is None or forbidden <= ready):
        session.place(before, msgspec.structs.replace(after, status=Status.ABANDONED, resolved=session.now))
    elif ready is not None:
        session.schedule(before, after)
    else:
        session.place(before, after)


def _completed(session: Session, triggers: tuple[str, ...], received: records.Kwargs, last: str | None = None) -> int | None:
    """The number of the fire that completed these triggers, or ``None``; of ``last`` the latest firing counts."""
    number = 0
    for trigger in triggers:
        fired = session.view.get(TRIGGERS, trigger)
        if trigger not in received or fired is None:
            return None
        number = max(number, fired.last if trigger == last else fired.first)
    return number
