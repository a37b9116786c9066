"""Copying, moving and finding whole sessions, where something is in the way; the rules themselves are in `tests/sessions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from triggers.engine.lifecycle import Close
from triggers.errors import (
    Conflict,
    OutcomeUnknown,
    SessionClosed,
    SessionExists,
    StorageError,
    StorageUnavailable,
    UnknownSession,
)
from triggers.manager import TriggerManager
from triggers.process import get_process
from triggers.sessions import activate_session, copy_session, copy_sessions, find_sessions, move_session
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import ABSENT, EVERYTHING, Capability, Change, Record, Store, Want
from triggers.sweeping import last_sweep, note_sweep

pytestmark = pytest.mark.usefixtures("trigger_isolation")


def place(uid: str = "any", store: Store | None = None) -> MemoryStorageBackend:
    """A handle on a store of its own."""
    return MemoryStorageBackend(uid, store=store or MemoryStore())


def filled(*uids: str) -> MemoryStorageBackend:
    """A storage with these sessions."""
    found = place()
    for uid in uids:
        TriggerManager(place(uid, found.store)).fire("a")
    return found


def version_of(storage: MemoryStorageBackend, uid: str) -> str:
    return storage.store.load(uid, EVERYTHING).version


def test_a_copy_and_a_mark_are_not_copied() -> None:
    """What is not the session itself is no source."""
    source, middle, target = filled("s"), place(), place()
    copy_session("s", source, middle)
    with pytest.raises(SessionExists, match=r"'s' is copy in the source; copy the session itself"):
        copy_session("s", middle, target)
    move_session("s", source, middle)
    with pytest.raises(SessionExists, match=r"'s' is moved in the source; copy the session itself"):
        copy_session("s", source, target)
    assert version_of(target, "s") == ABSENT


def test_what_was_not_made_by_triggers_is_not_copied() -> None:
    """A session without a head is left alone, and named."""
    source, target = place(), place()
    source.store.commit("s", Change("v1", {("c", "k"): Record(b"{}")}), ABSENT, Want())
    for use in (copy_session, move_session):
        with pytest.raises(UnknownSession, match=r"'s'"):
            use("s", source, target)
    assert version_of(target, "s") == ABSENT


def test_a_session_that_is_deleted_while_all_are_copied_is_passed_over() -> None:
    """Copying all takes those that are there when their turn comes."""
    source, target = filled("a", "b", "c"), place()

    def delete_b(uid: str) -> None:
        source.store.delete("b")

    report = copy_sessions(source, target, delete_b)
    assert (report.copied, report.unchanged, report.refused) == (2, 0, {})
    assert find_sessions(storage=target).uids == ["a", "c"]


def test_all_pages_are_copied_and_again_is_nothing_new() -> None:
    """More sessions than a page has; a second call finds each copy there."""
    source, target = filled(*(f"s{number:03}" for number in range(101))), place()
    assert copy_sessions(source, target)[:2] == (101, 0)
    assert copy_sessions(source, target)[:2] == (0, 101)


def test_a_target_that_goes_away_stops_copying() -> None:
    """An outage is raised at once, not noted for each session that is left."""

    class Down(MemoryStore):
        def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
            raise StorageUnavailable("the server is away")

    seen: list[str] = []
    with pytest.raises(StorageUnavailable, match="away"):
        copy_sessions(filled("a", "b"), place(store=Down()), seen.append)
    assert seen == []


@pytest.mark.parametrize("error", [Conflict("somebody else"), OutcomeUnknown("the reply was lost")])
def test_a_copy_that_meets_another_one_looks_again(error: Exception) -> None:
    """A commit that was refused, or whose outcome is open, is made on what is there now."""

    class Once(MemoryStore):
        left = 1

        def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
            if self.left:
                self.left -= 1
                raise error
            super().commit(uid, change, expected, want)

    target = place(store=Once())
    assert copy_session("s", filled("s"), target)
    assert version_of(target, "s") != ABSENT


def test_an_older_copy_is_not_activated() -> None:
    """The copy has to be of the version that was marked as moved."""
    source, target = filled("s"), place()
    copy_session("s", source, target)
    TriggerManager(place("s", source.store)).fire("b")
    get_process().runtime.execute(place("s", source.store), Close(version_of(source, "s"), target.key))
    with pytest.raises(SessionExists, match=r"not of the version that was moved; repeat move_session"):
        activate_session("s", target, source)
    move_session("s", source, target)
    assert set(place("s", target.store).latest_kwargs) == {"a", "b"}


def test_a_storage_that_cannot_list_says_so() -> None:
    """Finding sessions needs the capability SCAN."""

    class Deaf(MemoryStore):
        capabilities = Capability.DUE

    with pytest.raises(StorageError, match=r"Deaf cannot list its sessions; keep the uids yourself"):
        find_sessions(storage=place(store=Deaf()))


def test_several_conditions() -> None:
    """A session must meet all of them; one that is gone by then meets none."""
    source = filled("a", "b")
    for uid, colour in (("a", "red"), ("b", "blue")):
        TriggerManager(place(uid, source.store)).label(size="7", colour=colour)
    search: Callable[..., Any] = find_sessions
    assert search(storage=source, size="7", colour="red").uids == ["a"]
    assert search(storage=source, size="7").uids == ["a", "b"]


def test_what_was_moved_cannot_be_cancelled() -> None:
    """The error says where the session went."""
    source, target = filled("s"), place()
    move_session("s", source, target)
    with pytest.raises(SessionClosed, match="moved"):
        TriggerManager(place("s", source.store)).cancel("no longer wanted")


def test_a_sweep_is_noted_only_where_sweeps_can_do_anything() -> None:
    """A store without DUE keeps no note, and none is looked for twice."""

    class Deaf(MemoryStore):
        capabilities = Capability.SCAN

    deaf, store = Deaf(), MemoryStore()
    for each in (deaf, store):
        note_sweep(each, 1_000_000)
    assert (last_sweep(deaf), last_sweep(store)) == (None, 1_000_000)
