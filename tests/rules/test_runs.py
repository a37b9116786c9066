"""R23 to R28: how an instance is run, and what becomes of work that is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.rules.backends import fresh_uid
from tests.rules.scene import HeldRunner, Scene, statuses
from triggers.context import TaskContext
from triggers.errors import RunnerUnavailable, StaleAttempt
from triggers.hooks import get_hooks, hookimpl
from triggers.manager import TriggerManager
from triggers.runners import BaseTaskRunner, Delivery, task_runners
from triggers.store import EVERYTHING

ONE = {"t": {"after": ["a"], "run": "w"}}


@pytest.fixture
def sweeping(make_scene: Callable[..., Scene]) -> Scene:
    """A scene on a storage that can tell what is due; the others recover only what is touched."""
    scene = make_scene(lease=60.0, redeliver_after=100.0, max_attempts=3)
    if not scene.sweeps:
        pytest.skip("this storage cannot list what is due")
    return scene


def attempts_of(manager: TriggerManager) -> dict[str, tuple[str, int]]:
    """Status and attempt of each instance."""
    return {found.name: (str(found.status), found.attempt) for found in manager.storage}


def test_r23_stored_before_the_runner_hears(scene: Scene) -> None:
    """When a runner hears of an attempt, every reader sees it scheduled, and nothing is locked: others fire meanwhile."""
    seen: list[dict[str, str]] = []

    class Looks(HeldRunner):
        api_version = 1

        def deliver(self, delivery: Delivery) -> None:
            seen.append(statuses(manager))
            for process in (scene.process, scene.another_process()):
                other = scene.manager(manager.uid, process=process)
                firing = threading.Thread(target=other.fire, args=("elsewhere",))
                firing.start()
                firing.join(60)
                assert not firing.is_alive(), "firing waits for a lock while the runner is called"
            super().deliver(delivery)

    task_runners.register("held", Looks)
    manager = scene.configured(ONE)
    manager.fire("a")
    assert seen == [{"t#0": "scheduled"}]
    assert scene.waiting == ["t#0"]


def test_r23_a_runner_that_is_down_does_not_undo_the_fire(scene: Scene) -> None:
    """The fire has succeeded, a hook is told, and the instance stays scheduled with a wake-up."""
    told: list[tuple[str, str]] = []

    class Down(BaseTaskRunner):
        api_version = 1

        def deliver(self, delivery: Delivery) -> None:
            raise RunnerUnavailable("the broker is away")

    class Plugin:
        @hookimpl
        def triggers_dispatch_failed(self, name: str, runner: str) -> None:
            told.append((name, runner))

    task_runners.register("held", Down)
    plugin = Plugin()
    get_hooks().register(plugin)
    try:
        manager = scene.configured(ONE)
        assert manager.fire("a").scheduled == ("t#0",)
    finally:
        get_hooks().unregister(plugin)
    assert told == [("t#0", "held")]
    found = manager.storage["t#0"]
    assert str(found.status) == "scheduled"
    assert found.wake_at is not None


def test_r24_only_the_first_delivery_starts_the_work(scene: Scene) -> None:
    """The same attempt delivered again, while it runs and after it ended, to this process and to another, has no effect."""

    def works(context: TaskContext) -> None:
        scene.calls.append(("w", {}))
        before = scene.backend.store.load(manager.uid, EVERYTHING)
        for process in (scene.process, scene.another_process()):
            process.runners.get("held").perform(delivery)
        assert scene.backend.store.load(manager.uid, EVERYTHING) == before

    scene.works("w", works)
    manager = scene.configured(ONE)
    manager.fire("a")
    delivery = scene.runner.waiting[0]
    scene.perform()
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    for _ in range(3):
        scene.runner.perform(delivery)
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    assert len(scene.calls) == 1
    assert attempts_of(manager) == {"t#0": ("finished", 1)}


def test_r24_many_deliveries_at_once(scene: Scene) -> None:
    """Of deliveries that arrive at the same time in several processes exactly one starts the work."""
    scene.records()
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for _ in range(5):
        manager.fire("a")
    deliveries = list(scene.runner.waiting)
    scene.runner.waiting.clear()
    gate = threading.Barrier(6)
    runners = [scene.another_process().runners.get("held") for _ in range(6)]

    def perform(runner: BaseTaskRunner) -> None:
        gate.wait()
        for delivery in deliveries:
            runner.perform(delivery)

    threads = [threading.Thread(target=perform, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scene.calls) == 5
    assert attempts_of(manager) == {f"t#{number}": ("finished", 1) for number in range(5)}


def test_r24_the_wrong_attempt_does_not_start(scene: Scene) -> None:
    """A delivery of an attempt that is not the current one, or of an instance that never was, ends without effect."""
    scene.records()
    manager = scene.configured(ONE)
    manager.fire("a")
    delivery = scene.runner.waiting.popleft()
    for wrong in (
        delivery._replace(attempt=2),
        delivery._replace(name="t#1"),
        delivery._replace(name="u#0"),
        delivery._replace(storage=scene.backend.session(fresh_uid())),
    ):
        scene.runner.perform(wrong)
    assert scene.calls == []
    assert attempts_of(manager) == {"t#0": ("scheduled", 1)}


def lost(scene: Scene, task: dict[str, Any] | None = None) -> TriggerManager:
    """A session whose ``t#0`` was started by a worker that died in the body."""

    def dies(context: TaskContext) -> None:
        raise KeyboardInterrupt

    scene.works("w", dies)
    manager = scene.configured({"t": {"after": ["a"], "run": "w", **(task or {})}})
    manager.fire("a")
    die(scene)
    return manager


