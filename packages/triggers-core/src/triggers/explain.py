"""Why has it not run yet? What each task of a session waits for, from what is stored, in the words of the rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from triggers import records
from triggers.config import TaskConfig
from triggers.engine.related import STAR, starred
from triggers.errors import ConfigurationError, UnknownSession
from triggers.instance import Status
from triggers.names import suggestion
from triggers.records import Count, Head, Instance, Trigger
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Snapshot, Want

_MANY = 5
"""So many instances get a line each; more are counted."""


class Arrived(msgspec.Struct, frozen=True):
    """A trigger that fired: how often, and when last."""

    count: int
    last_at: datetime


class InstanceExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What an unresolved instance waits for."""

    name: str
    status: Status
    missing: tuple[str, ...]
    """The triggers that have to fire for it to run."""
    next_at: datetime | None
    """When something happens by itself: a delivery, the end of a cooldown, of a lease, a timeout."""
    line: str


class TaskExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a task waits for."""

    task: str
    arrived: Mapping[str, Arrived]
    """Those of its triggers that the session knows to have fired."""
    missing: tuple[str, ...]
    """The triggers that make its next instance run, when all of them have fired; empty if none can."""
    any_of: tuple[str, ...]
    """Where nothing is missing but the task was not there, or was another, when it all fired: any one of these makes it run."""
    forbidden_by: tuple[str, ...]
    """Its ``unless``, if that is complete, or is completed by what is missing: the next instance will be abandoned."""
    resolved: int
    """How many instances are resolved."""
    instances: tuple[InstanceExplanation, ...]
    """Its unresolved instances."""
    lines: tuple[str, ...]

    def __str__(self) -> str:
        """The lines."""
        return "\n".join(self.lines)


class SessionExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the tasks of a session wait for."""

    uid: str
    state: str
    """``open``, ``finalized``, ``cancelled``, ``moved``, ``copy``."""
    tasks: tuple[TaskExplanation, ...]

    def __str__(self) -> str:
        """One line per task or unresolved instance, after what concerns the session."""
        state = "a copy" if self.state == "copy" else self.state
        first = [] if state == "open" else [f"session {self.uid} is {state}"]
        return "\n".join([*first, *(str(task) for task in self.tasks)]) or f"session {self.uid} has no tasks"


def explain(storage: BaseTriggerStorage, task: str | None, now: datetime) -> TaskExplanation | SessionExplanation:
    """Explains one task, or with ``None`` the session, as it is now.

    Raises:
        UnknownSession: there is no such session.
        ConfigurationError: the session has no such task.
    """
    configuration = storage.tasks
    if task is not None and task not in configuration:
        if not storage.exists():
            raise UnknownSession(f"there is no session {storage.uid!r}")
        meant = suggestion(str(task), configuration)
        known = f"did you mean {meant!r}?" if meant else f"it has {', '.join(configuration) or 'none'}"
        raise ConfigurationError(f"session {storage.uid!r} has no such task; {known}", f"$.{task}")
    names = list(configuration) if task is None else [task]
    want = _want(names, configuration)
    snapshot = storage.store.load(storage.uid, want)
    replayed = {(f"done/{name}", _last(name, configuration[name], snapshot)) for name in names} - want.records
    if replayed and snapshot.version:
        snapshot = storage.store.load(storage.uid, want | Want(frozenset(replayed)))
    if not snapshot.version:
        raise UnknownSession(f"there is no session {storage.uid!r}")
    head = records.read(records.HEAD, "head", snapshot.records["session"]["head"].value)
    if task is not None:
        return _task(task, configuration[task], snapshot, head, now)
    return SessionExplanation(
        uid=storage.uid,
        state=head.closed or ("finalized" if head.finalized else "open"),
        tasks=tuple(_task(name, configuration[name], snapshot, head, now) for name in names),
    )


def _want(names: list[str], configuration: Mapping[str, TaskConfig]) -> Want:
    wanted = {("session", "head")}
    for name in names:
        wanted.update({("count", name), (f"done/{name}", "0")})
        wanted.update(("trigger", trigger) for trigger in configuration[name].names)
        wanted.update((records.STARS.name, trigger) for trigger in starred(configuration[name].needs))
    places = frozenset(f"{place}/{name}" for name in names for place in ("waiting", "queued", "live"))
    return Want(frozenset(wanted), places)


