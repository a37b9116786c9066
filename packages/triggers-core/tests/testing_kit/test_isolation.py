"""A process of its own for each test, put back at the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import triggers
from triggers import TaskContext, storage_backends, task, task_runners
from triggers.errors import UnknownKey, UnknownTask
from triggers.hooks import get_hooks, hookimpl
from triggers.process import Process, get_process
from triggers.runners.inline import InlineTaskRunner
from triggers.settings import get_settings
from triggers.storages.memory import MemoryStorageBackend
from triggers.tasks import registered
from triggers.testing import PassThruTask, isolated


def test_the_application_uses_it_without_knowing() -> None:
    """``get_manager``, ``get_process`` and ``join_all`` of the application are those of the block."""
    with isolated() as isolation:
        application = triggers.get_manager("application")
        application.update_configuration({"t_it": {"after": ["go"], "run": PassThruTask.name}})
        application.fire("go")
        triggers.join_all()
        assert isolation.storage("application")["t_it#0"].status == "finished"
        assert get_process() is isolation.process


def test_each_block_begins_with_nothing() -> None:
    """A session of one block is not there in the next."""
    for _ in range(2):
        with isolated() as isolation:
            assert not isolation.storage().exists()
            isolation.manager().fire("go")
            assert isolation.storage().exists()


def test_settings_come_back() -> None:
    """What the block configures is gone with it, and what was configured before is there again."""
    triggers.configure(lease=17.0)
    try:
        with isolated(redeliver_after=3) as isolation:
            triggers.configure(lease=5.0)
            assert (isolation.process.settings.lease, isolation.process.settings.redeliver_after) == (5.0, 3.0)
            assert get_settings().storage == "memory"
        assert (get_settings().lease, get_settings().redeliver_after, get_settings().storage) == (17.0, 60.0, "sql")
    finally:
        triggers.settings.reset()


def test_settings_come_back_after_an_error() -> None:
    """A block that raises leaves as little behind as one that does not."""
    before = get_process()
    with pytest.raises(ZeroDivisionError), isolated(lease=5):
        raise ZeroDivisionError
    assert (get_process(), get_settings().lease) == (before, 60.0)


def test_a_wrong_setting_changes_nothing() -> None:
    """A block that cannot begin leaves the process as it was."""
    before = get_process()
    with pytest.raises(triggers.errors.SettingsError, match="did you mean 'lease'"), isolated(leese=5):
        pass
    assert get_process() is before
    assert get_settings().storage == "sql"


def test_tasks_defined_in_a_test_are_forgotten() -> None:
    """Two tests may each define a task of the same name."""
    for _ in range(2):
        with isolated():

            @task("same.name")
            def body(context: TaskContext) -> None: ...

            assert registered.has("same.name")
    with pytest.raises(UnknownTask):
        registered.find("same.name")


def test_tasks_of_modules_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that a test is the first to import is not imported again, so its tasks stay."""
    (tmp_path / "module_of_a_test.py").write_text("from triggers import task\n@task('of.a.module')\ndef body(context): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        with isolated(tasks=["module_of_a_test"]):
            assert registered.has("of.a.module")
    registered.remove("of.a.module")


def test_tasks_that_were_replaced_come_back() -> None:
    """A test may put another body in the place of the real one."""
    real = registered.find(PassThruTask.name)
    with isolated() as isolation:
        registered.remove(PassThruTask.name)

        @task(PassThruTask.name)
        def fake(context: TaskContext) -> dict[str, bool]:
            return {"fake": True}

        manager = isolation.manager()
        manager.update_configuration({"t_it": {"after": ["go"], "run": PassThruTask.name}})
        manager.fire("go")
        triggers.join_all()
        assert manager.storage["t_it#0"].result == {"fake": True}
    assert registered.find(PassThruTask.name) is real


def test_backends_and_plugins_are_forgotten() -> None:
    """A runner, a storage and a plugin that the block registers are gone with it."""

    class Plugin:
        @hookimpl
        def triggers_session_finalized(self) -> None: ...

    plugin = Plugin()
    with isolated():
        task_runners.register("mine", InlineTaskRunner)
        storage_backends.register("mine", MemoryStorageBackend)
        get_hooks().register(plugin)
    for registry in (task_runners, storage_backends):
        with pytest.raises(UnknownKey):
            registry.get_class("mine")
    assert plugin not in get_hooks().manager.get_plugins()


def test_no_thread_stays() -> None:
    """Pool, heartbeat and sweep end with the block."""
    before = set(threading.enumerate())
    with isolated(sweep_interval=0.1) as isolation:
        manager = isolation.manager()
        manager.update_configuration({"t_it": {"after": [], "andEvery": "go", "run": PassThruTask.name}})
        for _ in range(20):
            manager.fire("go")
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_work_is_waited_for() -> None:
    """The block ends when its work has ended."""
    done = []

    @task("slow.work")
    def slow(context: TaskContext) -> None:
        time.sleep(0.2)
        done.append(context.task_instance.name)

    try:
        with isolated() as isolation:
            manager = isolation.manager()
            manager.update_configuration({"t_it": {"after": ["go"], "run": "slow.work"}})
            manager.fire("go")
        assert done == ["t_it#0"]
    finally:
        registered.remove("slow.work")


def test_work_that_hangs_is_told() -> None:
    """A body that never ends is an error of the test, not of the next one."""
    go_on = threading.Event()

    def begin() -> None:
        with isolated(patience=0.3, shutdown_timeout=0.1) as isolation:

            @task("hanging.work")
            def hanging(context: TaskContext) -> None:
                go_on.wait(60)

            manager = isolation.manager()
            manager.update_configuration({"t_it": {"after": ["go"], "run": "hanging.work"}})
            manager.fire("go")

    with pytest.raises(TimeoutError, match="still running"):
        begin()
    go_on.set()
    assert get_settings().storage == "sql"


def test_the_sweep_of_the_application_rests_meanwhile() -> None:
    """The sweep that the process ran before does not look into the test's session, and goes on afterwards."""
    triggers.configure(storage="memory", sweep_interval=0.05)
    try:
        get_process().use(storage_backends.get("memory", "before"))
        assert sweeps() == 1
        with isolated() as isolation:
            wait_until(lambda: sweeps() == 0)
            isolation.manager().fire("go")
        assert sweeps() == 1
    finally:
        get_process().sweeper.stop()
        triggers.settings.reset()
    wait_until(lambda: sweeps() == 0)


def sweeps() -> int:
    """How many sweeps run in this process."""
    return sum(thread.name == "triggers-sweep" for thread in threading.enumerate())


def wait_until(true: object) -> None:
    """Waits for at most a minute."""
    give_up_at = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_blocks_lie_within_each_other() -> None:
    """The inner block has a process and a memory of its own, and the outer one goes on after it."""
    processes: list[Process] = []
    with isolated() as outer:
        outer.manager().fire("go")
        with isolated() as inner:
            processes += [outer.process, inner.process, get_process()]
            assert not inner.storage().exists()
        assert get_process() is outer.process
        assert triggers.get_manager("test").storage.exists()
    assert processes[0] is not processes[1] is processes[2]
