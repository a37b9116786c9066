"""R1 to R3: what a configuration is, and what changing it does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from triggers.errors import ConfigurationError, InvalidName
from triggers.store import EVERYTHING

LONGEST = "é" * 127 + "x"
"""255 bytes of UTF-8."""
ODD_NAMES = ["a", "A", "a ", " a", "á", "a\u0301", "a/b", "a:b", "{a}", "a.b", "%s", "'\"", "a,b", "\\", "日本", "🎉", LONGEST]


def test_r1_after_in_any_order(scene: Scene) -> None:
    """A task with ``after`` is scheduled by the last of its triggers, whichever that is."""
    for order in itertools.permutations("abc"):
        manager = scene.configured({"t": {"after": ["a", "b", "c"], "run": "w"}})
        assert [manager.fire(trigger).scheduled for trigger in order] == [(), (), ("t#0",)]


def test_r1_and_every_makes_an_instance_each_time(scene: Scene) -> None:
    """Each firing of ``andEvery`` gives an instance of its own, which waits for ``after`` if that is not there yet."""
    manager = scene.configured({"t": {"after": ["a"], "andEvery": "b", "run": "w"}})
    manager.fire("b")
    manager.fire("b")
    assert statuses(manager) == {"t#0": "unstarted", "t#1": "unstarted"}
    assert manager.fire("a").scheduled == ("t#0", "t#1")
    assert manager.fire("b") == (("t#2",), ("t#2",), ())


def test_r1_unless_forbids_what_is_not_scheduled_yet(scene: Scene) -> None:
    """When all of ``unless`` has fired, an instance that waits is abandoned, and one that is scheduled stays."""
    manager = scene.configured({"t": {"after": ["a"], "andEvery": "b", "unless": ["c", "d"], "run": "w"}})
    manager.fire("a")
    manager.fire("b")
    manager.fire("c")
    assert manager.fire("d").abandoned == ()
    assert manager.fire("b").abandoned == ("t#1",)
    assert statuses(manager) == {"t#0": "scheduled", "t#1": "abandoned"}


def test_r1_using_names_the_runner(make_scene: Any) -> None:
    """``using`` has the instance run by that runner, whatever the settings say."""
    scene = make_scene(runner="inline")
    scene.records()
    manager = scene.configured(
        {
            "t": {"after": ["a"], "run": "w", "using": "held"},
            "u": {"after": ["a"], "run": "w", "using": {"runner": "held", "queue": "q"}},
        }
    )
    manager.fire("a")
    assert scene.waiting == ["t#0", "u#0"]
    assert [delivery.options for delivery in scene.runner.waiting] == [{}, {"queue": "q"}]


def test_r1_after_may_be_left_out_with_and_every(scene: Scene) -> None:
    """With ``andEvery`` alone each of its firings is ready at once."""
    manager = scene.configured({"t": {"andEvery": "b", "run": "w"}, "u": {"after": [], "andEvery": "b", "run": "w"}})
    assert manager.fire("b").scheduled == ("t#0", "u#0")
    assert manager.fire("b").scheduled == ("t#1", "u#1")


def test_r1_and_every_repeated_in_after_means_nothing_more(scene: Scene) -> None:
    """The trigger of ``andEvery`` may stand in ``after`` too."""
    manager = scene.configured({"t": {"after": ["b", "a"], "andEvery": "b", "run": "w"}})
    assert manager.storage.tasks["t"].after == ("a",)
    manager.fire("a")
    assert manager.fire("b").scheduled == ("t#0",)
    assert manager.fire("b").scheduled == ("t#1",)


REFUSED = {
    "no object": ([], "$"),
    "a task that is no object": ({"t": ["a"]}, "$.t"),
    "no run": ({"t": {"after": ["a"]}}, "$.t"),
    "no trigger": ({"t": {"run": "w"}}, "$.t"),
    "empty after": ({"t": {"after": [], "run": "w"}}, "$.t.after"),
    "unless names andEvery": ({"t": {"andEvery": "a", "unless": ["b", "a"], "run": "w"}}, "$.t.unless"),
    "andEvery is the task": ({"t": {"andEvery": "t", "run": "w"}}, "$.t.andEvery"),
    "withParams of numbers": ({"t": {"after": ["a"], "run": "w", "withParams": {"a": 1}}}, "$.t.withParams.a"),
    "misspelt": ({"t": {"afer": ["a"], "run": "w"}}, "$.t"),
    "a second task": ({"t": {"after": ["a"], "run": "w"}, "u": {"after": ["b", ""], "run": "w"}}, "$.u.after[1]"),
}


def test_r3_a_refused_document_changes_nothing(scene: Scene) -> None:
    """A document with one mistake is refused whole, with the place, and the stored session is as it was."""
    manager = scene.configured({"t": {"after": ["x"], "run": "old"}})
    manager.fire("x")
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    for document, place in REFUSED.values():
        with pytest.raises(ConfigurationError) as caught:
            manager.update_configuration(document)  # type: ignore[arg-type]
        assert caught.value.place == place
        assert str(caught.value).startswith(f"{place}: ")
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before


def test_r2_own_keys_are_kept(scene: Scene) -> None:
    """A key that is no directive is the application's; it comes back as it was given."""
    manager = scene.configured({"t": {"after": ["a"], "run": "w", "title": {"en": "Score"}, "x-after": [1]}})
    assert manager.storage.tasks["t"].extra == {"title": {"en": "Score"}, "x-after": [1]}


