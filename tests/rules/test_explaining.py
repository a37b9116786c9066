"""``explain``: what it says is missing is exactly what makes the task run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.model import Model
from tests.rules.scene import START, Scene, instance
from tests.rules.session_of_records import Kept
from tests.rules.test_random_sessions import Twins
from triggers.context import TaskContext
from triggers.errors import ConfigurationError, UnknownSession
from triggers.explain import SessionExplanation, TaskExplanation, explain
from triggers.storages import BaseTriggerStorage
from triggers.store import Change, Snapshot, Store, Want


class KeptStore(Store):
    """Lets the engine's plain records be read as a store."""

    api_version = 1

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept

    def load(self, uid: str, want: Want) -> Snapshot:
        """Exactly what was wanted."""
        return self.kept.load(want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Nothing is written here."""
        raise NotImplementedError

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Nothing is written here."""
        raise NotImplementedError


class KeptStorage(BaseTriggerStorage):
    """A handle on plain records."""

    api_version = 1
    key = "kept"


def explained(kept: Kept, task: str) -> TaskExplanation:
    """The explanation of one task."""
    found = explain(KeptStorage("s", store=KeptStore(kept)), task, START)
    assert isinstance(found, TaskExplanation)
    return found


def runs(model: Model, task: str) -> int:
    """How many instances of a task were ever scheduled."""
    return len([one for one in model.of(task) if one.status not in ("unstarted", "abandoned")])


def after(model: Model, triggers: list[str]) -> Model:
    """The model after these fires."""
    other = model.copy()
    for trigger in triggers:
        other.fire(trigger, {})
    return other


def check_explained(twins: Twins, task: str, seen: dict[str, int]) -> None:
    """What is named makes the task run, in any order; less than that does not."""
    found = explained(twins.kept, task)
    before = runs(twins.model, task)
    triggers = list(found.missing)
    if triggers:
        seen["missing"] += 1
        for _ in range(2):
            twins.choose.shuffle(triggers)
            assert runs(after(twins.model, triggers), task) > before, f"{found} but {triggers} do not make it run"
            assert runs(after(twins.model, triggers[:-1]), task) == before, f"{found} but {triggers[:-1]} are enough"
    elif found.any_of:
        seen["any_of"] += 1
        for trigger in found.any_of:
            assert runs(after(twins.model, [trigger]), task) > before, f"{found} but {trigger} does not make it run"
    else:
        seen["forbidden" if found.forbidden_by else "done"] += 1
        names = [*Model.needs(twins.model.tasks[task])]
        assert runs(after(twins.model, names), task) == before, f"{found} but {names} make it run"
        assert found.forbidden_by or found.resolved or found.instances
    waiting = [one.name for one in twins.model.of(task) if one.status in ("unstarted", "scheduled", "running", "failed")]
    assert [one.name for one in found.instances] == waiting
    assert str(found)
    assert "waits for  (" not in str(found)


@pytest.mark.parametrize("block", range(4))
def test_what_is_missing_makes_it_run(block: int) -> None:
    """In random sessions with changing configurations, after every step, for every task."""
    seen = {"missing": 0, "any_of": 0, "forbidden": 0, "done": 0}
    for seed in range(block * 40, block * 40 + 40):
        twins = Twins(seed)
        try:
            for number in range(25):
                twins.step(number)
                for task in twins.model.tasks:
                    check_explained(twins, task, seen)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}:\n" + "\n".join(twins.done) + f"\n{twins.model.tasks}\n{error}") from error
    assert min(seen.values()) > 5, seen


def test_the_line_of_each_state(scene: Scene) -> None:
    """A plain line says what an instance waits for, is in, or what to do."""

    def works(context: TaskContext) -> None:
        if context.trigger_kwargs["a"]:
            raise ValueError("no paper")
        lines.append(str(manager.explain("t")))

    lines: list[str] = []
    scene.works("w", works)
    manager = scene.configured({"t": {"after": ["a", "b"], "run": "w"}, "u": {"after": ["z"], "unless": ["b"], "run": "w"}})
    assert str(manager.explain("t")) == "t waits for a, b (0 of 2)"
    manager.fire("a", {})
    assert str(manager.explain("t")) == "t waits for b (1 of 2)"
    manager.fire("b")
    assert str(manager.explain("t")) == (
        "t#0 is scheduled, no worker has started it yet; it is delivered again at 2026-03-01 12:01:00"
    )
    assert manager.explain("t").instances[0].next_at == instance(manager, "t#0").wake_at
    scene.perform_all()
    assert lines == ["t#0 is running since 12:00:00 (attempt 1, trusted until 2026-03-01 12:01:00)"]
    assert str(manager.explain()) == "t is done\nu was abandoned: its unless was complete first"
    every = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for _ in range(2):
        every.fire("a")
    every.cancel("no longer wanted")
    assert str(every.explain("t")) == "t is done; its first instance was abandoned: cancelled, no longer wanted"
    other = scene.configured({"t": {"after": ["a"], "run": "w"}})
    other.fire("a", {"fail": 1})
    scene.perform_all()
    assert str(other.explain()) == "t#0 failed (ValueError: no paper); replay or skip it"
    other.cancel("over")
    assert str(other.explain()) == f"session {other.uid} is cancelled\nt was abandoned: cancelled, over"
    assert other.explain("t").missing == ()


