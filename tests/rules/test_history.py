"""The history: what each commit did, written with it, as far back as the setting says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.rules.scene import Scene
from tests.rules.test_status import Watched
from triggers.context import TaskContext
from triggers.finalizing import FinalizingTriggerManager
from triggers.history import HistoryEntry
from triggers.manager import TriggerManager


def facts(manager: TriggerManager, since: int = 0) -> list[tuple[str, str, str]]:
    """The history without times."""
    return [(one.kind, one.subject, one.detail) for one in manager.history() if one.commit >= since]


def test_each_kind_of_entry(make_scene: Callable[..., Scene]) -> None:
    """Configurations, fires with event id or cause, status changes, replays, skips, cancellations, managers, the finalizing."""
    scene = make_scene()
    fails = [True, True]

    def works(context: TaskContext) -> None:
        if context.task_instance.task == "t" and fails and fails.pop():
            raise ValueError

    scene.works("w", works)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}, "u": {"after": ["t", "b"], "run": "w"}})
    manager.fire("a", event_id="form-7")
    scene.perform_all()
    manager.replay_failed_instance("t#0")
    scene.perform_all()
    manager.skip_failed_instance("t#1", cascade=True)
    scene.manager(manager.uid, kind=FinalizingTriggerManager).fire("z")
    manager.cancel_instance("u#0", "no")
    manager.cancel("over")
    assert facts(manager) == [
        ("configured", "serial 1", "t, u"),
        ("status", "t#0", "new → scheduled"),
        ("fired", "a", "form-7"),
        ("status", "t#0", "scheduled → running"),
        ("status", "t#0", "running → failed"),
        ("status", "t#0", "failed → replayed"),
        ("status", "t#1", "new → scheduled"),
        ("replayed", "t#0", "t#1"),
        ("status", "t#1", "scheduled → running"),
        ("status", "t#1", "running → failed"),
        ("status", "t#1", "failed → skipped"),
        ("skipped", "t#1", "with a cascade"),
        ("status", "u#0", "new → unstarted"),
        ("fired", "t", "t#1"),
        ("manager", "finalizing", "instead of default"),
        ("fired", "z", ""),
        ("status", "u#0", "unstarted → abandoned"),
        ("cancelled", "u#0", "no"),
        ("fired", "sessionFinalized", "the session's finalizing"),
        ("finalized", "session", ""),
        ("cancelled", "session", "over"),
    ]


def test_deliveries_and_lost_leases(scene: Scene) -> None:
    """A repeated delivery and a lost attempt are noted by the sweep that found them."""
    if not scene.sweeps:
        return
    scene.works("w", lambda context: (_ for _ in ()).throw(KeyboardInterrupt))
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    scene.runner.waiting.clear()
    scene.clock.move(61)
    scene.process.sweep()
    assert facts(manager)[-2:] == [
        ("delivered", "t#0", "attempt 1, again"),
        ("recovered", "t#0", "attempt 1: not started in time"),
    ]
    manager.update_instance_status("t#0", "running")
    scene.clock.move(61)
    scene.process.sweep()
    assert facts(manager)[-2:] == [("status", "t#0", "running → scheduled"), ("recovered", "t#0", "attempt 1: lost")]


def test_it_is_written_in_the_same_commit(scene: Scene) -> None:
    """After the commit of a fire, before anything else, the fire is in the history with its time."""
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    seen: list[HistoryEntry] = []
    scene.clock.move(5)
    store = Watched(scene.backend.store, lambda: seen.extend(manager.history()[-2:]))
    process = scene.another_process()
    TriggerManager(scene.backend.storage_class(manager.uid, store=store), process=process).fire("a")
    process.close()
    assert [(one.commit, one.kind, one.at) for one in seen] == [(1, "status", scene.clock.now), (1, "fired", scene.clock.now)]


def test_the_last_commits_are_kept(make_scene: Callable[..., Scene]) -> None:
    """The setting limits it; 0 keeps none; a smaller or a larger limit later shows the last ones without a gap."""
    scene = make_scene(history=5)
    manager = scene.manager()
    expected: list[str] = []

    def fires(count: int) -> None:
        for _ in range(count):
            expected.append(f"x{len(expected)}")
            manager.fire(expected[-1])

    def subjects() -> list[Any]:
        return [one.subject for one in manager.history()]

    fires(12)
    assert subjects() == expected[-5:]
    for limit, count in ((2, 3), (7, 4), (3, 5), (100, 2)):
        scene.change_settings(history=limit)
        fires(count)
        found = subjects()
        assert found == expected[-len(found) :], (limit, found)
        assert len(found) >= min(limit, count)
    scene.change_settings(history=0)
    none = scene.manager()
    none.fire("a")
    assert none.history() == []


def test_each_instance_knows_its_causes(scene: Scene) -> None:
    """The event id, the instance of a cascade, or the body that fired it."""

    def works(context: TaskContext) -> None:
        if context.task_instance.task == "t":
            context.fire("from_body")

    scene.works("w", works)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}, "u": {"after": ["t", "from_body"], "run": "w"}})
    manager.fire("a", event_id="form-7")
    scene.perform_all()
    assert manager.storage["t#0"].causes == {"a": "form-7"}
    causes = manager.storage["u#0"].causes
    assert causes["t"] == "t#0"
    assert causes["from_body"].startswith("t#0")
