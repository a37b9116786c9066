"""One fire whose commit meets each kind of fault, step by step (memory and SQLite)."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exactly_once.faulty import ONCE, ScriptedStore, away, never_arrives, reply_lost
from tests.rules.scene import HeldRunner, held_runner
from triggers import records
from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable
from triggers.manager import TriggerManager
from triggers.operation import CLIENT_SLOTS
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages.base import BaseTriggerStorage
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import EVERYTHING, Store
from triggers_sql.backend import SqlStorageBackend
from triggers_sql.store import SqlStore

TASKS = {"t": {"andEvery": "tick", "run": "w"}}


class Bench:
    """A session, a process with a scripted store, and any number of other processes on the plain store."""

    def __init__(self, storage_class: type[BaseTriggerStorage], inner: Store, remembered: int) -> None:
        self.storage_class = storage_class
        self.inner = inner
        self.remembered = remembered
        self.store = ScriptedStore(inner)
        self.process = self.make_process()
        self.manager = TriggerManager(storage_class("s", store=self.store), process=self.process)

    def make_process(self, **settings: Any) -> Process:
        """A process of its own."""
        chosen = Settings(runner="held", remembered_sessions=self.remembered, sweep_interval=0.0, **settings)
        return Process(settings=lambda: chosen)

    def other(self) -> TriggerManager:
        """Another client of the session, whose connection is sound."""
        return TriggerManager(self.storage_class("s", store=self.inner), process=self.make_process())

    def ready(self) -> None:
        """A session that is configured and has fired once, so that the process remembers it."""
        self.manager.update_configuration(TASKS)
        self.manager.fire("tick", {"id": "first"})

    def crowd(self, clients: int = CLIENT_SLOTS) -> None:
        """Other clients commit, so many that nobody else's slot is left."""
        for _ in range(clients):
            self.other().fire("elsewhere")

    def applied(self) -> list[Any]:
        """The ids of the fires that made an instance, and that were counted."""
        snapshot = self.inner.load("s", EVERYTHING)
        found = [one.kwargs["tick"]["id"] for one in self.storage_class("s", store=self.inner)]
        tick = snapshot.records.get("trigger", {}).get("tick")
        counted = 0 if tick is None else records.read(records.TRIGGERS, "tick", tick.value).count
        assert counted == len(found)
        return [one for one in found if one != "first"]

    @property
    def delivered(self) -> list[str]:
        """What the runner heard of."""
        runner = self.process.runners.get("held")
        assert isinstance(runner, HeldRunner)
        return [delivery.name for delivery in runner.waiting]


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[type[BaseTriggerStorage], Store]]:
    """A storage of its own."""
    if request.param == "memory":
        yield MemoryStorageBackend, MemoryStore()
        return
    store = SqlStore(url=f"sqlite:///{tmp_path / 's.db'}", synchronous="OFF")
    yield SqlStorageBackend, store
    store.close()


@pytest.fixture(params=[0, 100], ids=["loads", "speculates"])
def bench(request: pytest.FixtureRequest, storage: tuple[type[BaseTriggerStorage], Store]) -> Iterator[Bench]:
    """A bench with a session, with and without remembered views."""
    with held_runner():
        made = Bench(*storage, remembered=request.param)
        made.ready()
        yield made


def configured(manager: TriggerManager) -> None:
    """Gives its session the task."""
    manager.update_configuration(TASKS)


@pytest.mark.parametrize("case", ONCE)
def test_applied_once(bench: Bench, case: str) -> None:
    """The fire returns what it did, it was applied once, and the runner heard of it once."""
    bench.store.commits = list(ONCE[case])
    assert bench.manager.fire("tick", {"id": 1}).scheduled == ("t#1",)
    assert bench.applied() == [1]
    assert bench.delivered == ["t#0", "t#1"]
    assert bench.manager.fire("tick", {"id": 2}).scheduled == ("t#2",)
    assert bench.applied() == [1, 2]


def test_a_first_fire_whose_reply_is_lost(bench: Bench) -> None:
    """Also the commit that makes the session is recognised."""
    for fault, uid in ((reply_lost, "new1"), (never_arrives, "new2")):
        manager = TriggerManager(bench.storage_class(uid, store=bench.store), process=bench.process)
        bench.store.commits = [fault]
        manager.fire("tick", {"id": 1})
        assert (
            records.read(records.TRIGGERS, "tick", bench.inner.load(uid, EVERYTHING).records["trigger"]["tick"].value).count == 1
        )


