"""The sweep: finds what needs attention though nobody fires anything, and lets the rules decide (R27).

Any number may run at once: each looks at the stored session again before it changes anything.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from triggers.codec import decode, encode
from triggers.dispatch import hand_over, tell_hooks
from triggers.engine.wakeups import WakeUp
from triggers.errors import Conflict, OutcomeUnknown, StorageError, StorageUnavailable, TriggersError, UnreadableRecord
from triggers.records import to_microseconds
from triggers.store import Capability, Change, Due, Record, Store, Want

if TYPE_CHECKING:
    from triggers.process import Process
    from triggers.storages.base import BaseTriggerStorage

_log = logging.getLogger("triggers.sweep")

PAGE = 200
LONGEST_PAUSE = 4
"""How many intervals an idle sweeper waits at most."""
SWEPT = "\x1fswept"
"""Where a store keeps when it was last swept: beside the sessions, under a name that no session can have (R2)."""
NOTE_EVERY = 60_000_000
"""How far apart, in microseconds, the notes of that are; so a store that nothing happens to gets one commit a minute."""
_LAST = Want(frozenset({("sweep", "last")}))
_without_due: set[type[object]] = set()


class Quiet(NamedTuple):
    """What did not answer during one sweep, and is not tried again in it, since each try may take its timeout."""

    runners: set[str]
    storages: set[str]
    """Those of parents."""


def sweep(process: Process, open_session: Callable[[str], BaseTriggerStorage]) -> int:
    """Sweeps one storage once, in order of due time; returns how many wake-ups were handled.

    A session that cannot be served or read is logged, left for others, and does not keep the sweep from what comes after it.

    Args:
        process: the process that sweeps.
        open_session: gives the handle of a session of that storage.
    """
    store = open_session("sweep").store
    if Capability.DUE not in store.capabilities:
        if type(store) not in _without_due:
            _without_due.add(type(store))
            _log.warning(
                "%s cannot list what is due: lost work is recovered only in sessions that are touched",
                type(store).__name__,
            )
        return 0
    before = to_microseconds(process.runtime.clock())
    quiet = Quiet(set(), set())
    handled, cursor = 0, None
    while True:
        page = store.due(before, cursor, PAGE)
        sessions: dict[str, list[Due]] = {}
        for due in page.entries:
            sessions.setdefault(due.uid, []).append(due)
        for uid, entries in sessions.items():
            handled += _wake(process, open_session(uid), [(due.collection, due.key) for due in entries], quiet)
        cursor = page.cursor
        if cursor is None:
            return handled


def _wake(process: Process, storage: BaseTriggerStorage, places: list[tuple[str, str]], quiet: Quiet) -> int:
    def serves(key: str | None, run: str) -> bool | None:
        return None if (key or process.settings.runner) in quiet.runners else process.runners.serves(key, run)

    try:
        decision = process.runtime.execute(storage, WakeUp(places, serves))
    except UnreadableRecord as error:
        if len(places) > 1:
            return sum(_wake(process, storage, [place], quiet) for place in places)
        _log.warning("%s/%s of session %r is left for others: %s", *places[0], storage.uid, error)
        return 0
    except StorageUnavailable:
        raise
    except TriggersError as error:
        _log.warning("the wake-ups of session %r are left for others: %s", storage.uid, error)
        return 0
    if decision.changed:
        tell_hooks(storage, decision)
        quiet.runners.update(hand_over(process.runners, storage, decision.dispatches, process.runtime.clock()))
        try:
            process.tell_manager(storage, decision)
        except Exception:
            _log.exception("a hook of the manager of session %r raised; what it was called for stands", storage.uid)
    woken = decision.result
    if woken.expired:
        return _delete(storage, decision.version)
    if woken.parent_storage is None or woken.parent_storage in quiet.storages:
        return woken.handled
    arrived = process.forward(storage)
    if arrived is None:
        quiet.storages.add(woken.parent_storage)
    return woken.handled + (arrived or 0)


def _delete(storage: BaseTriggerStorage, version: str) -> int:
    """Deletes a session whose time is over, unless something has happened meanwhile."""
    try:
        storage.store.delete(storage.uid, version)
    except Conflict:
        return 0
    except OutcomeUnknown as error:
        _log.warning("whether session %r was deleted the next sweep will see: %s", storage.uid, error)
        return 0
    _log.info("session %r was deleted: it was finalized or idle for longer than the settings keep it", storage.uid)
    return 1


def note_sweep(store: Store, now: int) -> None:
    """Keeps that a store was swept, unless somebody did so within the last half minute; only where sweeps can do anything.

    Args:
        store: what was swept.
        now: the time in microseconds.
    """
    if Capability.DUE not in store.capabilities:
        return
    found = store.load(SWEPT, _LAST)
    last = _noted(found.records)
    if last is not None and 0 <= now - last < NOTE_EVERY // 2:
        return
    change = Change(f"swept:{uuid.uuid4().hex}", {("sweep", "last"): Record(encode({"at": now}))})
    try:
        store.commit(SWEPT, change, found.version, _LAST)
    except (Conflict, OutcomeUnknown) as error:
        _log.debug("another sweep has noted it: %s", error)


def last_sweep(store: Store) -> int | None:
    """When a store was last swept, in microseconds and up to a minute too early; ``None`` if that is not known."""
    return _noted(store.load(SWEPT, _LAST).records)


def _noted(found: Mapping[str, Mapping[str, Record]]) -> int | None:
    record = found.get("sweep", {}).get("last")
    return None if record is None else int(decode(record.value)["at"])


class Sweeper:
    """A daemon thread that sweeps the storages that its process uses, every ``sweep_interval`` and more seldom when idle.

    Args:
        process: the process that it serves.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.reset()

    def reset(self) -> None:
        """Forgets the thread (after a fork)."""
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread, unless it runs or ``sweep_interval`` is 0."""
        if self._thread is not None or not self._process.settings.sweep_interval:
            return
        with self._lock:
            if self._thread is None:
                self._ended = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(self._ended,), name="triggers-sweep", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after the sweep that is under way; ``start`` starts another."""
        with self._lock:
            self._ended.set()
            self._thread = None

    def _run(self, ended: threading.Event) -> None:
        idle = 0
        while True:
            interval = self._process.settings.sweep_interval or 1.0
            pause = interval * min(2**idle, LONGEST_PAUSE)
            if ended.wait(pause * random.uniform(0.8, 1.0)):  # noqa: S311
                return
            try:
                idle = 0 if self._process.sweep(only_used=True) else min(idle + 1, 8)
                self._process.note_sweep(only_used=True)
            except StorageError as error:
                _log.warning("the sweep will try again: %s", error)
            except Exception:
                _log.exception("a sweep failed; the next one will try again")
