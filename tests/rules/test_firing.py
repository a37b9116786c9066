"""R4 to R14: what a fire does."""

from __future__ import annotations

import enum
import json
import math
from datetime import datetime
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from triggers.context import TaskContext
from triggers.errors import EventMismatch, InvalidName, UnknownSession, UnserializableKwargs
from triggers.manager import TriggerManager
from triggers.store import EVERYTHING

JOIN = {"t": {"after": ["a", "b"], "run": "w"}}


def test_r4_only_tasks_that_name_the_trigger(scene: Scene) -> None:
    """A fire concerns the tasks that name its trigger in any of the three directives, and no other."""
    manager = scene.configured(
        {
            "after": {"after": ["a", "z"], "run": "w"},
            "every": {"after": ["z"], "andEvery": "a", "run": "w"},
            "unless": {"after": ["z"], "unless": ["a", "y"], "run": "w"},
            "other": {"after": ["z"], "run": "w"},
        }
    )
    assert sorted(manager.fire("a").created) == ["after#0", "every#0", "unless#0"]


def test_r5_the_first_trigger_makes_the_first_instance(scene: Scene) -> None:
    """A task without instances gets one, whatever role the trigger has."""
    for trigger in ("x", "y", "z"):
        manager = scene.configured({"t": {"after": ["x"], "andEvery": "y", "unless": ["z", "zz"], "run": "w"}})
        assert manager.fire(trigger, {"n": 1}).created == ("t#0",)
        assert manager.storage["t#0"].kwargs == {trigger: {"n": 1}}


def test_r5_a_further_instance_only_by_and_every(scene: Scene) -> None:
    """A task with instances gets another only by its ``andEvery``, and only if no unstarted instance could take it."""
    manager = scene.configured({"t": {"after": ["a", "c"], "andEvery": "b", "run": "w"}})
    assert manager.fire("a").created == ("t#0",)
    assert manager.fire("b").created == ()
    assert manager.fire("a").created == ()
    assert manager.fire("b").created == ("t#1",)
    assert manager.fire("b").created == ("t#2",)
    assert manager.fire("c").scheduled == ("t#0", "t#1", "t#2")
    assert manager.fire("c").created == ()


def test_r6_every_unstarted_instance_receives_it_and_the_first_kwargs_stay(scene: Scene) -> None:
    """A trigger reaches each unstarted instance that lacks it; what an instance has already is not replaced."""
    manager = scene.configured({"t": {"after": ["a", "c"], "andEvery": "b", "run": "w"}})
    for number in (1, 2, 3):
        manager.fire("b", {"n": number})
    manager.fire("c", {"n": 4})
    manager.fire("c", {"n": 5})
    manager.fire("b", {"n": 6})
    assert [found.kwargs for found in manager.storage.instances_of_task("t")] == [
        {"b": {"n": 1}, "c": {"n": 4}},
        {"b": {"n": 2}, "c": {"n": 4}},
        {"b": {"n": 3}, "c": {"n": 4}},
        {"b": {"n": 6}, "c": {"n": 5}},
    ]


def test_r7_a_new_instance_knows_what_the_session_knows(scene: Scene) -> None:
    """A new instance starts with the latest kwargs of what fired before, ``unless`` included, and those of this fire."""
    manager = scene.configured({"t": {"after": ["a", "z"], "andEvery": "b", "unless": ["c", "d"], "run": "w"}})
    manager.fire("b", {"n": 1})
    manager.fire("a", {"n": 2})
    manager.fire("a", {"n": 3})
    manager.fire("c", {"n": 4})
    manager.fire("b", {"n": 5})
    assert manager.storage["t#0"].kwargs == {"b": {"n": 1}, "a": {"n": 2}, "c": {"n": 4}}
    assert manager.storage["t#1"].kwargs == {"b": {"n": 5}, "a": {"n": 3}, "c": {"n": 4}}


