"""The runners that the core brings: inline without recursion, threads in a bounded pool with a clean end."""

from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import START, Bench, bench, wait_until
from triggers.context import TaskContext
from triggers.dispatch import Runners
from triggers.errors import SettingsError
from triggers.runners import Delivery
from triggers.runners.inline import InlineTaskRunner
from triggers.runners.threads import ThreadingTaskRunner
from triggers.settings import Settings


def delivery(number: int = 0, **fields: Any) -> Delivery:
    """A delivery of ``t#number``."""
    return Delivery("memory", "s", f"t#{number}", 1, "w", None, None)._replace(**fields)


def now() -> dt.datetime:
    """A time that stands still."""
    return START


def test_inline_ten_thousand_cascades() -> None:
    """A chain of 10 000 cascades needs no deeper stack than one, and is done when ``fire`` returns."""
    depths: list[int] = []

    def hops(context: TaskContext) -> dict[str, int]:
        (kwargs,) = context.trigger_kwargs.values()
        depths.append(_depth())
        if not kwargs["left"]:
            context.skip()
        return {"left": kwargs["left"] - 1}

    with bench(history=0) as made:
        made.work(hops)
        manager = made.manager()
        manager.update_configuration({"t": {"andEvery": "u", "run": "w"}, "u": {"andEvery": "t", "run": "w"}})
        manager.fire("t", {"left": 10_000})
        assert len(depths) == 10_001
        assert max(depths) == min(depths)
        assert manager.storage.metadata["instances"] == 10_001
        assert manager.storage.get_unresolved_instances() == []


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_inline_runs_before_fire_returns_and_in_order() -> None:
    """What a work schedules runs after that work has ended."""
    order: list[str] = []

    def works(context: TaskContext) -> None:
        order.append(f"{context.task_instance.task} begins")
        if context.task_instance.task == "t":
            context.fire("b")
        order.append(f"{context.task_instance.task} ends")

    with bench() as made:
        made.work(works)
        manager = made.manager()
        manager.update_configuration(
            {"t": {"after": ["a"], "run": "w"}, "u": {"after": ["b"], "run": "w"}, "v": {"after": ["t"], "run": "w"}}
        )
        manager.fire("a")
        assert order == ["t begins", "t ends", "u begins", "u ends", "v begins", "v ends"]


def test_inline_goes_on_after_an_error() -> None:
    """What a delivery raises reaches the caller, and the next delivery is performed as usual."""
    performed: list[str] = []

    def perform(one: Delivery) -> None:
        performed.append(one.name)
        if one.name == "t#0":
            raise KeyboardInterrupt

    runner = InlineTaskRunner(perform, now)
    with pytest.raises(KeyboardInterrupt):
        runner.deliver(delivery(0))
    runner.deliver(delivery(1))
    assert performed == ["t#0", "t#1"]
    assert runner.join_all()


