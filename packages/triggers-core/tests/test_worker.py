"""One attempt from claim to report, where things go wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from processes import Bench, Held, bench, wait_until
from triggers.context import TaskContext
from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable
from triggers.hooks import get_hooks, hookimpl
from triggers.instance import Status
from triggers.manager import TriggerManager
from triggers.managers import trigger_managers
from triggers.runners import task_runners
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import EVERYTHING, Change, Want
from triggers.worker import type_names


@pytest.fixture
def made() -> Iterator[Bench]:
    """A bench whose runner waits."""
    task_runners.register("held", Held)
    with bench(runner="held", lease=5.0) as found:
        yield found
    task_runners.unregister("held")


def perform(made: Bench) -> None:
    """Performs the first delivery."""
    runner = made.process.runners.get("held")
    assert isinstance(runner, Held)
    runner.perform(runner.waiting.pop(0))


class Unreliable(MemoryStore):
    """Meets the next commits with what the test wrote down."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception | None] = []
        self.applied_first = False

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """An error, or as memory does."""
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            if isinstance(error, OutcomeUnknown):
                super().commit(uid, change, expected, want)
            raise error
        super().commit(uid, change, expected, want)


def test_a_report_is_tried_again_while_the_storage_is_away(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The work is not run again; the report is stored when the storage is back."""
    store = made.store = Unreliable()
    runs: list[int] = []

    def body(context: TaskContext) -> dict[str, int]:
        runs.append(1)
        store.errors = [StorageUnavailable("away"), StorageUnavailable("away"), Conflict("s")]
        return {"r": 1}

    manager = made.run(body)
    perform(made)
    found = manager.storage["t#0"]
    assert (str(found.status), found.result, runs) == ("finished", {"r": 1}, [1])
    assert "cannot report yet: away" in caplog.text


def test_a_report_whose_reply_is_lost(made: Bench) -> None:
    """Finish, failure, skip and retry are stored once, and cascade once."""
    for how in ("finish", "fail", "skip", "retry"):
        store = made.store = Unreliable()
        made.close()

        def body(context: TaskContext, how: str = how, store: Unreliable = store) -> None:
            store.errors = [OutcomeUnknown("the connection was lost")]
            if context.task_instance.depth:
                return
            if how == "fail":
                raise ValueError
            if how == "skip":
                context.skip(cascade=True)
            if how == "retry":
                context.retry()

        manager = made.run(body)
        perform(made)
        expected = {"finish": ["finished"], "fail": ["failed"], "skip": ["skipped"], "retry": ["replayed", "scheduled"]}
        assert [str(one.status) for one in manager.storage] == expected[how]
        assert len(manager.storage.latest_kwargs) == (2 if how in ("finish", "skip") else 1)
        runner = made.process.runners.get("held")
        assert isinstance(runner, Held)
        runner.waiting.clear()


def test_a_report_that_cannot_be_stored_in_time(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """After a lease's time the worker gives up and says so; the sweep runs the instance again."""
    store = made.store = Unreliable()
    made.change(lease=0.05)

    def body(context: TaskContext) -> None:
        if context.attempt == 1:
            (heartbeat,) = made.process.heartbeat._threads.values()
            made.process.heartbeat.stop()
            heartbeat.join()
            store.errors = [StorageUnavailable("away")] * 10_000

    manager = made.run(body)
    perform(made)
    assert "t#0 of session 's' could not report; the sweep will run it again" in caplog.text
    store.errors = []
    made.clock.move(1)
    made.process.sweep()
    perform(made)
    found = manager.storage["t#0"]
    assert (str(found.status), found.attempt) == ("finished", 2)


def test_a_storage_that_is_away_at_the_start(made: Bench) -> None:
    """The body is not run, the error reaches the runner, and the instance stays scheduled."""
    store = made.store = Unreliable()
    runs: list[int] = []
    manager = made.run(lambda context: runs.append(1))
    store.errors = [StorageUnavailable("away")]
    with pytest.raises(StorageUnavailable):
        perform(made)
    assert runs == []
    assert str(manager.storage["t#0"].status) == "scheduled"


def test_a_work_that_nobody_has(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The attempt is left for other workers: it is not claimed."""
    manager = made.manager()
    manager.update_configuration({"t": {"after": ["a"], "run": "nobody has it"}})
    manager.fire("a")
    perform(made)
    assert str(manager.storage["t#0"].status) == "scheduled"
    assert "t#0 of session 's' is left for other workers" in caplog.text


def test_a_manager_that_nobody_has(made: Bench) -> None:
    """A session whose manager this process lacks fails the instance, and does not leave it running."""

    class Mine(trigger_managers.get_class("default")):  # type: ignore[misc]
        api_version = 1

    trigger_managers.register("mine", Mine)
    runs: list[int] = []
    made.work(lambda context: runs.append(1))
    manager = trigger_managers.get("mine", made.manager().storage, process=made.process)
    manager.update_configuration({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    trigger_managers.unregister("mine")
    perform(made)
    assert runs == []
    found = manager.storage["t#0"]
    assert str(found.status) == "failed"
    assert "no manager has the key 'mine'" in found.metadata["exception"]["message"]


def test_what_the_managers_hook_raises_in_a_worker(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; what it was called for stands."""

    class Raises(trigger_managers.get_class("default")):  # type: ignore[misc]
        api_version = 1

        def _post_fire(self, trigger_name: str, task_instances: Any) -> None:
            if trigger_name == "t":
                raise RuntimeError("the application's own")

    trigger_managers.register("raises", Raises)
    try:
        made.work(lambda context: {"r": 1})
        manager = trigger_managers.get("raises", made.manager().storage, process=made.process)
        manager.update_configuration({"t": {"after": ["a"], "run": "w"}})
        manager.fire("a")
        perform(made)
    finally:
        trigger_managers.unregister("raises")
    assert str(manager.storage["t#0"].status) == "finished"
    assert "the application's own" in caplog.text


def test_a_result_that_is_too_large(made: Bench) -> None:
    """The instance fails with the limit; so does one whose skip carries too much."""
    made.change(max_value_bytes=100)
    manager = made.run(lambda context: {"text": "x" * 200})
    perform(made)
    assert "the limit is 100" in manager.storage["t#0"].metadata["exception"]["message"]


def test_a_session_that_is_too_large_for_a_result(made: Bench) -> None:
    """A result that its storage cannot keep fails the instance instead of leaving it running."""

    class Small(MemoryStore):
        max_value_bytes = 5000

    made.store = Small()
    manager = made.run(lambda context: {"text": "x" * 6000})
    perform(made)
    assert str(manager.storage["t#0"].status) == "failed"
    assert manager.storage["t#0"].metadata["exception"]["type"] == "triggers.errors.SessionTooLarge"


def test_the_heartbeat_thread_renews(made: Bench) -> None:
    """While a body runs, its lease is renewed by itself, and no sweep takes it away."""
    made.change(lease=0.3)
    release = threading.Event()
    manager = made.run(lambda context: release.wait(60) and None)
    working = threading.Thread(target=perform, args=(made,))
    working.start()
    wait_until(lambda: str(manager.storage["t#0"].status) == "running")
    first = manager.storage["t#0"].wake_at
    assert first is not None
    made.clock.move(0.2)
    wait_until(lambda: manager.storage["t#0"].wake_at != first)
    made.clock.move(0.2)
    assert made.process.sweep() == 0
    release.set()
    working.join()
    assert str(manager.storage["t#0"].status) == "finished"
    assert not made.process.heartbeat.busy


def test_a_heartbeat_that_fails_is_logged(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """And tried again with the next beat; an error of a store does not end the thread."""
    store = made.store = Unreliable()
    seen: list[Any] = []

    def body(context: TaskContext) -> None:
        for error in (StorageUnavailable("away"), RuntimeError("a bug")):
            store.errors = [error]
            made.clock.move(1)
            made.process.heartbeat.beat()
        made.clock.move(1)
        made.process.heartbeat.beat()
        seen.append(context.lost)

    with caplog.at_level(logging.WARNING):
        manager = made.run(body)
        perform(made)
    assert seen == [False]
    assert caplog.text.count("the leases of session 's' could not be renewed") == 2
    assert "a heartbeat failed" in caplog.text
    assert str(manager.storage["t#0"].status) == "finished"


def test_a_storage_that_is_away_costs_no_other_its_leases(made: Bench) -> None:
    """The lease of a work is renewed while the renewal in another storage waits for an answer; then both threads end."""
    made.change(lease=0.3)
    answer, release = threading.Event(), threading.Event()

    class Silent(MemoryStore):
        def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
            if threading.current_thread().name == "triggers-heartbeat":
                answer.wait(10)
            super().commit(uid, change, expected, want)

    made.work(lambda context: release.wait(10) and None)
    stores = (Silent(), made.store)
    managers = [TriggerManager(MemoryStorageBackend("s", store=store), process=made.process) for store in stores]
    threads = []
    for manager in managers:
        manager.update_configuration({"t": {"after": ["a"], "run": "w"}})
        manager.fire("a")
        threads.append(threading.Thread(target=perform, args=(made,)))
        threads[-1].start()
        wait_until(lambda manager=manager: str(manager.storage["t#0"].status) == "running")  # type: ignore[misc]
    first = managers[1].storage["t#0"].wake_at
    made.clock.move(0.2)
    wait_until(lambda: managers[1].storage["t#0"].wake_at != first)
    answer.set()
    release.set()
    for thread in threads:
        thread.join(10)
    assert [str(manager.storage["t#0"].status) for manager in managers] == ["finished", "finished"]
    wait_until(lambda: not made.process.heartbeat._threads)


def test_a_renewal_that_meets_the_report_is_silent(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A renewal that was on its way while the worker reported finds the attempt ended, and takes that for no loss."""

    class Beats:
        @hookimpl
        def triggers_instance_status_changed(self, after: Status) -> None:
            if after is Status.FINISHED:
                assert made.process.heartbeat.busy
                made.process.heartbeat.beat()

    def body(context: TaskContext) -> None:
        contexts.append(context)

    contexts: list[TaskContext] = []
    plugin = Beats()
    get_hooks().register(plugin)
    try:
        with caplog.at_level(logging.WARNING):
            manager = made.run(body)
            perform(made)
    finally:
        get_hooks().unregister(plugin)
    assert str(manager.storage["t#0"].status) == "finished"
    assert not contexts[0].lost
    assert caplog.text == ""


def test_a_session_deleted_while_it_works(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The heartbeat notices, the context says so, and the report is refused without bringing it back."""
    seen: list[bool] = []

    def body(context: TaskContext) -> None:
        context.manager.storage.delete()
        made.process.heartbeat.beat()
        seen.append(context.lost)

    made.run(body)
    perform(made)
    assert seen == [True]
    assert "so the report of its attempt is refused" in caplog.text
    assert made.store.load("s", EVERYTHING).version == ""


def test_names_of_exception_types() -> None:
    """In full, by package, and bare, with the bases: as a retry policy may list them."""
    names = type_names(Conflict)
    assert {"triggers.errors.Conflict", "triggers.Conflict", "Conflict", "StorageError", "builtins.Exception"} <= set(names)
    assert "object" not in names
