"""The loop: conflicts, giving up, what is believed of configurations, sizes, and the errors that come through."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from processes import Bench, bench
from triggers.config import Configuration, parse_configuration
from triggers.errors import Conflict, LimitExceeded, SessionTooLarge, StorageUnavailable, UnreadableRecord
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.runtime import Runtime, utc_now
from triggers.settings import Settings
from triggers.sizes import check_size
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import EVERYTHING, NOTHING, Change, Record, Snapshot, Want


class Interferes(MemoryStore):
    """Before each of the next commits, somebody else commits."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0
        self.loads = 0
        self.without_snapshot = False

    def load(self, uid: str, want: Want) -> Snapshot:
        """Counted."""
        self.loads += 1
        return super().load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """After another's."""
        if self.times and threading.current_thread().name != "other":
            self.times -= 1
            other = TriggerManager(
                MemoryStorageBackend(uid, store=self), process=Process(settings=lambda: Settings(runner="inline"))
            )
            thread = threading.Thread(target=other.fire, args=("other",), name="other")
            thread.start()
            thread.join()
        try:
            super().commit(uid, change, expected, want)
        except Conflict:
            if self.without_snapshot:
                raise Conflict(uid) from None
            raise


@pytest.mark.parametrize("without_snapshot", [False, True])
def test_a_conflict_is_decided_again_on_what_is_stored_now(without_snapshot: bool) -> None:
    """The others' changes stay, ours is applied once; the conflict's own snapshot saves loads."""
    with bench() as made:
        store = made.store = Interferes()
        store.without_snapshot = without_snapshot
        manager = made.manager()
        manager.fire("first")
        store.times = 5
        store.loads = 0
        manager.fire("ours", {"n": 1})
        assert manager.storage.metadata["fires"] == 7
        assert manager.storage.latest_kwargs == {"first": {}, "other": {}, "ours": {"n": 1}}
        others_loads = 5
        assert store.loads - 2 - others_loads <= (6 if without_snapshot else 4)


def test_giving_up() -> None:
    """A conflict that lasts longer than ``conflict_timeout`` is raised, and nothing of ours is stored."""
    with bench(conflict_timeout=0.05) as made:
        store = made.store = Interferes()
        manager = made.manager()
        store.times = 10**6
        with pytest.raises(Conflict, match="changed by somebody else"):
            manager.fire("ours")
        assert "ours" not in manager.storage.latest_kwargs


def test_the_sessions_of_different_hashes_are_believed_apart() -> None:
    """A process believes of a session what it saw last, and of a new session what it saw last at all."""
    runtime = Runtime(settings=Settings)
    first = Configuration({name: task for name, task in parse_configuration({"t": {"after": ["a"], "run": "w"}}).items() if task})
    runtime.configurations[first.hash] = first
    assert runtime.believed_configuration((1, "a")).tasks == {}
    runtime.saw_configuration((1, "a"), first.hash)
    assert runtime.believed_configuration((1, "a")) is first
    assert runtime.believed_configuration((1, "new")) is first
    runtime.saw_configuration((1, "b"), "unknown hash")
    assert runtime.believed_configuration((1, "a")) is first
    assert runtime.believed_configuration((1, "b")).tasks == {}


