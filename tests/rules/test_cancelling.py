"""R35: what is not resolved can be abandoned by an operator, one instance or a whole session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from tests.rules.test_status import in_each_status
from triggers.context import TaskContext
from triggers.errors import IllegalTransition, SessionClosed, StaleAttempt, UnknownInstance
from triggers.store import EVERYTHING


def test_r35_each_unresolved_status_can_be_cancelled(scene: Scene) -> None:
    """Unstarted, scheduled, running and failed become abandoned with the reason; what is resolved is refused and unchanged."""
    manager, names = in_each_status(scene)
    for status, name in names.items():
        if status in ("unstarted", "scheduled", "running", "failed"):
            shown = manager.cancel_instance(name, "no paper")
            assert (str(shown.status), shown.metadata["cancelled"], shown.wake_at) == ("abandoned", "no paper", None)
            assert manager.cancel_instance(name, "again").metadata["cancelled"] == "no paper"
        else:
            before = scene.backend.store.load(manager.uid, EVERYTHING)
            with pytest.raises(IllegalTransition, match=name):
                manager.cancel_instance(name)
            assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    with pytest.raises(UnknownInstance):
        manager.cancel_instance("running#9")


def test_r35_running_work_is_told_and_its_report_refused(scene: Scene) -> None:
    """``context.heartbeat()`` raises, ``context.lost`` is true, nothing of the result is stored and nothing cascades."""
    seen: list[Any] = []

    def works(context: TaskContext) -> dict[str, Any]:
        manager.cancel_instance("t#0", "stop")
        with pytest.raises(StaleAttempt):
            context.heartbeat()
        seen.append(context.lost)
        return {"r": 1}

    scene.works("w", works)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}, "u": {"after": ["t"], "run": "w"}})
    manager.fire("a")
    scene.perform_all()
    assert seen == [True]
    assert statuses(manager) == {"t#0": "abandoned"}
    assert "t" not in manager.storage.latest_kwargs


def test_r35_a_late_delivery_starts_nothing(scene: Scene) -> None:
    """What was delivered before the cancellation is not run after it, and the sweep delivers nothing."""
    scene.records()
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    manager.cancel_instance("t#0")
    scene.perform_all()
    scene.clock.move(10_000)
    if scene.sweeps:
        scene.process.sweep()
    assert (scene.calls, scene.waiting, statuses(manager)) == ([], [], {"t#0": "abandoned"})


def test_r35_a_cancelled_session_takes_nothing(scene: Scene) -> None:
    """All unresolved instances are abandoned in one step; fires, configurations and replays are refused; labels are not."""
    manager, names = in_each_status(scene)
    commits = len({entry.commit for entry in manager.history()})
    done = manager.cancel("bankrupt")
    assert len({entry.commit for entry in manager.history()}) == commits + 1
    assert set(done) >= {names[status] for status in ("unstarted", "scheduled", "running", "failed")}
    assert set(statuses(manager).values()) == {"abandoned", "finished", "skipped", "replayed"}
    assert manager.cancel("again") == ()
    for refused in (
        lambda: manager.fire("a"),
        lambda: manager.update_configuration({"x": {"after": ["a"], "run": "w"}}),
        lambda: manager.replay_failed_instance(names["failed"]),
        lambda: manager.cancel_instance(names["failed"]),
    ):
        with pytest.raises(SessionClosed, match="bankrupt"):
            refused()
    manager.label(why="bankrupt")
    data = manager.storage.metadata
    assert (data["closed"], data["closed_because"], data["unresolved_instances"]) == ("cancelled", "bankrupt", 0)
    assert (data["failed_instances"], data["attributes"]) == (0, {"why": "bankrupt"})


def test_r35_any_reason_can_be_stored(scene: Scene) -> None:
    """A reason that no store would keep as it is does no harm."""
    manager = scene.configured({"t": {"after": ["a", "b"], "run": "w"}})
    manager.fire("a")
    assert manager.cancel_instance("t#0", "nul \0 and \ud800").metadata["cancelled"] == "nul \\0 and ?"