def test_r7_and_every_counts_if_another_trigger_makes_the_instance(scene: Scene) -> None:
    """An instance that another trigger makes knows the ``andEvery`` that fired before."""
    manager = scene.manager()
    manager.fire("b", {"n": 1})
    manager.fire("b", {"n": 2})
    manager.update_configuration({"t": {"after": ["a"], "andEvery": "b", "run": "w"}})
    assert manager.fire("a", {"n": 3}).scheduled == ("t#0",)
    assert manager.storage["t#0"].kwargs == {"a": {"n": 3}, "b": {"n": 2}}


def test_r8_unless_wins(scene: Scene) -> None:
    """When one fire completes both, the instance is abandoned."""
    manager = scene.configured({"t": {"after": ["a", "b"], "unless": ["b"], "run": "w"}})
    manager.fire("a")
    assert manager.fire("b") == ((), (), ("t#0",))


def test_r8_an_empty_unless_forbids_nothing(scene: Scene) -> None:
    """An empty ``unless`` is not complete."""
    assert scene.configured({"t": {"after": ["a"], "unless": [], "run": "w"}}).fire("a").scheduled == ("t#0",)


def test_r8_a_change_has_queued_instances_judged(scene: Scene) -> None:
    """After a change that leaves waiting instances complete, the next fire that concerns the task schedules all of them."""
    manager = scene.configured({"t": {"after": ["a", "c"], "andEvery": "b", "run": "w"}})
    for _ in range(5):
        manager.fire("b")
    manager.fire("a")
    manager.update_configuration({"t": {"after": ["a"], "andEvery": "b", "run": "w"}})
    assert manager.fire("a").scheduled == ("t#0", "t#1", "t#2", "t#3", "t#4")


def test_r9_the_latest_kwargs_of_everything(scene: Scene) -> None:
    """The session remembers the latest kwargs of each trigger, also of those that no task names, and of cascades."""
    scene.records(result={"r": 1})
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a", {"n": 1})
    manager.fire("nobody's", {"n": 2})
    manager.fire("nobody's", {"n": 3})
    scene.perform_all()
    assert manager.storage.latest_kwargs == {"a": {"n": 1}, "nobody's": {"n": 3}, "t": {"r": 1}}


def test_r10_a_one_shot_task_runs_once(scene: Scene) -> None:
    """However often its triggers fire, before, while and after it runs."""
    scene.records()
    manager = scene.configured(JOIN)
    for trigger in "aabb":
        manager.fire(trigger)
    manager.fire("a")
    scene.perform_all()
    for trigger in "abab":
        assert manager.fire(trigger) == ((), (), ())
    assert [name for name, _ in scene.calls] == ["w"]
    assert statuses(manager) == {"t#0": "finished"}


def test_r11_fired_kwargs_over_params(scene: Scene) -> None:
    """Objects merge deeply, all else is replaced, the fired value wins, also null; ``unless`` is not passed."""
    scene.records()
    params = {
        "a": {"deep": {"kept": 1, "over": {"x": 1}}, "list": [1, 2], "null": 5, "object": {"x": 1}, "scalar": 1},
        "not fired": {"p": 1},
    }
    manager = scene.configured({"t": {"after": ["a"], "andEvery": "b", "unless": ["c", "d"], "run": "w", "withParams": params}})
    manager.fire("c", {"unless": 1})
    manager.fire("b", {"every": 1})
    manager.fire("a", {"deep": {"over": {"y": 2}}, "list": [3], "null": None, "object": 7, "scalar": {"z": 1}})
    scene.perform_all()
    assert scene.calls == [
        (
            "w",
            {
                "a": {
                    "deep": {"kept": 1, "over": {"x": 1, "y": 2}},
                    "list": [3],
                    "null": None,
                    "object": 7,
                    "scalar": {"z": 1},
                },
                "b": {"every": 1},
                "not fired": {"p": 1},
            },
        )
    ]


