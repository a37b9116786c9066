"""One session while a decision is made: places instances, keeps the counts right, collects what follows.

Everything here changes the view only; whether that is stored is the runtime's matter.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from triggers import records
from triggers.codec import decode, merge
from triggers.config import Configuration
from triggers.engine.decision import Dispatch, Notice, StatusChanged, Terms
from triggers.engine.history import write_history
from triggers.engine.retention import deletion_time
from triggers.engine.transitions import check_transition
from triggers.engine.view import View
from triggers.errors import LimitExceeded, UnknownInstance
from triggers.instance import RESOLVED, Status
from triggers.names import split_instance_name
from triggers.records import COUNTS, FORMAT, HEAD, HEAD_KEY, Collection, Count, Head, Instance, Link
from triggers.store import Want

NO_COUNT = Count()
_PLACES = {"waiting": records.waiting, "queued": records.queued, "live": records.live, "done": records.done}


class Session:
    """The working state of one decision."""

    __slots__ = (
        "_failed",
        "_fires",
        "_head_fields",
        "_instances",
        "_open",
        "_pending",
        "_unresolved",
        "config",
        "dispatches",
        "head",
        "labels_changed",
        "notices",
        "now",
        "places",
        "terms",
        "touched",
        "uid",
        "view",
    )

    def __init__(self, uid: str, view: View, now: datetime, terms: Terms) -> None:
        self.uid = uid
        self.view = view
        self.now = now
        self.terms = terms
        self.head: Head | None = view.head
        self.config: Configuration = view.configuration()
        self.dispatches: list[Dispatch] = []
        self.notices: list[Notice] = []
        self.touched: dict[str, Instance] = {}
        self.places: dict[str, str] = {}
        self.labels_changed = False
        self._head_fields: dict[str, Any] = {}
        self._fires = self._instances = self._failed = self._open = self._unresolved = self._pending = 0

    @property
    def fires(self) -> int:
        """How many triggers the session has fired, those of this decision included."""
        return (self.head.fires if self.head else 0) + self._fires

    @property
    def pending(self) -> int:
        """Unresolved tasks that do not wait for ``sessionFinalized``, as the decision stands."""
        stored = self.head.pending if self.head else 0
        return int(self._head_fields.get("pending", stored)) + self._pending

    @property
    def unresolved(self) -> int:
        """Unresolved tasks, as the decision stands."""
        stored = self.head.unresolved if self.head else 0
        return int(self._head_fields.get("unresolved", stored)) + self._unresolved

    @property
    def serial(self) -> int:
        """The serial of the current configuration."""
        stored = self.head.serial if self.head else 0
        return int(self._head_fields.get("serial", stored))

    @property
    def finalized(self) -> bool:
        """Whether ``sessionFinalized`` was fired by the session itself."""
        return (self.head is not None and self.head.finalized is not None) or "finalized" in self._head_fields

    @property
    def finalizes(self) -> bool:
        """Whether the session remembers that it finalizes, whoever resolves its last task."""
        return bool(self._head_fields.get("finalizes", self.head.finalizes if self.head else False))

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.view.written or self._head_fields or self._fires)

    @property
    def children(self) -> int:
        """How many children have joined."""
        return int(self._head_fields.get("children", self.head.children if self.head else 0))

    @property
    def children_complete(self) -> bool:
        """Whether the set of children was declared complete."""
        return bool(self._head_fields.get("children_complete", self.head.children_complete if self.head else False))

    @property
    def closed(self) -> bool:
        """Whether the session takes nothing any more, as the decision stands."""
        return bool(self.closed_as)

    @property
    def closed_as(self) -> str:
        """What it is closed as, ``cancelled``, ``moved`` or ``copy``; empty if it is open."""
        return str(self._head_fields.get("closed", self.head.closed if self.head else ""))

    @property
    def has_parcels(self) -> bool:
        """Whether this decision fired something that the parent has to hear of."""
        return "outbox" in self._head_fields

    @property
    def parent(self) -> Link | None:
        """The parent of the session, if it has one."""
        stored = self.head.parent if self.head else None
        parent: Link | None = self._head_fields.get("parent", stored)
        return parent

    @property
    def outbox(self) -> int:
        """The number of the last fire that was handed to the parent."""
        return int(self._head_fields.get("outbox", self.head.outbox if self.head else 0))

    @property
    def delivered(self) -> int:
        """The number of the last fire that has arrived at the parent."""
        return int(self._head_fields.get("delivered", self.head.delivered if self.head else 0))

    def next_parcel(self) -> int:
        """The number of the next fire for the parent, from 1."""
        number = self.outbox + 1
        self._head_fields["outbox"] = number
        return number

    def set_head(self, **fields: Any) -> None:
        """Sets fields of the head; they are written with the commit."""
        self._head_fields.update(fields)

    def count_fire(self) -> int:
        """Counts one more fire and returns its number in the session, from 1."""
        self._fires += 1
        return self.fires

    def count(self, task: str) -> Count:
        """The counts of a task."""
        return self.view.get(COUNTS, task) or NO_COUNT

    def instances(self, collection: Collection[Instance]) -> list[Instance]:
        """All instances of a collection, in order of number."""
        found = sorted(self.view.all(collection).values(), key=_number)
        for instance in found:
            self.places[instance.name] = collection.name
        return found

    def find(self, name: str) -> Instance:
        """The instance of this name, wherever it lies.

        Raises:
            UnknownInstance: the session has none.
        """
        task, number = split_instance_name(name)
        key = str(number)
        place = self.view.first_of([f"{place}/{task}" for place in _PLACES], key)
        if place is None:
            self.view.require(instance_want(task, key))
        else:
            instance = self.view.get(_collection(place), key)
            if instance is not None:
                self.places[name] = place
                return instance
        raise UnknownInstance(f"session {self.uid!r} has no instance {name!r}")

    @property
    def has_room(self) -> bool:
        """Whether one more instance is within ``max_instances``."""
        return (self.head.instances if self.head else 0) + self._instances < self.terms.max_instances

    def new_instance(self, task: str, cause: str, **fields: Any) -> Instance:
        """A new instance of a task, not yet placed.

        Raises:
            LimitExceeded: the session would have more than ``max_instances`` (R33).
        """
        if not self.has_room:
            total = self.terms.max_instances
            raise LimitExceeded(
                f"session {self.uid!r} has {total} instances, which is the limit (setting max_instances); "
                f"one more of task {task!r} was asked for by {cause}: if that is a cascade that runs for ever, break the circle"
            )
        self._instances += 1
        return Instance(task=task, number=self.count(task).next, created=self.now, **fields)

    def place(self, before: Instance | None, after: Instance, wake_at: datetime | None = None) -> None:
        """Writes an instance where its status says, and everything that counts it.

        Args:
            before: what it was; ``None`` for a new one. It must have come from ``find`` or ``instances``.
            after: what it is from now on.
            wake_at: when it next needs attention.
        """
        name, key = after.name, str(after.number)
        if before is not None and before.status is not after.status:
            check_transition(name, before.status, after.status)
        collection = self._collection_of(after)
        old = self.places.get(name)
        if old is not None and old != collection.name:
            self.view.drop(_collection(old), key)
        self.view.put(collection, key, after, wake_at)
        self.places[name] = collection.name
        self.touched[name] = after
        self._count(before, after, old, collection.name)
        if before is None or before.status is not after.status:
            self.notices.append(StatusChanged(after, None if before is None else before.status))

    def misplaced(self, instance: Instance) -> bool:
        """Whether the current configuration puts the instance elsewhere than it lies."""
        return self.places.get(instance.name) != self._collection_of(instance).name

    def collection_of(self, name: str) -> Collection[Instance]:
        """Where an instance lies that came from ``find`` or ``instances``."""
        return _collection(self.places[name])

    def schedule(
        self,
        before: Instance | None,
        unscheduled: Instance,
        not_before: datetime | None = None,
        *,
        keep_kwargs: bool = False,
    ) -> None:
        """Schedules an instance with the ``run``, ``using`` and ``withParams`` of now (R3); its delivery follows the commit.

        Only the kwargs of the triggers in ``after`` and ``andEvery`` stay with it (R11), unless ``keep_kwargs`` (a replay) says
        otherwise.
        """
        task = self.config.tasks[unscheduled.task]
        passed = task.needs
        kwargs = unscheduled.kwargs
        if not keep_kwargs and any(trigger not in passed for trigger in kwargs):
            kwargs = {trigger: kwargs[trigger] for trigger in kwargs if trigger in passed}
        scheduled = replace(
            unscheduled,
            status=Status.SCHEDULED,
            kwargs=kwargs,
            causes={trigger: cause for trigger, cause in unscheduled.causes.items() if trigger in kwargs},
            run=task.run,
            using=task.using,
            with_params=msgspec.Raw(msgspec.json.encode(task.with_params)) if task.with_params else msgspec.UNSET,
            on_lost=task.on_lost,
            retry=task.retry,
            timeout=task.timeout,
            attempt=1,
            scheduled=self.now,
            not_before=not_before,
        )
        self.place(before, scheduled, not_before or self.now + timedelta(seconds=self.terms.redeliver_after))
        self.dispatch(scheduled)

    def dispatch(self, instance: Instance) -> None:
        """Has a runner told of the instance's current attempt after the commit."""
        self.dispatches.append(
            Dispatch(
                instance.task,
                instance.number,
                instance.attempt,
                instance.run or "",
                instance.using,
                instance.not_before,
            )
        )

    def seal(self, token: str, clients: int) -> None:
        """Writes the head with all counts and the client's slot; the last step before the commit.

        Args:
            token: ``client:number``, unique for this try.
            clients: how many slots there are.
        """
        client = token.partition(":")[0] + ":"
        old = self.head
        if old is None:
            old = Head(format=FORMAT, created=self.now, touched=self.now)
        kept = [slot for slot in old.clients if not slot.startswith(client)]
        fields = self._head_fields
        head = replace(
            old,
            **fields
            | {
                "touched": self.now,
                "fires": old.fires + self._fires,
                "instances": old.instances + self._instances,
                "unresolved": fields.get("unresolved", old.unresolved) + self._unresolved,
                "pending": fields.get("pending", old.pending) + self._pending,
                "failed": old.failed + self._failed,
                "open": old.open + self._open,
                "history": write_history(self.view, old.history, self.notices, self.now, self.terms.history),
                "clients": (*kept[max(0, len(kept) + 1 - clients) :], token),
            },
        )
        self.view.put(HEAD, HEAD_KEY, head, deletion_time(head, self.terms))

    def labels(self) -> frozenset[str] | None:
        """The labels of the session if they change with this decision."""
        sealed = self.view.head
        if sealed is None:
            return None
        new = labels_of(sealed)
        return None if self.head is not None and labels_of(self.head) == new else new

    def _collection_of(self, instance: Instance) -> Collection[Instance]:
        if instance.status is Status.UNSTARTED:
            task = self.config.tasks.get(instance.task)
            every = task.and_every if task else None
            return (records.queued if every in instance.kwargs else records.waiting)(instance.task)
        return (records.done if instance.status in RESOLVED else records.live)(instance.task)

    def _count(self, before: Instance | None, after: Instance, old: str | None, new: str) -> None:
        count = self.count(after.task)
        was_unresolved = before is not None and before.status not in RESOLVED
        is_unresolved = after.status not in RESOLVED
        was_queued = old is not None and old.startswith("queued/")
        changed = replace(
            count,
            next=max(count.next, after.number + 1),
            unresolved=count.unresolved + is_unresolved - was_unresolved,
            queued=count.queued + new.startswith("queued/") - was_queued,
        )
        if before is None and count.unresolved == 0:
            changed = replace(changed, sorted=self.serial)
        if changed != count:
            self.view.put(COUNTS, after.task, changed)
        self._failed += (after.status is Status.FAILED) - (before is not None and before.status is Status.FAILED)
        self._open += is_unresolved - was_unresolved
        step = task_unresolved(changed) - task_unresolved(count)
        if step and after.task in self.config.tasks:
            self._unresolved += step
            if after.task not in self.config.awaiting_finalization:
                self._pending += step

    def mark_sorted(self, task: str) -> None:
        """Notes that all unstarted instances of the task lie where the current configuration puts them."""
        count = self.count(task)
        if count.sorted != self.serial:
            self.view.put(COUNTS, task, replace(count, sorted=self.serial))


