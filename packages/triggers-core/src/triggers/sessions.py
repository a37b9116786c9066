"""Sessions as a whole: find them, copy and move them between storages, delete them (R31)."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from triggers import records
from triggers.codec import encode
from triggers.engine.closing import CANCELLED, COPY, MOVED
from triggers.engine.lifecycle import Activate, Close, Vacate
from triggers.engine.session import labels_of
from triggers.errors import Conflict, InvalidName, OutcomeUnknown, SessionExists, StorageError, UnknownSession
from triggers.names import check_name, plain, shorten, suggestion
from triggers.process import get_process
from triggers.records import HEAD, HEAD_KEY, Head
from triggers.runtime import Runtime
from triggers.sizes import check_size
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage
from triggers.store import ABSENT, EVERYTHING, NOTHING, Capability, Change, Record, Snapshot, Store, Want
from triggers.sweeping import SWEPT

__all__ = [
    "CopyReport",
    "SessionPage",
    "activate_session",
    "copy_session",
    "copy_sessions",
    "delete_session",
    "find_sessions",
    "move_session",
]

_log = logging.getLogger("triggers.sessions")
_HEAD = Want(frozenset({(HEAD.name, HEAD_KEY)}))
_PAGE = 100
_COPIES = 5
_MOST = 1_000_000
_STATUSES = ("failed", "finalized", CANCELLED, MOVED, COPY)
Place = str | BaseTriggerStorage
"""A storage: the key of the settings, or any handle on it."""


class SessionPage(NamedTuple):
    """Some sessions, and the cursor for the next page; ``None`` at the end."""

    uids: list[str]
    cursor: str | None


class CopyReport(NamedTuple):
    """What copying all sessions did."""

    copied: int
    unchanged: int
    """Copies that were there already, of the same version."""
    refused: dict[str, str]
    """Sessions that were not copied, with the reason."""


def find_sessions(
    *,
    status: str | None = None,
    storage: Place | None = None,
    cursor: str | None = None,
    limit: int = _PAGE,
    **attributes: str,
) -> SessionPage:
    """One page of the sessions of a storage.

    A page costs a fixed number of statements for at most one condition; each further one reads the heads of the page.

    Args:
        status: only those that are ``failed`` (have failed instances), ``finalized``, ``cancelled``, ``moved`` or a ``copy``.
        storage: the storage; the configured one by default.
        cursor: where the page before ended.
        limit: how many sessions to look at.
        **attributes: only those with these attributes, as ``manager.label`` set them.

    Raises:
        InvalidName: there is no such status.
        ValueError: the limit is no whole number from 1 to a million.
        StorageError: the storage cannot list its sessions.
    """
    if status is not None and status not in _STATUSES:
        meant = suggestion(str(status), _STATUSES)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(_STATUSES)}"
        raise InvalidName(f"a session has no status {shorten(status)} by which it could be found; {hint}")
    if type(limit) is not int or not 1 <= limit <= _MOST:
        raise ValueError(f"limit is how many sessions to look at, from 1 to {_MOST}, got {shorten(limit)}")
    store = _store(storage)
    if Capability.SCAN not in store.capabilities:
        raise StorageError(f"{type(store).__name__} cannot list its sessions; keep the uids yourself, or use redis or sql")
    labels = [f"{name}={plain(value)}" for name, value in attributes.items()] + ([f"status:{status}"] if status else [])
    page = store.scan(labels[0] if labels else None, cursor, limit)
    uids = [uid for uid in page.uids if uid != SWEPT]
    if len(labels) > 1:
        uids = [uid for uid in uids if (head := _head(store, uid)) is not None and labels_of(head) >= set(labels)]
    return SessionPage(uids, page.cursor)


def copy_session(uid: str, source: Place, target: Place) -> bool:
    """Copies a session, exactly and whole; the copy takes nothing until ``activate_session`` (R31).

    May be repeated: a copy of an older version is replaced, one of this version is left.

    Returns:
        Whether anything was written.

    Raises:
        UnknownSession: the source has no such session.
        SessionExists: the target has a session of this uid that is no copy.
        SessionTooLarge: the target cannot keep it.
    """
    origin, goal = _store(source), _store(target)
    snapshot = origin.load(check_name("session", uid), EVERYTHING)
    if snapshot is NOTHING or snapshot.version == ABSENT:
        raise UnknownSession(f"the source has no session {uid!r}")
    head = _read_head(snapshot)
    if head is not None and head.closed in (COPY, MOVED):
        raise SessionExists(f"session {uid!r} is {head.closed} in the source; copy the session itself")
    return _write_copy(uid, snapshot, goal, _name(source))


def copy_sessions(source: Place, target: Place, progress: Callable[[str], None] | None = None) -> CopyReport:
    """Copies all sessions of a storage; when it was broken off, calling it again goes on.

    Args:
        source: from where; it must be able to list its sessions.
        target: to where.
        progress: called with each uid after it was looked at.
    """
    copied = unchanged = 0
    refused: dict[str, str] = {}
    cursor = None
    while True:
        page = find_sessions(storage=source, cursor=cursor)
        for uid in page.uids:
            try:
                written = copy_session(uid, source, target)
            except UnknownSession:
                continue
            except (SessionExists, StorageError) as error:
                refused[uid] = str(error)
                if not isinstance(error, (SessionExists, ValueError)):
                    raise
            else:
                copied += written
                unchanged += not written
            if progress is not None:
                progress(uid)
        cursor = page.cursor
        if cursor is None:
            return CopyReport(copied, unchanged, refused)


def activate_session(uid: str, storage: Place, original: Place) -> None:
    """Makes a copy the session, once its original was deleted or marked as moved.

    Raises:
        SessionExists: the original is still in use; ``move_session`` marks it.
    """
    head = _head(_store(original), check_name("session", uid))
    if head is not None and head.closed != MOVED:
        raise SessionExists(f"the original of session {uid!r} is still in use; move it with move_session, or delete it first")
    version = None if head is None else head.copy_of
    if not get_process().runtime.execute(_handle(storage, uid), Activate(version)).result:
        raise SessionExists(f"the copy of session {uid!r} is not of the version that was moved; repeat move_session")


def move_session(uid: str, source: Place, target: Place) -> None:
    """Copies a session, marks the original as moved, and activates the copy; may be repeated after a crash at any point.

    What happens to the original meanwhile is copied too; in the end a mark is left of it, which says where it went. Running work
    finds that its lease is lost, and runs again as its ``onLost`` says once the target is swept.
    """
    move(get_process().runtime, _handle(source, uid), _handle(target, uid))


def move(runtime: Runtime, original: BaseTriggerStorage, goal: BaseTriggerStorage) -> None:
    """Moves a session between two handles on it; see ``move_session``."""
    uid = original.uid
    for copies in itertools.count(1):
        snapshot = original.store.load(uid, EVERYTHING)
        head = _read_head(snapshot)
        if head is None:
            raise UnknownSession(f"the source has no session {uid!r}")
        if head.closed == MOVED and runtime.execute(goal, Activate(head.copy_of)).result:
            runtime.execute(original, Vacate())
            return
        if head.closed == MOVED and not head.copy_of:
            raise UnknownSession(f"session {uid!r} was moved to {head.closed_because!r} and has been deleted there since")
        # Also one that is marked as moved, where another move has written an older copy over the one that counts.
        try:
            _write_copy(uid, snapshot, goal.store, original.key)
        except SessionExists:
            now = _head(original.store, uid)
            if now is None or now.closed != MOVED:
                raise
            continue  # another move has come to its end meanwhile
        if head.closed != MOVED:
            # A session that is changed faster than it can be copied is closed first, where the target surely keeps it.
            first = copies >= _COPIES and not goal.store.one_value
            runtime.execute(original, Close(None if first else snapshot.version, goal.key))


def delete_session(uid: str, storage: Place | None = None, *, expected: str | None = None) -> bool:
    """Deletes a session whole; with ``expected`` (a version) only if nothing has happened since.

    Its children go on alone; what it had not yet delivered to its parent is gone with it.

    Raises:
        Conflict: something has happened.
    """
    return _store(storage).delete(check_name("session", uid), expected)


def _write_copy(uid: str, snapshot: Snapshot, goal: Store, source: str) -> bool:
    head = _read_head(snapshot)
    if head is None:
        raise UnknownSession(f"session {uid!r} has no head, so it was not made by Triggers")
    version = snapshot.version
    if head.closed == MOVED:
        version = head.copy_of
    change = _copy_of(snapshot, head, version, source)
    check_size(goal, uid, NOTHING, change, report=True)
    while True:
        found = goal.load(uid, EVERYTHING)
        there = _read_head(found)
        if there is not None:
            if there.closed != COPY:
                raise SessionExists(f"the target has a session {uid!r} that is no copy; delete it there, or leave this one")
            if there.copy_of == version:
                return False
        # One commit replaces the older copy, so that there is no moment without one.
        old = {(collection, key) for collection, entries in found.records.items() for key in entries}
        try:
            goal.commit(uid, change._replace(drop=frozenset(old - change.put.keys())), found.version, _HEAD)
        except (Conflict, OutcomeUnknown) as error:
            _log.info("session %r is copied again: %s", uid, error)
        else:
            return True


def _copy_of(snapshot: Snapshot, head: Head, version: str, source: str) -> Change:
    put = {(collection, key): record for collection, entries in snapshot.records.items() for key, record in entries.items()}
    before = head.closed_before if head.closed == MOVED else (head.closed, head.closed_because)
    copied = replace(head, closed=COPY, closed_because=source, closed_before=before, copy_of=version)
    put[HEAD.name, HEAD_KEY] = Record(encode(copied))
    return Change(f"copy:{uuid.uuid4().hex}", put, labels=labels_of(copied))


def _head(store: Store, uid: str) -> Head | None:
    return _read_head(store.load(uid, _HEAD))


def _read_head(snapshot: Snapshot) -> Head | None:
    found = snapshot.records.get(HEAD.name, {}).get(HEAD_KEY)
    return None if found is None else records.read(HEAD, HEAD_KEY, found.value)


def _store(place: Place | None) -> Store:
    return _handle(place, "any").store


def _handle(place: Place | None, uid: str) -> BaseTriggerStorage:
    if isinstance(place, BaseTriggerStorage):
        return type(place)(uid, key=place.key, store=place.store)
    return storage_backends.get(place or get_process().settings.storage, uid)


def _name(place: Place) -> str:
    return place.key if isinstance(place, BaseTriggerStorage) else place