def die(scene: Scene) -> None:
    """Performs the next delivery, in which the worker dies."""
    with pytest.raises(KeyboardInterrupt):
        scene.perform()


def test_r25_a_lost_lease_gives_the_next_attempt(sweeping: Scene) -> None:
    """When the lease has run out, the sweep schedules the next attempt; not a moment earlier."""
    manager = lost(sweeping)
    sweeping.clock.move(59)
    assert sweeping.process.sweep() == 0
    sweeping.clock.move(1)
    assert sweeping.process.sweep() == 1
    assert attempts_of(manager) == {"t#0": ("scheduled", 2)}
    sweeping.forget_works()
    sweeping.records()
    delivery = sweeping.perform()
    assert delivery.attempt == 2
    assert attempts_of(manager) == {"t#0": ("finished", 2)}


def test_r25_on_lost_fail(sweeping: Scene) -> None:
    """With ``"onLost": "fail"`` the instance fails with ``WorkerLost`` at once."""
    manager = lost(sweeping, {"onLost": "fail"})
    sweeping.clock.move(60)
    sweeping.process.sweep()
    assert attempts_of(manager) == {"t#0": ("failed", 1)}
    assert manager.storage["t#0"].metadata["exception"]["type"] == "triggers.errors.WorkerLost"
    assert sweeping.waiting == []


def test_r25_the_last_attempt_fails(sweeping: Scene) -> None:
    """When ``max_attempts`` have been started, the instance fails with ``WorkerLost``."""
    manager = lost(sweeping)
    for _ in range(2):
        sweeping.clock.move(60)
        sweeping.process.sweep()
        die(sweeping)
    assert attempts_of(manager) == {"t#0": ("running", 3)}
    sweeping.clock.move(60)
    sweeping.process.sweep()
    assert attempts_of(manager) == {"t#0": ("failed", 3)}


def test_r25_the_report_of_a_superseded_attempt_is_refused(sweeping: Scene) -> None:
    """A worker that comes back after its attempt was superseded changes nothing, before and after the next one ran."""
    refused: list[tuple[str, int]] = []
    outcomes = iter([{"late": 1}, {"second": 2}])

    class Plugin:
        @hookimpl
        def triggers_report_refused(self, name: str, attempt: int, error: Exception) -> None:
            assert isinstance(error, StaleAttempt)
            refused.append((name, attempt))

    def works(context: TaskContext) -> Any:
        result = next(outcomes)
        if context.attempt == 1:
            sweeping.clock.move(60)
            sweeping.process.sweep()
            with pytest.raises(StaleAttempt):
                context.heartbeat()
            assert context.lost
            sweeping.perform()
        return result

    sweeping.works("w", works)
    plugin = Plugin()
    get_hooks().register(plugin)
    try:
        manager = sweeping.configured(ONE)
        manager.fire("a")
        sweeping.perform()
    finally:
        get_hooks().unregister(plugin)
    assert refused == [("t#0", 1)]
    assert attempts_of(manager) == {"t#0": ("finished", 2)}
    assert manager.storage["t#0"].result == {"second": 2}
    assert manager.storage.latest_kwargs["t"] == {"second": 2}


