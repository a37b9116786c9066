"""A process: its runners, its sweep, and what follows a commit."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import triggers
from processes import Bench, Held, bench, wait_until
from triggers.codec import decode, encode
from triggers.context import TaskContext
from triggers.errors import (
    ConfigurationError,
    OutcomeUnknown,
    RunnerUnavailable,
    SettingsError,
    StorageUnavailable,
    UnknownKey,
    UnreadableRecord,
)
from triggers.manager import TriggerManager
from triggers.process import Process, get_process
from triggers.runners import BaseTaskRunner, Delivery, task_runners
from triggers.settings import Settings, reset
from triggers.storages import base as storages
from triggers.storages.document import DocumentStore
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import EVERYTHING, Capability, Change, DuePage, Record, Store, Want
from triggers.tasks import registered

ONE = {"t": {"after": ["a"], "run": "w"}}


@pytest.fixture
def made() -> Iterator[Bench]:
    """A bench whose runner waits."""
    task_runners.register("held", Held)
    with bench(runner="held") as found:
        yield found
    task_runners.unregister("held")


class Picky(Held):
    """A runner with an option, for itself and for each task."""

    api_version = 1
    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, perform: Any, clock: Any, *, size: int = 1) -> None:
        super().__init__(perform, clock)
        self.made.append({"size": size})
        self.closed = False

    @classmethod
    def check_options(cls, options: Any) -> None:
        """Only ``queue``."""
        if set(options) - {"queue"}:
            raise SettingsError("this runner takes only a queue")

    def close(self) -> None:
        """Noted."""
        self.closed = True


@pytest.fixture
def picky() -> Iterator[None]:
    """Registers it."""
    Picky.made.clear()
    task_runners.register("picky", Picky)
    yield
    task_runners.unregister("picky")


def test_one_runner_per_key(made: Bench, picky: None) -> None:
    """Made at the first use with the options of the settings; made anew when these change; all are closed at the end."""
    runners = made.process.runners
    made.change(runners={"picky": {"size": 3}})
    first = runners.get("picky")
    assert runners.get("picky") is first
    assert Picky.made == [{"size": 3}]
    runners.forget_changed()
    assert runners.get("picky") is first
    made.change(runners={"picky": {"size": 4}})
    runners.forget_changed()
    second = runners.get("picky")
    assert second is not first
    assert Picky.made == [{"size": 3}, {"size": 4}]
    assert set(runners.opened()) == {first, second}
    made.process.close()
    assert isinstance(first, Picky)
    assert isinstance(second, Picky)
    assert first.closed
    assert second.closed


def test_options_that_a_runner_does_not_take(made: Bench, picky: None) -> None:
    """Those of the settings, when it is made; those of a task, when it is configured: nothing is stored then."""
    manager = made.manager()
    with pytest.raises(ConfigurationError, match=r"\$\.t\.using: this runner takes only a queue"):
        manager.update_configuration({"t": {"after": ["a"], "run": "w", "using": {"runner": "picky", "colour": 1}}})
    assert not manager.storage.exists()
    manager.update_configuration(
        {
            "t": {"after": ["a"], "run": "w", "using": {"runner": "picky", "queue": "q"}},
            "u": {"after": ["a"], "run": "w", "using": {"runner": "of another process", "colour": 1}},
            "v": None,
        }
    )
    made.change(runners={"picky": {"colour": 1}})
    with pytest.raises(SettingsError, match="runner 'picky' cannot be made with the options"):
        made.process.runners.get("picky")
    assert not made.process.runners.serves("picky", "w")


def test_a_runner_that_does_not_exist(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The fire succeeds, with a warning; asking for it is an error."""
    manager = made.manager()
    manager.update_configuration({"t": {"after": ["a"], "run": "w", "using": "absent"}})
    assert manager.fire("a").scheduled == ("t#0",)
    assert "runner 'absent' could not take t#0 of session 's'; it stays scheduled" in caplog.text
    with pytest.raises(UnknownKey):
        made.process.runners.get("absent")


