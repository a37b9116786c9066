"""R32 to R34: what a session remembers of its manager, limits, and hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from triggers.context import TaskContext
from triggers.errors import LimitExceeded
from triggers.hooks import get_hooks, hookimpl
from triggers.instance import TaskInstance
from triggers.manager import TriggerManager
from triggers.managers import trigger_managers
from triggers.store import EVERYTHING

ONE = {"t": {"after": ["a"], "run": "w"}}
CASCADE = {**ONE, "u": {"after": ["t"], "run": "w2"}}

told: list[tuple[Any, ...]] = []


class Telling(TriggerManager):
    """Notes what its hooks are called with."""

    api_version = 1

    def _post_fire(self, trigger_name: str, task_instances: list[TaskInstance]) -> None:
        told.append(("fire", trigger_name, [str(found) for found in task_instances]))

    def _post_replay(self, task_instance: TaskInstance) -> None:
        told.append(("replay", str(task_instance)))

    def _post_skip(self, task_instance: TaskInstance, cascade: bool) -> None:
        told.append(("skip", str(task_instance), cascade))


@pytest.fixture(autouse=True)
def telling() -> Iterator[None]:
    """Registers the manager ``telling``."""
    told.clear()
    trigger_managers.register("telling", Telling)
    yield
    trigger_managers.unregister("telling")


def a_manager(scene: Scene, key: str, uid: str | None = None) -> TriggerManager:
    """A manager of this key, as an application makes it."""
    known = scene.manager(uid)
    return trigger_managers.get(key, known.storage, process=scene.process)


def test_r32_workers_use_the_manager_of_the_last_fire(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A session is served by the manager that last configured or fired it; a change is logged."""
    scene.records("w")
    manager = a_manager(scene, "default")
    manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
    manager.fire("a")
    scene.perform_all()
    assert told == []
    with caplog.at_level(logging.WARNING):
        a_manager(scene, "telling", manager.uid).fire("a")
    assert "was served by the manager 'default' and is from now on by 'telling'" in caplog.text
    assert manager.storage.metadata["manager"] == "telling"
    scene.perform_all()
    assert told == [("fire", "a", ["t#1 (scheduled)"]), ("fire", "t", [])]


def test_r32_a_configuration_counts_as_well(scene: Scene) -> None:
    """Also a configuration that changes nothing else tells which manager serves from now on."""
    manager = a_manager(scene, "default")
    manager.update_configuration(ONE)
    other = a_manager(scene, "telling", manager.uid)
    assert other.update_configuration(ONE) is False
    assert manager.storage.metadata["manager"] == "telling"


def test_r32_what_a_body_fires_changes_no_manager(scene: Scene) -> None:
    """Workers and bodies use the session's manager and do not change it."""
    scene.works("w", lambda context: context.fire("b") and None)
    manager = a_manager(scene, "telling")
    manager.update_configuration(ONE)
    manager.fire("a")
    scene.perform_all()
    assert manager.storage.metadata["manager"] == "telling"
    assert [what[:2] for what in told] == [("fire", "a"), ("fire", "b"), ("fire", "t")]


def test_r33_a_session_has_a_limit(make_scene: Callable[..., Scene]) -> None:
    """The fire that would exceed it is refused, names the cause, and changes nothing."""
    scene = make_scene(max_instances=3)
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for _ in range(3):
        manager.fire("a")
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    with pytest.raises(LimitExceeded, match=r"3 instances.*trigger 'a'"):
        manager.fire("a")
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    manager.fire("b")


def test_r33_an_endless_cascade_ends(make_scene: Callable[..., Scene]) -> None:
    """A circle of cascades ends at the limit: the work that would go on fails, with the cascade's name."""
    scene = make_scene(max_instances=20)
    scene.records("w")
    manager = scene.configured({"ping": {"andEvery": "pong", "run": "w"}, "pong": {"andEvery": "ping", "run": "w"}})
    manager.fire("ping")
    scene.perform_all()
    assert len(scene.calls) == 20
    assert manager.storage.metadata["instances"] == 20
    (failed,) = (found for found in manager.storage if str(found.status) == "failed")
    exception = failed.metadata["exception"]
    assert exception["type"] == "triggers.errors.LimitExceeded"
    assert f"the cascade of {failed.name}" in exception["message"]
    with pytest.raises(LimitExceeded):
        manager.replay_failed_instance(failed.name)
    assert str(manager.storage[failed.name].status) == "failed"


def test_r33_a_retry_past_the_limit_fails(make_scene: Callable[..., Scene]) -> None:
    """A work that retries itself for ever fails at the limit, by its own retry and by the policy of its task."""
    scene = make_scene(max_instances=5)

    def retries(context: TaskContext) -> None:
        context.retry()

    def fails(context: TaskContext) -> None:
        raise ValueError

    scene.works("w", retries)
    scene.works("w2", fails)
    policy = {"times": 100, "jitter": False}
    for task in ({"after": ["a"], "run": "w"}, {"after": ["a"], "run": "w2", "retry": policy}):
        manager = scene.configured({"t": task})
        manager.fire("a")
        scene.perform_all()
        assert list(statuses(manager).values()) == ["replayed"] * 4 + ["failed"]


