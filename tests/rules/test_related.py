"""R30: what fires in a child also fires in its parent, in order, exactly once, whatever dies in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from triggers import records
from triggers.errors import RelationError
from triggers.finalizing import FinalizingTriggerManager
from triggers.instance import TaskInstance
from triggers.manager import TriggerManager
from triggers.managers import trigger_managers
from triggers.relations import forward
from triggers.store import EVERYTHING, Change, Snapshot, Store, Want


class Dies(BaseException):
    """The process dies."""


class Mortal(Store):
    """Hands everything on to another store, counts, and dies after a commit on request."""

    api_version = 1

    def __init__(self, inner: Store) -> None:
        super().__init__()
        self.inner = inner
        self.capabilities = inner.capabilities
        self.max_value_bytes = inner.max_value_bytes
        self.commits_left: int | None = None
        self.loaded = self.commits = self.records_read = 0

    def load(self, uid: str, want: Want) -> Snapshot:
        """Handed on."""
        found = self.inner.load(uid, want)
        self.loaded += 1
        self.records_read += sum(want.covers(collection, key) for collection, entries in found.records.items() for key in entries)
        return found

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Handed on, then the process may die."""
        self.inner.commit(uid, change, expected, want)
        self.commits += 1
        if self.commits_left is not None:
            self.commits_left -= 1
            if self.commits_left <= 0:
                raise Dies

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Handed on."""
        return self.inner.delete(uid, expected)


def fired(manager: TriggerManager) -> list[str]:
    """What fired in a session, in order, once per fire, as its history tells."""
    return [entry.subject for entry in manager.history() if entry.kind == "fired"]


def outbox(scene: Scene, manager: TriggerManager) -> list[str]:
    """The triggers that wait for their delivery."""
    found = scene.backend.store.load(manager.uid, EVERYTHING).records.get("outbox", {})
    return [records.read(records.OUTBOX, key, found[key].value).trigger for key in sorted(found, key=int)]


def family(scene: Scene, *aliases: str, parent: dict[str, Any] | None = None) -> list[TriggerManager]:
    """A parent and its children."""
    scene.records()
    father = scene.manager()
    father.update_configuration(parent or {"t": {"after": ["never"], "run": "w"}})
    children = []
    for alias in aliases:
        children.append(scene.manager())
        children[-1].fire("born")
        children[-1].join(father.uid, alias=alias)
    return [father, *children]


def test_r30_in_the_childs_order(scene: Scene) -> None:
    """The parent hears ``alias.trigger`` with the kwargs, in the order of the child, cascades included; not what was before."""
    father, flora = family(scene, "flora")
    flora.update_configuration({"t": {"after": ["b"], "run": "w"}})
    for trigger in ("a", "b", "a"):
        flora.fire(trigger, {"n": trigger})
    scene.perform_all()
    assert fired(father) == ["flora.a", "flora.b", "flora.a", "flora.t"]
    assert father.storage.latest_kwargs == {"flora.a": {"n": "a"}, "flora.b": {"n": "b"}, "flora.t": {}}
    assert outbox(scene, flora) == []


def test_r30_whichever_child_is_first(scene: Scene) -> None:
    """A task that waits for a trigger of each of two children runs after the second, in either order."""
    for order in ((0, 1), (1, 0)):
        father, *children = family(scene, "flora", "fauna", parent={"t": {"after": ["flora.p3", "fauna.p6"], "run": "w"}})
        pages = ("p3", "p6")
        children[order[0]].fire(pages[order[0]])
        assert statuses(father) == {"t#0": "unstarted"}
        children[order[1]].fire(pages[order[1]])
        assert statuses(father) == {"t#0": "scheduled"}
        scene.runner.waiting.clear()
        scene.forget_works()


def test_r30_a_delivery_that_is_repeated_changes_nothing(scene: Scene) -> None:
    """Many forwards at once, from two processes, deliver each fire once and in order."""
    father, flora = family(scene, "flora")
    for number in range(8):
        undelivered(scene, flora, f"x{number}")
    other = scene.another_process()
    errors: list[BaseException] = []

    def deliver(process: Any) -> None:
        try:
            forward(process, flora.storage)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=deliver, args=(process,)) for process in (scene.process, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert fired(father) == [f"flora.x{number}" for number in range(8)]
    assert outbox(scene, flora) == []
    other.close()


def test_r30_a_join_that_broke_off_and_is_refused_by_then(scene: Scene) -> None:
    """A child whose parent has declared its children complete meanwhile goes on alone, instead of trying for ever."""
    father, child = scene.configured({"t": {"after": ["*.x"], "run": "w"}}), scene.configured({})
    store = Mortal(scene.backend.store)
    store.commits_left = 1
    process = scene.another_process()
    with pytest.raises(Dies):
        TriggerManager(scene.backend.storage_class(child.uid, store=store), process=process).join(father.uid, alias="c")
    process.close()
    assert father.children_complete()
    child.fire("x")
    assert outbox(scene, child) == []
    assert child.storage.metadata["parent"] is None
    assert fired(father) == ["*.x"], "of no children, all have fired it"
    assert father.children() == {}


def undelivered(scene: Scene, child: TriggerManager, trigger: str) -> None:
    """Fires in a process that dies after the commit."""
    store = Mortal(scene.backend.store)
    store.commits_left = 1
    process = scene.another_process()
    dying = TriggerManager(scene.backend.storage_class(child.uid, store=store), process=process)
    with pytest.raises(Dies):
        dying.fire(trigger)
    process.close()


def delivered_later(scene: Scene, child: TriggerManager) -> None:
    """What the sweep does, or the next one who looks where the store cannot tell what is due."""
    if scene.sweeps:
        scene.process.sweep()
    else:
        forward(scene.process, child.storage)


def test_r30_the_sweep_delivers_what_a_dead_process_left(scene: Scene) -> None:
    """A process that dies between the child's commit and the delivery loses nothing; without a sweep the next fire delivers."""
    father, flora = family(scene, "flora")
    undelivered(scene, flora, "a")
    undelivered(scene, flora, "b")
    assert (fired(father), outbox(scene, flora)) == ([], ["a", "b"])
    if scene.sweeps:
        scene.process.sweep()
    else:
        flora.fire("c")
    assert fired(father)[:2] == ["flora.a", "flora.b"]
    assert outbox(scene, flora) == []


