"""R15 to R22: what an instance goes through."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from triggers import with_context
from triggers.context import TaskContext
from triggers.engine.transitions import TRANSITIONS
from triggers.errors import IllegalTransition, UnknownInstance
from triggers.manager import TriggerManager
from triggers.store import EVERYTHING, Change, Store, Want

ONE = {"t": {"after": ["a"], "run": "w"}}
CASCADE = {**ONE, "u": {"after": ["t"], "run": "w2"}}


def failing(scene: Scene, configuration: dict[str, Any] | None = None) -> TriggerManager:
    """A session whose ``t#0`` has failed."""

    def fails(context: TaskContext) -> None:
        raise ValueError("no")

    scene.works("w", fails)
    manager = scene.configured(configuration or ONE)
    manager.fire("a", {"n": 1})
    scene.perform_all()
    assert statuses(manager) == {"t#0": "failed"}
    return manager


def test_r15_what_is_resolved(scene: Scene) -> None:
    """A task is unresolved while it has no instance or one that is unstarted, scheduled, running or failed."""
    seen: dict[str, list[str]] = {}

    def works(context: TaskContext) -> None:
        seen["while running"] = manager.storage.get_unresolved_tasks()
        raise ValueError

    scene.works("w", works)
    manager = scene.configured({"t": {"after": ["a", "b"], "run": "w"}, "u": {"after": ["z"], "unless": ["c"], "run": "w"}})
    storage = manager.storage
    assert storage.get_unresolved_tasks() == ["t", "u"]
    manager.fire("c")
    assert storage.get_unresolved_tasks() == ["t"]
    manager.fire("a")
    assert [found.name for found in storage.get_unresolved_instances()] == ["t#0"]
    manager.fire("b")
    scene.perform_all()
    assert seen == {"while running": ["t"]}
    assert [(found.name, str(found.status)) for found in storage.get_unresolved_instances()] == [("t#0", "failed")]
    manager.skip_failed_instance("t#0")
    assert storage.get_unresolved_tasks() == []
    assert storage.get_unresolved_instances() == []


class Watched(Store):
    """Hands everything on to another store, and looks at the session after each commit."""

    api_version = 1

    def __init__(self, inner: Store, look: Any) -> None:
        super().__init__()
        self.inner = inner
        self.look = look
        self.capabilities = inner.capabilities

    def load(self, uid: str, want: Want) -> Any:
        """Handed on."""
        return self.inner.load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Handed on, then looked at."""
        self.inner.commit(uid, change, expected, want)
        self.look()

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Handed on."""
        return self.inner.delete(uid, expected)


def test_r16_finish_and_cascade_are_one_step(scene: Scene) -> None:
    """After no commit does a reader see a task finished whose cascade has not reached the next one, or the other way."""
    seen: list[dict[str, str]] = []
    reader = scene.manager()
    store = Watched(scene.backend.store, lambda: seen.append(statuses(reader)))
    manager = TriggerManager(scene.backend.storage_class(reader.uid, store=store), process=scene.process)
    scene.records("w", {"r": 1})
    scene.records("w2")
    manager.update_configuration(CASCADE)
    manager.fire("a")
    scene.perform_all()
    assert seen == [
        {},
        {"t#0": "scheduled"},
        {"t#0": "running"},
        {"t#0": "finished", "u#0": "scheduled"},
        {"t#0": "finished", "u#0": "running"},
        {"t#0": "finished", "u#0": "finished"},
    ]
    assert scene.calls[1] == ("w2", {"t": {"r": 1}})


BAD_RESULTS: list[Any] = [5, "text", [1], True, {1: 2}, {"x": {1}}, {"x": float("nan")}, (), 0, ""]


def test_r17_a_result_is_an_object(scene: Scene) -> None:
    """Whatever else a work returns makes its instance failed, with a message that says so, and nothing cascades."""
    scene.works("w", lambda context: BAD_RESULTS[context.trigger_kwargs["a"]["case"]])
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for case in range(len(BAD_RESULTS)):
        manager.fire("a", {"case": case})
    scene.perform_all()
    for found in manager.storage:
        exception = found.metadata["exception"]
        assert exception["type"] in ("triggers.errors.InvalidResult", "triggers.errors.UnserializableKwargs")
        assert "result" in exception["message"]
    assert statuses(manager) == {f"t#{number}": "failed" for number in range(len(BAD_RESULTS))}
    assert "t" not in manager.storage.latest_kwargs


