"""R31: sessions are copied whole, and moved, between storages; whatever dies in between, one of them is the session."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Iterator

import pytest

import triggers
from tests.sessions.conftest import Dies, Places
from triggers import TriggerManager
from triggers.context import TaskContext
from triggers.engine.lifecycle import Activate
from triggers.errors import Conflict, InvalidName, SessionClosed, SessionExists, UnknownSession
from triggers.process import Process, get_process
from triggers.sessions import activate_session
from triggers.store import ABSENT, EVERYTHING, Capability, Change, Store
from triggers.tasks import registered, task


@pytest.fixture(autouse=True)
def work() -> Iterator[None]:
    """A work that fails where it is told to."""

    @task("moving.w")
    def works(context: TaskContext) -> dict[str, int]:
        if any(kwargs.get("fail") for kwargs in context.trigger_kwargs.values()):
            raise ValueError("no")
        return {"r": 1}

    yield
    registered.remove("moving.w")


def lively(uid: str | None = None) -> TriggerManager:
    """A session with everything: instances in several statuses, events, labels, a history, a child's outbox."""
    manager = triggers.get_manager(uid or f"moving:{uuid.uuid4().hex}")
    manager.update_configuration(
        {
            "t": {"andEvery": "a", "run": "moving.w"},
            "u": {"after": ["t", "later"], "run": "moving.w"},
        }
    )
    manager.fire("a", {"n": 1}, event_id="one")
    manager.fire("a", {"fail": True})
    manager.label(customer="7")
    return manager


def contents(store: Store, uid: str) -> dict[tuple[str, str], tuple[bytes, int | None]]:
    """All records but the head."""
    found = store.load(uid, EVERYTHING).records
    return {
        (collection, key): (record.value, record.wake_at)
        for collection, entries in found.items()
        for key, record in entries.items()
        if collection != "session"
    }


def test_r31_a_copy_is_whole_and_exact_and_inert(places: Places) -> None:
    """Every record, its wake-up and the labels are there; the copy takes nothing, and the sweep leaves it alone."""
    manager = lively()
    assert triggers.copy_session(manager.uid, "left", "right") is True
    assert triggers.copy_session(manager.uid, "left", "right") is False
    assert contents(places.right, manager.uid) == contents(places.left, manager.uid)
    assert len(contents(places.right, manager.uid)) > 10
    copy = triggers.get_manager(manager.uid, storage="right")
    assert manager.uid in triggers.find_sessions(storage="right", customer="7", status="copy").uids
    assert str(copy.explain()).startswith(f"session {manager.uid} is a copy")
    with pytest.raises(SessionClosed, match="not active yet"):
        copy.fire("a")
    before = contents(places.right, manager.uid)
    triggers.sweep()
    assert contents(places.right, manager.uid) == before
    with pytest.raises(SessionExists, match="still in use"):
        activate_session(manager.uid, "right", "left")


def test_r31_an_older_copy_is_replaced(places: Places) -> None:
    """What happened to the original since is copied; a session that is no copy is never overwritten."""
    manager = lively()
    triggers.copy_session(manager.uid, "left", "right")
    manager.fire("later", {"n": 9})
    assert triggers.copy_session(manager.uid, "left", "right") is True
    assert contents(places.right, manager.uid) == contents(places.left, manager.uid)
    other = lively()
    triggers.get_manager(other.uid, storage="right").fire("own")
    with pytest.raises(SessionExists, match="no copy"):
        triggers.copy_session(other.uid, "left", "right")
    assert triggers.get_manager(other.uid, storage="right").storage.latest_kwargs == {"own": {}}


def test_r31_what_is_copied_elsewhere_is_the_session_once_its_original_is_gone(places: Places) -> None:
    """After the deletion of the original the copy may be activated, and goes on where the original was."""
    manager = lively()
    triggers.copy_session(manager.uid, "left", "right")
    assert triggers.delete_session(manager.uid, "left")
    activate_session(manager.uid, "right", "left")
    copy = triggers.get_manager(manager.uid, storage="right")
    assert copy.fire("a", event_id="one").created == ("t#0",)
    copy.replay_failed_instance("t#1", {"a": {"n": 2}})
    assert str(copy.storage["t#2"].status) == "finished"