def test_a_runner_that_is_down_is_asked_once(made: Bench) -> None:
    """One fire that schedules many tries a runner that is down once; other errors concern their delivery alone."""
    tried: list[str] = []

    class Down(BaseTaskRunner):
        api_version = 1
        error: ClassVar[Exception]

        def deliver(self, delivery: Delivery) -> None:
            tried.append(delivery.name)
            raise self.error

    task_runners.register("held", Down)
    tasks = {name: {"after": ["a"], "run": "w"} for name in "tuv"}
    for error, expected in ((RunnerUnavailable("down"), 1), (ValueError("this one"), 3)):
        tried.clear()
        Down.error = error
        manager = made.manager(f"s{expected}")
        manager.update_configuration(tasks)
        assert len(manager.fire("a").scheduled) == 3
        assert len(tried) == expected


def test_the_sweep_of_a_process(made: Bench) -> None:
    """It sweeps every store that this process has used, also those whose backend is no setting."""
    made.work(lambda context: None)
    others = [Bench(runner="held"), made]
    for one in others:
        manager = TriggerManager(MemoryStorageBackend("s", store=one.store), process=made.process)
        manager.update_configuration(ONE)
        manager.fire("a")
    runner = made.process.runners.get("held")
    assert isinstance(runner, Held)
    runner.waiting.clear()
    made.clock.move(60)
    assert made.process.sweep() == 2
    assert len(runner.waiting) == 2
    assert made.process.sweep() == 0


class Away(MemoryStore):
    """A store that does not answer when it is asked what is due."""

    error: type[Exception] = StorageUnavailable

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """No answer."""
        raise self.error("away")


def test_a_storage_that_is_away_does_not_stop_the_sweep_of_others(made: Bench) -> None:
    """The others are swept, and then the error is told."""
    made.work(lambda context: None)
    away = Away()
    for uid, store in (("away", away), ("here", made.store)):
        manager = TriggerManager(MemoryStorageBackend(uid, store=store), process=made.process)
        manager.update_configuration(ONE)
        manager.fire("a")
    runner = made.process.runners.get("held")
    assert isinstance(runner, Held)
    runner.waiting.clear()
    made.clock.move(60)
    for error in (StorageUnavailable, UnreadableRecord):
        away.error = error
        runner.waiting.clear()
        with pytest.raises(error):
            made.process.sweep()
        assert [delivery.uid for delivery in runner.waiting] == ["here"]
        made.clock.move(1000)