class Gate:
    """Works that wait until the test lets them go on."""

    def __init__(self, threads: int) -> None:
        self.open = threading.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self.clock_now = START
        self.runner = ThreadingTaskRunner(self.perform, lambda: self.clock_now, threads=threads)

    def perform(self, one: Delivery) -> None:
        """Waits."""
        with self._lock:
            self.begun.append(one.name)
            self._running += 1
            self.most = max(self.most, self._running)
        self.open.wait(60)
        with self._lock:
            self._running -= 1
            self.ended.append(one.name)
        if one.run == "raises":
            raise RuntimeError("cannot be performed")


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A pool of three."""
    made = Gate(3)
    yield made
    made.open.set()
    made.runner.close()


def test_the_pool_is_bounded(gate: Gate) -> None:
    """At most three at once; the others wait in order; ``join_all`` waits for all."""
    for number in range(10):
        gate.runner.deliver(delivery(number))
    wait_until(lambda: len(gate.begun) == 3)
    assert gate.runner.join_all(0.05) is False
    gate.open.set()
    assert gate.runner.join_all(60) is True
    assert gate.most == 3
    assert sorted(gate.ended) == [f"t#{number}" for number in range(10)]
    assert gate.begun[:3] == ["t#0", "t#1", "t#2"]
    assert len(gate.runner._pool) == 3


def test_threads_are_made_as_needed(gate: Gate) -> None:
    """One work after the other needs one thread."""
    gate.open.set()
    for number in range(5):
        gate.runner.deliver(delivery(number))
        gate.runner.join_all(60)
        wait_until(lambda: gate.runner._idle == len(gate.runner._pool))
    assert len(gate.runner._pool) == 1


def test_no_thread_to_be_had(gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What came while the system gave no thread, at once or after a cooldown, runs once it is delivered again."""

    def refuses(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gate.open.set()
    late = delivery(9, not_before=START + dt.timedelta(seconds=5))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        for _ in range(5):
            gate.runner.deliver(delivery(0))
        gate.runner.deliver(late)
    assert "1 works wait: can't start new thread" in caplog.text
    assert gate.begun == []
    gate.runner.deliver(delivery(0))
    wait_until(lambda: gate.ended == ["t#0"])
    gate.runner.deliver(late)
    gate.clock_now = START + dt.timedelta(seconds=6)
    wait_until(lambda: gate.ended == ["t#0", "t#9"])


def test_what_is_queued_is_not_queued_twice(gate: Gate) -> None:
    """A delivery that waits swallows its repetition; equally named sessions of other stores are others."""
    with bench() as first, bench() as second:
        stores = [made.manager().storage for made in (first, second)]
        for number in range(3):
            gate.runner.deliver(delivery(number))
        wait_until(lambda: len(gate.begun) == 3)
        for _ in range(3):
            gate.runner.deliver(delivery(3))
            gate.runner.deliver(delivery(3, uid="other"))
            for storage in stores:
                gate.runner.deliver(delivery(3, storage=storage))
        gate.open.set()
        assert gate.runner.join_all(60)
    assert gate.begun[3:] == ["t#3"] * 4


def test_a_delivery_that_cannot_be_performed(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the thread goes on."""
    gate.open.set()
    gate.runner.deliver(delivery(0, run="raises"))
    assert gate.runner.join_all(60)
    gate.runner.deliver(delivery(1))
    assert gate.runner.join_all(60)
    assert gate.ended == ["t#0", "t#1"]
    assert "t#0 of session 's' could not be performed" in caplog.text


def test_cooldowns(gate: Gate) -> None:
    """A delivery with a time waits for it by the clock of the process, in order of time; ``join_all`` need not wait for it."""
    gate.open.set()
    later = [(2, 20), (0, 10), (1, 10)]
    for number, seconds in later:
        gate.runner.deliver(delivery(number, not_before=START + dt.timedelta(seconds=seconds)))
    assert gate.runner.join_all(60)
    assert gate.runner.join_all(0.05, delayed=True) is False
    assert gate.begun == []
    gate.clock_now = START + dt.timedelta(seconds=15)
    wait_until(lambda: len(gate.ended) == 2)
    assert sorted(gate.ended) == ["t#0", "t#1"]
    gate.clock_now = START + dt.timedelta(seconds=20)
    assert gate.runner.join_all(60, delayed=True)
    assert gate.ended[2] == "t#2"


def test_closing_drops_what_has_not_started(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """Running works are waited for; the others stay in the storage; later deliveries are not taken."""
    for number in range(5):
        gate.runner.deliver(delivery(number))
    gate.runner.deliver(delivery(5, not_before=START + dt.timedelta(seconds=1)))
    wait_until(lambda: len(gate.begun) == 3)
    closing = threading.Thread(target=gate.runner.close)
    closing.start()
    wait_until(lambda: gate.runner._closed)
    time.sleep(0.05)
    assert closing.is_alive(), "it does not wait for what runs"
    gate.open.set()
    closing.join(60)
    assert sorted(gate.ended) == ["t#0", "t#1", "t#2"]
    gate.runner.deliver(delivery(6))
    assert gate.runner.join_all(60, delayed=True)
    assert sorted(gate.begun) == ["t#0", "t#1", "t#2"]


def test_closing_has_a_limit(gate: Gate, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``shutdown_timeout`` it gives up waiting, and says so."""
    monkeypatch.setenv("TRIGGERS_SHUTDOWN_TIMEOUT", "0.05")
    from triggers.settings import reset

    reset()
    gate.runner.deliver(delivery(0))
    wait_until(lambda: len(gate.begun) == 1)
    gate.runner.close()
    assert "1 works are still running" in caplog.text
    gate.open.set()
    monkeypatch.undo()
    reset()


def test_ctrl_c_in_a_fire_does_not_lock_the_runner(gate: Gate) -> None:
    """However unlucky its moment: a lock that stays behind would hold up the end of the process."""

    def interrupts(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != "__enter__" or frame.f_locals["self"] is not gate.runner._changed:
            return None
        if event == "return":
            raise KeyboardInterrupt
        return interrupts

    gate.open.set()
    before = sys.gettrace()
    sys.settrace(interrupts)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            gate.runner.deliver(delivery())
    finally:
        sys.settrace(before)
    others = threading.Thread(target=gate.runner.join_all, args=(60,), daemon=True)
    others.start()
    others.join(60)
    assert not others.is_alive(), "the runner is locked"


def test_after_a_fork_it_starts_anew(made: Bench) -> None:
    """The parent's queue and threads are the parent's; in the child its own pool runs what the child fires."""
    begun, go_on = threading.Event(), threading.Event()

    def works(context: TaskContext) -> None:
        if context.manager.uid == "parent":
            begun.set()
            go_on.wait(60)

    made.work(works)
    managers = [made.manager(uid) for uid in ("parent", "child")]
    for manager in managers:
        manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
    for _ in range(3):
        managers[0].fire("a")
    assert begun.wait(60)

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def child() -> None:
        managers[1].fire("a")
        joined = made.process.runners.get("threading").join_all(60)
        there.send((joined, [str(one.status) for one in managers[1].storage]))

    process = context.Process(target=child)
    process.start()
    assert here.poll(60), "the child hangs"
    assert here.recv() == (True, ["finished"])
    process.join(60)
    go_on.set()
    assert made.process.runners.get("threading").join_all(60)
    assert [str(one.status) for one in managers[0].storage] == ["finished"] * 3
    assert len(managers[1].storage) == 0, "the child's memory is its own"


def test_after_a_fork_nobody_waits_for_a_retired_runner(made: Bench) -> None:
    """A runner that new settings replaced still runs in the parent; the child has nothing of it to wait for."""
    begun, go_on = threading.Event(), threading.Event()

    def works(context: TaskContext) -> None:
        begun.set()
        go_on.wait(60)

    made.work(works)
    manager = made.manager()
    manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
    manager.fire("a")
    assert begun.wait(60)
    runners = made.process.runners
    runners._made_with["threading"] = "other options"
    runners.forget_changed()
    assert len(runners.opened()) == 1, "the parent still waits for it"

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send([runner.join_all(0.1) for runner in runners.opened()]))
    process.start()
    assert here.poll(60), "the child hangs"
    assert all(here.recv())
    process.join(60)
    go_on.set()
    assert all(runner.join_all(60) for runner in runners.opened())


PROGRAM = """
import logging, sys, threading, time
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
import triggers
from triggers import task
options = {{"url": "sqlite:///{path}", "synchronous": "OFF"}}
triggers.configure(storage="sql", storages={{"sql": options}}, runner="threading", threads=1, shutdown_timeout={timeout})
begun, closing = threading.Event(), threading.Event()

class Closing(logging.Handler):
    def emit(self, record):
        if "running works, at most" in record.msg:
            closing.set()

logging.getLogger().addHandler(Closing())

@task("slow")
def slow(context):
    print("begins", context.task_instance.name, flush=True)
    begun.set()
    {work}
    print("ends", context.task_instance.name, flush=True)
    return {{"r": 1}}

{more}
if __name__ == "__main__":
    manager = triggers.get_manager("s")
    manager.update_configuration({{"t": {{"andEvery": "a", "run": "slow"}}, "u": {{"after": ["t"], "run": "slow"}}}})
    manager.fire("a")
    manager.fire("a")
    begun.wait(60)
    print("fired", flush=True)
    {ending}
"""


UNTIL_CLOSING = "closing.wait(60); time.sleep(0.3)"
"""A work that goes on until it is waited for, and a little longer."""


def run_program(
    tmp_path: Path, *, ending: str, work: str = UNTIL_CLOSING, timeout: float = 50.0, more: str = ""
) -> subprocess.Popen[str]:
    """An application that ends while a work runs and another one waits."""
    script = tmp_path / "application.py"
    program = PROGRAM.format(path=tmp_path / "s.db", work=work, ending=ending, timeout=timeout, more=more)
    script.write_text(program)
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stored(tmp_path: Path) -> dict[str, str]:
    """What the application left in its storage."""
    from triggers_sql.backend import SqlStorageBackend
    from triggers_sql.store import SqlStore

    store = SqlStore(url=f"sqlite:///{tmp_path / 's.db'}")
    try:
        return {one.name: str(one.status) for one in SqlStorageBackend("s", store=store)}
    finally:
        store.close()


def test_the_end_of_the_interpreter_waits_for_running_work(tmp_path: Path) -> None:
    """What runs is finished, with its cascade; what has not started stays scheduled in the storage."""
    process = run_program(tmp_path, ending="pass")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "ends t#0" in output
    assert "begins t#1" not in output
    assert "waiting for 1 running works" in output
    assert stored(tmp_path) == {"t#0": "finished", "t#1": "scheduled", "u#0": "scheduled"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_end_of_a_child_of_multiprocessing_waits_too(tmp_path: Path, method: str) -> None:
    """Such a process ends without what is registered at exit; what runs is finished all the same."""
    ending = f"""
    import multiprocessing
    triggers.join_all()
    child = multiprocessing.get_context({method!r}).Process(target=in_child)
    child.start()
    child.join()
"""
    script = """
def in_child():
    begun.clear()
    triggers.get_manager("s").fire("a")
    begun.wait(60)

"""
    process = run_program(tmp_path, work="time.sleep(0.7)", ending=ending, more=script)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert stored(tmp_path) == {"t#0": "finished", "t#1": "finished", "t#2": "finished", "u#0": "finished"}, output


def test_the_end_does_not_wait_for_ever(tmp_path: Path) -> None:
    """After ``shutdown_timeout`` the process ends; its work is recovered by whoever sweeps."""
    process = run_program(tmp_path, work="time.sleep(100)", ending="pass", timeout=0.2)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "are still running; the sweep of another process will recover them" in output
    assert stored(tmp_path) == {"t#0": "running", "t#1": "scheduled"}


def test_ctrl_c_ends_the_application_and_not_the_work(tmp_path: Path) -> None:
    """Ctrl-C in the main thread: the running work is finished first. A second one ends the waiting."""
    for interrupts, expected in ((1, "finished"), (2, "running")):
        folder = tmp_path / str(interrupts)
        folder.mkdir()
        process = run_program(folder, work=UNTIL_CLOSING if interrupts == 1 else "time.sleep(100)", ending="time.sleep(60)")
        assert process.stdout is not None
        output = ""
        for awaited in ("fired", "waiting for 1 running works")[:interrupts]:
            for line in process.stdout:
                output += line
                if awaited in line:
                    break
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        output += process.communicate(timeout=60)[0]
        assert "KeyboardInterrupt" in output
        assert ("interrupted after" in output) == (interrupts == 2), output
        found = stored(folder)
        assert found["t#0"] == expected
        assert found["t#1"] == "scheduled"


def test_a_pool_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size comes from the options of the runner, or from the setting ``threads``."""
    from triggers.settings import configure, reset

    configure(threads=5)
    try:
        assert ThreadingTaskRunner(lambda one: None, now).threads == 5
        assert ThreadingTaskRunner(lambda one: None, now, threads=2).threads == 2
    finally:
        reset()


@pytest.mark.parametrize(
    "key, options, problem",
    [
        ("threading", {"thread": 3}, "there is no option 'thread', did you mean 'threads'?"),
        ("threading", {"threads": 0}, "option 'threads' of the threading runner is a whole number from 1, got 0"),
        ("inline", {"password": "hidden"}, "there is no option 'password', known are none"),
    ],
)
def test_wrong_options_of_a_runner(key: str, options: dict[str, Any], problem: str) -> None:
    """Are refused by name, with a suggestion and without passwords."""
    runners = Runners(lambda one: None, now, lambda: Settings(runners={key: options}))
    with pytest.raises(SettingsError) as caught:
        runners.get(key)
    assert problem in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_messages() -> None:
    """What travels to another process, and comes back."""
    one = delivery(3, using={"runner": "x", "queue": "q"}, uid="a/b")
    again = Delivery.from_message(one.message())
    assert (again.storage_key, again.uid, again.name, again.attempt, again.run) == ("memory", "a/b", "t#3", 1, "w")
    assert one.options == {"queue": "q"}
    assert delivery(using="x").options == {} == delivery().options
    assert again.identifier == one.identifier


def test_identifiers_tell_attempts_apart() -> None:
    """Whatever slashes there are in names."""
    ones = [
        delivery(uid="a/b", name="c#0"),
        delivery(uid="a", name="b/c#0"),
        delivery(uid="a", name="b/c#0", attempt=2),
        delivery(storage_key="memory/a", uid="b", name="c#0"),
    ]
    assert len({one.identifier for one in ones}) == 4


def test_works_on_threads_cascade(made: Bench) -> None:
    """``join_all`` waits for works and all that they schedule."""
    done: list[str] = []

    def works(context: TaskContext) -> None:
        time.sleep(0.01)
        done.append(context.task_instance.task)

    made.work(works)
    manager = made.manager()
    manager.update_configuration(
        {f"t{number}": {"after": [f"t{number - 1}" if number else "a"], "run": "w"} for number in range(5)}
    )
    manager.fire("a")
    assert made.process.runners.get("threading").join_all(60)
    assert done == ["t0", "t1", "t2", "t3", "t4"]


@pytest.fixture
def made() -> Iterator[Bench]:
    """A bench with threads."""
    with bench(runner="threading", runners={"threading": {"threads": 2}}) as found:
        yield found