def test_configurations_and_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sees ever new configurations does not grow for ever."""
    monkeypatch.setattr("triggers.runtime._CONFIGURATIONS", 3)
    monkeypatch.setattr("triggers.runtime._SESSIONS", 3)
    runtime = Runtime(settings=Settings)
    empty = Configuration({})
    for number in range(10):
        runtime.configurations[str(number)] = empty
        runtime.configurations.get("0")
        runtime.saw_configuration((1, str(number)), str(number))
    assert list(runtime.configurations) == ["8", "0", "9"] or len(runtime.configurations) == 3
    assert len(runtime._last_used) == 3


def test_a_wrong_belief_costs_a_load_and_no_more() -> None:
    """A process that believes in another configuration asks once for what it lacks."""
    with bench() as made:
        store = made.store = Interferes()
        made.manager("a").update_configuration({"t": {"after": ["x", "y"], "run": "w"}})
        other = Process(settings=lambda: Settings(runner="inline", remembered_sessions=0))
        manager = TriggerManager(MemoryStorageBackend("a", store=store), process=other)
        store.loads = 0
        assert manager.fire("x").created == ("t#0",)
        assert store.loads <= 3
        store.loads = 0
        manager.fire("x")
        assert store.loads == 1


class Broken(MemoryStore):
    """Raises what the test says."""

    error: Exception | None = None

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """The error, or as memory does."""
        if self.error is not None:
            raise self.error
        super().commit(uid, change, expected, want)


@pytest.mark.parametrize(
    "error", [StorageUnavailable("away"), UnreadableRecord("odd"), RuntimeError("a bug"), SessionTooLarge("large")], ids=repr
)
def test_other_errors_come_through(error: Exception) -> None:
    """Whatever a store raises reaches the caller; the next operation loads anew."""
    with bench() as made:
        store = made.store = Broken()
        manager = made.manager()
        manager.fire("a")
        store.error = error
        with pytest.raises(type(error)):
            manager.fire("b")
        store.error = None
        manager.fire("c")
        assert sorted(manager.storage.latest_kwargs) == ["a", "c"]


def test_unreadable_records() -> None:
    """A session of a newer format, and a record that is no record, are refused by name; nothing is changed."""
    with bench() as made:
        manager = made.manager()
        manager.fire("a")
        head = made.store.load("s", EVERYTHING).records["session"]["head"].value
        version = made.store.load("s", EVERYTHING).version
        for value, message in (
            (head.replace(b'"format":1', b'"format":7'), "format 7"),
            (b'{"x":1}', "session/head cannot be read"),
        ):
            made.store.commit("s", Change(f"x{message}", {("session", "head"): Record(value)}), version, Want())
            version = f"x{message}"
            before = made.store.load("s", EVERYTHING)
            with pytest.raises(UnreadableRecord, match=message):
                manager.fire("b")
            assert made.store.load("s", EVERYTHING) == before


class OneValue(MemoryStore):
    """A store that keeps a session in one value of 1 000 bytes."""

    one_value = True
    max_value_bytes = 1000


def snapshot(size: int) -> Snapshot:
    """A session with one record of this size."""
    return Snapshot("v", {"c": {"k": Record(b"x" * size)}}, True)


def put(size: int, key: str = "new") -> Change:
    """A change with one record of this size."""
    return Change("w", {("c", key): Record(b"y" * size)})


def test_sizes() -> None:
    """A fire leaves a quarter for reports; a report may fill all; a single value is limited in every store."""
    store = OneValue()
    check_size(store, "s", snapshot(300), put(300), report=False)
    with pytest.raises(SessionTooLarge, match="takes no more fires past 75%"):
        check_size(store, "s", snapshot(400), put(350), report=False)
    check_size(store, "s", snapshot(400), put(350), report=True)
    check_size(store, "s", snapshot(700), put(100, key="k"), report=False)
    with pytest.raises(SessionTooLarge, match="is more than its storage keeps"):
        check_size(store, "s", snapshot(600), put(600), report=True)
    check_size(MemoryStore(), "s", NOTHING, put(10**6), report=False)

    class Limited(MemoryStore):
        max_value_bytes = 1000

    check_size(Limited(), "s", snapshot(900), put(900), report=False)
    with pytest.raises(SessionTooLarge, match="a value of 1001 bytes"):
        check_size(Limited(), "s", NOTHING, put(1001), report=True)


def test_a_full_session_still_takes_reports() -> None:
    """In a store of one value, a session that refuses fires still starts, finishes and skips."""

    class Small(OneValue):
        max_value_bytes = 3000

    with bench() as made:
        made.store = Small()
        made.change(runner="inline", history=0)
        done: list[int] = []
        made.work(lambda context: done.append(1))
        manager = made.manager()
        manager.update_configuration({"t": {"after": ["a"], "run": "w", "using": "nobody"}})
        manager.fire("a")
        with pytest.raises(SessionTooLarge):
            _fill(manager)
        manager.update_instance_status("t#0", "running")
        manager.update_instance_status("t#0", "finished", result={"r": "x" * 50})
        assert str(manager.storage["t#0"].status) == "finished"


def _fill(manager: TriggerManager) -> None:
    for number in range(100):
        manager.fire(f"filler {number}", {"text": "x" * 100})


def test_speculation_can_be_switched_off(made: Bench) -> None:
    """With ``remembered_sessions`` 0 each operation loads; changing the setting works at once."""
    store = made.store = Interferes()
    manager = made.manager()
    manager.fire("a")
    store.loads = 0
    manager.fire("a")
    assert store.loads == 0
    made.change(remembered_sessions=0)
    manager.fire("a")
    manager.fire("a")
    store.loads = 0
    manager.fire("a")
    assert store.loads == 1


@pytest.fixture
def made() -> Any:
    """A bench."""
    with bench() as found:
        yield found


def test_limits_come_from_the_settings_of_now(made: Bench) -> None:
    """A changed setting holds for the next operation."""
    manager = made.manager()
    manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
    manager.fire("a")
    made.change(max_instances=1)
    with pytest.raises(LimitExceeded):
        manager.fire("a")
    made.change(max_instances=2)
    manager.fire("a")


def test_the_clock_is_utc() -> None:
    """Times are aware."""
    assert utc_now().utcoffset() is not None
