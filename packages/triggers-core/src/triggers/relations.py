"""Carrying the fires of a child to its parent (R30): right after they were stored, and again by the sweep."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from triggers import records
from triggers.engine.closing import COPY, MOVED
from triggers.engine.related import (
    Arrival,
    Arrive,
    ConfirmLink,
    DropParcels,
    LinkParent,
    RegisterChild,
    Unlink,
    check_alias,
    name_in_parent,
)
from triggers.errors import RelationError
from triggers.records import HEAD, HEAD_KEY, OUTBOX, Head, Link
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Record, Want

if TYPE_CHECKING:
    from triggers.process import Process

_log = logging.getLogger("triggers.relations")

_HEAD = Want(frozenset({(HEAD.name, HEAD_KEY)}))
_OUTBOX = _HEAD | Want(collections=frozenset({OUTBOX.name}))
_BATCH = 100
_MAX_DEPTH = 100


def join(
    process: Process, child: BaseTriggerStorage, parent: BaseTriggerStorage, alias: str, from_body: str | None = None
) -> None:
    """Makes one session the child of another; may be repeated, also after a crash in between.

    Raises:
        RelationError: the alias is none or is taken, a circle would arise, the child has another parent, or the parent's
            children were declared complete.
    """
    alias = check_alias(alias)
    _refuse_circle(child, parent)
    link = Link(uid=parent.uid, alias=alias, storage=parent.key, mark=uuid.uuid4().hex)
    moved = _parent_was_moved(child, parent)
    standing = process.runtime.execute(child, LinkParent(link, moved, from_body)).result
    try:
        if not standing.confirmed:
            # Somebody may have closed the circle between the first look and the link: of two that do, the later one sees it.
            _refuse_circle(child, parent)
        _register(process, child, parent, standing)
    except RelationError:
        if not standing.confirmed:
            process.runtime.execute(child, Unlink(standing.mark))
        raise
    forward(process, child)


def forward(process: Process, child: BaseTriggerStorage) -> int:
    """Delivers what waits in the outbox of a session to its parent; returns how many fires arrived.

    Any number may do so at once: the parent takes each fire once, in order.
    """
    delivered = 0
    while True:
        snapshot = child.store.load(child.uid, _OUTBOX)
        head = _head(snapshot.records.get(HEAD.name, {}))
        link = head.parent if head else None
        waiting = snapshot.records.get(OUTBOX.name, {})
        if head is None or link is None or not waiting or head.closed in (MOVED, COPY):
            return delivered
        numbers = sorted(map(int, waiting))[:_BATCH]
        arrivals = [Arrival(number, records.read(OUTBOX, str(number), waiting[str(number)].value)) for number in numbers]
        parent = open_related(child, link.storage, link.uid)
        for arrival in arrivals:
            if name_in_parent(link.alias, arrival.parcel.trigger) is None:
                _log.warning(
                    "trigger %r of session %r does not reach its parent %r: with the alias %r its name would be too long",
                    arrival.parcel.trigger,
                    child.uid,
                    parent.uid,
                    link.alias,
                )
        if not (link.confirmed or _admitted(process, child, parent, link)):
            return delivered
        if not _deliver(process, child, parent, link, arrivals):
            return delivered
        process.runtime.execute(child, DropParcels(numbers))
        delivered += len(numbers)


def open_related(session: BaseTriggerStorage, key: str, uid: str) -> BaseTriggerStorage:
    """The handle of a related session: in the same store where the key is the same, else as the settings say."""
    if key == session.key:
        return type(session)(uid, key=key, store=session.store)
    return storage_backends.get(key, uid)


def _register(process: Process, child: BaseTriggerStorage, parent: BaseTriggerStorage, link: Link) -> None:
    process.runtime.execute(parent, RegisterChild(child.uid, child.key, link.alias, link.mark))
    process.runtime.execute(child, ConfirmLink(link.mark))


def _admitted(process: Process, child: BaseTriggerStorage, parent: BaseTriggerStorage, link: Link) -> bool:
    """Ends a join that broke off before the parent knew of it; a child that the parent refuses goes on alone."""
    try:
        _register(process, child, parent, link)
    except RelationError as error:
        _log.warning("session %r does not become a child of session %r: %s", child.uid, parent.uid, error)
        process.runtime.execute(child, Unlink(link.mark))
        return False
    return True


def _deliver(
    process: Process, child: BaseTriggerStorage, parent: BaseTriggerStorage, link: Link, arrivals: list[Arrival]
) -> bool:
    head = parent.metadata
    manager = process.manager(parent, head.get("manager", "default"))
    decision = process.execute(manager, Arrive(child.uid, link.mark, link.alias, arrivals))
    if not decision.result:
        _log.warning(
            "session %r does not know its child %r any more (it was deleted, made anew or cancelled); the child goes on alone",
            parent.uid,
            child.uid,
        )
        process.runtime.execute(child, Unlink(link.mark))
        return False
    process.after(parent, decision)
    try:
        manager.tell(decision)
    except Exception:
        # Whoever fires or sweeps the child is not who called the parent, and the delivery stands.
        _log.exception("a hook of the manager of session %r raised; what it was called for stands", parent.uid)
    return True


def _parent_was_moved(child: BaseTriggerStorage, parent: BaseTriggerStorage) -> bool:
    """Whether the child's link leads to where its parent was before it was moved."""
    head = _head(child.store.load(child.uid, _HEAD).records.get(HEAD.name, {}))
    link = head.parent if head else None
    if link is None or link.uid != parent.uid or link.storage == parent.key:
        return False
    old = open_related(child, link.storage, link.uid)
    left = _head(old.store.load(old.uid, _HEAD).records.get(HEAD.name, {}))
    return left is not None and left.closed == MOVED


def _refuse_circle(child: BaseTriggerStorage, parent: BaseTriggerStorage) -> None:
    session = parent
    for _ in range(_MAX_DEPTH):
        if session.uid == child.uid and session.store is child.store:
            raise RelationError(f"session {child.uid!r} would be its own ancestor through {parent.uid!r}")
        head = _head(session.store.load(session.uid, _HEAD).records.get(HEAD.name, {}))
        link = head.parent if head else None
        if link is None:
            return
        session = open_related(session, link.storage, link.uid)
    raise RelationError(f"session {parent.uid!r} has more than {_MAX_DEPTH} ancestors")


def _head(heads: Mapping[str, Record]) -> Head | None:
    found = heads.get(HEAD_KEY)
    return None if found is None else records.read(HEAD, HEAD_KEY, found.value)
