"""What waits behind a commit in one process is stored by the next one, all of it; whatever happens to that, each once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from tests.exactly_once.faulty import ONCE, Fault, ScriptedStore, never_arrives, reply_lost
from tests.rules.scene import HeldRunner, held_runner
from triggers.engine.application import Fire
from triggers.engine.decision import FireResult
from triggers.engine.session import Session
from triggers.errors import EventMismatch, OutcomeUnknown, SessionTooLarge, StorageError
from triggers.manager import TriggerManager
from triggers.operation import CLIENT_SLOTS, MOST_ALONG
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import EVERYTHING, Change, Snapshot, Store, Want

TASKS = {"t": {"andEvery": "tick", "run": "w"}, "u": {"andEvery": "tock", "run": "w"}}


class Counting(ScriptedStore):
    """Counts loads and commits."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.counted = {"load": 0, "commit": 0}

    def load(self, uid: str, want: Want) -> Snapshot:
        """Counted."""
        self.counted["load"] += 1
        return super().load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Counted."""
        self.counted["commit"] += 1
        super().commit(uid, change, expected, want)


class Bench:
    """A session, and a process of whose threads one commits while the others queue up."""

    def __init__(self, remembered: int) -> None:
        self.inner = MemoryStore()
        self.store = Counting(self.inner)
        self.settings = Settings(runner="held", remembered_sessions=remembered, sweep_interval=0.0)
        self.process = Process(settings=lambda: self.settings)
        self.manager = TriggerManager(MemoryStorageBackend("s", store=self.store), process=self.process)
        self.manager.update_configuration(TASKS)
        self.manager.fire("tick", {"id": "first"})
        self.outcomes: dict[str, Any] = {}
        self._threads: list[threading.Thread] = []

    def behind(self, calls: dict[str, Callable[[], Any]], *faults: Fault) -> None:
        """One thread fires and is held in its commit until all calls wait in its queue; then the faults meet the next commits."""

        def hold(commit: Callable[[], None]) -> None:
            for name, call in calls.items():
                self._start(name, call)
            commit()

        before = len(self._threads)
        self.store.commits = [hold, *faults]
        self._start("leader", lambda: self.manager.fire("tick", {"id": "leader"}), wait=False)
        for thread in self._threads[before:]:
            thread.join(60)
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a thread waits for ever"

    def _start(self, name: str, call: Callable[[], Any], *, wait: bool = True) -> None:
        def run() -> None:
            try:
                self.outcomes[name] = call()
            except BaseException as error:
                self.outcomes[name] = error

        queued = self._queued()
        thread = threading.Thread(target=run, name=name)
        self._threads.append(thread)
        thread.start()
        while wait and self._queued() == queued:
            assert thread.is_alive(), self.outcomes
            thread.join(0.001)

    def _queued(self) -> int:
        return sum(len(queue) for queue in self.process.runtime.turns._queues.values())

    def tick(self, number: int, trigger: str = "tick", **options: Any) -> Callable[[], Any]:
        """A fire to be called."""
        return lambda: self.manager.fire(trigger, {"id": number}, **options)

    def crowd(self) -> None:
        """Other clients commit, so many that nobody else's slot is left."""
        for _ in range(CLIENT_SLOTS):
            other = Process(settings=lambda: self.settings)
            TriggerManager(MemoryStorageBackend("s", store=self.inner), process=other).fire("elsewhere")

    def applied(self) -> list[Any]:
        """The ids of the fires that made an instance."""
        found = [next(iter(one.kwargs.values()))["id"] for one in MemoryStorageBackend("s", store=self.inner)]
        return sorted(one for one in found if isinstance(one, int))

    @property
    def delivered(self) -> list[str]:
        """What the runner heard of."""
        runner = self.process.runners.get("held")
        assert isinstance(runner, HeldRunner)
        return sorted(delivery.name for delivery in runner.waiting)