def test_how_a_task_ended(scene: Scene) -> None:
    """Of a task that was replayed the last instance tells: it may have been cancelled or skipped after all."""

    def fails(context: TaskContext) -> None:
        raise ValueError

    scene.works("w", fails)
    ends = {"t#1 cancelled": "t was abandoned: cancelled, no longer wanted", "t#1 skipped": "t was skipped"}
    for end, line in ends.items():
        manager = scene.configured({"t": {"after": ["a"], "run": "w"}, "u": {"after": ["z"], "run": "w"}})
        manager.fire("a")
        scene.perform_all()
        manager.replay_failed_instance("t#0")
        scene.perform_all()
        if end == "t#1 skipped":
            manager.skip_failed_instance("t#1")
        else:
            manager.cancel_instance("t#1", "no longer wanted")
        assert str(manager.explain("t")) == line
        manager.cancel()
        assert str(manager.explain("u")) == "u will not run: its session is cancelled"


def test_what_is_overdue(scene: Scene) -> None:
    """A delivery whose time has come, and a lease that ran out, say so until a sweep that serves them has come."""
    scene.records()
    over = "that is over, and no sweep that can serve it has come since"
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    scene.clock.move(59)
    assert over not in str(manager.explain())
    scene.clock.move(1)
    assert str(manager.explain("t")) == (
        f"t#0 is scheduled, no worker has started it yet; it is delivered again at 2026-03-01 12:01:00; {over}"
    )
    manager.update_instance_status("t#0", "running")
    scene.clock.move(60)
    assert str(manager.explain("t")) == (f"t#0 is running since 12:01:00 (attempt 1, trusted until 2026-03-01 12:02:00); {over}")


def test_what_keeps_a_star(scene: Scene) -> None:
    """How many children have fired it, and whether more may join."""
    father = scene.configured({"t": {"after": ["a", "*.x"], "run": "w"}})
    star = "*.x fires when all children have fired x"
    open_set = "and more may join: children_complete was not called"
    children = []
    for alias in ("flora", "fauna"):
        children.append(scene.manager())
        children[-1].join(father.uid, alias=alias)
    children[0].fire("x")
    assert str(father.explain("t")) == f"t waits for a, *.x (0 of 2)\n{star} (1 of 2), {open_set}"
    father.fire("a")
    father.children_complete()
    assert str(father.explain("t")) == f"t waits for *.x (1 of 2)\n{star} (1 of 2)"
    children[1].fire("x")
    assert str(father.explain("t")).startswith("t#0 is scheduled")


def test_what_came_and_how_often(scene: Scene) -> None:
    """Each trigger that the session knows, with its count and the time of its last fire."""
    manager = scene.configured({"t": {"after": ["a", "b"], "run": "w"}})
    for _ in range(3):
        scene.clock.move(1)
        manager.fire("a")
    found = manager.explain("t").arrived
    assert {name: (one.count, one.last_at) for name, one in found.items()} == {"a": (3, scene.clock.now)}


def test_a_retry_is_told_with_its_time(scene: Scene) -> None:
    """An instance that waits for its cooldown says when it goes on."""
    scene.works("w", lambda context: context.retry(cooldown=90))
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    scene.perform_all()
    assert str(manager.explain("t")) == "t#1 is scheduled for 2026-03-01 12:01:30, after a cooldown"


def test_many_instances_are_counted(scene: Scene) -> None:
    """More than five unresolved instances of a task are counted by status, not listed."""
    manager = scene.configured({"t": {"after": ["z"], "andEvery": "a", "run": "w"}})
    for _ in range(6):
        manager.fire("a")
    assert str(manager.explain("t")) == "t has 6 unresolved instances: 6 unstarted; the first: t#0 waits for z (1 of 2)"


def test_what_is_not_there(scene: Scene) -> None:
    """An unknown session and an unknown task are named, the latter with what was meant."""
    nobody = scene.manager()
    for task in (None, "t"):
        with pytest.raises(UnknownSession, match=nobody.uid):
            nobody.explain(task)
    manager = scene.configured({"t_score": {"after": ["a"], "run": "w"}})
    with pytest.raises(ConfigurationError, match="did you mean 't_score'"):
        manager.explain("t_scor")
    found: Any = manager.explain()
    assert isinstance(found, SessionExplanation)
    assert (found.uid, found.state, [one.task for one in found.tasks]) == (manager.uid, "open", ["t_score"])
