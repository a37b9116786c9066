"""How long sessions are kept: the sweep deletes what is finalized or idle for long enough, and nothing that is touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rules.scene import Scene
from triggers.finalizing import FinalizingTriggerManager
from triggers.manager import TriggerManager
from triggers.relations import forward
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Capability, Change, Snapshot, Store, Want

DAY = 86_400.0
ONE = {"t": {"after": ["a"], "run": "w"}}


@pytest.fixture
def swept(make_scene: Callable[..., Scene]) -> Callable[..., Scene]:
    """Makes scenes on stores that can be swept; the others cannot keep the promise and declare so."""

    def make(**settings: float | bool) -> Scene:
        scene = make_scene(**settings)
        if not scene.sweeps:
            assert Capability.DUE not in scene.backend.store.capabilities
            pytest.skip("this store lists nothing that is due, so nothing is swept")
        scene.records()
        return scene

    return make


def finalized(scene: Scene) -> TriggerManager:
    """A session that has just finalized."""
    manager = scene.configured(ONE, kind=FinalizingTriggerManager)
    manager.fire("a")
    scene.perform_all()
    assert manager.storage.metadata["finalized_at"] is not None
    return manager


def there(scene: Scene, manager: TriggerManager, seconds: float) -> bool:
    """Whether the session is there after so much time and a sweep."""
    scene.clock.move(seconds)
    scene.process.sweep()
    scene.runner.waiting.clear()
    return manager.storage.exists()


def test_without_the_settings_for_ever(swept: Callable[..., Scene]) -> None:
    """Nothing is deleted unless a setting says so."""
    scene = swept()
    assert there(scene, finalized(scene), 1000 * DAY)


def test_finalized_and_untouched(swept: Callable[..., Scene]) -> None:
    """``keep_finalized`` counts from the last touch; a session that is not finalized stays."""
    scene = swept(keep_finalized=DAY)
    manager, other = finalized(scene), scene.configured(ONE)
    assert there(scene, manager, DAY - 1)
    manager.label(x="y")
    assert there(scene, manager, DAY - 1)
    assert not there(scene, manager, 1)
    assert there(scene, other, 10 * DAY)


def test_idle(swept: Callable[..., Scene]) -> None:
    """``keep_idle`` deletes what nothing happened to, a task that waits for its first trigger included."""
    scene = swept(keep_idle=DAY)
    manager = scene.configured(ONE)
    assert there(scene, manager, DAY - 1)
    manager.fire("else")
    assert there(scene, manager, DAY - 1)
    assert not there(scene, manager, 1)


def test_unresolved_work_stays(swept: Callable[..., Scene]) -> None:
    """A session with an unresolved instance stays, unless ``delete_unresolved`` says otherwise."""
    for delete in (False, True):
        scene = swept(keep_idle=DAY, delete_unresolved=delete)
        manager = scene.configured({"t": {"after": ["a", "b"], "run": "w"}})
        manager.fire("a")
        assert there(scene, manager, DAY) is not delete
        scene.forget_works()


def test_a_cancelled_session_goes_too(swept: Callable[..., Scene]) -> None:
    """Cancelled is no reason to stay for ever."""
    scene = swept(keep_idle=DAY)
    manager = scene.configured(ONE)
    manager.cancel()
    assert there(scene, manager, DAY - 1)
    assert not there(scene, manager, 1)


class Touched(Store):
    """Another process touches the session right before the deletion."""

    api_version = 1

    def __init__(self, inner: Store, touch: Callable[[], object]) -> None:
        super().__init__()
        self.inner, self.touch = inner, touch
        self.capabilities = inner.capabilities

    def load(self, uid: str, want: Want) -> Snapshot:
        """Handed on."""
        return self.inner.load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Handed on."""
        self.inner.commit(uid, change, expected, want)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Touched first."""
        self.touch()
        return self.inner.delete(uid, expected)


def test_a_session_that_is_touched_at_that_moment_stays(swept: Callable[..., Scene]) -> None:
    """A fire between the decision to delete and the deletion is not lost."""
    from triggers.sweeping import Quiet, _wake

    scene = swept(keep_idle=DAY)
    manager = scene.configured(ONE)
    scene.clock.move(DAY)
    other = scene.another_process()
    late = scene.manager(manager.uid, process=other)
    store = Touched(scene.backend.store, lambda: late.fire("a"))
    handle: BaseTriggerStorage = scene.backend.storage_class(manager.uid, store=store)
    assert _wake(scene.process, handle, [("session", "head")], Quiet(set(), set())) == 0
    assert [str(one) for one in manager.storage] == ["t#0 (scheduled)"]
    other.close()


@pytest.mark.parametrize("delete_unresolved", [False, True])
def test_a_child_whose_parent_has_not_heard_all_stays(swept: Callable[..., Scene], delete_unresolved: bool) -> None:
    """``sessionFinalized`` that could not be delivered is not deleted with its session; it is delivered, then deleted."""
    scene = swept(keep_finalized=DAY, delete_unresolved=delete_unresolved)
    father, child = scene.configured(ONE), scene.configured(ONE, kind=FinalizingTriggerManager)
    child.join(father.uid, alias="child")
    scene.process.forward = lambda storage: 0  # type: ignore[method-assign]
    child.fire("a")
    scene.perform_all()
    assert there(scene, child, DAY)
    del scene.process.forward
    forward(scene.process, child.storage)
    assert "child.sessionFinalized" in father.storage.latest_kwargs
    assert not there(scene, child, DAY)


def test_a_parent_that_some_children_have_reached_stays(swept: Callable[..., Scene]) -> None:
    """A ``*.trigger`` that some children have fired is work under way, as an instance that lacks a trigger is."""
    scene = swept(keep_idle=DAY)
    parent = scene.configured({"all": {"after": ["*.done"], "run": "w"}})
    children = [scene.manager(), scene.configured({"t": {"after": ["born", "done"], "run": "w"}})]
    for number, child in enumerate(children):
        child.fire("born")
        child.join(parent.uid, alias=f"c{number}")
    children[0].fire("done")
    parent.children_complete()
    assert there(scene, parent, 2 * DAY)
    children[1].fire("done")
    assert parent.storage["all#0"].kwargs == {"*.done": {"c0": {}, "c1": {}}}
    scene.perform_all()
    assert not there(scene, parent, 2 * DAY)


@pytest.mark.parametrize("end", ["cancel", "delete_unresolved", "nobody"])
def test_a_parent_that_waits_for_nothing_any_more_goes(swept: Callable[..., Scene], end: str) -> None:
    """It was cancelled, it is allowed, or no child has fired anything yet."""
    scene = swept(keep_idle=DAY, delete_unresolved=end == "delete_unresolved")
    parent = scene.configured({"all": {"after": ["*.done"], "run": "w"}})
    child, other = scene.manager(), scene.manager()
    for alias, one in (("c", child), ("d", other)):
        one.fire("born")
        one.join(parent.uid, alias=alias)
    parent.children_complete()
    if end != "nobody":
        child.fire("done")
    if end == "cancel":
        parent.cancel("no more")
    assert not there(scene, parent, 2 * DAY)