def test_r31_a_move_that_dies_after_each_commit_is_repeated(places: Places) -> None:
    """At each point at most one of the two takes fires, and repeating the move finishes it."""
    for commit in itertools.count(1):
        manager = lively()
        expected = contents(places.left, manager.uid)
        with places.dying(commit) as counted, contextlib.suppress(Dies):
            triggers.move_session(manager.uid, "left", "right")
        ended = counted[0] < commit
        taken = [takes(manager.uid, place) for place in ("left", "right")]
        assert taken.count(True) <= 1
        assert ended <= (taken == [False, True])
        triggers.move_session(manager.uid, "left", "right")
        found = contents(places.right, manager.uid)
        assert {place: found[place] for place in expected if place[0] in ("trigger", "done/t", "live/t", "event")} == {
            place: value for place, value in expected.items() if place[0] in ("trigger", "done/t", "live/t", "event")
        }
        moved = triggers.get_manager(manager.uid, storage="right")
        assert moved.fire("later").scheduled == ("u#0",)
        with pytest.raises(SessionClosed, match="was moved to the storage 'right'"):
            manager.fire("a")
        if ended:
            assert commit == 5, "a move has four commits"
            return


def test_r31_a_moved_session_leaves_only_a_mark(places: Places) -> None:
    """No record, wake-up or condition of it is found any more in the source, and repeating the move changes nothing."""
    triggers.configure(keep_idle=60.0)
    manager = lively()
    triggers.move_session(manager.uid, "left", "right")
    left = places.left.load(manager.uid, EVERYTHING)
    assert {(collection, *entries) for collection, entries in left.records.items()} == {("session", "head")}
    if Capability.DUE in places.left.capabilities:
        assert manager.uid not in {due.uid for due in places.left.due(2**60, None, 1000).entries}
    assert manager.uid in triggers.find_sessions(status="moved").uids
    triggers.move_session(manager.uid, "left", "right")
    assert places.left.load(manager.uid, EVERYTHING) == left
    assert str(manager.explain()).startswith(f"session {manager.uid} is moved")
    moved = triggers.get_manager(manager.uid, storage="right")
    assert moved.fire("later").scheduled == ("u#0",)


def test_r31_what_was_moved_and_deleted_is_not_made_again(places: Places) -> None:
    """An old copy that a slow move puts where the session was deleted is not taken for the session."""
    manager = lively()
    triggers.copy_session(manager.uid, "left", "right")
    old = places.right.load(manager.uid, EVERYTHING)
    manager.fire("later")
    triggers.move_session(manager.uid, "left", "right")
    triggers.delete_session(manager.uid, "right")
    put = {(collection, key): record for collection, entries in old.records.items() for key, record in entries.items()}
    places.right.commit(manager.uid, Change("slow", put), ABSENT, EVERYTHING)
    with pytest.raises(UnknownSession, match="has been deleted there since"):
        triggers.move_session(manager.uid, "left", "right")


def takes(uid: str, storage: str) -> bool:
    """Whether a session is there and open; asks, without changing it."""
    found = triggers.get_manager(uid, storage=storage).storage.metadata
    return bool(found) and found["closed"] is None


def test_r31_what_happens_during_a_move_is_moved(places: Places) -> None:
    """A fire between the copy and the closing of the original is in the target."""
    manager = lively()
    commit = places.right.commit
    done: list[bool] = []

    def commits(*arguments: object) -> None:
        commit(*arguments)  # type: ignore[arg-type]
        if not done:
            done.append(True)
            manager.fire("meanwhile", {"n": 1})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places.right, "commit", commits)
        triggers.move_session(manager.uid, "left", "right")
    moved = triggers.get_manager(manager.uid, storage="right")
    assert moved.storage.latest_kwargs["meanwhile"] == {"n": 1}


def test_r31_a_session_that_never_rests_is_moved(places: Places) -> None:
    """One that is changed during every copy is closed first and then copied, so that the move ends; nothing is lost."""
    manager = lively()
    fired = 0

    def commit_and_fire(*arguments: object) -> None:
        nonlocal fired
        commit(*arguments)  # type: ignore[arg-type]
        with contextlib.suppress(SessionClosed):
            manager.fire("never rests", {"n": fired})
            fired += 1

    commit = places.right.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places.right, "commit", commit_and_fire)
        triggers.move_session(manager.uid, "left", "right")
    moved = triggers.get_manager(manager.uid, storage="right").storage
    assert 1 <= fired <= 10
    assert moved.metadata["closed"] is None
    assert moved.latest_kwargs["never rests"] == {"n": fired - 1}