class Raises(TriggerManager):
    """A manager whose hook raises."""

    key = "raises"

    def _post_fire(self, trigger_name: str, task_instances: list[TaskInstance]) -> None:
        if trigger_name.startswith("flora."):
            raise ValueError("the hook of the parent")


@pytest.fixture
def raises() -> Iterator[None]:
    """Registers it."""
    trigger_managers.register("raises", Raises)
    yield
    trigger_managers.unregister("raises")


@pytest.mark.usefixtures("raises")
def test_r34_what_a_hook_of_the_parent_raises_does_not_reach_the_child(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Neither who fires the child nor the sweep, which goes on with the sessions that come after it."""
    father, flora = family(scene, "flora")
    scene.manager(father.uid, kind=Raises).fire("mine")
    flora.fire("a")
    assert (fired(father), outbox(scene, flora)) == (["mine", "flora.a"], [])
    assert "the hook of the parent" in caplog.text
    undelivered(scene, flora, "b")
    if scene.sweeps:
        scene.process.sweep()
    else:
        flora.fire("c")
    assert fired(father)[:3] == ["mine", "flora.a", "flora.b"]
    assert outbox(scene, flora) == []


def test_r30_dying_after_each_commit_of_a_delivery(scene: Scene) -> None:
    """Wherever the delivery breaks off (child, parent, emptied outbox), each fire arrives once."""
    for after in (1, 2, 3):
        father, flora = family(scene, "flora", parent={"t": {"andEvery": "flora.a", "run": "w"}})
        store = Mortal(scene.backend.store)
        store.commits_left = after
        process = scene.another_process()
        dying = TriggerManager(scene.backend.storage_class(flora.uid, store=store), process=process)
        with pytest.raises(Dies):
            dying.fire("a")
        forward(scene.process, flora.storage)
        flora.fire("b")
        assert fired(father) == ["flora.a", "flora.b"], after
        assert list(statuses(father)) == ["t#0"]
        process.close()
        scene.forget_works()


def test_r30_join_after_a_crash_at_each_commit(scene: Scene) -> None:
    """A join that breaks off after each of its three commits is repeated, and what fired in between arrives once."""
    for after in (1, 2, 3):
        scene.records()
        father, flora = scene.manager(), scene.manager()
        father.update_configuration({"t": {"after": ["flora.a"], "run": "w"}})
        flora.fire("born")
        store = Mortal(scene.backend.store)
        store.commits_left = after
        process = scene.another_process()
        dying = TriggerManager(scene.backend.storage_class(flora.uid, store=store), process=process)
        with pytest.raises(Dies):
            dying.join(father.uid, alias="flora")
        flora.fire("a")
        for _ in range(2):
            flora.join(father.uid, alias="flora")
        flora.fire("b")
        assert fired(father) == ["flora.a", "flora.b"], after
        assert father.children() == {"flora": flora.uid}
        assert father.storage.metadata["children"] == 1
        process.close()
        scene.forget_works()


@pytest.mark.parametrize("alias", ["", "a.b", "*", "a\n", "x" * 256])
def test_r30_what_an_alias_must_not_be(scene: Scene, alias: str) -> None:
    """An alias that is no name, or has a dot or a star, is refused, and nothing is made."""
    father, child = scene.manager(), scene.manager()
    with pytest.raises(RelationError):
        child.join(father.uid, alias=alias)
    assert not father.storage.exists()
    assert not child.storage.exists()


def test_r30_one_alias_one_child_one_parent(scene: Scene) -> None:
    """A taken alias, another alias and another parent are refused; what was refused may join elsewhere and hands on nothing."""
    father, flora = family(scene, "flora")
    second, other = scene.manager(), scene.manager()
    other.fire("born")
    with pytest.raises(RelationError, match=f"another child as 'flora': '{flora.uid}'"):
        second.join(father.uid, alias="flora")
    with pytest.raises(RelationError, match="only one parent"):
        flora.join(father.uid, alias="green")
    with pytest.raises(RelationError, match="only one parent"):
        flora.join(other.uid, alias="flora")
    second.fire("a")
    second.join(other.uid, alias="flora")
    second.fire("b")
    assert (fired(father), fired(other)) == ([], ["born", "flora.b"])


def test_r30_circles_are_refused(scene: Scene) -> None:
    """A session cannot be its own ancestor, directly or through others; a grandparent hears the aliases in a row."""
    old, middle, young = scene.manager(), scene.manager(), scene.manager()
    with pytest.raises(RelationError, match="own ancestor"):
        old.join(old.uid, alias="me")
    middle.join(old.uid, alias="m")
    young.join(middle.uid, alias="y")
    with pytest.raises(RelationError, match="own ancestor"):
        old.join(young.uid, alias="o")
    young.fire("a")
    assert (fired(middle), fired(old)) == (["y.a"], ["m.y.a"])
    assert old.storage.metadata["parent"] is None


def test_r30_two_joins_that_would_close_a_circle_at_once(scene: Scene) -> None:
    """Of two joins that each close the other's circle, not both stand: the second looks again after it is written."""
    one, two = scene.manager(), scene.manager()
    one.fire("born")
    two.fire("born")
    store = Mortal(scene.backend.store)
    between: list[bool] = []

    def load(uid: str, want: Want) -> Snapshot:
        found = scene.backend.store.load(uid, want)
        if uid == two.uid and not between:
            between.append(True)
            two.join(one.uid, alias="two")
        return found

    store.load = load  # type: ignore[method-assign]
    process = scene.another_process()
    with pytest.raises(RelationError, match="own ancestor"):
        TriggerManager(scene.backend.storage_class(one.uid, store=store), process=process).join(two.uid, alias="one")
    process.close()
    parents = [manager.storage.metadata["parent"] for manager in (one, two)]
    assert parents == [None, one.uid]


def test_r30_a_deleted_parent_leaves_its_children_alone(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """At its next delivery the child logs that nobody knows it, goes on, and may join again."""
    father, flora = family(scene, "flora")
    father.storage.delete()
    flora.fire("a")
    assert "does not know its child" in caplog.text
    assert not father.storage.exists()
    assert (flora.storage.metadata["parent"], outbox(scene, flora)) == (None, [])
    flora.join(father.uid, alias="flora")
    flora.fire("b")
    assert fired(father) == ["flora.b"]


def test_r30_a_cancelled_parent_lets_go(scene: Scene) -> None:
    """The children of a cancelled parent go on alone."""
    father, flora = family(scene, "flora")
    father.cancel()
    flora.fire("a")
    assert flora.storage.metadata["parent"] is None
    assert fired(father) == []


def test_r30_a_child_that_is_made_anew_is_another(scene: Scene) -> None:
    """After a deletion the same uid may join under the same alias, and its fires are counted from the start."""
    father, flora = family(scene, "flora", parent={"t": {"andEvery": "flora.a", "run": "w"}})
    flora.fire("a")
    flora.storage.delete()
    flora.fire("a")
    assert list(statuses(father)) == ["t#0"]
    flora.join(father.uid, alias="flora")
    flora.fire("a")
    assert list(statuses(father)) == ["t#0", "t#1"]
    assert father.storage.metadata["children"] == 1


def test_r30_a_cancelled_child_delivers_what_it_fired_before(scene: Scene) -> None:
    """What fired before the cancellation still arrives, once, and the delivery ends."""
    father, flora = family(scene, "flora")
    undelivered(scene, flora, "a")
    flora.cancel("no more")
    delivered_later(scene, flora)
    assert (fired(father), outbox(scene, flora)) == (["flora.a"], [])


def test_r30_a_child_cancelled_before_its_join_was_confirmed(scene: Scene) -> None:
    """The join broke off before the parent knew of it: what the child fired before it was cancelled arrives all the same."""
    father, flora = scene.configured({"t": {"after": ["flora.a"], "run": "w"}}), scene.configured({})
    store = Mortal(scene.backend.store)
    store.commits_left = 1
    process = scene.another_process()
    with pytest.raises(Dies):
        TriggerManager(scene.backend.storage_class(flora.uid, store=store), process=process).join(father.uid, alias="flora")
    process.close()
    undelivered(scene, flora, "a")
    flora.cancel("no more")
    delivered_later(scene, flora)
    assert (fired(father), outbox(scene, flora)) == (["flora.a"], [])


def test_r30_a_cancelled_child_of_a_deleted_parent_is_let_go(scene: Scene) -> None:
    """What it fired before has nowhere to go, and is not tried for ever."""
    father, flora = family(scene, "flora")
    undelivered(scene, flora, "a")
    flora.cancel("no more")
    father.storage.delete()
    delivered_later(scene, flora)
    assert outbox(scene, flora) == []
    assert flora.storage.metadata["parent"] is None
    assert not father.storage.exists()


STAR = {"all": {"after": ["*.done"], "run": "w"}}


def test_r30_a_star_waits_for_all_children(scene: Scene) -> None:
    """``*.done`` fires once, when the set is complete and each child has fired it; its kwargs name each child."""
    father, flora, fauna = family(scene, "flora", "fauna", parent=STAR)
    flora.fire("done", {"n": 1})
    flora.fire("done", {"n": 2})
    assert father.children_complete() is True
    assert statuses(father) == {}
    fauna.fire("other")
    assert statuses(father) == {}
    fauna.fire("done", {"n": 3})
    assert father.storage["all#0"].kwargs == {"*.done": {"flora": {"n": 2}, "fauna": {"n": 3}}}
    fauna.fire("done", {"n": 4})
    assert father.children_complete() is False
    assert fired(father).count("*.done") == 1


def test_r30_complete_after_all_have_come(scene: Scene) -> None:
    """The declaration itself fires what is complete."""
    father, flora = family(scene, "flora", parent=STAR)
    flora.fire("done")
    assert statuses(father) == {}
    father.children_complete()
    assert statuses(father) == {"all#0": "scheduled"}


def test_r30_an_empty_set_is_complete(scene: Scene) -> None:
    """Without children ``*.done`` fires with the declaration, also in a task that comes later."""
    (father,) = family(scene, parent=STAR)
    father.children_complete()
    assert father.storage["all#0"].kwargs == {"*.done": {}}
    father.update_configuration({"later": {"after": ["*.else"], "run": "w"}})
    assert statuses(father) == {"all#0": "scheduled", "later#0": "scheduled"}


def test_r30_a_task_that_comes_after_completion(scene: Scene) -> None:
    """A task that names ``*.done`` only after all have fired it runs at once."""
    father, flora = family(scene, "flora")
    flora.fire("done", {"n": 1})
    father.children_complete()
    assert statuses(father) == {}
    father.update_configuration(STAR)
    assert father.storage["all#0"].kwargs == {"*.done": {"flora": {"n": 1}}}
    assert father.update_configuration(STAR) is False


def test_r30_nobody_joins_a_complete_set(scene: Scene) -> None:
    """A join after the declaration is refused, and its child stays without a parent; those that are in may repeat it."""
    father, flora = family(scene, "flora")
    father.children_complete()
    flora.join(father.uid, alias="flora")
    late = scene.manager()
    late.fire("born")
    with pytest.raises(RelationError, match="declared complete"):
        late.join(father.uid, alias="late")
    assert late.storage.metadata["parent"] is None


def test_r30_a_fire_by_hand_is_no_childs(scene: Scene) -> None:
    """Who fires ``flora.done`` in the parent itself does not take a child's place in the count, in either order."""
    father, flora, fauna = family(scene, "flora", "fauna", parent=STAR)
    father.children_complete()
    father.fire("flora.done")
    fauna.fire("done")
    assert statuses(father) == {}
    flora.fire("done")
    assert statuses(father) == {"all#0": "scheduled"}


def test_r30_parents_finalize_by_their_children(scene: Scene) -> None:
    """The finalizing of each child counts; ``*.sessionFinalized`` is no finalizing of the parent itself."""
    father, *_ = family(scene, parent={"all": {"after": ["*.sessionFinalized"], "run": "w"}})
    for alias in ("x", "y"):
        child = scene.manager(kind=FinalizingTriggerManager)
        child.update_configuration({"t": {"after": ["a"], "run": "w"}})
        child.join(father.uid, alias=alias)
        child.fire("a")
    father.children_complete()
    scene.perform_all()
    assert father.storage["all#0"].kwargs == {"*.sessionFinalized": {"x": {}, "y": {}}}


def test_r30_a_long_name_does_not_stop_those_behind_it(scene: Scene) -> None:
    """Where ``alias.trigger`` would be longer than a name may be, the parent does not hear it, and hears what comes after."""
    father, child = family(scene, "a" * 200)
    child.fire("t" * 200)
    child.fire("short")
    assert fired(father) == [f"{'a' * 200}.short"]
    assert outbox(scene, child) == []


def arrival_cost(scene: Scene, children: int) -> tuple[int, int, int]:
    """Loads, commits and records read for one arrival in a parent with so many children, without the memory of the process."""
    scene.records()
    father = scene.manager()
    father.update_configuration({**STAR, "t": {"after": ["c0.done"], "run": "w"}})
    store = Mortal(scene.backend.store)
    process = scene.another_process()
    kept = scene.backend.storage_class
    for number in range(children):
        TriggerManager(kept(f"{father.uid}/{number}", store=store), process=process).join(father.uid, alias=f"c{number}")
    father.children_complete()
    fresh = scene.another_process()
    store.loaded = store.commits = store.records_read = 0
    TriggerManager(kept(f"{father.uid}/0", store=store), process=fresh).fire("done")
    cost = (store.loaded, store.commits, store.records_read)
    for number in range(children):
        scene.backend.store.delete(f"{father.uid}/{number}")
    process.close()
    fresh.close()
    scene.forget_works()
    return cost


def test_r30_an_arrival_costs_the_same_with_any_number_of_children(make_scene: Callable[..., Scene]) -> None:
    """One arrival reads and writes as much with ten children as with a thousand (a hundred on the slower stores)."""
    scene = make_scene()
    many = 1000 if scene.backend.name in ("memory", "sqlite") else 100
    if scene.backend.name == "memcached":
        many = 30
    assert arrival_cost(scene, 10) == arrival_cost(scene, many)