class Plugin:
    """Notes every hook, and looks at what is stored when it is called."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    @hookimpl
    def triggers_post_fire(self, storage: Any, trigger: str, kwargs: Any, instances: list[TaskInstance]) -> None:
        self.heard.append(("fire", trigger, kwargs, [str(found) for found in instances], _stored(storage)))

    @hookimpl
    def triggers_post_replay(self, storage: Any, instance: TaskInstance, replacement: TaskInstance) -> None:
        self.heard.append(("replay", str(instance), str(replacement), _stored(storage)))

    @hookimpl
    def triggers_post_skip(self, storage: Any, instance: TaskInstance, cascade: bool) -> None:
        self.heard.append(("skip", str(instance), cascade, _stored(storage)))

    @hookimpl
    def triggers_instance_status_changed(self, instance: TaskInstance, before: Any, after: Any) -> None:
        self.heard.append(("status", instance.name, before and str(before), str(after)))


def _stored(storage: Any) -> list[str]:
    return [str(found) for found in storage]


@pytest.fixture
def plugin() -> Iterator[Plugin]:
    """A registered plugin."""
    found = Plugin()
    get_hooks().register(found)
    yield found
    get_hooks().unregister(found)


def test_r34_hooks_are_called_after_the_commit(scene: Scene, plugin: Plugin) -> None:
    """Each hook once, in order, and what it is told of is stored; a retry shows running, failed, replayed."""

    def retries(context: TaskContext) -> Any:
        if context.task_instance.depth == 0:
            context.retry()
        return {"r": 1}

    scene.works("w", retries)
    manager = scene.configured(ONE)
    manager.fire("a", {"n": 1})
    scene.perform_all()
    assert plugin.heard == [
        ("status", "t#0", None, "scheduled"),
        ("fire", "a", {"n": 1}, ["t#0 (scheduled)"], ["t#0 (scheduled)"]),
        ("status", "t#0", "scheduled", "running"),
        ("status", "t#0", "running", "failed"),
        ("status", "t#0", "failed", "replayed"),
        ("status", "t#1", None, "scheduled"),
        ("replay", "t#0 (replayed)", "t#1 (scheduled)", ["t#0 (replayed)", "t#1 (scheduled)"]),
        ("status", "t#1", "scheduled", "running"),
        ("status", "t#1", "running", "finished"),
        ("fire", "t", {"r": 1}, [], ["t#0 (replayed)", "t#1 (finished)"]),
    ]


def test_r34_a_refusal_or_a_duplicate_calls_none(scene: Scene, plugin: Plugin) -> None:
    """What changes nothing is told to nobody."""
    manager = a_manager(scene, "telling")
    manager.update_configuration(ONE)
    manager.fire("a", event_id="e")
    heard, before = list(plugin.heard), list(told)
    manager.fire("a", event_id="e")
    with pytest.raises(RuntimeError):
        manager.skip_failed_instance("t#0")
    assert (plugin.heard, told) == (heard, before)


def test_r34_the_managers_own_hooks(scene: Scene) -> None:
    """``_post_fire``, ``_post_replay`` and ``_post_skip`` of a subclass, for what the application does and what workers do."""

    def fails(context: TaskContext) -> None:
        if context.task_instance.task == "t":
            raise ValueError

    scene.works("w", fails)
    scene.works("w2", fails)
    manager = a_manager(scene, "telling")
    manager.update_configuration(CASCADE)
    manager.fire("a")
    scene.perform_all()
    manager.replay_failed_instance("t#0")
    scene.perform_all()
    manager.skip_failed_instance("t#1", cascade=True)
    scene.perform_all()
    assert told == [
        ("fire", "a", ["t#0 (scheduled)"]),
        ("replay", "t#1 (scheduled)"),
        ("skip", "t#1 (skipped)", True),
        ("fire", "t", ["u#0 (scheduled)"]),
        ("fire", "u", []),
    ]


def test_r34_what_post_fire_raises_reaches_the_caller_last(scene: Scene, plugin: Plugin) -> None:
    """After the commit, the runner and the hooks: nothing is undone, and the next fire works."""

    class Raises(TriggerManager):
        def _post_fire(self, trigger_name: str, task_instances: list[TaskInstance]) -> None:
            raise RuntimeError("the application's own")

    manager = scene.manager(kind=Raises)
    manager.update_configuration(ONE)
    with pytest.raises(RuntimeError, match="the application's own"):
        manager.fire("a")
    assert statuses(manager) == {"t#0": "scheduled"}
    assert scene.waiting == ["t#0"]
    assert [what[0] for what in plugin.heard] == ["status", "fire"]


def test_r34_a_plugin_that_raises_stops_nobody(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """What a plugin raises is logged; the others are called, and the runner hears of the work."""

    class Raises:
        @hookimpl(tryfirst=True)
        def triggers_post_fire(self) -> None:
            raise RuntimeError("a plugin's own")

    first, second = Raises(), Plugin()
    get_hooks().register(first)
    get_hooks().register(second)
    try:
        manager = scene.configured(ONE)
        assert manager.fire("a").scheduled == ("t#0",)
    finally:
        get_hooks().unregister(first)
        get_hooks().unregister(second)
    assert [what[0] for what in second.heard] == ["status", "fire"]
    assert scene.waiting == ["t#0"]
    assert "a plugin's own" in caplog.text


def test_deleting_a_session_removes_all_of_it(scene: Scene) -> None:
    """After a deletion nothing is left, and a session of the same name begins anew (R31)."""
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for number in range(5):
        manager.fire("a", {"n": number}, event_id=f"e{number}")
    assert manager.storage.delete() is True
    assert scene.backend.store.load(manager.uid, EVERYTHING) == ("", {}, True)
    assert manager.storage.delete() is False
    manager.fire("a")
    assert statuses(manager) == {}
    manager.update_configuration({"t": {"andEvery": "a", "run": "w"}})
    assert manager.fire("a").created == ("t#0",)