def test_r31_two_moves_at_once_lose_nothing(places: Places) -> None:
    """A second move that copied an older version does not put it in the place of the copy that counts."""
    manager = lively()
    old = places.left.load(manager.uid, EVERYTHING)
    manager.fire("later", {"n": 9})
    load, first = places.left.load, [True]

    def loads(uid: str, want: object) -> object:
        if want == EVERYTHING and first:
            first.clear()
            with places.dying(2), pytest.raises(Dies):
                triggers.move_session(manager.uid, "left", "right")
            return old
        return load(uid, want)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places.left, "load", loads)
        triggers.move_session(manager.uid, "left", "right")
    moved = triggers.get_manager(manager.uid, storage="right")
    assert moved.storage.latest_kwargs["later"] == {"n": 9}


def test_r31_a_move_that_another_has_overtaken_is_done(places: Places) -> None:
    """A second move that has read the session before the first one moved it finds it moved, and changes nothing."""
    manager = lively()
    old = places.left.load(manager.uid, EVERYTHING)
    triggers.move_session(manager.uid, "left", "right")
    moved = places.right.load(manager.uid, EVERYTHING)
    load, first = places.left.load, [True]

    def loads(uid: str, want: object) -> object:
        if want == EVERYTHING and first:
            first.clear()
            return old
        return load(uid, want)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places.left, "load", loads)
        triggers.move_session(manager.uid, "left", "right")
    assert places.right.load(manager.uid, EVERYTHING) == moved


def test_r31_a_cancelled_session_stays_cancelled(places: Places) -> None:
    """A move is no way to open a session again."""
    manager = lively()
    manager.cancel("over")
    triggers.move_session(manager.uid, "left", "right")
    with pytest.raises(SessionClosed, match=r"cancelled .over."):
        triggers.get_manager(manager.uid, storage="right").fire("a")


def test_r31_copying_all_goes_on_where_it_broke_off(places: Places) -> None:
    """After a crash the rest is copied, what was copied is left, what cannot be copied is named."""
    managers = [lively(f"all:{number}") for number in range(5)]
    triggers.get_manager("all:3", storage="right").fire("own")
    with places.dying(3), pytest.raises(Dies):
        triggers.copy_sessions("left", "right")
    managers[0].fire("later")
    report = triggers.copy_sessions("left", "right")
    assert report.copied + report.unchanged == 4
    assert report.unchanged >= 1
    assert list(report.refused) == ["all:3"]
    assert triggers.copy_sessions("left", "right")[:2] == (0, 4)
    for manager in (*managers[:3], managers[4]):
        assert contents(places.right, manager.uid) == contents(places.left, manager.uid)


def test_r31_a_conditional_deletion(places: Places) -> None:
    """With a version that is not the current one nothing is deleted."""
    manager = lively()
    version = places.left.load(manager.uid, EVERYTHING).version
    manager.fire("later")
    with pytest.raises(Conflict):
        triggers.delete_session(manager.uid, "left", expected=version)
    assert manager.storage.exists()
    version = places.left.load(manager.uid, EVERYTHING).version
    assert triggers.delete_session(manager.uid, "left", expected=version)
    assert not triggers.delete_session(manager.uid, "left")
    with pytest.raises(UnknownSession):
        triggers.copy_session(manager.uid, "left", "right")


@pytest.mark.parametrize("uid", ["", "a\0", "\ud800", "x" * 256, 5])
def test_r31_what_is_no_uid_is_refused(places: Places, uid: str) -> None:
    """Copying, moving, activating and deleting refuse what can be no session, whatever the storage would say to it."""
    for call in (
        lambda: triggers.copy_session(uid, "left", "right"),
        lambda: triggers.move_session(uid, "left", "right"),
        lambda: activate_session(uid, "right", "left"),
        lambda: triggers.delete_session(uid),
    ):
        with pytest.raises(InvalidName, match="the name of a session"):
            call()


def test_r31_activating_what_is_no_copy_changes_nothing(places: Places) -> None:
    """A session that is in use stays as it is."""
    manager = lively()
    version = places.left.load(manager.uid, EVERYTHING).version
    get_process().runtime.execute(manager.storage, Activate())
    assert places.left.load(manager.uid, EVERYTHING).version == version
    assert isinstance(get_process(), Process)


def test_a_moved_parent_hears_its_children_again_once_they_join_it_there(places: Places) -> None:
    """What fired meanwhile arrives too, once, after the children have joined it in its new storage."""
    father, child = lively(), lively()
    child.join(father.uid, alias="child")
    child.fire("one")
    triggers.move_session(father.uid, "left", "right")
    child.fire("two")
    child.join(father.uid, alias="child", storage="right")
    child.fire("three")
    moved = triggers.get_manager(father.uid, storage="right")
    fired = [entry.subject for entry in moved.history() if entry.kind == "fired" and entry.subject.startswith("child.")]
    assert fired == ["child.one", "child.two", "child.three"]
