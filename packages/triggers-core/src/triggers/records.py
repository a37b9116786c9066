"""The records of a session, as they are stored, and the collections that they lie in.

Kwargs and results stay encoded (``msgspec.Raw``) wherever the rules do not look into them: a fire neither decodes nor
re-encodes what it merely passes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from triggers.codec import decode
from triggers.config import RetryPolicy
from triggers.errors import UnreadableRecord
from triggers.instance import RESOLVED, Status, TaskInstance
from triggers.store import Record

FORMAT = 1
"""The format of the records below. A change that an older version would misread raises it."""

Kwargs = dict[str, msgspec.Raw]


class Link(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The parent of a session, and the alias under which it knows the child."""

    uid: str
    alias: str
    storage: str
    mark: str
    """Which incarnation of the child this is."""
    confirmed: bool = False
    """Whether the parent knows the child."""


class Head(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What every operation on the session reads and writes."""

    format: int
    created: datetime
    touched: datetime
    config: str = ""
    serial: int = 0
    manager: str = "default"
    finalizes: bool = False
    """Whether the application last used a manager, or a setting, that finalizes the session (R29)."""
    fires: int = 0
    instances: int = 0
    tasks: int = 0
    unresolved: int = 0
    pending: int = 0
    """Unresolved tasks, without those that wait for ``sessionFinalized``."""
    failed: int = 0
    open: int = 0
    """Unresolved instances."""
    finalized: datetime | None = None
    attributes: dict[str, str] = {}
    closed: str = ""
    """Why it takes nothing: ``cancelled``, ``moved``, ``copy``; with ``closed_because`` for people."""
    closed_because: str = ""
    closed_before: tuple[str, str] = ("", "")
    """``closed`` and ``closed_because`` of the original, for a copy and for an original that was moved."""
    copy_of: str = ""
    """The version that this session was copied from, or, where it was moved, the version whose copy counts."""
    history: int = 0
    """How many commits the history has seen."""
    parent: Link | None = None
    outbox: int = 0
    """How many fires were handed to the parent so far; the number of the last one."""
    delivered: int = 0
    """The number of the last one that has arrived."""
    children: int = 0
    children_complete: bool = False
    clients: tuple[str, ...] = ()
    """The last token of each recent client, ``client:number``, least recent first."""


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the session remembers of a trigger that fired (R9). ``first`` and ``last`` count the fires of the session."""

    kwargs: msgspec.Raw
    at: datetime
    count: int
    first: int
    last: int
    serial: int = 0


class Count(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How many instances a task has; ``sorted`` is the serial under which they were last sorted into waiting and queued."""

    next: int = 0
    unresolved: int = 0
    queued: int = 0
    sorted: int = 0


class Instance(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A task instance."""

    task: str
    number: int
    status: Status
    created: datetime
    kwargs: Kwargs = {}
    causes: dict[str, str] = {}
    """Which event or instance fired a trigger of ``kwargs``, where that is known."""
    run: str | None = None
    using: str | dict[str, Any] | None = None
    with_params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    on_lost: str = "retry"
    retry: RetryPolicy | None = None
    timeout: float | None = None
    attempt: int = 0
    deliveries: int = 0
    claim: str = ""
    scheduled: datetime | None = None
    not_before: datetime | None = None
    started: datetime | None = None
    lease: datetime | None = None
    deadline: datetime | None = None
    resolved: datetime | None = None
    parent: int | None = None
    depth: int = 0
    retries: int = 0
    """How many retries without a hand lie before this one (R21)."""
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] = {}
    log_level: int = 0
    log_context: dict[str, Any] = {}
    logs_resolved: bool = False

    @property
    def name(self) -> str:
        """``task#number``."""
        return f"{self.task}#{self.number}"


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the fire with an event id returned (R13)."""

    trigger: str
    at: datetime
    created: tuple[str, ...] = ()
    scheduled: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()


class Parcel(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A fire on its way to the parent."""

    trigger: str
    kwargs: msgspec.Raw
    at: datetime


class Child(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a parent knows of a child: its alias, which incarnation it is, and the number of the last fire that arrived."""

    alias: str
    storage: str
    mark: str
    joined: datetime
    arrived: int = 0


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one commit did, for the history: ``(kind, subject, detail)`` of each thing in order."""

    number: int
    at: datetime
    facts: tuple[tuple[str, str, str], ...]


T = TypeVar("T")


class Collection(NamedTuple, Generic[T]):
    """A named set of records of one type."""

    name: str
    decoder: msgspec.json.Decoder[T]


_instances: msgspec.json.Decoder[Instance] = msgspec.json.Decoder(Instance)

HEAD: Collection[Head] = Collection("session", msgspec.json.Decoder(Head))
CONFIG: Collection[msgspec.Raw] = Collection("config", msgspec.json.Decoder(msgspec.Raw))
TRIGGERS: Collection[Trigger] = Collection("trigger", msgspec.json.Decoder(Trigger))
COUNTS: Collection[Count] = Collection("count", msgspec.json.Decoder(Count))
OUTBOX: Collection[Parcel] = Collection("outbox", msgspec.json.Decoder(Parcel))
CHILDREN: Collection[Child] = Collection("child", msgspec.json.Decoder(Child))
ALIASES: Collection[str] = Collection("alias", msgspec.json.Decoder(str))
STARS: Collection[int] = Collection("star", msgspec.json.Decoder(int))
HISTORY: Collection[Entry] = Collection("history", msgspec.json.Decoder(Entry))
EVENTS: Collection[Event] = Collection("event", msgspec.json.Decoder(Event))

HEAD_KEY = "head"
CONFIG_KEY = "current"
PLACES = ("waiting", "queued", "live", "done")
"""Where an instance may lie: without its ``andEvery``, with it, at work, resolved."""


def waiting(task: str) -> Collection[Instance]:
    """Instances that are unstarted and lack their ``andEvery``, or whose task has none."""
    return Collection(f"waiting/{task}", _instances)


def queued(task: str) -> Collection[Instance]:
    """Instances that are unstarted and have had their ``andEvery``."""
    return Collection(f"queued/{task}", _instances)


def live(task: str) -> Collection[Instance]:
    """Instances that are scheduled, running or failed."""
    return Collection(f"live/{task}", _instances)


def done(task: str) -> Collection[Instance]:
    """Instances that are resolved."""
    return Collection(f"done/{task}", _instances)


def task_of(collection: str) -> str | None:
    """The task of a collection of instances (``live/t_score``), or ``None`` for the other collections."""
    place, slash, task = collection.partition("/")
    return task if slash and place in PLACES else None


def read(collection: Collection[T], key: str, value: bytes) -> T:
    """Decodes a stored record.

    Raises:
        UnreadableRecord: it is none, or has a format that this version does not know.
    """
    try:
        found = collection.decoder.decode(value)
    except msgspec.DecodeError as error:
        raise UnreadableRecord(f"the record {collection.name}/{key} cannot be read: {error}") from error
    if isinstance(found, Head) and found.format != FORMAT:
        raise UnreadableRecord(
            f"the session has format {found.format}, this version of triggers-core reads {FORMAT}; upgrade triggers-core"
        )
    return found


def to_microseconds(at: datetime) -> int:
    """A time as stores keep it."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(at: int) -> datetime:
    """A time as people read it."""
    return _EPOCH + at * _MICROSECOND


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = datetime.resolution


def present(record: Record) -> TaskInstance:
    """The instance in a stored record, as people see it."""
    return as_task_instance(read(live(""), "", record.value), record.wake_at)


def as_task_instance(found: Instance, wake_at: int | None = None) -> TaskInstance:
    """The instance as people see it: with its JSON decoded."""
    return TaskInstance(
        name=found.name,
        task=found.task,
        number=found.number,
        status=found.status,
        kwargs=decode_kwargs(found.kwargs),
        run=found.run,
        using=found.using,
        with_params={} if found.with_params is msgspec.UNSET else decode(found.with_params),
        attempt=found.attempt,
        parent=None if found.parent is None else f"{found.task}#{found.parent}",
        depth=found.depth,
        result=None if found.result is msgspec.UNSET else decode(found.result),
        metadata=found.metadata,
        log_level=found.log_level,
        log_context=found.log_context,
        logs_resolved=found.logs_resolved,
        created_at=found.created,
        scheduled_at=found.scheduled,
        started_at=found.started,
        resolved_at=found.resolved if found.status in RESOLVED else None,
        wake_at=None if wake_at is None else from_microseconds(wake_at),
        causes=found.causes,
    )


def decode_kwargs(kwargs: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    """Kwargs by trigger, decoded."""
    return {trigger: decode(raw) for trigger, raw in kwargs.items()}
