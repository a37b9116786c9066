"""R29: a session whose every task is resolved fires ``sessionFinalized``, once, in the step that resolved the last one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from tests.rules.test_status import Watched
from triggers.context import TaskContext
from triggers.finalizing import FinalizingTriggerManager
from triggers.hooks import get_hooks, hookimpl
from triggers.manager import TriggerManager
from triggers.managers import trigger_managers
from triggers.storages.base import BaseTriggerStorage

TWO: dict[str, Any] = {
    "t": {"after": ["a"], "run": "w"},
    "u": {"after": ["b"], "run": "w"},
    "bill": {"after": ["sessionFinalized"], "run": "w"},
    "archive": {"after": ["bill"], "run": "w"},
}


def finalizing(scene: Scene, configuration: dict[str, Any]) -> TriggerManager:
    """A finalizing session with these tasks, whose works succeed."""
    scene.records()
    return scene.configured(configuration, kind=FinalizingTriggerManager)


def finalized(manager: TriggerManager) -> int:
    """How often ``sessionFinalized`` has reached the session's tasks, as the history tells."""
    return [entry.kind for entry in manager.history()].count("finalized")


def test_r29_fires_in_the_commit_that_resolves_the_last_task(scene: Scene) -> None:
    """The session is finalized in the commit of the last report, and not before it."""
    manager = finalizing(scene, TWO)
    manager.fire("a")
    scene.perform_all()
    assert manager.storage.metadata["finalized_at"] is None
    manager.fire("b")
    seen: list[dict[str, str]] = []
    delivery = scene.runner.waiting.popleft()
    store = Watched(scene.backend.store, lambda: seen.append(statuses(manager)))
    scene.runner.perform(delivery._replace(storage=scene.backend.storage_class(manager.uid, store=store)))
    assert seen == [
        {"t#0": "finished", "u#0": "running"},
        {"bill#0": "scheduled", "t#0": "finished", "u#0": "finished"},
    ]
    assert manager.storage.metadata["finalized_at"] == scene.clock.now


def test_r29_tasks_that_wait_for_it_chain_on(scene: Scene) -> None:
    """What waits for ``sessionFinalized``, directly or behind such a task, runs and does not finalize once more."""
    manager = finalizing(scene, TWO)
    manager.fire("a")
    manager.fire("b")
    assert scene.perform_all() == ["t#0", "u#0", "bill#0", "archive#0"]
    assert statuses(manager) == dict.fromkeys(("archive#0", "bill#0", "t#0", "u#0"), "finished")
    assert finalized(manager) == 1


@pytest.mark.parametrize("configuration", [{}, {"bill": TWO["bill"], "archive": TWO["archive"]}], ids=["none", "only waiting"])
def test_r29_without_tasks_never(scene: Scene, configuration: dict[str, Any]) -> None:
    """A session without tasks, or with none but those that wait for it, does not finalize."""
    manager = finalizing(scene, configuration)
    manager.fire("a")
    manager.label(x="y")
    assert manager.storage.metadata["finalized_at"] is None


def test_r29_a_failed_instance_is_not_resolved(scene: Scene) -> None:
    """The session finalizes when the failed instance is skipped, or replayed and finished."""
    for ends in ("skip", "replay", "cancel"):
        works: list[bool] = []

        def fails_once(context: TaskContext, works: list[bool] = works) -> None:
            works.append(True)
            if len(works) == 1:
                raise ValueError

        scene.forget_works()
        scene.works("w", fails_once)
        manager = scene.configured({"t": TWO["t"]}, kind=FinalizingTriggerManager)
        manager.fire("a")
        scene.perform_all()
        assert (statuses(manager), finalized(manager)) == ({"t#0": "failed"}, 0)
        if ends == "skip":
            manager.skip_failed_instance("t#0")
        elif ends == "replay":
            manager.replay_failed_instance("t#0")
            assert finalized(manager) == 0
            scene.perform_all()
        else:
            manager.cancel_instance("t#0")
        assert finalized(manager) == 1, ends


def test_r29_an_abandoned_last_task_finalizes(scene: Scene) -> None:
    """A fire that completes the ``unless`` of the last task finalizes in the same commit."""
    manager = finalizing(scene, {"t": {"after": ["a"], "unless": ["stop"], "run": "w"}, "bill": TWO["bill"]})
    manager.fire("stop")
    assert statuses(manager) == {"bill#0": "scheduled", "t#0": "abandoned"}


def test_r29_an_operator_with_the_default_manager_finalizes_it_too(scene: Scene) -> None:
    """The session's own manager counts, not that of the handle which skips, cancels or reconfigures nothing else."""
    operations: dict[str, Callable[[TriggerManager], Any]] = {
        "skip": lambda some: some.skip_failed_instance("t#0"),
        "cancel": lambda some: some.cancel_instance("t#0"),
        "status": lambda some: some.update_instance_status("t#0", "skipped"),
    }

    def fails(context: TaskContext) -> None:
        raise ValueError

    scene.works("w", fails)
    for name, operation in operations.items():
        manager = scene.configured({"t": TWO["t"]}, kind=FinalizingTriggerManager)
        manager.fire("a")
        scene.perform_all()
        operation(scene.manager(manager.uid))
        assert manager.storage.metadata["manager"] == "finalizing"
        assert finalized(manager) == 1, name


