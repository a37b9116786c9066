"""What a body knows and can do while it runs."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pydantic
import pytest

from processes import Bench, bench
from triggers.context import MAX_TEXT, TaskContext, storable, storable_text
from triggers.errors import InvalidKwargs, StaleAttempt
from triggers.hooks import get_hooks, hookimpl
from triggers.instance import TaskInstance


@pytest.fixture
def made() -> Iterator[Bench]:
    """A bench with the inline runner."""
    with bench() as found:
        yield found


def test_what_it_knows(made: Bench) -> None:
    """The instance, the attempt, the kwargs, and a manager of the session."""
    seen: dict[str, Any] = {}

    def body(context: TaskContext) -> None:
        seen.update(
            name=context.task_instance.name,
            status=str(context.task_instance.status),
            attempt=context.attempt,
            kwargs=context.trigger_kwargs,
            uid=context.manager.uid,
            lost=context.lost,
        )
        context.heartbeat()

    made.run(body, {"n": 1})
    assert seen == {"name": "t#0", "status": "running", "attempt": 1, "kwargs": {"a": {"n": 1}}, "uid": "s", "lost": False}


def test_the_idempotency_key(made: Bench) -> None:
    """The same for each attempt of an instance; another for a replay, another instance, and a session made anew."""
    keys: list[str] = []

    def body(context: TaskContext) -> None:
        keys.append(context.idempotency_key)
        if context.trigger_kwargs["a"].get("die"):
            raise KeyboardInterrupt
        if context.trigger_kwargs["a"].get("fail"):
            raise ValueError

    made.work(body)
    manager = made.manager("a/b")
    document = {"t": {"andEvery": "a", "run": "w"}}
    manager.update_configuration(document)
    with pytest.raises(KeyboardInterrupt):
        manager.fire("a", {"die": 1})
    made.clock.move(61)
    with pytest.raises(KeyboardInterrupt):
        made.process.sweep()
    assert len(set(keys)) == 1, "two attempts of an instance"
    manager.fire("a", {"fail": 1})
    manager.replay_failed_instance("t#1", {"a": {}})
    manager.storage.delete()
    made.clock.move(1)
    manager.update_configuration(document)
    manager.fire("a")
    other = made.manager("a")
    other.update_configuration({"b/t": {"andEvery": "a", "run": "w"}})
    other.fire("a")
    assert len(set(keys)) == 5


def test_the_logger_keeps_the_highest(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The first record of the highest level stays with the instance, with its context; all go to the process's loggers."""

    def body(context: TaskContext) -> None:
        with context.get_logger_context() as logger:
            logger.info("begins")
            logger.warning("page %d is odd", 3, extra={"context": {"page": 3, "seen": {1}}})
            logger.warning("another")
            logger.debug("ends")

    with caplog.at_level(logging.DEBUG):
        manager = made.run(body)
    found = manager.storage["t#0"]
    assert found.log_level == logging.WARNING
    assert found.log_context == {"message": "page 3 is odd", "level": "WARNING", "page": 3, "seen": "{1}"}
    assert [one.name for one in caplog.records if one.name.startswith("triggers.task")] == ["triggers.task.w"] * 4
    assert [one.name for one in manager.storage.get_instances_with_unresolved_logs()] == ["t#0"]
    assert manager.mark_instance_logs_resolved("t#0").logs_resolved
    assert manager.storage.get_instances_with_unresolved_logs() == []