SLIPS = {
    "afer": "after",
    "and_every": "andEvery",
    "Unless": "unless",
    "withparams": "withParams",
    "usin": "using",
    "rnu": "run",
    "on_lost": "onLost",
    "tiemout": "timeout",
}


def test_r2_a_slip_is_refused_with_a_suggestion(scene: Scene) -> None:
    """A key that is one slip away from a directive is no key of the application."""
    manager = scene.manager()
    for key, meant in SLIPS.items():
        with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'"):
            manager.update_configuration({"t": {"after": ["a"], "run": "w", key: ["b"]}})
    assert not manager.storage.exists()


def test_r2_names_compare_byte_by_byte(scene: Scene) -> None:
    """Names that look alike, or hold anything but control characters, are names of their own, up to 255 bytes."""
    manager = scene.configured({name: {"after": [name], "run": "w"} for name in ODD_NAMES})
    for number, name in enumerate(ODD_NAMES):
        assert manager.fire(name, {"n": number}).scheduled == (f"{name}#0",)
    for number, name in enumerate(ODD_NAMES):
        assert manager.storage[f"{name}#0"].kwargs == {name: {"n": number}}
    assert manager.storage.latest_kwargs == {name: {"n": number} for number, name in enumerate(ODD_NAMES)}


def test_r2_uids_compare_byte_by_byte(scene: Scene) -> None:
    """Sessions whose names look alike do not meet."""
    for number, name in enumerate(ODD_NAMES):
        scene.manager(name).storage.delete()
        scene.manager(name).fire("a", {"n": number})
    for number, name in enumerate(ODD_NAMES):
        assert scene.manager(name).storage.latest_kwargs == {"a": {"n": number}}


def test_r2_what_is_no_name(scene: Scene) -> None:
    """Empty, too long, or with control characters or lone surrogates: refused for sessions, triggers and tasks alike."""
    manager = scene.manager()
    for name in ("", "a" * 256, "é" * 128, "a\nb", "a\0", "\x7f", "\x85", "\ud800"):
        with pytest.raises(InvalidName):
            scene.manager(name or "\t")
        with pytest.raises(InvalidName):
            manager.fire(name)
        with pytest.raises(ConfigurationError):
            manager.update_configuration({name: {"after": ["a"], "run": "w"}})
        with pytest.raises(ConfigurationError):
            manager.update_configuration({"t": {"after": ["a", name], "run": "w"}})
    assert not manager.storage.exists()


def test_r2_what_is_no_name_of_a_task(scene: Scene) -> None:
    """A task's name has no ``#`` and is not ``sessionFinalized``; a trigger may be called so."""
    for name in ("a#0", "#", "sessionFinalized"):
        manager = scene.manager()
        with pytest.raises(ConfigurationError):
            manager.update_configuration({name: {"after": ["a"], "run": "w"}})
        manager.update_configuration({"t": {"after": [name], "run": "w"}})
        assert manager.fire(name).scheduled == ("t#0",)


def test_r3_new_tasks_ignore_what_fired_before(scene: Scene) -> None:
    """A task that is added later does not see earlier fires until a trigger concerns it."""
    manager = scene.manager()
    manager.fire("a", {"n": 1})
    assert manager.update_configuration({"t": {"after": ["a", "b"], "run": "w"}, "u": {"after": ["a"], "run": "w"}})
    assert statuses(manager) == {}
    assert manager.fire("b").scheduled == ("t#0",)
    assert manager.storage["t#0"].kwargs == {"a": {"n": 1}, "b": {}}