VALUES: dict[str, Any] = {
    "integers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "floats": [0.5, -1e300, 1e-300, 5e-324, 3.0, 1e16],
    "texts": ["", "é", "🎉", "a\u0301", "\n\t\x01\x7f\u2028", "\\\"'", "</script>", "null"],
    "others": [True, False, None, [], {}, [[]], {"": {"": ""}}],
    "keys": {"a": 1, "A": 2, "á": 3, "a.b": 4, "$x": 5, " ": 6},
}


def test_r12_values_come_back_equal(scene: Scene) -> None:
    """Kwargs, results and metadata come back equal, with their types, from the store and in the body."""
    scene.records(result=VALUES)
    manager = scene.configured({"t": {"after": ["a"], "run": "w", "withParams": {"p": VALUES}}})
    manager.fire("a", VALUES)
    scene.perform_all()
    manager.update_instance_metadata("t#0", VALUES)
    found = manager.storage["t#0"]
    for back in (found.kwargs["a"], found.with_params["p"], found.result, found.metadata, scene.calls[0][1]["a"]):
        assert back == VALUES
        assert json.dumps(back, sort_keys=True) == json.dumps(VALUES, sort_keys=True), "a type changed"


def test_r12_the_deepest_and_no_deeper(scene: Scene) -> None:
    """100 levels are kept; 101 are refused."""
    deep: dict[str, Any] = {}
    for _ in range(99):
        deep = {"d": deep}
    manager = scene.manager()
    manager.fire("a", deep)
    assert manager.storage.latest_kwargs == {"a": deep}
    with pytest.raises(UnserializableKwargs, match="100 levels"):
        manager.fire("a", {"d": deep})


UNSTORABLE: dict[str, tuple[Any, str]] = {
    "set": ({"k": [1, {2}]}, r"\$\.k\[1\] is of type set"),
    "bytes": ({"k": b"x"}, r"\$\.k is of type bytes"),
    "nan": ({"k": {"x": math.nan}}, r"\$\.k\.x is nan"),
    "infinity": ({"k": -math.inf}, r"\$\.k is -inf"),
    "datetime": ({"k": datetime(2026, 1, 1)}, r"\$\.k is of type datetime\.datetime"),  # noqa: DTZ001
    "tuple": ({"k": (1, 2)}, r"\$\.k is of type tuple"),
    "a key that is no string": ({"k": {1: "x"}}, r"\$\.k has the key 1"),
    "too large an integer": ({"k": 2**63}, r"\$\.k is 9223372036854775808"),
    "nul": ({"k": "a\0b"}, r"\$\.k has a NUL"),
    "nul in a key": ({"k\0": 1}, "NUL"),
    "lone surrogate": ({"k": "\ud800"}, r"\$\.k has a lone surrogate"),
    "an object": ({"k": object()}, r"\$\.k is of type object"),
}


def test_r12_what_is_no_json_is_refused(scene: Scene) -> None:
    """Refused before anything is stored, with the place and the type: as kwargs, replacement, result of a skip and metadata."""

    def fails(context: TaskContext) -> None:
        raise ValueError

    scene.works("w", fails)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    scene.perform_all()
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    for kwargs, place in UNSTORABLE.values():
        with pytest.raises(UnserializableKwargs, match=place):
            manager.fire("b", kwargs)
        with pytest.raises(UnserializableKwargs, match=place):
            manager.replay_failed_instance("t#0", {"a": kwargs})
        with pytest.raises(UnserializableKwargs, match=place):
            manager.skip_failed_instance("t#0", result=kwargs)
        with pytest.raises(UnserializableKwargs, match=place):
            manager.update_instance_metadata("t#0", kwargs)
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before


def test_r12_kwargs_are_an_object(scene: Scene) -> None:
    """Whatever is no object is refused as kwargs; nothing is stored."""
    manager = scene.manager()
    for kwargs in ([1], "abc", 5, {1}, [("a", 1)], 0, "", [], (), True):
        with pytest.raises(UnserializableKwargs, match="must be an object"):
            manager.fire("a", kwargs)  # type: ignore[arg-type]
    assert not manager.storage.exists()