def _task(name: str, task: TaskConfig, snapshot: Snapshot, head: Head, now: datetime) -> TaskExplanation:
    fired = _fired(task, snapshot)
    count = _count(name, snapshot)
    unresolved = _unresolved(name, snapshot)
    instances = tuple(_instance(task, found, wake_at, now) for found, wake_at in unresolved)
    way = _Way() if head.closed else _way(task, fired, count, [found for found, _ in unresolved])
    explanation = TaskExplanation(
        task=name,
        arrived={trigger: Arrived(found.count, found.at) for trigger, found in fired.items()},
        missing=way.missing,
        any_of=way.any_of,
        forbidden_by=way.forbidden_by,
        resolved=count.next - count.unresolved,
        instances=instances,
        lines=(),
    )
    lines = (*_lines(explanation, task, fired, _ended(name, task, snapshot), head), *_children(way.missing, snapshot, head))
    return msgspec.structs.replace(explanation, lines=lines)


class _Way(NamedTuple):
    """How the next instance comes to run: by all of ``missing``, by any of ``any_of``, or not, because of ``forbidden_by``."""

    missing: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    forbidden_by: tuple[str, ...] = ()


def _way(task: TaskConfig, fired: Mapping[str, Trigger], count: Count, unresolved: list[Instance]) -> _Way:
    """Looks at the unstarted instances first, nearest first, then at the instance that would be made (R5, R7, R8)."""
    unstarted = [found for found in unresolved if found.status is Status.UNSTARTED]
    for found in sorted(unstarted, key=lambda found: len(_lacks(task, found.kwargs))):
        missing = _lacks(task, found.kwargs)
        if not _forbids(task, found.kwargs, missing):
            return _Way(missing, () if missing else task.needs)
    missing = _lacks(task, fired)
    if count.next:
        if task.and_every is None or any(task.and_every not in found.kwargs for found in unstarted):
            return _Way(forbidden_by=task.unless if unstarted else ())
        missing = (*(trigger for trigger in missing if trigger != task.and_every), task.and_every)
    if _forbids(task, fired, missing):
        return _Way(forbidden_by=task.unless)
    return _Way(missing, () if missing else task.needs)


def _lacks(task: TaskConfig, received: Collection[str]) -> tuple[str, ...]:
    return tuple(trigger for trigger in task.needs if trigger not in received)


def _forbids(task: TaskConfig, received: Collection[str], missing: tuple[str, ...]) -> bool:
    """Whether the ``unless`` is complete when the needs are; it wins also where one fire completes both."""
    return bool(task.unless) and all(trigger in received or trigger in missing for trigger in task.unless)


def _last(name: str, task: TaskConfig, snapshot: Snapshot) -> str:
    """The instance whose end tells how a task ended: after replays the last one, of those that ``andEvery`` makes the first."""
    return str(max(_count(name, snapshot).next - 1, 0)) if task.and_every is None else "0"


def _ended(name: str, task: TaskConfig, snapshot: Snapshot) -> str:
    """How a task ended that is not simply done: that it was skipped, or why it was abandoned."""
    key = _last(name, task, snapshot)
    record = snapshot.records.get(f"done/{name}", {}).get(key)
    found = None if record is None else records.read(records.done(name), key, record.value)
    if found is None or found.status not in (Status.ABANDONED, Status.SKIPPED):
        return ""
    if found.status is Status.SKIPPED:
        return "was skipped"
    reason = found.metadata.get("cancelled")
    return "was abandoned: " + ("its unless was complete first" if reason is None else f"cancelled, {reason}")


def _children(missing: tuple[str, ...], snapshot: Snapshot, head: Head) -> list[str]:
    """What keeps each ``*.trigger`` that is missing."""
    lines = []
    for trigger in sorted(starred(missing)):
        record = snapshot.records.get(records.STARS.name, {}).get(trigger)
        come = 0 if record is None else records.read(records.STARS, trigger, record.value)
        more = "" if head.children_complete else ", and more may join: children_complete was not called"
        lines.append(f"{STAR}{trigger} fires when all children have fired {trigger} ({come} of {head.children}){more}")
    return lines