def test_r17_any_mapping_is_an_object(scene: Scene) -> None:
    """As a result, the result of a skip, and kwargs that replace others, as it is when it is fired."""

    def ends(context: TaskContext) -> Any:
        if context.trigger_kwargs["a"]["n"] == 0:
            context.retry(replacement_kwargs={"a": MappingProxyType({"n": 1})}, metadata=MappingProxyType({"m": 1}))
        if context.trigger_kwargs["a"]["n"] == 2:
            context.skip(result=OrderedDict(r=1))
        return Counter(words=2)

    scene.works("w", ends)
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    manager.fire("a", MappingProxyType({"n": 0}))
    manager.fire("a", {"n": 2})
    scene.perform_all()
    assert statuses(manager) == {"t#0": "replayed", "t#1": "skipped", "t#2": "finished"}
    assert manager.storage["t#0"].metadata == {"m": 1}
    assert manager.storage["t#1"].result == {"r": 1}
    assert manager.storage["t#2"].result == {"words": 2}


def test_r17_no_result_is_an_empty_object(scene: Scene) -> None:
    """``None`` is ``{}``, in the store and in the cascade."""
    scene.records("w", None)
    scene.records("w2")
    manager = scene.configured(CASCADE)
    manager.fire("a")
    scene.perform_all()
    assert manager.storage["t#0"].result == {}
    assert scene.calls[1] == ("w2", {"t": {}})


class Unprintable(Exception):
    """An exception whose own text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


ERRORS: list[tuple[BaseException, str, str]] = [
    (ValueError("no page 3"), "builtins.ValueError", "no page 3"),
    (SystemExit(3), "builtins.SystemExit", "3"),
    (GeneratorExit(), "builtins.GeneratorExit", ""),
    (BaseException("base"), "builtins.BaseException", "base"),
    (Exception("nul \0 and \ud800"), "builtins.Exception", "nul \\0 and ?"),
    (ExceptionGroup("two", [ValueError("x"), KeyError("y")]), "builtins.ExceptionGroup", "two (2 sub-exceptions)"),
    (Unprintable(), f"{__name__}.Unprintable", "Unprintable: its text cannot be made: RuntimeError"),
]


def test_r18_an_exception_fails_the_instance(scene: Scene) -> None:
    """Whatever a body raises, ``SystemExit`` included, is kept as type, text and traceback."""

    def raises(context: TaskContext) -> None:
        raise ERRORS[context.trigger_kwargs["a"]["case"]][0]

    scene.works("w", raises)
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for case in range(len(ERRORS)):
        manager.fire("a", {"case": case})
    scene.perform_all()
    for case, (_, kind, text) in enumerate(ERRORS):
        found = manager.storage[f"t#{case}"]
        assert str(found.status) == "failed"
        exception = found.metadata["exception"]
        assert (exception["type"], exception["message"]) == (kind, text)
        assert "in raises" in exception["traceback"]


def test_r18_the_attached_context_is_kept(scene: Scene) -> None:
    """Context that was attached on the way comes back; what is no JSON of it as text."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    def raises(context: TaskContext) -> None:
        try:
            raise with_context(ValueError("no"), {"page": 3, "seen": {1}})
        except ValueError as error:
            raise with_context(error, {"user": {"id": 7}, "odd": Odd()}) from None

    scene.works("w", raises)
    manager = scene.configured(ONE)
    manager.fire("a")
    scene.perform_all()
    kept = manager.storage["t#0"].metadata["exception"]["context"]
    assert {key: kept[key] for key in ("page", "seen", "user")} == {"page": 3, "seen": "{1}", "user": {"id": 7}}
    assert "Odd" in kept["odd"]


def test_r19_skip(scene: Scene) -> None:
    """A failed instance becomes skipped and cascades only if asked for."""
    manager = failing(scene, CASCADE)
    shown = manager.skip_failed_instance("t#0", result={"r": 1})
    assert (str(shown.status), shown.result, shown.wake_at) == ("skipped", {"r": 1}, None)
    assert statuses(manager) == {"t#0": "skipped"}
    assert "t" not in manager.storage.latest_kwargs