def test_r12_too_large_is_refused(make_scene: Any) -> None:
    """More than ``max_value_bytes`` is refused; the message has both sizes."""
    scene: Scene = make_scene(max_value_bytes=1000)
    manager = scene.manager()
    with pytest.raises(UnserializableKwargs, match="1011 bytes as JSON, the limit is 1000"):
        manager.fire("a", {"text": "x" * 1000})
    assert not manager.storage.exists()
    manager.fire("a", {"text": "x" * 989})


def test_r12_encoded_before_fire_returns(scene: Scene) -> None:
    """Changing the object afterwards changes nothing that is stored, remembered or passed."""
    scene.records()
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    kwargs = {"list": [1]}
    manager.fire("a", kwargs)
    kwargs["list"].append(2)
    scene.perform_all()
    assert scene.calls == [("w", {"a": {"list": [1]}})]
    assert manager.storage.latest_kwargs["a"] == {"list": [1]}


class Event(str, enum.Enum):  # noqa: UP042, whose str() is the value
    """Triggers as applications like to name them; ``str(Event.PAID)`` is ``"Event.PAID"``."""

    PAID = "paid"
    PACKED = "packed"


class Marked(str):
    """A string that a template library made, say."""

    __slots__ = ()


def test_r2_a_name_is_its_text_whatever_kind_of_string_it_is(scene: Scene) -> None:
    """Members of an enumeration and other strings meet the plain ones: as triggers, event ids, uids and instances."""
    manager = scene.configured({"t": {"after": [Event.PACKED], "andEvery": Event.PAID, "run": "w"}})
    assert manager.fire(Event.PAID, event_id=Event.PAID).created == ("t#0",)
    assert manager.fire("paid", event_id="paid").created == ("t#0",)
    assert manager.fire(Marked("packed"), event_id=Marked("e")).scheduled == ("t#0",)
    assert manager.storage.latest_kwargs == {"packed": {}, "paid": {}}
    same = TriggerManager(scene.backend.session(Marked(manager.uid)), process=scene.process)
    assert same.fire(Event.PAID).scheduled == ("t#1",)
    assert same.cancel_instance(Marked("t#1")).status == "abandoned"
    assert statuses(manager) == {"t#0": "scheduled", "t#1": "abandoned"}


def test_r13_the_second_fire_with_an_id_changes_nothing(scene: Scene) -> None:
    """It returns what the first returned, from any process, whatever happened since; other ids are other events."""
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    first = manager.fire("a", {"n": 1}, event_id="e1")
    manager.fire("b")
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    assert manager.fire("a", {"n": 2}, event_id="e1") == first == (("t#0",), ("t#0",), ())
    assert scene.manager(manager.uid, process=scene.another_process()).fire("a", event_id="e1") == first
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    assert manager.fire("a", event_id="e2").created == ("t#1",)


def test_r13_the_same_id_with_another_trigger(scene: Scene) -> None:
    """It is an error, and changes nothing."""
    manager = scene.manager()
    manager.fire("a", event_id="e")
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    with pytest.raises(EventMismatch, match="'e' fired 'a'"):
        manager.fire("b", event_id="e")
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before


def test_r13_ids_are_kept_as_long_as_the_session(scene: Scene) -> None:
    """By default an id never expires; with the session it goes."""
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    manager.fire("a", event_id="e")
    scene.clock.move(10 * 365 * 86_400)
    assert manager.fire("a", event_id="e").created == ("t#0",)
    manager.storage.delete()
    assert manager.fire("a", event_id="e").created == ()
    assert manager.storage.latest_kwargs == {"a": {}}