def test_a_first_fire_while_another_makes_the_session(bench: Bench) -> None:
    """A commit that was to make the session, and lost that race, is decided anew."""
    manager = TriggerManager(bench.storage_class("new", store=bench.store), process=bench.process)
    other = TriggerManager(bench.storage_class("new", store=bench.inner), process=bench.make_process())
    bench.store.commits = [bench.store.hold]
    bench.store.before_loads = [functools.partial(configured, other)]
    assert manager.fire("tick", {"id": 1}).scheduled == ("t#0",)
    assert bench.store.arrive() == 0
    assert len(manager.storage) == 1


@pytest.mark.parametrize("moment", ["before the load", "before the next commit", "after the next commit", "at the end"])
def test_a_late_commit(bench: Bench, moment: str) -> None:
    """Whenever a commit that was thought lost arrives after all, the fire is applied once."""
    applied: list[int] = []

    def arrive() -> None:
        applied.append(bench.store.arrive())

    def before(commit: Callable[[], None]) -> None:
        arrive()
        commit()

    def after(commit: Callable[[], None]) -> None:
        commit()
        arrive()

    bench.store.commits = [bench.store.hold]
    if moment == "before the load":
        bench.store.before_loads = [arrive]
    elif moment == "before the next commit":
        bench.store.commits.append(before)
    elif moment == "after the next commit":
        bench.store.commits.append(after)
    assert bench.manager.fire("tick", {"id": 1}).scheduled == ("t#1",)
    arrive()
    assert applied[0] == (moment in ("before the load", "before the next commit"))
    assert bench.applied() == [1]
    assert bench.delivered == ["t#0", "t#1"]


def test_others_commit_in_between(bench: Bench) -> None:
    """As long as its slot is there, the fire is recognised behind the commits of others, or decided anew."""
    for fault, identity in ((reply_lost, 1), (never_arrives, 2)):
        bench.store.commits = [fault]
        bench.store.before_loads = [lambda: bench.crowd(CLIENT_SLOTS - 2)]
        assert bench.manager.fire("tick", {"id": identity}).scheduled == (f"t#{identity}",)
    assert bench.applied() == [1, 2]


def test_a_slot_that_is_gone_is_unknown(bench: Bench) -> None:
    """When more clients than there are slots have committed since, the fire says that it cannot tell; it was applied once."""
    bench.store.commits = [reply_lost]
    bench.store.before_loads = [bench.crowd]
    with pytest.raises(OutcomeUnknown, match="event_id"):
        bench.manager.fire("tick", {"id": 1})
    assert bench.applied() == [1]


def test_a_slot_that_is_gone_and_nothing_stored(bench: Bench) -> None:
    """The same where the commit had never arrived: unknown, and not applied by a second try."""
    bench.store.commits = [never_arrives]
    bench.store.before_loads = [bench.crowd]
    with pytest.raises(OutcomeUnknown):
        bench.manager.fire("tick", {"id": 1})
    assert bench.applied() == []


def test_an_event_id_makes_it_known(bench: Bench) -> None:
    """With an event id the fire is repeated instead, and applied once, whether or not it had arrived."""
    for fault, identity in ((reply_lost, 1), (never_arrives, 2)):
        bench.store.commits = [fault]
        bench.store.before_loads = [bench.crowd]
        told = bench.manager.fire("tick", {"id": identity}, event_id=f"e{identity}")
        assert told.scheduled == (f"t#{identity}",)
    assert bench.applied() == [1, 2]


def test_a_session_deleted_in_between_is_unknown(bench: Bench) -> None:
    """A session that was deleted, or deleted and made again, does not get the fire a second time."""
    for again in (False, True):
        bench.store.commits = [reply_lost]

        def deletes(again: bool = again) -> None:
            bench.inner.delete("s")
            if again:
                bench.other().update_configuration(TASKS)

        bench.store.before_loads = [deletes]
        with pytest.raises(OutcomeUnknown):
            bench.manager.fire("tick", {"id": 1})
        assert bench.applied() == []
        bench.other().update_configuration(TASKS)
        bench.manager.fire("elsewhere")


def test_a_late_commit_does_not_bring_a_deleted_session_back(bench: Bench) -> None:
    """What was sent for a session that is deleted by then is refused."""
    bench.store.commits = [bench.store.hold]
    deleted: list[bool] = []
    bench.store.before_loads = [lambda: deleted.append(bench.inner.delete("s"))]
    with pytest.raises(OutcomeUnknown):
        bench.manager.fire("tick", {"id": 1})
    assert deleted == [True]
    assert bench.store.arrive() == 0
    assert bench.inner.load("s", EVERYTHING).version == ""