def test_r19_skip_with_cascade_is_one_step(scene: Scene) -> None:
    """With ``cascade`` the task's name fires with the result, in the same commit."""
    manager = failing(scene, CASCADE)
    seen: list[dict[str, str]] = []
    store = Watched(scene.backend.store, lambda: seen.append(statuses(manager)))
    scene.records("w2")
    other = TriggerManager(scene.backend.storage_class(manager.uid, store=store), process=scene.process)
    other.skip_failed_instance("t#0", cascade=True, result={"r": 2})
    assert seen == [{"t#0": "skipped", "u#0": "scheduled"}]
    scene.perform_all()
    assert scene.calls == [("w2", {"t": {"r": 2}})]


@pytest.mark.parametrize(
    "replacement, expected",
    [
        (None, {"a": {"n": 1, "p": 0}}),
        ({}, {"a": {"p": 0}}),
        ({"a": {"x": 2}, "z": {"y": 1}}, {"a": {"p": 0, "x": 2}, "z": {"y": 1}}),
    ],
    ids=["the same", "none", "others"],
)
def test_r20_replay(scene: Scene, replacement: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    """A replay makes a new instance with the same kwargs or the replacement, whole; ``withParams`` stay."""
    manager = failing(scene, {"t": {"after": ["a"], "run": "w", "withParams": {"a": {"p": 0}}}})
    seen: list[dict[str, str]] = []
    store = Watched(scene.backend.store, lambda: seen.append(statuses(manager)))
    other = TriggerManager(scene.backend.storage_class(manager.uid, store=store), process=scene.process)
    scene.forget_works()
    scene.records("w")
    shown = other.replay_failed_instance("t#0", replacement)
    assert seen == [{"t#0": "replayed", "t#1": "scheduled"}]
    assert (shown.name, str(shown.status), shown.parent, shown.depth, shown.attempt) == ("t#1", "scheduled", "t#0", 1, 1)
    scene.perform_all()
    assert scene.calls == [("w", expected)]
    assert statuses(manager) == {"t#0": "replayed", "t#1": "finished"}
    assert "t" in manager.storage.latest_kwargs


def test_r20_parent_and_depth_grow(scene: Scene) -> None:
    """The replay of a replay knows its parent and a depth of two."""
    manager = failing(scene)
    for number in range(3):
        manager.replay_failed_instance(f"t#{number}")
        scene.perform_all()
    assert [(found.parent, found.depth) for found in manager.storage.instances_of_task("t")] == [
        (None, 0),
        ("t#0", 1),
        ("t#1", 2),
        ("t#2", 3),
    ]


def test_r21_a_work_skips_itself(scene: Scene) -> None:
    """A running work may skip itself, with or without a cascade."""

    def skips(context: TaskContext) -> None:
        context.skip(cascade=context.trigger_kwargs["a"]["cascade"], result={"r": 1})

    scene.works("w", skips)
    scene.records("w2")
    for cascade, calls in ((False, []), (True, [("w2", {"t": {"r": 1}})])):
        manager = scene.configured(CASCADE)
        manager.fire("a", {"cascade": cascade})
        scene.perform_all()
        assert statuses(manager)["t#0"] == "skipped"
        assert manager.storage["t#0"].result == {"r": 1}
        assert scene.calls == calls


def test_r21_a_retry_is_a_replay(scene: Scene) -> None:
    """A work that retries itself is replayed in one commit; metadata stay with what ended, kwargs may be replaced."""

    def retries(context: TaskContext) -> Any:
        scene.calls.append(("w", context.trigger_kwargs))
        if context.task_instance.depth < 2:
            context.retry(
                metadata={"why": context.task_instance.depth},
                replacement_kwargs={"a": {"depth": 1}} if context.task_instance.depth else None,
            )
        return None

    scene.works("w", retries)
    manager = scene.configured({"t": {"after": ["a"], "run": "w", "withParams": {"p": {"q": 1}}}})
    manager.fire("a", {"n": 1})
    seen: list[dict[str, str]] = []
    delivery = scene.runner.waiting.popleft()
    store = Watched(scene.backend.store, lambda: seen.append(statuses(manager)))
    scene.runner.perform(delivery._replace(storage=scene.backend.storage_class(manager.uid, store=store)))
    assert seen == [{"t#0": "running"}, {"t#0": "replayed", "t#1": "scheduled"}]
    scene.perform_all()
    assert statuses(manager) == {"t#0": "replayed", "t#1": "replayed", "t#2": "finished"}
    assert [manager.storage[f"t#{n}"].metadata for n in range(3)] == [{"why": 0}, {"why": 1}, {}]
    assert [kwargs for _, kwargs in scene.calls] == [
        {"a": {"n": 1}, "p": {"q": 1}},
        {"a": {"n": 1}, "p": {"q": 1}},
        {"a": {"depth": 1}, "p": {"q": 1}},
    ]


def test_r21_max_retries(scene: Scene) -> None:
    """Past ``max_retries`` the instance fails with ``MaxRetriesExceeded``; a replay by hand starts the count anew."""

    def retries(context: TaskContext) -> None:
        context.retry(metadata={"tried": True})

    scene.works("w", retries, max_retries=2)
    manager = scene.configured(ONE)
    manager.fire("a")
    scene.perform_all()
    assert statuses(manager) == {"t#0": "replayed", "t#1": "replayed", "t#2": "failed"}
    assert manager.storage["t#2"].metadata["exception"]["type"] == "triggers.errors.MaxRetriesExceeded"
    assert manager.storage["t#2"].metadata["tried"] is True
    manager.replay_failed_instance("t#2")
    scene.perform_all()
    assert list(statuses(manager).values()) == ["replayed"] * 5 + ["failed"]


def test_r21_a_cooldown_is_waited_for(scene: Scene) -> None:
    """A retry with a cooldown is not delivered, and not started by anybody, before its time; then the sweep delivers it."""

    def retries(context: TaskContext) -> None:
        if context.task_instance.depth == 0:
            context.retry(cooldown=30)

    scene.works("w", retries)
    manager = scene.configured(ONE)
    manager.fire("a")
    early = scene.perform()
    assert statuses(manager) == {"t#0": "replayed", "t#1": "scheduled"}
    assert scene.waiting == []
    scene.runner.perform(early._replace(name="t#1"))
    assert statuses(manager)["t#1"] == "scheduled"
    if not scene.sweeps:
        return
    scene.clock.move(29)
    assert scene.process.sweep() == 0
    scene.clock.move(1)
    assert scene.process.sweep() == 1
    scene.perform_all()
    assert statuses(manager) == {"t#0": "replayed", "t#1": "finished"}


BAD_RETRIES: list[dict[str, Any]] = [
    {"cooldown": -1},
    {"cooldown": float("inf")},
    {"cooldown": float("nan")},
    {"cooldown": 1e300},
    {"cooldown": "soon"},
    {"replacement_kwargs": [1]},
    {"replacement_kwargs": {"a": 1}},
    {"replacement_kwargs": {"": {}}},
    {"replacement_kwargs": {"a": {"x": {1}}}},
    {"metadata": [1]},
    {"metadata": {"x": object()}},
]


def test_r21_a_retry_that_cannot_be_stored_fails_the_instance(scene: Scene) -> None:
    """What a body passes to ``retry`` is checked; the instance fails with what was wrong, and is not left running."""
    scene.works("w", lambda context: context.retry(**BAD_RETRIES[context.trigger_kwargs["a"]["case"]]))
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    for case in range(len(BAD_RETRIES)):
        manager.fire("a", {"case": case})
    scene.perform_all()
    assert statuses(manager) == {f"t#{case}": "failed" for case in range(len(BAD_RETRIES))}
    assert all(found.metadata["exception"]["message"] for found in manager.storage)


def in_each_status(scene: Scene) -> tuple[TriggerManager, dict[str, str]]:
    """A session with an instance in each status: ``{status: name}``."""

    def works(context: TaskContext) -> None:
        if context.task_instance.task == "running":
            raise KeyboardInterrupt
        if context.task_instance.task in ("failed", "replayed"):
            raise ValueError
        if context.task_instance.task == "skipped":
            context.skip()

    scene.works("w", works)
    tasks: dict[str, Any] = {
        name: {"after": ["a"], "run": "w"} for name in ("running", "finished", "failed", "skipped", "replayed")
    }
    tasks["unstarted"] = {"after": ["a", "never"], "run": "w"}
    tasks["abandoned"] = {"after": ["a"], "unless": ["a"], "run": "w"}
    tasks["scheduled"] = {"after": ["b"], "run": "w"}
    manager = scene.configured(tasks)
    manager.fire("a")
    while scene.runner.waiting:
        with contextlib.suppress(KeyboardInterrupt):
            scene.perform()
    manager.replay_failed_instance("replayed#0")
    manager.fire("b")
    scene.runner.waiting.clear()
    return manager, {str(found.status): found.name for found in manager.storage if found.name.endswith("#0")}


OPERATIONS: dict[str, tuple[Any, str, set[str]]] = {
    "replay": (lambda manager, name: manager.replay_failed_instance(name), "failed", {"failed"}),
    "skip": (lambda manager, name: manager.skip_failed_instance(name), "failed", {"failed"}),
    "to running": (lambda manager, name: manager.update_instance_status(name, "running"), "scheduled", {"scheduled"}),
    "to finished": (lambda manager, name: manager.update_instance_status(name, "finished"), "running", {"running"}),
    "to failed": (lambda manager, name: manager.update_instance_status(name, "failed"), "running", {"running"}),
    "to skipped": (lambda manager, name: manager.update_instance_status(name, "skipped"), "failed", {"failed", "running"}),
    "to replayed": (lambda manager, name: manager.update_instance_status(name, "replayed"), "failed", {"failed"}),
    "to unstarted": (lambda manager, name: manager.update_instance_status(name, "unstarted"), "", set()),
}


def test_r22_the_wrong_status_is_refused(scene: Scene) -> None:
    """An operation in another status names the instance, its status and those that would do; nothing changes."""
    manager, names = in_each_status(scene)
    assert set(names) == {str(status) for status in TRANSITIONS}
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    for call, possible, allowed in OPERATIONS.values():
        for status, name in names.items():
            if status not in allowed:
                with pytest.raises(IllegalTransition) as caught:
                    call(manager, name)
                assert name in str(caught.value)
                assert status in str(caught.value)
                assert possible in str(caught.value)
                _, _, when = str(caught.value).partition("that is possible when it is ")
                assert set(when.split(" or ")) - {""} <= allowed, "it names a status that would not do"
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before


def test_r22_a_refusal_is_decided_on_what_is_stored_now(scene: Scene) -> None:
    """What another process did meanwhile counts: no operation is refused for what a process remembers."""

    def fails(context: TaskContext) -> None:
        raise ValueError

    scene.works("w", fails)
    manager = scene.configured({"t": {"andEvery": "a", "run": "w"}})
    other = scene.another_process()
    manager.fire("a")
    other.runners.get("held").perform(scene.runner.waiting.popleft())
    assert manager.replay_failed_instance("t#0").name == "t#1"
    other.runners.get("held").perform(scene.runner.waiting.popleft())
    assert str(manager.skip_failed_instance("t#1").status) == "skipped"
    with pytest.raises(IllegalTransition, match="skipped"):
        scene.manager(manager.uid, process=other).replay_failed_instance("t#1")


def test_r22_no_such_instance(scene: Scene) -> None:
    """An instance that does not exist is named in the error; a session that does not exist is not made."""
    manager = scene.configured(ONE)
    calls = [call for call, _, _ in OPERATIONS.values()]
    calls += [
        lambda some, name: some.update_instance_metadata(name, {"x": 1}),
        lambda some, name: some.mark_instance_logs_resolved(name),
    ]
    nobody = scene.manager()
    for call in calls:
        for some in (manager, nobody):
            with pytest.raises(UnknownInstance, match="t#7"):
                call(some, "t#7")
    assert not nobody.storage.exists()


def test_status_changes_by_hand_are_the_same_commands(scene: Scene) -> None:
    """``update_instance_status`` starts, finishes with a cascade, fails, replays and skips; metadata are kept."""
    scene.records("w2")
    manager = scene.configured(CASCADE)
    manager.fire("a", {"n": 1})
    scene.runner.waiting.clear()
    assert manager.update_instance_status("t#0", "running", {"by": "me"}).metadata == {"by": "me"}
    manager.update_instance_status("t#0", "failed", {"again": 1}, message="by me")
    found = manager.storage["t#0"]
    assert (str(found.status), found.metadata["exception"]["message"]) == ("failed", "by me")
    assert (found.metadata["by"], found.metadata["again"]) == ("me", 1)
    manager.update_instance_status("t#0", "replayed", replacement_kwargs={"a": {"n": 2}})
    manager.update_instance_status("t#1", "running")
    manager.update_instance_status("t#1", "finished", result={"r": 3})
    assert statuses(manager) == {"t#0": "replayed", "t#1": "finished", "u#0": "scheduled"}
    assert manager.storage["u#0"].kwargs == {"t": {"r": 3}}