def instance_want(task: str, key: str) -> Want:
    """Everywhere an instance may lie, and the counts of its task."""
    return Want(frozenset({("count", task), *((f"{place}/{task}", key) for place in _PLACES)}))


def task_unresolved(count: Count) -> bool:
    """Whether a task is unresolved: it has no instance, or an unresolved one (R15)."""
    return count.next == 0 or count.unresolved > 0


def labels_of(head: Head) -> frozenset[str]:
    """The labels by which a session is found: its attributes as ``name=value``, and what it is in."""
    labels = {f"{name}={value}" for name, value in head.attributes.items()}
    if head.failed:
        labels.add("status:failed")
    if head.finalized is not None:
        labels.add("status:finalized")
    if head.closed:
        labels.add(f"status:{head.closed}")
    return frozenset(labels)


def merged_kwargs(instance: Instance) -> dict[str, Any]:
    """What the work receives: ``withParams`` with the fired kwargs over them (R11)."""
    params = {} if instance.with_params is msgspec.UNSET else decode(instance.with_params)
    merged: dict[str, Any] = merge(params, records.decode_kwargs(instance.kwargs))
    return merged


def _collection(name: str) -> Collection[Instance]:
    place, _, task = name.partition("/")
    return _PLACES[place](task)


def _number(instance: Instance) -> int:
    return instance.number