def test_logs_of_a_failed_work_are_kept_and_a_bad_record_does_no_harm(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was logged before the exception stays; a record whose text cannot be made does not stop the body."""
    monkeypatch.setattr(logging.getLogger("triggers.task.w"), "propagate", False)

    def body(context: TaskContext) -> None:
        with context.get_logger_context() as logger:
            logger.error("%d pages", "three", extra={"context": "text"})
            raise ValueError("no")

    found = made.run(body).storage["t#0"]
    assert str(found.status) == "failed"
    assert found.log_level == logging.ERROR
    assert "its text cannot be made: TypeError" in found.log_context["message"]
    assert found.log_context["context"] == "'text'"
    assert found.metadata["exception"]["message"] == "no"


def test_info_is_no_unresolved_log(made: Bench) -> None:
    """Only warnings and worse ask for somebody's eyes."""

    def body(context: TaskContext) -> None:
        with context.get_logger_context() as logger:
            logger.setLevel(logging.INFO)
            logger.info("fine")

    manager = made.run(body)
    assert manager.storage["t#0"].log_level == logging.INFO
    assert manager.storage.get_instances_with_unresolved_logs() == []


class Page(msgspec.Struct):
    number: int


class Model(pydantic.BaseModel):
    inner: dict[str, int]


def in_body(made: Bench, call: Any, kwargs: dict[str, Any]) -> Any:
    """What the call gives inside of a body; or the error."""
    seen: list[Any] = []

    def body(context: TaskContext) -> None:
        try:
            seen.append(call(context))
        except Exception as error:
            seen.append(error)

    made.run(body, kwargs)
    return seen[0]


def test_kwargs_as(made: Bench) -> None:
    """A Struct, or any type that msgspec knows."""
    assert in_body(made, lambda context: context.kwargs_as("a", Page), {"number": 1}) == Page(1)


def test_kwargs_as_another_type(made: Bench) -> None:
    """Also a plain dictionary with types."""
    assert in_body(made, lambda context: context.kwargs_as("a", dict[str, int]), {"x": 1}) == {"x": 1}


def test_kwargs_that_do_not_fit_pydantic(made: Bench) -> None:
    """The error names the trigger and the field."""
    error = in_body(made, lambda context: context.kwargs_as("a", Model), {"inner": {"x": "three"}})
    assert isinstance(error, InvalidKwargs)
    assert str(error).startswith("the kwargs of trigger 'a' do not fit: Input should be a valid integer")
    assert "at `$.inner.x`" in str(error)


def test_kwargs_that_do_not_fit_a_generic_type(made: Bench) -> None:
    """The type is named as it is written."""
    error = in_body(made, lambda context: context.kwargs_as("a", dict[str, int]), {"x": "y"})
    assert isinstance(error, InvalidKwargs)
    assert "'a' do not fit dict" in str(error)


@pytest.fixture
def f() -> Any:
    """The module phx-filters; the releases for Python 3.11 do not work beside the class registry that Triggers needs."""
    return pytest.importorskip(
        "filters", reason="phx-filters cannot be imported: 3.5 or later needs Python 3.12", exc_type=ImportError
    )


def test_filter_kwargs(made: Bench, f: Any) -> None:
    """phx-filters clean the kwargs."""
    cleaned = in_body(made, lambda context: context.filter_kwargs({"a": {"n": f.Required | f.Int}}), {"n": "7"})
    assert cleaned == {"a": {"n": 7}}


def test_filter_kwargs_that_are_invalid(made: Bench, f: Any) -> None:
    """What is invalid is told by trigger and field."""
    wanted = {"a": {"n": f.Required | f.Int}, "b": {"x": f.Required}}
    error = in_body(made, lambda context: context.filter_kwargs(wanted), {"n": "seven"})
    assert isinstance(error, InvalidKwargs)
    assert "a.n: " in str(error)
    assert "b: " in str(error)


def test_filter_kwargs_without_phx_filters(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says what to install."""
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "filters":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    error = in_body(made, lambda context: context.filter_kwargs({}), {})
    assert isinstance(error, ImportError)
    assert "pip install phx-filters" in str(error)


def test_a_superseded_attempt_is_told(made: Bench) -> None:
    """``heartbeat()`` raises, and ``lost`` is true, once another attempt is the current one."""
    seen: list[Any] = []

    def body(context: TaskContext) -> None:
        if context.attempt == 1:
            made.clock.move(61)
            made.change(runner="nobody")
            made.process.sweep()
            made.change(runner="inline")
            seen.append(context.lost)
            try:
                context.heartbeat()
            except StaleAttempt:
                seen.append(context.lost)

    manager = made.run(body)
    assert seen == [False, True]
    assert str(manager.storage["t#0"].status) == "scheduled"


def test_storable() -> None:
    """Context never makes a report fail: what is no JSON, or too large, becomes text; texts are cleaned and cut."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    kept = storable({"ok": [1], 5: "key", "odd": Odd(), "set": {1}, "large": "x" * (2 * MAX_TEXT)})
    assert (kept["ok"], kept["5"], kept["set"]) == ([1], "key", "{1}")
    assert "Odd" in kept["odd"]
    assert len(kept["large"]) < MAX_TEXT + 20
    assert storable([1]) == {"context": "[1]"}
    assert storable_text("a\0b\ud800") == "a\\0b?"
    assert storable_text("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert "… cut …" in storable_text("x" * (MAX_TEXT + 1))


def test_what_changes_nothing_is_not_written(made: Bench) -> None:
    """The same metadata once more, and logs that were resolved before, leave the session's version as it is."""
    made.run(lambda context: None, {})
    manager = made.manager("s")
    manager.update_instance_metadata("t#0", {"x": 1})
    version = manager.storage.metadata["touched_at"]
    assert manager.update_instance_metadata("t#0", {"x": 1}).metadata["x"] == 1
    manager.mark_instance_logs_resolved("t#0")
    assert manager.storage.metadata["touched_at"] == version


def test_a_body_may_be_ended_from_outside(made: Bench) -> None:
    """An operator skips what runs; the report of the body is refused then."""

    def body(context: TaskContext) -> None:
        context.manager.update_instance_status("t#0", "skipped")

    made.run(body, {})
    assert str(made.manager("s").storage["t#0"].status) == "skipped"


def test_plugins_hear_of_what_is_skipped(made: Bench) -> None:
    """By hand, with what follows from it."""
    heard: list[tuple[str, bool]] = []

    class Plugin:
        @hookimpl
        def triggers_post_skip(self, instance: TaskInstance, cascade: bool) -> None:
            heard.append((instance.name, cascade))

    def body(context: TaskContext) -> None:
        raise ValueError

    plugin = Plugin()
    get_hooks().register(plugin)
    try:
        made.run(body, {})
        made.manager("s").skip_failed_instance("t#0", cascade=True)
    finally:
        get_hooks().unregister(plugin)
    assert heard == [("t#0", True)]
