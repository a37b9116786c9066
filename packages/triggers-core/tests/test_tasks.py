"""Tasks: how a body is found, and what it is given."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from processes import Bench, bench
from triggers.context import TaskContext
from triggers.errors import PluginError, SettingsError, UnknownTask
from triggers.settings import configure, reset
from triggers.tasks import Registered, TriggerTask, registered, task


@pytest.fixture
def made() -> Iterator[Bench]:
    """A bench with the inline runner."""
    with bench() as found:
        yield found


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    yield
    reset()


def test_a_function_is_registered_under_its_name(made: Bench) -> None:
    """The given one, or module and function; the function itself stays as it is."""

    def plain(context: TaskContext) -> dict[str, int]:
        return {"r": 1}

    assert task("tests.named")(plain) is plain
    assert task()(plain) is plain
    names = ["tests.named", f"{plain.__module__}.{plain.__qualname__}"]
    try:
        assert set(names) <= set(registered.names())
        for name in names:
            assert registered.has(name)
    finally:
        for name in names:
            registered.remove(name)
    assert not registered.has("tests.named")


def test_a_decorator_without_parentheses() -> None:
    """Is answered with what to write."""
    with pytest.raises(SettingsError, match=r"write @task\(\)"):

        @task  # type: ignore[arg-type]
        def _forgotten(context: TaskContext) -> None: ...


def test_a_name_that_is_none() -> None:
    """A work's name is a name like others."""
    with pytest.raises(ValueError, match="the name of a work"):
        task("a\nb")(lambda context: None)


@pytest.mark.parametrize("limit", ["3", -1, 1.5, True])
def test_a_limit_of_retries_that_is_none(limit: Any) -> None:
    """Refused where it is written: at the first retry it would leave the instance running."""
    with pytest.raises(SettingsError, match="is a whole number from 0, or None for no limit, got"):
        task("made.limited", max_retries=limit)(lambda context: None)
    with pytest.raises(SettingsError, match="is a whole number from 0, or None for no limit, got"):
        type("Limited", (TriggerTask,), {"name": "made.limited", "max_retries": limit})
    assert registered.known("made.limited") is None


def test_two_bodies_of_one_name() -> None:
    """Are refused with both; the same function again (a module that is imported anew) is not."""
    found = Registered()

    class One:
        max_retries: int | None = None

        def __call__(self, context: TaskContext) -> None: ...

    class Two(One): ...

    one, two = One(), Two()
    one.target, two.target = first_body, second_body  # type: ignore[attr-defined]
    found.add("x", one)
    found.add("x", one)
    with pytest.raises(PluginError, match=r"two tasks are registered as 'x': .*first_body and .*second_body"):
        found.add("x", two)


def first_body(context: TaskContext) -> None:
    """A body."""


def second_body(context: TaskContext) -> None:
    """Another."""


def test_a_class_is_made_anew_for_each_run(made: Bench) -> None:
    """Attributes of one run are not seen by the next; name and retries are those of the class."""
    seen: list[tuple[int, bool]] = []

    class Counts(TriggerTask):
        name = "tests.counts"
        max_retries = 1

        def __init__(self) -> None:
            self.used = False

        def _run(self, context: TaskContext) -> dict[str, int]:
            seen.append((context.task_instance.depth, self.used))
            self.used = True
            if context.trigger_kwargs["a"].get("skip"):
                self.skip(context, result={"skipped": 1})
            self.retry(context)

    try:
        manager = made.manager()
        manager.update_configuration({"t": {"andEvery": "a", "run": "tests.counts"}})
        manager.fire("a")
        manager.fire("a", {"skip": 1})
    finally:
        registered.remove("tests.counts")
    assert seen == [(0, False), (1, False), (0, False)]
    assert [str(one.status) for one in manager.storage] == ["replayed", "failed", "skipped"]


def test_a_class_that_does_nothing_fails() -> None:
    """A class without ``_run`` says so; an abstract one is not registered; one without a name has its path."""

    class Base(TriggerTask):
        abstract = True

    class Concrete(Base): ...

    name = f"{Concrete.__module__}.{Concrete.__qualname__}"
    try:
        assert registered.has(name)
        assert not registered.has(f"{Base.__module__}.{Base.__qualname__}")
        with bench() as made:
            manager = made.manager()
            manager.update_configuration({"t": {"after": ["a"], "run": name}})
            manager.fire("a")
            assert "does not override _run" in manager.storage["t#0"].metadata["exception"]["message"]
    finally:
        registered.remove(name)


class Page(msgspec.Struct):
    number: int
    answers: list[str] = []


@dataclasses.dataclass
class Person:
    name: str
    age: int = 0


class Model(pydantic.BaseModel):
    score: float


