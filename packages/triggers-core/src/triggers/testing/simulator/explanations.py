"""``explain`` in every state that a simulation reaches: what it names is fired into a copy of the session (R8, R30)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from triggers import records
from triggers.engine.application import Fire
from triggers.explain import SessionExplanation, TaskExplanation, explain
from triggers.runtime import Runtime
from triggers.settings import Settings
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import ABSENT, Change, Snapshot, Want
from triggers.testing.simulator.violation import require

State = tuple[Any, ...]
_SETTINGS = Settings(storage="memory", sweep_interval=0.0, remembered_sessions=0)
_NEVER_RAN = ("unstarted", "abandoned")


class Explanations:
    """Compares explanations with what happens when one follows them.

    Args:
        judged: states that were found right before; new ones are added. Times and tokens make no state a new one.
    """

    def __init__(self, judged: set[State] | None = None) -> None:
        self._judged: set[State] = set() if judged is None else judged

    def check(self, uid: str, snapshot: Snapshot, now: datetime) -> None:
        """Checks all tasks of a session."""
        state = _state(snapshot)
        if state in self._judged:
            return
        told = explain(_copy(uid, snapshot), None, now)
        assert isinstance(told, SessionExplanation)
        require(bool(str(told)), "explain says nothing")
        for task in told.tasks:
            _task(uid, snapshot, now, task, told.state in ("open", "finalized"))
        self._judged.add(state)


def _task(uid: str, snapshot: Snapshot, now: datetime, told: TaskExplanation, takes_fires: bool) -> None:
    def runs(triggers: Sequence[str]) -> int:
        return _runs(uid, snapshot, now, told.task, triggers if takes_fires else ())

    before = runs(())
    what = f"explain({told.task!r}) says {str(told)!r}"
    if told.missing:
        for triggers in (told.missing, told.missing[::-1]):
            require(runs(triggers) > before, f"{what}, but {triggers} do not make it run")
            require(runs(triggers[:-1]) == before, f"{what}, but {triggers[:-1]} are enough")
    elif told.any_of:
        for trigger in told.any_of:
            require(runs([trigger]) > before, f"{what}, but {trigger} does not make it run")
    else:
        config = _copy(uid, snapshot).tasks[told.task]
        require(runs(list(config.needs)) == before, f"{what}, but {config.needs} make it run")
    unresolved = {
        one.name: str(one.status) for one in _copy(uid, snapshot).instances.values() if one.task == told.task and not one.resolved
    }
    require({one.name: str(one.status) for one in told.instances} == unresolved, f"{what}, but unresolved are {unresolved}")


def _runs(uid: str, snapshot: Snapshot, now: datetime, task: str, triggers: Sequence[str]) -> int:
    """How many instances of the task were ever scheduled, after these fires."""
    storage = _copy(uid, snapshot)
    runtime = Runtime(lambda: _SETTINGS, lambda: now)
    for trigger in triggers:
        runtime.execute(storage, Fire(trigger, msgspec.Raw(b"{}")))
    return sum(one.task == task and str(one.status) not in _NEVER_RAN for one in storage.instances.values())


def _copy(uid: str, snapshot: Snapshot) -> MemoryStorageBackend:
    store = MemoryStore()
    put = {(collection, key): record for collection, entries in snapshot.records.items() for key, record in entries.items()}
    store.commit(uid, Change(snapshot.version, put), ABSENT, Want())
    return MemoryStorageBackend(uid, store=store)


def _state(snapshot: Snapshot) -> State:
    """What an explanation depends on."""
    head = records.read(records.HEAD, "head", snapshot.records["session"]["head"].value)
    instances = frozenset(
        (collection, key, str(one.status), frozenset(one.kwargs))
        for collection, entries in snapshot.records.items()
        if records.task_of(collection) is not None
        for key, record in entries.items()
        for one in (records.read(records.live(""), key, record.value),)
    )
    fired = frozenset(snapshot.records.get("trigger", {}))
    return head.config, head.closed, head.finalized is None, head.children_complete, head.children, fired, instances