@pytest.fixture(params=[0, 100], ids=["loads", "speculates"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench, with and without remembered views."""
    with held_runner():
        yield Bench(request.param)


def test_one_commit_stores_what_waited(bench: Bench) -> None:
    """Eight threads wait: a second commit stores all of their fires, and each hears of its own instance."""
    before = bench.store.counted["commit"]
    bench.behind({f"t{number}": bench.tick(number) for number in range(8)})
    assert bench.store.counted["commit"] - before == 2
    assert bench.applied() == list(range(8))
    scheduled = [bench.outcomes[f"t{number}"].scheduled for number in range(8)]
    assert scheduled == [(f"t#{number + 2}",) for number in range(8)]
    assert bench.delivered == sorted(f"t#{number}" for number in range(10))


def test_a_commit_takes_only_so_many(bench: Bench) -> None:
    """What is more than that waits for the next one."""
    before = bench.store.counted["commit"]
    bench.behind({f"t{number}": bench.tick(number) for number in range(MOST_ALONG + 5)})
    assert bench.store.counted["commit"] - before == 3
    assert bench.applied() == list(range(MOST_ALONG + 5))


def test_different_triggers_cost_one_load(bench: Bench) -> None:
    """What others wait for is loaded with the rest where it is not known yet."""
    bench.process.runtime.remembered.forget((id(bench.store), "s"))
    before = dict(bench.store.counted)
    calls = {f"t{number}": bench.tick(number, ("tick", "tock", "unknown")[number % 3]) for number in range(6)}
    bench.behind(calls)
    assert bench.store.counted["commit"] - before["commit"] <= 3
    assert bench.applied() == [0, 1, 3, 4]
    snapshot = bench.inner.load("s", EVERYTHING)
    assert sorted(snapshot.records["trigger"]) == ["tick", "tock", "unknown"]


def test_what_is_refused_is_refused_alone(bench: Bench) -> None:
    """An event that fired another trigger before is an error of its own thread; a repeated one returns what it first did."""
    first = bench.manager.fire("tick", {"id": 100}, event_id="known")
    bench.behind({
        "t1": bench.tick(1), "wrong": bench.tick(2, "tock", event_id="known"),
        "again": bench.tick(3, event_id="known"), "t4": bench.tick(4),
    })  # fmt: skip
    assert isinstance(bench.outcomes["wrong"], EventMismatch)
    assert bench.outcomes["again"] == first
    assert bench.applied() == [1, 4, 100]


def test_an_event_that_waits_twice_fires_once(bench: Bench) -> None:
    """Two threads with the same event behind one commit."""
    bench.behind({"one": bench.tick(1, event_id="e"), "two": bench.tick(2, event_id="e")})
    assert bench.outcomes["one"] == bench.outcomes["two"]
    assert bench.applied() == [1]


@pytest.mark.parametrize("case", ONCE)
def test_applied_once(bench: Bench, case: str) -> None:
    """Each fire returns what it did, was applied once, and the runner heard of it once."""
    bench.behind({f"t{number}": bench.tick(number) for number in range(4)}, *ONCE[case])
    assert bench.applied() == [0, 1, 2, 3]
    scheduled = [bench.outcomes[f"t{number}"].scheduled for number in range(4)]
    assert sorted(scheduled) == [(f"t#{number + 2}",) for number in range(4)]
    assert bench.delivered == [f"t#{number}" for number in range(6)]


@pytest.mark.parametrize("moment", ["before the load", "before the next commit", "after the next commit", "at the end"])
def test_a_late_commit(bench: Bench, moment: str) -> None:
    """Whenever a commit that was thought lost arrives after all, what it took along is applied once."""
    applied: list[int] = []

    def arrive() -> None:
        applied.append(bench.store.arrive())

    def before(commit: Callable[[], None]) -> None:
        arrive()
        commit()

    def after(commit: Callable[[], None]) -> None:
        commit()
        arrive()

    faults: list[Fault] = [bench.store.hold]
    if moment == "before the load":
        bench.store.before_loads = [lambda: None, arrive] if bench.settings.remembered_sessions == 0 else [arrive]
    elif moment == "before the next commit":
        faults.append(before)
    elif moment == "after the next commit":
        faults.append(after)
    bench.behind({f"t{number}": bench.tick(number) for number in range(4)}, *faults)
    arrive()
    assert applied[0] == (moment in ("before the load", "before the next commit"))
    assert bench.applied() == [0, 1, 2, 3]
    assert bench.delivered == [f"t#{number}" for number in range(6)]


@pytest.mark.parametrize("fault", [reply_lost, never_arrives])
@pytest.mark.parametrize("leader", [None, "e0"], ids=["unnamed", "named"])
def test_nobody_can_tell(bench: Bench, fault: Fault, leader: str | None) -> None:
    """Where the slot is gone, a fire without an event id says so and is not repeated; one with an id is, and fires once."""

    def crowded(commit: Callable[[], None]) -> None:
        try:
            fault(commit)
        finally:
            bench.crowd()

    bench.behind(
        {"t0": bench.tick(0, event_id=leader), "t1": bench.tick(1), "t2": bench.tick(2, event_id="e2"), "t3": bench.tick(3)},
        crowded,
    )
    unknown = {"t1", "t3"} | (set() if leader else {"t0"})
    assert {name for name, outcome in bench.outcomes.items() if isinstance(outcome, OutcomeUnknown)} == unknown
    stored = fault is reply_lost
    assert bench.applied() == ([0, 1, 2, 3] if stored else [0, 2] if leader else [2])
    assert "event_id" in str(bench.outcomes["t3"])


def test_what_makes_a_commit_too_large_fails_alone(bench: Bench) -> None:
    """The store refuses what is together too much: each is sent by itself, and only what is too large by itself is refused."""

    def refuse(commit: Callable[[], None]) -> None:
        raise SessionTooLarge("more than one statement may carry")

    bench.behind({f"t{number}": bench.tick(number) for number in range(4)}, refuse)
    assert bench.applied() == [0, 1, 2, 3]
    bench.behind({"t5": bench.tick(5)}, refuse)
    assert isinstance(bench.outcomes["t5"], StorageError)
    assert bench.applied() == [0, 1, 2, 3]


def test_an_interrupt_of_one_is_no_loss_of_the_others(bench: Bench) -> None:
    """Ctrl-C in the thread that commits for others: they are stored, or say that they do not know; those with a name go on."""

    def interrupted(commit: Callable[[], None]) -> None:
        raise KeyboardInterrupt

    bench.behind({"t0": bench.tick(0), "t1": bench.tick(1), "t2": bench.tick(2, event_id="e2")}, interrupted)
    assert isinstance(bench.outcomes["t0"], KeyboardInterrupt)
    assert isinstance(bench.outcomes["t1"], OutcomeUnknown)
    assert bench.outcomes["t2"].scheduled == ("t#2",)
    assert bench.applied() == [2]


class Fickle(Fire):
    """A fire that thinks better of it at its second try."""

    tries = 0

    def apply(self, session: Session) -> FireResult:
        """Fires the first time."""
        self.tries += 1
        return super().apply(session) if self.tries == 1 else FireResult()


def test_a_late_commit_of_one_that_came_to_nothing(bench: Bench) -> None:
    """What it took along may still arrive, so it is not decided again: it says that it does not know, and fires once."""
    fickle = Fickle("tock", msgspec.Raw(b'{"id":0}'))
    storage = MemoryStorageBackend("s", store=bench.store)
    bench.behind({"t0": lambda: bench.process.runtime.execute(storage, fickle), "t1": bench.tick(1)}, bench.store.hold)
    assert bench.outcomes["t0"].result == FireResult()
    assert isinstance(bench.outcomes["t1"], OutcomeUnknown)
    assert bench.store.arrive() == 1
    assert bench.applied() == [0, 1]


def test_starts_and_reports_are_taken_along(bench: Bench) -> None:
    """What threads do with running work is stored together, too, and a refused start is nobody else's matter."""
    for number in range(3):
        bench.manager.fire("tick", {"id": number})
    for status, options in (("running", {}), ("finished", {"result": {"n": 1}})):
        before = bench.store.counted["commit"]
        moves = [partial(bench.manager.update_instance_status, f"t#{number}", status, **options) for number in range(4)]
        bench.behind({f"{status} {number}": move for number, move in enumerate(moves)})
        assert bench.store.counted["commit"] - before == 2
        assert [str(bench.manager.storage[f"t#{number}"].status) for number in range(4)] == [status] * 4