def test_storages_by_hand_are_swept_without_the_one_of_the_settings(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Where the configured storage is not installed, what is used by hand is swept all the same; one warning tells."""
    made.work(lambda context: None)
    made.change(storage="absent")
    with pytest.raises(UnknownKey):
        made.process.sweep()
    manager = made.manager()
    manager.update_configuration(ONE)
    manager.fire("a")
    made.clock.move(60)
    assert [made.process.sweep(), made.process.sweep()] == [1, 0]
    made.process.note_sweep()
    assert caplog.text.count("the storage 'absent' of the settings is not swept: no storage has the key 'absent'") == 1


def test_a_store_that_cannot_tell_what_is_due(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Says so once."""

    class Mute(MemoryStore):
        capabilities = Capability.SCAN

    store = Mute()
    TriggerManager(MemoryStorageBackend("s", store=store), process=made.process).fire("a")
    for _ in range(2):
        assert made.process.sweep() == 0
    assert caplog.text.count("Mute cannot list what is due") == 1


def test_a_sweep_leaves_what_it_cannot_read(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable record is left, the others of its session and of other sessions are served."""
    made.work(lambda context: None)
    for uid in ("a", "b"):
        manager = made.manager(uid)
        manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
        manager.fire("a")
        manager.fire("a")
    version = made.store.load("a", EVERYTHING).version
    wake_at = made.store.load("a", EVERYTHING).records["live/t"]["0"].wake_at
    made.store.commit("a", Change("x", {("live/t", "0"): Record(b"{}", wake_at)}), version, Want())
    runner = made.process.runners.get("held")
    assert isinstance(runner, Held)
    runner.waiting.clear()
    made.clock.move(60)
    assert made.process.sweep() == 3
    assert sorted((delivery.uid, delivery.name) for delivery in runner.waiting) == [("a", "t#1"), ("b", "t#0"), ("b", "t#1")]
    assert "live/t/0 of session 'a' is left for others" in caplog.text


def test_a_sweep_leaves_a_configuration_that_it_cannot_read(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """One that a newer version has stored keeps neither the sweep nor a worker from other sessions."""
    made.work(lambda context: None)
    for uid in ("a", "b"):
        manager = made.manager(uid)
        manager.update_configuration(ONE)
        manager.fire("a")
    found = made.store.load("a", EVERYTHING)
    config = found.records["config"]["current"].value.replace(b'"run":', b'"onLost":"wait","run":')
    head = decode(found.records["session"]["head"].value) | {"config": "another"}
    change = Change("x", {("config", "current"): Record(config), ("session", "head"): Record(encode(head))})
    made.store.commit("a", change, found.version, Want())
    runner = made.process.runners.get("held")
    assert isinstance(runner, Held)
    runner.waiting.clear()
    made.clock.move(60)
    other = Process(settings=lambda: made.settings, clock=made.clock)
    other.use(MemoryStorageBackend("b", store=made.store))
    assert other.sweep() == 1
    assert [delivery.uid for delivery in other.runners.get("held").waiting] == ["b"]  # type: ignore[attr-defined]
    assert (
        "live/t/0 of session 'a' is left for others: the configuration cannot be read: Invalid enum value 'wait'" in caplog.text
    )
    with pytest.raises(UnreadableRecord):
        made.manager("a").explain()
    other.close()


def test_a_deletion_whose_reply_is_lost(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Keeps the sweep from nothing that comes after, and is looked at again by the next one."""

    class Loses(MemoryStore):
        lost = False

        def delete(self, uid: str, expected: str | None = None) -> bool:
            if not self.lost:
                self.lost = True
                raise OutcomeUnknown("no reply")
            return super().delete(uid, expected)

    made.change(keep_idle=50.0)
    made.store = Loses()
    for uid in ("a", "b"):
        made.manager(uid).fire("a")
    made.clock.move(60)
    assert made.process.sweep() == 1
    assert "whether session 'a' was deleted the next sweep will see: no reply" in caplog.text
    assert made.process.sweep() == 1
    assert not made.manager("a").storage.exists()
    assert not made.manager("b").storage.exists()


def test_old_event_ids_are_forgotten(made: Bench) -> None:
    """With ``event_ttl`` the sweep drops ids whose time is over; until then they count (R13)."""
    made.change(event_ttl=100.0)
    manager = made.manager()
    manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
    manager.fire("a", event_id="e")
    made.clock.move(99)
    assert made.process.sweep() <= 1
    assert manager.fire("a", event_id="e").created == ("t#0",)
    made.clock.move(1)
    made.process.sweep()
    assert "event" not in made.store.load("s", EVERYTHING).records
    assert manager.fire("a", event_id="e").created == ("t#1",)


def test_the_sweeper_thread(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It runs beside runners that work here, serves what is due, survives errors, and ends with the process."""

    class Here(Held):
        api_version = 1
        runs_here = True

    task_runners.register("held", Here)
    made.change(sweep_interval=0.01)
    manager = made.manager()
    made.work(lambda context: None)
    manager.update_configuration(ONE)
    manager.fire("a")
    thread = made.process.sweeper._thread
    assert thread is not None
    runner = made.process.runners.get("held")
    assert isinstance(runner, Held)
    runner.waiting.clear()
    made.clock.move(60)
    wait_until(lambda: len(runner.waiting) == 1)
    real = made.store.due
    for error in (StorageUnavailable("away"), RuntimeError("a bug")):
        failures: list[int] = []

        def fails(*arguments: Any, error: Exception = error, failures: list[int] = failures) -> DuePage:
            failures.append(1)
            raise error

        made.store.due = fails  # type: ignore[method-assign,assignment]
        wait_until(lambda failures=failures: len(failures) > 0)  # type: ignore[misc]
    made.store.due = real  # type: ignore[method-assign]
    runner.waiting.clear()
    made.clock.move(1000)
    wait_until(lambda: len(runner.waiting) == 1)
    made.process.close()
    thread.join(60)
    assert not thread.is_alive()
    assert "the sweep will try again" in caplog.text
    assert "a sweep failed; the next one will try again" in caplog.text


def test_no_sweeper_where_nothing_runs(made: Bench) -> None:
    """Beside a runner that works elsewhere, with an interval of 0, or with an unknown runner, no thread is started."""
    for settings in (
        {"sweep_interval": 0.01},
        {"sweep_interval": 0.0, "runner": "threading"},
        {"sweep_interval": 0.01, "runner": "absent"},
    ):
        process = Process(settings=lambda settings=settings: Settings(**{"runner": "held", **settings}))  # type: ignore[misc]
        TriggerManager(MemoryStorageBackend("s", store=MemoryStore()), process=process).fire("a")
        assert process.sweeper._thread is None
        process.close()


def test_the_process_of_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """``get_manager``, ``sweep`` and ``join_all`` use it; a changed setting reaches it."""
    monkeypatch.setattr("triggers.process._process", None)
    monkeypatch.setattr(storages, "_shared", {})
    done: list[int] = []
    try:
        triggers.configure(storage="memory", runner="threading", sweep_interval=0, runners={"threading": {"threads": 1}})
        triggers.task("w")(lambda context: done.append(1))
        manager = triggers.get_manager("s")
        manager.update_configuration(ONE)
        manager.fire("a")
        assert triggers.join_all(60)
        assert done == [1]
        assert triggers.sweep() == 0
        assert get_process() is get_process()
        before = get_process().runners.get("threading")
        triggers.configure(runners={"threading": {"threads": 2}})
        assert get_process().runners.get("threading") is not before
        assert triggers.get_manager("s", manager="finalizing").key == "finalizing"
        get_process().close()
    finally:
        registered.remove("w")
        reset()


def test_a_manager_takes_a_storage() -> None:
    """Anything else is answered with how to make one."""
    with pytest.raises(SettingsError, match=r"storage_backends\.get"):
        TriggerManager("s")  # type: ignore[arg-type]


def test_a_document_store_keeps_a_workflow(made: Bench) -> None:
    """The helper for one value per session serves the engine: a whole join on a dictionary."""
    values: dict[str, bytes] = {}

    class Dictionary(DocumentStore):
        api_version = 1

        def read(self, uid: str) -> tuple[bytes, bytes] | None:
            return (values[uid], values[uid]) if uid in values else None

        def swap(self, uid: str, old: Any, new: bytes, change: Change) -> bool:
            if values.get(uid) != old:
                return False
            values[uid] = new
            return True

        def remove(self, uid: str, old: Any) -> bool:
            return values.pop(uid, None) is not None

    class Backend(storages.BaseTriggerStorage):
        api_version = 1
        key = "dictionary"
        store_class: ClassVar[type[Store]] = Dictionary

    made.change(runner="inline")
    made.work(lambda context: {"r": 1})
    manager = TriggerManager(Backend("s", store=Dictionary()), process=made.process)
    manager.update_configuration({"t": {"after": ["a", "b"], "run": "w"}, "u": {"after": ["t"], "run": "w"}})
    manager.fire("a")
    manager.fire("b")
    assert {one.name: str(one.status) for one in manager.storage} == {"t#0": "finished", "u#0": "finished"}


def test_finalizing_and_a_hook(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A work's own log and the manager's change are told even where no plugin listens (R32)."""
    made.change(runner="inline")

    def body(context: TaskContext) -> None:
        with context.get_logger_context() as logger:
            logger.error("seen")

    manager = made.run(body)
    with caplog.at_level(logging.WARNING):
        other = made.manager()
        other.key = "another"
        other.fire("z")
    assert "seen" in caplog.text
    assert "from now on by 'another'" in caplog.text
    assert manager.storage.metadata["manager"] == "another"


def test_the_sweep_by_itself_leaves_the_configured_storage_alone(tmp_path: Path) -> None:
    """A process that uses only storages of its own choice gets no file of the configured one, and those are swept."""
    program = (
        "import time, triggers\n"
        "from triggers.process import get_process\n"
        "from triggers.storages import storage_backends\n"
        "from triggers.manager import trigger_managers\n"
        "triggers.configure(sweep_interval=0.02)\n"
        "swept = []\n"
        "process = get_process()\n"
        "sweep = process.sweep\n"
        "process.sweep = lambda **options: swept.append(sweep(**options)) or 0\n"
        "trigger_managers.get('default', storage_backends.get('memory', 's')).fire('a')\n"
        "end = time.monotonic() + 60\n"
        "while len(swept) < 3 and time.monotonic() < end: time.sleep(0.01)\n"
        "print(len(swept) >= 3)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERS_")}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.stdout, ran.stderr) == ("True\n", "")
    assert list(tmp_path.iterdir()) == []