def test_r13_a_repeated_attempt_does_not_fire_twice(scene: Scene) -> None:
    """The ids of a body's fires come from its instance and the number of the call, whichever attempt makes it."""
    attempts: list[int] = []

    def fires(context: TaskContext) -> None:
        attempts.append(context.attempt)
        context.fire("one", {"attempt": context.attempt})
        context.manager.fire("one", {"attempt": context.attempt})
        if len(attempts) == 1:
            raise KeyboardInterrupt
        context.fire("two")

    scene.works("w", fires)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}, "u": {"andEvery": "one", "run": "w2"}})
    manager.fire("a")
    with pytest.raises(KeyboardInterrupt):
        scene.perform()
    assert statuses(manager) == {"t#0": "running", "u#0": "scheduled", "u#1": "scheduled"}
    if not scene.sweeps:
        return
    scene.runner.waiting.clear()
    scene.clock.move(61)
    scene.process.sweep()
    assert "t#0" in scene.waiting
    while scene.waiting[0] != "t#0":
        scene.runner.waiting.rotate()
    scene.perform()
    assert attempts == [1, 2]
    assert statuses(manager)["t#0"] == "finished"
    assert [found.kwargs for found in manager.storage.instances_of_task("u")] == [
        {"one": {"attempt": 1}},
        {"one": {"attempt": 1}},
    ]
    assert sorted(manager.storage.latest_kwargs) == ["a", "one", "t", "two"]


def test_r13_an_event_id_is_a_name(scene: Scene) -> None:
    """What is no name is refused."""
    manager = scene.manager()
    for event_id in ("", "x" * 256, "a\nb", 7):
        with pytest.raises(InvalidName):
            manager.fire("a", event_id=event_id)  # type: ignore[arg-type]
    assert not manager.storage.exists()


def test_r14_fire_tells_what_happened(scene: Scene) -> None:
    """The instances created, scheduled and abandoned, of all tasks."""
    manager = scene.configured(
        {
            "new": {"after": ["a", "b"], "run": "w"},
            "ready": {"after": ["a"], "run": "w"},
            "gone": {"after": ["z"], "unless": ["a"], "run": "w"},
            "none": {"after": ["y"], "run": "w"},
        }
    )
    told = manager.fire("a")
    assert sorted(told.created) == ["gone#0", "new#0", "ready#0"]
    assert (told.scheduled, told.abandoned) == (("ready#0",), ("gone#0",))


def test_r14_a_first_fire_makes_the_session(scene: Scene) -> None:
    """A session needs no configuration to be fired."""
    manager = scene.manager()
    assert not manager.storage.exists()
    assert manager.fire("a") == ((), (), ())
    assert manager.storage.exists()


def test_r14_no_report_brings_a_deleted_session_back(scene: Scene) -> None:
    """Neither the start, nor what the body does through its manager, nor the report of a work."""
    caught: list[Exception] = []
    father = scene.manager()

    def deletes(context: TaskContext) -> None:
        bound = context.manager
        bound.storage.delete()
        for call in (
            lambda: bound.fire("b"),
            lambda: bound.update_configuration(JOIN),
            lambda: bound.label(customer="7"),
            lambda: bound.join(father.uid, alias="flora"),
            bound.children_complete,
        ):
            try:
                call()
            except UnknownSession as error:
                caught.append(error)

    scene.works("w", deletes)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    scene.perform_all()
    assert [type(error) for error in caught] == [UnknownSession] * 5
    assert not manager.storage.exists()
    assert not father.storage.exists()
    manager.update_configuration({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    manager.storage.delete()
    scene.perform_all()
    assert not manager.storage.exists()


def test_r14_a_report_does_not_reach_a_session_made_anew(scene: Scene) -> None:
    """A session that was deleted and made again under the same name does not take the report of the old one's work."""

    def recreates(context: TaskContext) -> dict[str, int]:
        context.manager.storage.delete()
        again = scene.manager(context.manager.uid)
        again.update_configuration({"t": {"after": ["a"], "run": "w"}})
        again.fire("a")
        return {"old": 1}

    scene.works("w", recreates)
    manager = scene.configured({"t": {"after": ["a"], "run": "w"}})
    manager.fire("a")
    scene.perform()
    assert statuses(manager) == {"t#0": "scheduled"}
    assert manager.storage.latest_kwargs == {"a": {}}