def _lines(explanation: TaskExplanation, task: TaskConfig, fired: Mapping[str, Trigger], ended: str, head: Head) -> list[str]:
    name = explanation.task
    instances = explanation.instances
    if len(instances) > _MANY:
        by_status: dict[str, int] = {}
        for instance in instances:
            by_status[instance.status] = by_status.get(instance.status, 0) + 1
        counted = ", ".join(f"{number} {status}" for status, number in by_status.items())
        return [f"{name} has {len(instances)} unresolved instances: {counted}; the first: {instances[0].line}"]
    lines = [instance.line for instance in instances]
    waits = any(instance.status is Status.UNSTARTED for instance in instances)
    if explanation.forbidden_by:
        whole = all(trigger in fired for trigger in explanation.forbidden_by)
        why = "its unless is complete" if whole else "what it waits for completes its unless"
        lines.append(f"{name} will not run: {why} ({', '.join(explanation.forbidden_by)})")
    elif waits or (instances and task.and_every is None):
        return lines
    elif explanation.missing:
        come = len(task.needs) - len(explanation.missing)
        lines.append(f"{name} waits for {', '.join(explanation.missing)} ({come} of {len(task.needs)})")
    elif explanation.any_of:
        lines.append(f"{name} was added after its triggers had fired; it runs when {_one_of(explanation.any_of)} fires again")
    elif explanation.resolved:
        whole = task.and_every is None or explanation.resolved == 1
        lines.append(f"{name} {ended if whole else f'is done; its first instance {ended}'}" if ended else f"{name} is done")
    elif head.closed:
        lines.append(f"{name} will not run: its session is {head.closed}")
    else:
        lines.append(f"{name} has nothing to wait for any more")
    return lines


def _instance(task: TaskConfig, found: Instance, wake_at: datetime | None, now: datetime) -> InstanceExplanation:
    missing = _lacks(task, found.kwargs) if found.status is Status.UNSTARTED else ()
    line = _instance_line(task, found, missing, wake_at)
    if wake_at is not None and wake_at <= now:
        line += "; that is over, and no sweep that can serve it has come since"
    return InstanceExplanation(name=found.name, status=found.status, missing=missing, next_at=wake_at, line=line)


def _instance_line(task: TaskConfig, found: Instance, missing: tuple[str, ...], wake_at: datetime | None) -> str:
    when = f"{wake_at:%Y-%m-%d %H:%M:%S}" if wake_at else "never"
    match found.status:
        case Status.UNSTARTED:
            subject = found.name if found.number or task.and_every else found.task
            if not missing:
                return f"{subject} has all it needs since its task was changed; it runs when {_one_of(task.needs)} fires again"
            return f"{subject} waits for {', '.join(missing)} ({len(task.needs) - len(missing)} of {len(task.needs)})"
        case Status.SCHEDULED if found.not_before and not found.deliveries:
            return f"{found.name} is scheduled for {when}, after a cooldown"
        case Status.SCHEDULED:
            return f"{found.name} is scheduled, no worker has started it yet; it is delivered again at {when}"
        case Status.RUNNING:
            return f"{found.name} is running since {found.started:%H:%M:%S} (attempt {found.attempt}, trusted until {when})"
        case _:
            exception = found.metadata.get("exception", {})
            reason = f"{str(exception.get('type', 'failed')).removeprefix('builtins.')}: {exception.get('message', '')}"
            return f"{found.name} failed ({reason}); replay or skip it"


def _one_of(triggers: tuple[str, ...]) -> str:
    return triggers[0] if len(triggers) == 1 else f"one of {', '.join(triggers)}"


def _fired(task: TaskConfig, snapshot: Snapshot) -> dict[str, Trigger]:
    found = snapshot.records.get("trigger", {})
    return {
        trigger: records.read(records.TRIGGERS, trigger, found[trigger].value)
        for trigger in dict.fromkeys(task.names)
        if trigger in found
    }


def _count(name: str, snapshot: Snapshot) -> Count:
    record = snapshot.records.get("count", {}).get(name)
    return Count() if record is None else records.read(records.COUNTS, name, record.value)


def _unresolved(name: str, snapshot: Snapshot) -> list[tuple[Instance, datetime | None]]:
    found = []
    for collection in (records.waiting(name), records.queued(name), records.live(name)):
        for key, record in snapshot.records.get(collection.name, {}).items():
            wake_at = None if record.wake_at is None else records.from_microseconds(record.wake_at)
            found.append((records.read(collection, key, record.value), wake_at))
    return sorted(found, key=lambda pair: pair[0].number)
