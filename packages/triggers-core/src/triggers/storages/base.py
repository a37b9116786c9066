"""One session's handle on a store: what people use to look into a session."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from triggers import records
from triggers.codec import decode
from triggers.config import Configuration, TaskConfig
from triggers.errors import SettingsError, UnknownInstance
from triggers.forking import renew_after_fork
from triggers.instance import Status, TaskInstance
from triggers.names import check_name, split_instance_name
from triggers.settings import get_settings, on_change, redact, refused_option
from triggers.store import EVERYTHING, Record, Snapshot, Store, Want

_WARNING = 30

_shared: dict[tuple[type[BaseTriggerStorage], str], tuple[dict[str, Any], Store]] = {}
_shared_lock = threading.Lock()
renew_after_fork(globals(), "_shared_lock", threading.Lock)


class BaseTriggerStorage:
    """A session in a store. A backend's own class names its ``store_class``, ``key`` and ``api_version``; the rest is here.

    Reading an attribute reads the store: the result is the stored truth of now, never a stale copy.

    Args:
        uid: the session.
        key: the key of the settings under which the store's options are found; the backend's own by default.
        store: an opened store to use instead of the one of the settings.
        **options: options of the store, stronger than the settings.
    """

    api_version: ClassVar[int]
    key: str
    store_class: ClassVar[type[Store]]

    def __init__(self, uid: str, *, key: str | None = None, store: Store | None = None, **options: Any) -> None:
        self.uid = check_name("session", uid)
        if key is not None:
            self.key = key
        self.configured = store is None and not options
        """Whether another process finds the same store by its key alone."""
        self.store = store if store is not None else self.shared_store(self.key, options)

    @classmethod
    def shared_store(cls, key: str, options: Mapping[str, Any] | None = None) -> Store:
        """The store for these options, one per process: those given, over those of the settings."""
        name = (cls, key) if not options else (cls, f"{key} {sorted(options.items())!r}")
        found = _shared.get(name)
        if found is not None:
            return found[1]
        with _shared_lock:
            found = _shared.get(name)
            if found is None:
                merged = {**get_settings().options_of(key), **(options or {})}
                merged.pop("backend", None)
                found = _shared[name] = (merged, cls.make_store(key, merged))
            return found[1]

    @classmethod
    def make_store(cls, key: str, options: Mapping[str, Any]) -> Store:
        """Makes a store; raises ``SettingsError`` for options that it does not take."""
        try:
            return cls.store_class(**options)
        except TypeError as error:
            problem = refused_option(cls.store_class, options) or error
            raise SettingsError(
                f"storage {key!r} cannot be made with the options {redact(dict(options))!r}: {problem}"
            ) from error

    @property
    def tasks(self) -> dict[str, TaskConfig]:
        """The configuration, by task."""
        return self._configuration(self._load(Want(frozenset({("config", "current")}))))

    @property
    def instances(self) -> dict[str, TaskInstance]:
        """All instances by name, in order of task and number."""
        return _instances(self._load(EVERYTHING))

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known of the session itself: times, counts, manager, attributes; empty if it does not exist."""
        found = self._load(Want(frozenset({("session", "head")}))).records.get("session", {}).get("head")
        if found is None:
            return {}
        head = records.read(records.HEAD, "head", found.value)
        return {
            "created_at": head.created,
            "touched_at": head.touched,
            "finalized_at": head.finalized,
            "closed": head.closed or None,
            "closed_because": head.closed_because or None,
            "parent": head.parent.uid if head.parent else None,
            "children": head.children,
            "unresolved_instances": head.open,
            "manager": head.manager,
            "attributes": dict(head.attributes),
            "tasks": head.tasks,
            "unresolved_tasks": head.unresolved,
            "instances": head.instances,
            "failed_instances": head.failed,
            "fires": head.fires,
        }

    @property
    def latest_kwargs(self) -> dict[str, Any]:
        """The latest kwargs of every trigger that fired (R9)."""
        found = self._load(Want(collections=frozenset({"trigger"}))).records.get("trigger", {})
        return {
            trigger: decode(records.read(records.TRIGGERS, trigger, record.value).kwargs)
            for trigger, record in sorted(found.items())
        }

    def __getitem__(self, name: str) -> TaskInstance:
        """The instance of this name.

        Raises:
            UnknownInstance: there is none.
        """
        task, number = split_instance_name(name)
        wanted = frozenset((f"{place}/{task}", str(number)) for place in records.PLACES)
        found = self._load(Want(wanted)).records
        for collection, key in wanted:
            record = found.get(collection, {}).get(key)
            if record is not None:
                return records.present(record)
        raise UnknownInstance(f"session {self.uid!r} has no instance {name!r}")

    def __contains__(self, name: object) -> bool:
        """Whether there is an instance of this name."""
        try:
            self[str(name)]
        except (UnknownInstance, ValueError):
            return False
        return True

    def __iter__(self) -> Iterator[TaskInstance]:
        """All instances, in order of task and number."""
        return iter(self.instances.values())

    def __len__(self) -> int:
        """How many instances there are."""
        return len(self.instances)

    def __bool__(self) -> bool:
        """A handle is true, also of a session without instances."""
        return True

    def instances_of_task(self, task: str) -> list[TaskInstance]:
        """The instances of one task, in order of number."""
        wanted = frozenset(f"{place}/{task}" for place in records.PLACES)
        return list(_instances(self._load(Want(collections=wanted)), wanted).values())

    def get_unresolved_tasks(self) -> list[str]:
        """The tasks that have no instance, or an unresolved one (R15), in order of name."""
        snapshot = self._load(Want(frozenset({("config", "current")}), frozenset({"count"})))
        counts = snapshot.records.get("count", {})
        return [task for task in self._configuration(snapshot) if _unresolved(task, counts)]

    def get_unresolved_instances(self) -> list[TaskInstance]:
        """The instances that may still change (R15), in order of task and number."""
        return [instance for instance in self if not instance.resolved]

    def get_instances_with_unresolved_logs(self) -> list[TaskInstance]:
        """The instances whose work logged a warning or worse that nobody has marked as resolved."""
        return [instance for instance in self if instance.log_level >= _WARNING and not instance.logs_resolved]

    def debug_repr(self) -> str:
        """The whole session in lines that people read."""
        snapshot = self._load(EVERYTHING)
        if not snapshot.version:
            return f"session {self.uid!r}: not there"
        fired = sorted(snapshot.records.get("trigger", {}))
        lines = [f"session {self.uid!r}", f"  fired: {', '.join(fired) or 'nothing'}"]
        instances = _instances(snapshot)
        for task, config in self._configuration(snapshot).items():
            waits = f"after {', '.join(config.needs)}" + (f" unless {', '.join(config.unless)}" if config.unless else "")
            lines.append(f"  {task}: {waits}")
        lines.extend(
            f"  {instance.name}: {instance.status} (has {', '.join(instance.kwargs) or 'nothing'})"
            for instance in instances.values()
        )
        return "\n".join(lines)

    @property
    def children(self) -> dict[str, str]:
        """The sessions that have joined this one (R30): their uids by alias, in order."""
        found = self._load(Want(collections=frozenset({"child"}))).records.get("child", {})
        children = {records.read(records.CHILDREN, uid, record.value).alias: uid for uid, record in found.items()}
        return dict(sorted(children.items()))

    def delete(self) -> bool:
        """Deletes the whole session; returns whether there was one (R31)."""
        return self.store.delete(self.uid)

    def exists(self) -> bool:
        """Whether the session is there."""
        return bool(self._load(Want(frozenset({("session", "head")}))).version)

    def __repr__(self) -> str:
        """The class and the uid."""
        return f"{type(self).__name__}({self.uid!r})"

    def _load(self, want: Want) -> Snapshot:
        return self.store.load(self.uid, want)

    def _configuration(self, snapshot: Snapshot) -> dict[str, TaskConfig]:
        found = snapshot.records.get("config", {}).get("current")
        return {} if found is None else Configuration.decode(found.value).tasks