def test_r3_evaluate_applies_what_fired_before(scene: Scene) -> None:
    """With ``evaluate`` the new tasks are as if they had been there all the time."""
    manager = scene.manager()
    manager.fire("a", {"n": 1})
    manager.fire("b", {"n": 2})
    manager.update_configuration(
        {
            "ready": {"after": ["a"], "run": "w"},
            "waits": {"after": ["a", "c"], "run": "w"},
            "forbidden": {"after": ["b"], "unless": ["a"], "run": "w"},
            "in time": {"after": ["a"], "unless": ["b"], "run": "w"},
            "untouched": {"after": ["z"], "run": "w"},
        },
        evaluate=True,
    )
    assert statuses(manager) == {
        "ready#0": "scheduled",
        "waits#0": "unstarted",
        "forbidden#0": "abandoned",
        "in time#0": "scheduled",
    }
    assert manager.fire("c").scheduled == ("waits#0",)
    assert sorted(scene.waiting) == ["in time#0", "ready#0", "waits#0"]


def test_r3_unstarted_follow_the_new_configuration(scene: Scene) -> None:
    """A waiting instance follows a changed task from the next fire that concerns the task."""
    manager = scene.configured({"t": {"after": ["a", "b"], "run": "w1"}})
    manager.fire("a")
    manager.update_configuration({"t": {"after": ["a"], "unless": ["c"], "run": "w2"}})
    assert statuses(manager) == {"t#0": "unstarted"}
    assert manager.fire("b") == ((), (), ())
    assert manager.fire("a").scheduled == ("t#0",)
    assert manager.storage["t#0"].run == "w2"


def test_r3_scheduled_keep_what_they_were_scheduled_with(scene: Scene) -> None:
    """From ``scheduled`` on, an instance keeps its ``run``, ``using`` and ``withParams``; its replay takes those of then."""
    scene.records("w1")
    scene.records("w2")
    manager = scene.configured({"t": {"after": ["a"], "run": "w1", "withParams": {"a": {"v": 1}}}})
    manager.fire("a")
    manager.update_configuration({"t": {"after": ["a"], "run": "w2", "withParams": {"a": {"v": 2}}, "using": "inline"}})
    kept = manager.storage["t#0"]
    assert (kept.run, kept.using, kept.with_params) == ("w1", None, {"a": {"v": 1}})
    scene.perform_all()
    assert scene.calls == [("w1", {"a": {"v": 1}})]


def test_r3_null_removes_a_task_that_is_resolved(scene: Scene) -> None:
    """``null`` removes a task without unresolved instances; with some it is refused and changes nothing."""
    scene.records()
    manager = scene.configured(
        {"t": {"after": ["a"], "run": "w"}, "u": {"after": ["a", "b"], "run": "w"}, "v": {"after": ["z"], "run": "w"}}
    )
    manager.fire("a")
    scene.perform_all()
    assert manager.update_configuration({"t": None, "v": None, "never there": None})
    assert list(manager.storage.tasks) == ["u"]
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    with pytest.raises(ConfigurationError) as caught:
        manager.update_configuration({"u": None, "x": {"after": ["a"], "run": "w"}})
    assert caught.value.place == "$.u"
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    assert "t#0" in manager.storage


def test_r3_the_same_configuration_changes_nothing(scene: Scene) -> None:
    """Configuring the same once more writes nothing at all, from any process."""
    document = {"t": {"after": ["a"], "run": "w", "withParams": {"a": {"x": [1.5, None, "é"]}}, "own": {"k": 1}}}
    manager = scene.configured(document)
    manager.fire("a")
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    assert manager.update_configuration(document) is False
    other = scene.manager(manager.uid, process=scene.another_process())
    assert other.update_configuration(document) is False
    assert other.update_configuration({}) is False
    assert other.update_configuration(document, evaluate=True) is False
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before


def test_r3_a_serial_is_no_hash(scene: Scene) -> None:
    """After A, B, A an instance that was queued under B lacks a trigger of A, and gets it (a hash would not tell)."""
    first = {"t": {"after": ["a"], "andEvery": "b", "run": "w"}}
    manager = scene.configured(first)
    manager.fire("a", {"n": 1})
    manager.fire("b", {"n": 2})
    manager.update_configuration({"t": {"after": ["x"], "andEvery": "b", "run": "w"}})
    manager.fire("b", {"n": 3})
    manager.update_configuration(first)
    assert statuses(manager) == {"t#0": "scheduled", "t#1": "unstarted"}
    assert manager.fire("a", {"n": 4}).scheduled == ("t#1",)
    assert manager.storage["t#1"].kwargs == {"a": {"n": 4}, "b": {"n": 3}}