def test_r29_extended_afterwards(scene: Scene) -> None:
    """A task that is added later, and an ``andEvery`` that fires again, run, and do not finalize a second time."""
    manager = finalizing(scene, {"t": {"andEvery": "a", "run": "w"}, "bill": {"andEvery": "sessionFinalized", "run": "w"}})
    manager.fire("a")
    scene.perform_all()
    manager.update_configuration({"more": {"after": ["late"], "run": "w"}})
    manager.fire("a")
    manager.fire("late")
    scene.perform_all()
    assert statuses(manager) == {"bill#0": "finished", "more#0": "finished", "t#0": "finished", "t#1": "finished"}
    assert finalized(manager) == 1


def test_r29_a_task_added_afterwards_that_waits_for_it(scene: Scene) -> None:
    """``sessionFinalized`` is remembered like any trigger: a task that is added with ``evaluate`` runs at once."""
    manager = finalizing(scene, {"t": TWO["t"]})
    manager.fire("a")
    scene.perform_all()
    manager.update_configuration({"bill": TWO["bill"]}, evaluate=True)
    assert statuses(manager)["bill#0"] == "scheduled"


def test_r29_a_failed_task_behind_it_is_replayed(scene: Scene) -> None:
    """A replay of what waits for ``sessionFinalized`` fires nothing once more."""
    fails = [True]

    def works(context: TaskContext) -> None:
        if context.task_instance.task == "bill" and fails.pop():
            raise ValueError

    scene.works("w", works)
    manager = scene.configured({"t": TWO["t"], "bill": TWO["bill"]}, kind=FinalizingTriggerManager)
    manager.fire("a")
    scene.perform_all()
    assert statuses(manager) == {"bill#0": "failed", "t#0": "finished"}
    fails.append(False)
    manager.replay_failed_instance("bill#0")
    scene.perform_all()
    assert statuses(manager) == {"bill#0": "replayed", "bill#1": "finished", "t#0": "finished"}
    assert finalized(manager) == 1


def test_r29_removing_the_last_unresolved_task(scene: Scene) -> None:
    """A configuration without the task that was still missing finalizes the session."""
    manager = finalizing(scene, TWO)
    manager.fire("a")
    scene.perform_all()
    manager.update_configuration({"u": None})
    assert finalized(manager) == 1
    assert scene.perform_all() == ["bill#0", "archive#0"]


def test_r29_a_cancelled_session_does_not_finalize(scene: Scene) -> None:
    """Cancelling resolves every instance, but the session is over, not done."""
    manager = finalizing(scene, {"t": {"after": ["a", "b"], "run": "w"}})
    manager.fire("a")
    manager.cancel("no more")
    assert (finalized(manager), manager.storage.metadata["finalized_at"]) == (0, None)


def test_r29_the_setting_serves_every_manager(make_scene: Callable[..., Scene]) -> None:
    """``finalize=True`` finalizes sessions of the default manager; without it they do not."""
    for wanted in (False, True):
        scene = make_scene(finalize=wanted)
        scene.records()
        manager = scene.configured({"t": TWO["t"]})
        manager.fire("a")
        scene.perform_all()
        assert finalized(manager) == int(wanted)
        scene.forget_works()


def test_r29_a_worker_elsewhere_uses_the_remembered_manager(scene: Scene) -> None:
    """A process that only performs a delivery, without the setting, finalizes the session, and calls its manager's hooks."""
    manager = finalizing(scene, {"t": TWO["t"], "bill": TWO["bill"]})
    manager.fire("a")
    delivery = scene.runner.waiting.popleft()
    other = scene.another_process()
    other.runners.get("held").perform(delivery)
    assert statuses(manager) == {"bill#0": "scheduled", "t#0": "finished"}
    assert finalized(manager) == 1
    other.close()


def test_r29_two_last_tasks_end_at_once(make_scene: Callable[..., Scene]) -> None:
    """Two threads of two processes that resolve the last two tasks at the same moment finalize once; each time."""
    scene = make_scene()
    meet = threading.Barrier(2, timeout=60)

    def meets(context: TaskContext) -> None:
        meet.wait()

    scene.works("w", meets)
    for _ in range(5):
        manager = scene.configured(
            {"t": TWO["t"], "u": TWO["u"], "bill": {"andEvery": "sessionFinalized", "run": "x"}}, kind=FinalizingTriggerManager
        )
        manager.fire("a")
        manager.fire("b")
        other = scene.another_process()
        runners = [scene.runner, other.runners.get("held")]
        threads = [
            threading.Thread(target=runner.perform, args=(delivery,))
            for runner, delivery in zip(runners, list(scene.runner.waiting), strict=True)
        ]
        scene.runner.waiting.clear()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert statuses(manager) == {"bill#0": "scheduled", "t#0": "finished", "u#0": "finished"}
        assert finalized(manager) == 1
        scene.runner.waiting.clear()
        other.close()


def test_r29_the_hook_tells_once(scene: Scene) -> None:
    """``triggers_session_finalized`` is called once, after the commit."""
    told: list[tuple[str, bool]] = []

    class Plugin:
        @hookimpl
        def triggers_session_finalized(self, storage: BaseTriggerStorage) -> None:
            told.append((storage.uid, storage.metadata["finalized_at"] is not None))

    manager = finalizing(scene, {"t": TWO["t"]})
    plugin = Plugin()
    get_hooks().register(plugin)
    try:
        manager.fire("a")
        scene.perform_all()
        manager.fire("a")
    finally:
        get_hooks().unregister(plugin)
    assert told == [(manager.uid, True)]


def test_r29_the_registry_has_it(scene: Scene) -> None:
    """``trigger_managers.get("finalizing", storage)`` is the manager that finalizes."""
    scene.records()
    storage = scene.manager().storage
    manager = trigger_managers.get("finalizing", storage, process=scene.process)
    manager.update_configuration({"t": TWO["t"]})
    manager.fire("a")
    scene.perform_all()
    assert finalized(manager) == 1
