"""Bad input: one clear error of ours, and the stored session is as it was."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rules.scene import Scene, statuses
from triggers.context import TaskContext
from triggers.errors import (
    ConfigurationError,
    IllegalTransition,
    InvalidName,
    StorageError,
    TriggersError,
    UnknownInstance,
    UnreadableRecord,
    UnserializableKwargs,
)
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.settings import Settings
from triggers.store import EVERYTHING
from triggers_sql.backend import SqlStorageBackend
from triggers_sql.store import SqlStore

TASK = {"after": ["a"], "run": "w"}


def nested(levels: int) -> dict[str, Any]:
    """An object that deep."""
    deep: dict[str, Any] = {}
    for _ in range(levels - 1):
        deep = {"d": deep}
    return deep


Call = Callable[[Any], object]

BAD: dict[str, tuple[Call, type[TriggersError], str]] = {
    "a configuration that is a list": (lambda m: m.update_configuration([TASK]), ConfigurationError, "an object of tasks"),
    "a configuration that is nothing": (lambda m: m.update_configuration(None), ConfigurationError, "an object of tasks"),
    "a misspelt directive": (lambda m: m.update_configuration({"u": {**TASK, "unles": ["b"]}}), ConfigurationError, "'unless'"),
    "an empty after": (
        lambda m: m.update_configuration({"u": {"after": [], "run": "w"}}),
        ConfigurationError,
        "at least one trigger",
    ),
    "withParams of numbers": (
        lambda m: m.update_configuration({"u": {**TASK, "withParams": {"a": 1}}}),
        ConfigurationError,
        "an object of kwargs",
    ),
    "a task with an empty name": (lambda m: m.update_configuration({"": TASK}), ConfigurationError, "must not be empty"),
    "a task with a long name": (lambda m: m.update_configuration({"t" * 256: TASK}), ConfigurationError, "at most 255 bytes"),
    "a trigger with a control character": (
        lambda m: m.update_configuration({"u": {"after": ["a\x07"], "run": "w"}}),
        ConfigurationError,
        "control characters",
    ),
    "firing nothing": (lambda m: m.fire(""), InvalidName, "must not be empty"),
    "firing a long name": (lambda m: m.fire("é" * 128), InvalidName, "at most 255 bytes"),
    "firing a control character": (lambda m: m.fire("a\r\n"), InvalidName, "control characters"),
    "firing a number": (lambda m: m.fire(5), InvalidName, "must be a string"),
    "firing a list": (lambda m: m.fire(["a"]), InvalidName, "must be a string"),
    "a set": (lambda m: m.fire("a", {"k": {1}}), UnserializableKwargs, "of type set"),
    "bytes": (lambda m: m.fire("a", {"k": b"x"}), UnserializableKwargs, "of type bytes"),
    "no number": (lambda m: m.fire("a", {"k": math.nan}), UnserializableKwargs, "floats must be finite"),
    "a time": (lambda m: m.fire("a", {"k": dt.datetime.now(dt.UTC)}), UnserializableKwargs, "of type datetime.datetime"),
    "a key that is no string": (lambda m: m.fire("a", {1: "x"}), UnserializableKwargs, "no string but of type int"),
    "1 000 levels": (lambda m: m.fire("a", nested(1000)), UnserializableKwargs, "more than 100 levels"),
    "20 megabytes": (lambda m: m.fire("a", {"k": "x" * 20_000_000}), UnserializableKwargs, "the limit is 4194304"),
    "skipping what has not failed": (lambda m: m.skip_failed_instance("t#0"), IllegalTransition, "t#0 is scheduled"),
    "replaying what has not failed": (lambda m: m.replay_failed_instance("t#0"), IllegalTransition, "t#0 is scheduled"),
    "skipping what is not there": (lambda m: m.skip_failed_instance("t#9"), UnknownInstance, "no instance 't#9'"),
    "replaying what is not there": (lambda m: m.replay_failed_instance("u#0"), UnknownInstance, "no instance 'u#0'"),
    "replaying what is no instance": (lambda m: m.replay_failed_instance("t"), InvalidName, "t_score#0"),
    "a status that there is not": (
        lambda m: m.update_instance_status("t#0", "done"),
        IllegalTransition,
        "there is no status 'done'",
    ),
    "metadata that are no object": (lambda m: m.update_instance_metadata("t#0", [1]), UnserializableKwargs, "must be an object"),
}


def test_bad_calls_change_nothing(scene: Scene) -> None:
    """Each raises its one error, with a message for people, and the stored session is byte by byte as it was."""
    manager = scene.configured({"t": TASK})
    manager.fire("a", {"n": 1})
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    for name, (call, kind, message) in BAD.items():
        with pytest.raises(kind) as caught:
            call(manager)
        assert type(caught.value) is kind, name
        assert message in str(caught.value), name
        assert len(str(caught.value)) < 500, name
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    assert scene.waiting == ["t#0"]


def test_bad_calls_on_no_session_make_none(scene: Scene) -> None:
    """The same calls on a session that does not exist do not make it."""
    manager = scene.manager()
    for call, _, _ in BAD.values():
        with pytest.raises(TriggersError):
            call(manager)
    assert not manager.storage.exists()


def test_options_that_an_operation_does_not_have(scene: Scene) -> None:
    """A misspelt argument of ``update_instance_status`` is refused before anything happens."""

    def fails(context: TaskContext) -> None:
        raise ValueError

    scene.works("w", fails)
    manager = scene.configured({"t": TASK})
    manager.fire("a")
    scene.perform_all()
    before = scene.backend.store.load(manager.uid, EVERYTHING)
    for status, option in (("replayed", "kwargs"), ("skipped", "cascades")):
        with pytest.raises(TypeError, match=option):
            manager.update_instance_status("t#0", status, **{option: {}})
    assert scene.backend.store.load(manager.uid, EVERYTHING) == before
    assert statuses(manager) == {"t#0": "failed"}


def on_file(path: Path) -> TriggerManager:
    """A manager on a SQLite file."""
    settings = Settings(runner="nobody", sweep_interval=0.0)
    return TriggerManager(
        SqlStorageBackend("s", store=SqlStore(url=f"sqlite:///{path}")), process=Process(settings=lambda: settings)
    )


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """An error of ours that names the file, which is left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"notes\.txt"):
        on_file(path).fire("a")
    assert path.read_bytes() == before


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, who may write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_that_is_read_only(folder: Path) -> None:
    """An error of ours that names the file; nothing is stored, and what is there can be read."""
    path = folder / "s.db"
    first = on_file(path)
    first.fire("a")
    first.storage.store.close()
    path.chmod(0o444)
    folder.chmod(0o555)
    with as_nobody():
        manager = on_file(path)
        with pytest.raises(StorageError, match=r"s\.db"):
            manager.fire("b")
        manager.storage.store.close()
    folder.chmod(0o755)
    path.chmod(0o644)
    assert on_file(path).storage.latest_kwargs == {"a": {}}


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """An error of ours that names the file."""
    with pytest.raises(StorageError, match="absent"):
        on_file(tmp_path / "absent" / "s.db").fire("a")


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    """Tables of a revision that this version does not know are not touched."""
    path = tmp_path / "s.db"
    on_file(path).fire("a", {"n": 1})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE triggers_alembic_version SET version_num = 'triggers_9999'")
    connection.close()
    with pytest.raises(UnreadableRecord, match=r"triggers_9999|newer|later"):
        on_file(path).fire("b")
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT key FROM triggers_records WHERE collection = 'trigger'").fetchall()
    connection.close()
    assert found == [("a",)]