def test_a_storage_that_is_away(bench: Bench) -> None:
    """If nothing was sent, the error says so, nothing is stored, and the next fire works."""
    bench.store.commits = [away]
    with pytest.raises(StorageUnavailable):
        bench.manager.fire("tick", {"id": 1})
    assert bench.applied() == []
    bench.manager.fire("tick", {"id": 2})
    assert bench.applied() == [2]


def test_away_after_something_was_sent(bench: Bench) -> None:
    """A storage that goes away while a commit may still arrive is waited for: nobody is told that nothing was stored."""
    bench.store.commits = [bench.store.hold, away]
    assert bench.manager.fire("tick", {"id": 1}).scheduled == ("t#1",)
    assert bench.store.arrive() == 0
    assert bench.applied() == [1]


def test_away_for_good_after_something_was_sent(bench: Bench) -> None:
    """If it does not come back in time, the outcome is unknown, never "nothing was stored"."""
    process = bench.make_process(conflict_timeout=0.05)
    manager = TriggerManager(bench.manager.storage, process=process)
    bench.store.commits = [bench.store.hold, *[away] * 1000]
    with pytest.raises(OutcomeUnknown):
        manager.fire("tick", {"id": 1})
    assert bench.store.arrive() == 1
    bench.store.commits = []
    assert bench.applied() == [1]


def test_giving_up_after_something_was_sent(bench: Bench) -> None:
    """A fire that gives up in a conflict while an earlier commit of it may have been stored says that it is unknown."""
    process = bench.make_process(conflict_timeout=0.05)
    manager = TriggerManager(bench.manager.storage, process=process)

    def late_and_slow(commit: Callable[[], None]) -> None:
        bench.store.arrive()

        time.sleep(0.1)
        commit()

    bench.store.commits = [bench.store.hold, late_and_slow]
    try:
        manager.fire("tick", {"id": 1})
    except OutcomeUnknown:
        pass
    except Conflict:
        pytest.fail("the fire was applied, and the error says that nothing was stored")
    assert bench.applied() == [1]


def test_a_conflict_that_lasts_stores_nothing(bench: Bench) -> None:
    """When others change the session for longer than ``conflict_timeout``, the fire raises ``Conflict`` and was not applied."""
    process = bench.make_process(conflict_timeout=0.05)
    manager = TriggerManager(bench.manager.storage, process=process)
    other = bench.other()

    def first_another(commit: Callable[[], None]) -> None:
        other.fire("elsewhere")
        commit()

    bench.store.commits = [first_another] * 100_000
    with pytest.raises(Conflict):
        manager.fire("tick", {"id": 1})
    bench.store.commits = []
    assert bench.applied() == []


def test_a_busy_session_starves_nobody(bench: Bench) -> None:
    """After a pause the session is loaded again: what others committed meanwhile is no reason to be refused once more."""
    process = bench.make_process(conflict_timeout=20.0)
    manager = TriggerManager(bench.manager.storage, process=process)
    other = bench.other()

    def others_go_on(seconds: float) -> None:
        other.fire("elsewhere")

    def first_another(commit: Callable[[], None]) -> None:
        other.fire("elsewhere")
        commit()

    process.runtime.pause = others_go_on
    bench.store.commits = [first_another] * 4
    assert manager.fire("tick", {"id": 1}).scheduled == ("t#1",)
    assert bench.applied() == [1]


def test_operators_commands_are_exact_too(bench: Bench) -> None:
    """A replay and a skip whose reply is lost happen once."""
    bench.manager.update_instance_status("t#0", "running")
    bench.manager.update_instance_status("t#0", "failed")
    bench.store.commits = [reply_lost]
    assert bench.manager.replay_failed_instance("t#0").name == "t#1"
    bench.manager.update_instance_status("t#1", "running")
    bench.manager.update_instance_status("t#1", "failed")
    bench.store.commits = [reply_lost]
    assert str(bench.manager.skip_failed_instance("t#1", cascade=True).status) == "skipped"
    assert {one.name: str(one.status) for one in bench.manager.storage} == {"t#0": "replayed", "t#1": "skipped"}
    tick = bench.inner.load("s", EVERYTHING).records["trigger"]["t"]
    assert records.read(records.TRIGGERS, "t", tick.value).count == 1