def test_r25_a_late_report_that_nobody_superseded_counts(sweeping: Scene) -> None:
    """A report long after the lease is taken as long as no sweep has given the instance away."""

    def works(context: TaskContext) -> Any:
        sweeping.clock.move(10_000)
        return {"late": 1}

    sweeping.works("w", works)
    manager = sweeping.configured(ONE)
    manager.fire("a")
    sweeping.perform()
    assert attempts_of(manager) == {"t#0": ("finished", 1)}
    assert sweeping.process.sweep() == 0


def test_r25_a_heartbeat_keeps_the_lease(sweeping: Scene) -> None:
    """Work that takes many leases runs once while its worker renews."""

    def works(context: TaskContext) -> None:
        sweeping.calls.append(("w", {}))
        for _ in range(10):
            sweeping.clock.move(50)
            context.heartbeat()
            assert sweeping.process.sweep() == 0
        assert not context.lost

    sweeping.works("w", works)
    manager = sweeping.configured(ONE)
    manager.fire("a")
    sweeping.perform()
    assert attempts_of(manager) == {"t#0": ("finished", 1)}
    assert len(sweeping.calls) == 1


def test_r26_delivered_again_at_growing_intervals(sweeping: Scene) -> None:
    """What no worker has started is delivered again, as the same attempt, ever more seldom."""
    sweeping.records()
    manager = sweeping.configured(ONE)
    manager.fire("a")
    pauses = [sweeping.clock.now]
    for _ in range(4):
        wake_at = manager.storage["t#0"].wake_at
        assert wake_at is not None
        sweeping.clock.now = wake_at
        assert sweeping.process.sweep() == 1
        assert sweeping.process.sweep() == 0
        pauses.append(wake_at)
    assert [(after - before).total_seconds() for before, after in itertools.pairwise(pauses)] == [100, 100, 200, 400]
    assert [(delivery.name, delivery.attempt) for delivery in sweeping.runner.waiting] == [("t#0", 1)] * 5
    sweeping.perform_all()
    assert len(sweeping.calls) == 1
    assert attempts_of(manager) == {"t#0": ("finished", 1)}