def test_typed_parameters(made: Bench) -> None:
    """Parameters after the context are triggers: Structs, dataclasses, pydantic models, dictionaries, and defaults."""
    seen: list[Any] = []

    def body(
        context: TaskContext, page: Page, person: Person, model: Model, raw: dict[str, Any], absent: Page | None = None
    ) -> None:
        seen.extend([page, person, model, raw, absent])

    made.work(body)
    manager = made.manager()
    manager.update_configuration({"t": {"after": ["page", "person", "model", "raw"], "run": "w"}})
    manager.fire("page", {"number": 3, "answers": ["yes"]})
    manager.fire("person", {"name": "Ada"})
    manager.fire("model", {"score": 1})
    manager.fire("raw", {"x": [1]})
    assert seen == [Page(3, ["yes"]), Person("Ada"), Model(score=1.0), {"x": [1]}, None]


def test_typed_parameters_that_do_not_fit(made: Bench) -> None:
    """The instance fails with an error that names the trigger and the field."""

    def body(context: TaskContext, page: Page) -> None: ...

    manager = made.run(body, withParams={"page": {"number": "three"}})
    exception = manager.storage["t#0"].metadata["exception"]
    assert exception["type"] == "triggers.errors.InvalidKwargs"
    assert exception["message"] == "the kwargs of trigger 'page' do not fit Page: Expected `int`, got `str` - at `$.number`"


def test_a_parameter_without_its_trigger(made: Bench) -> None:
    """The error lists the triggers that did give kwargs."""

    def body(context: TaskContext, page: Page) -> None: ...

    manager = made.run(body, {"x": 1})
    assert (
        manager.storage["t#0"].metadata["exception"]["message"] == "trigger 'page' gave this work no kwargs; it has those of: a"
    )


def test_a_function_without_parameters(made: Bench) -> None:
    """Is simply called."""
    manager = made.run(lambda: {"r": 1})
    assert manager.storage["t#0"].result == {"r": 1}


def test_modules_of_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that the setting lists are imported when a body is looked for; one that cannot be is an error of ours."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tasks_of_tests.py").write_text("from triggers import task\n@task('tests.from_module')\ndef f(context): pass\n")
    (tmp_path / "tasks_broken.py").write_text("import no_such_module_at_all\n")
    found = Registered()
    configure(tasks=["tasks_of_tests"])
    try:
        with pytest.raises(UnknownTask):
            found.find("tests.absent")
        assert "tasks_of_tests" in sys.modules
        assert registered.has("tests.from_module")
        configure(tasks=["tasks_broken"])
        with pytest.raises(
            SettingsError, match=r"'tasks_broken' of the setting 'tasks' cannot be imported: .*no_such_module_at_all"
        ):
            found.find("tests.absent")
    finally:
        registered.remove("tests.from_module")
        sys.modules.pop("tasks_of_tests", None)


def test_unknown_tasks() -> None:
    """The message says where was looked, and suggests."""
    found = Registered()

    class Body:
        max_retries: int | None = None

        def __call__(self, context: TaskContext) -> None: ...

    found.add("survey.score", Body())
    with pytest.raises(UnknownTask) as caught:
        found.find("survey.scores")
    message = str(caught.value)
    assert "'survey.scores', did you mean 'survey.score'?" in message
    assert "imported modules of the setting 'tasks': none" in message
    assert "@task('survey.scores')" in message
    assert found.names() == ["survey.score"]


def test_paths_are_imported_only_if_allowed() -> None:
    """A stored name is never imported as a path unless the application says so."""
    path = "triggers.names.shorten"
    with pytest.raises(UnknownTask):
        Registered().find(path)
    configure(allow_import_paths=True)
    found = Registered()
    assert found.find(path) is found.find(path)
    for absent in ("triggers.names.absent", "triggers.absent.shorten", "shorten", "triggers.names.MAX_NAME_BYTES"):
        with pytest.raises(UnknownTask):
            found.find(absent)


def test_entry_points_of_tasks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Installed distributions bring tasks; one that cannot be imported is noted and stops no other."""

    class Point:
        def __init__(self, name: str, error: Exception | None) -> None:
            self.name, self.value, self.error = name, f"{name}.tasks", error

        def load(self) -> None:
            loaded.append(self.name)
            if self.error:
                raise self.error

    loaded: list[str] = []
    points = [Point("broken", RuntimeError("no")), Point("good", None)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "triggers.tasks" else [])
    found = Registered()
    for _ in range(2):
        assert not found.has("anything")
    assert loaded == ["broken", "good"]
    assert str(found.broken["broken"]) == "no"
    assert "the tasks of broken (broken.tasks) cannot be imported" in caplog.text