def _unresolved(task: str, counts: Mapping[str, Record]) -> bool:
    record = counts.get(task)
    if record is None:
        return True
    count = records.read(records.COUNTS, task, record.value)
    return count.next == 0 or count.unresolved > 0


def _instances(snapshot: Snapshot, only: frozenset[str] | None = None) -> dict[str, TaskInstance]:
    found = [
        records.present(record)
        for collection, entries in snapshot.records.items()
        if records.task_of(collection) is not None and (only is None or collection in only)
        for record in entries.values()
    ]
    found.sort(key=lambda instance: (instance.task, instance.number))
    return {instance.name: instance for instance in found}


def forget_shared_stores() -> None:
    """Closes the stores that this process shares; the next use opens new ones with the settings of then."""
    with _shared_lock:
        stores = [store for _, store in _shared.values()]
        _shared.clear()
    for store in stores:
        store.close()


def _settings_changed() -> None:
    with _shared_lock:
        kept = {}
        for (cls, name), (options, store) in _shared.items():
            key = name.partition(" ")[0]
            current = {**get_settings().options_of(key)}
            current.pop("backend", None)
            if " " in name or current == options:
                kept[cls, name] = (options, store)
        _shared.clear()
        _shared.update(kept)


on_change(_settings_changed)

__all__ = ["BaseTriggerStorage", "Status", "forget_shared_stores"]