def test_r27_many_sweeps_at_once(sweeping: Scene) -> None:
    """Sweeps of several processes at the same time deliver each due instance once."""
    managers = [sweeping.configured(ONE) for _ in range(10)]
    sweeping.records()
    for manager in managers:
        manager.fire("a")
    sweeping.runner.waiting.clear()
    sweeping.clock.move(100)
    processes = [sweeping.another_process() for _ in range(4)]
    for process in processes:
        process.use(managers[0].storage)
    gate = threading.Barrier(4)
    handled: list[int] = []

    def sweep(process: Any) -> None:
        gate.wait()
        handled.append(process.sweep())

    threads = [threading.Thread(target=sweep, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(handled) == 10
    delivered = [delivery.uid for process in processes for delivery in process.runners.get("held").waiting]  # type: ignore[attr-defined]
    assert sorted(delivered) == sorted(manager.uid for manager in managers)


def test_r27_what_cannot_be_served_is_left_and_stops_nothing(sweeping: Scene) -> None:
    """No body, no runner, and a manager's hook that raises: each is left alone, and what comes after is served."""

    class Raises(TriggerManager):
        api_version = 1

        def _post_replay(self, task_instance: Any) -> None:
            raise RuntimeError("a hook of the application")

    from triggers.managers import trigger_managers

    trigger_managers.register("raises", Raises)
    try:
        sweeping.records("w")
        sweeping.works("dies", _dies)
        raising = sweeping.manager(kind=Raises)
        raising.key = "raises"
        retry = {"times": 1, "jitter": False}
        raising.update_configuration({"t": {"after": ["a"], "run": "dies", "onLost": "fail", "retry": retry}})
        raising.fire("a")
        with pytest.raises(KeyboardInterrupt):
            sweeping.perform()
        no_body = sweeping.configured({"t": {"after": ["a"], "run": "no body"}})
        no_runner = sweeping.configured({"t": {"after": ["a"], "run": "w", "using": "no runner"}})
        healthy = [sweeping.configured(ONE) for _ in range(3)]
        for manager in (no_body, no_runner, *healthy):
            manager.fire("a")
        sweeping.runner.waiting.clear()
        sweeping.clock.move(100)
        sweeping.process.sweep()
    finally:
        trigger_managers.unregister("raises")
    assert attempts_of(raising) == {"t#0": ("replayed", 1), "t#1": ("scheduled", 1)}
    assert attempts_of(no_body) == attempts_of(no_runner) == {"t#0": ("scheduled", 1)}
    assert {delivery.uid for delivery in sweeping.runner.waiting} == {raising.uid, *(manager.uid for manager in healthy)}


def _dies(context: TaskContext) -> None:
    raise KeyboardInterrupt


def test_r27_unserved_for_too_long_fails(sweeping: Scene) -> None:
    """An instance for which no process has a body or a runner fails after ``unserved_after``, with a message that says so."""
    manager = sweeping.configured(
        {"t": {"after": ["a"], "run": "no body"}, "u": {"after": ["a"], "run": "w", "using": "no runner"}}
    )
    manager.fire("a")
    sweeping.runner.waiting.clear()
    sweeping.clock.move(86_400)
    sweeping.process.sweep()
    assert attempts_of(manager) == {"t#0": ("scheduled", 1), "u#0": ("scheduled", 1)}
    sweeping.clock.move(1)
    sweeping.process.sweep()
    assert attempts_of(manager) == {"t#0": ("failed", 1), "u#0": ("failed", 1)}
    assert "'no body'" in manager.storage["t#0"].metadata["exception"]["message"]
    assert "no runner" in manager.storage["u#0"].metadata["exception"]["message"]


def test_r27_a_broker_that_is_down_is_tried_once_per_sweep(sweeping: Scene) -> None:
    """However many instances wait, and however long it is down: nothing fails, and all are delivered when it is back."""
    tried: list[str] = []
    away = True

    class Broker(HeldRunner):
        api_version = 1

        def deliver(self, delivery: Delivery) -> None:
            tried.append(delivery.uid)
            if away:
                raise RunnerUnavailable("the broker is away")
            super().deliver(delivery)

    task_runners.register("held", Broker)
    sweeping.records()
    managers = [sweeping.configured(ONE) for _ in range(5)]
    for manager in managers:
        manager.fire("a")
    for _ in range(4):
        tried.clear()
        sweeping.clock.move(86_400)
        sweeping.process.sweep()
        assert len(tried) == 1
    assert [attempts_of(manager) for manager in managers] == [{"t#0": ("scheduled", 1)}] * 5
    away = False
    for _ in range(2):
        sweeping.clock.move(86_400 * 2)
        sweeping.process.sweep()
    sweeping.perform_all()
    assert [attempts_of(manager) for manager in managers] == [{"t#0": ("finished", 1)}] * 5
    assert len(sweeping.calls) == 5


@pytest.mark.parametrize("point", ["before the delivery", "after the claim", "before the report"])
def test_r28_a_process_that_is_killed_loses_nothing(sweeping: Scene, point: str) -> None:
    """Wherever the process ends, after sweeps the work has run to its end and has cascaded once."""

    class Killed(BaseException):
        pass

    deaths = iter([True, False, False])

    def works(context: TaskContext) -> Any:
        sweeping.calls.append(("w", {}))
        if point == "after the claim" and next(deaths):
            raise KeyboardInterrupt
        return {"r": 1}

    sweeping.works("w", works)
    sweeping.records("w2")
    manager = sweeping.configured({**ONE, "u": {"andEvery": "t", "run": "w2"}})
    manager.fire("a")
    if point == "before the delivery":
        sweeping.runner.waiting.clear()
    elif point == "after the claim":
        die(sweeping)
    else:
        process = sweeping.another_process()
        delivery = sweeping.runner.waiting.popleft()
        execute = process.execute

        def killed(*arguments: Any) -> Any:
            raise KeyboardInterrupt

        process.execute = killed  # type: ignore[method-assign,assignment]
        with pytest.raises(KeyboardInterrupt):
            process.runners.get("held").perform(delivery)
        process.execute = execute  # type: ignore[method-assign]
    for _ in range(3):
        sweeping.clock.move(100)
        sweeping.process.sweep()
        sweeping.perform_all()
    attempt = 1 if point == "before the delivery" else 2
    assert attempts_of(manager) == {"t#0": ("finished", attempt), "u#0": ("finished", 1)}
    assert [name for name, _ in sweeping.calls].count("w2") == 1
