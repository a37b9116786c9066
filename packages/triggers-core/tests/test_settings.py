"""Settings: where they come from, what is refused, and what is never printed."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from triggers import settings
from triggers.errors import SettingsError
from triggers.process import get_process
from triggers.settings import (
    Settings,
    check,
    configure,
    from_environment,
    get_settings,
    on_change,
    redact,
    refused_option,
    reset,
    use_base,
)
from triggers.storages import storage_backends
from triggers.testing.conformance.forks import in_fork


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("TRIGGERS_LEASE", "TRIGGERS_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    reset()
    yield
    monkeypatch.undo()
    reset()


def test_the_defaults() -> None:
    """SQLite, threads, and times that are said in the manual."""
    settings = get_settings()
    assert (settings.storage, settings.runner, settings.manager) == ("sql", "threading", "default")
    assert (settings.lease, settings.redeliver_after, settings.sweep_interval) == (60.0, 60.0, 10.0)
    assert repr(settings) == "Settings()"
    assert get_settings() is settings


def test_what_is_stronger_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """``configure``, then the environment, then a file, then the defaults."""
    use_base({"lease": 1, "threads": 2, "runner": "inline", "storages": {"sql": {"url": "file", "timeout": 1}}})
    assert (get_settings().lease, get_settings().threads, get_settings().runner) == (1.0, 2, "inline")
    monkeypatch.setenv("TRIGGERS_LEASE", "3")
    monkeypatch.setenv("TRIGGERS_THREADS", "4")
    monkeypatch.setenv("TRIGGERS_SQL_URL", "environment")
    use_base({"lease": 1, "threads": 2, "runner": "inline", "storages": {"sql": {"url": "file", "timeout": 1}}})
    assert (get_settings().lease, get_settings().threads, get_settings().runner) == (3.0, 4, "inline")
    configure(lease=5)
    configure(storages={"redis": {"url": "configured"}})
    settings = get_settings()
    assert (settings.lease, settings.threads) == (5.0, 4)
    assert settings.storages == {"sql": {"url": "environment", "timeout": 1}, "redis": {"url": "configured"}}
    assert settings.options_of("redis") == {"url": "configured"}
    assert settings.options_of("other") == {}


def test_a_new_base_replaces_the_old_one() -> None:
    """What only the earlier file said is gone."""
    use_base({"lease": 1})
    use_base({"threads": 2})
    assert (get_settings().lease, get_settings().threads) == (60.0, 2)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"leese": 5}, "unknown setting 'leese', did you mean 'lease'?"),
        ({"Lease": 5}, "did you mean 'lease'?"),
        ({"colour": 5}, "unknown setting 'colour'; known are storage, storages"),
        ({"lease": "5"}, "setting 'lease' must be of type float, got '5'"),
        ({"lease": True}, "must be of type float"),
        ({"lease": 0}, "setting 'lease' must be more than 0, got 0.0"),
        ({"lease": -1}, "must be more than 0"),
        ({"lease": math.nan}, "must be more than 0, got nan"),
        ({"lease": math.inf}, "at most"),
        ({"sweep_interval": -1}, "setting 'sweep_interval' must be 0 or more"),
        ({"event_ttl": 1e300}, "at most"),
        ({"threads": 1.5}, "must be of type int"),
        ({"threads": 0}, "must be more than 0"),
        ({"finalize": 1}, "must be of type bool"),
        ({"storage": None}, "must be of type str"),
        ({"tasks": "a.b"}, "setting 'tasks' is a list of module names, got 'a.b'"),
        ({"tasks": [1]}, "is a list of module names"),
        ({"storages": {"sql": "sqlite:///x"}}, "setting 'storages' is an object of objects"),
        ({"runners": []}, "setting 'runners' is an object of objects"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    """The message names the setting; none of those that came with it is changed."""
    with pytest.raises(SettingsError) as caught:
        configure(threads=3, **settings) if "threads" not in settings else configure(**settings)
    assert message in str(caught.value)
    assert repr(get_settings()) == "Settings()"
    with pytest.raises(SettingsError):
        use_base(settings)
    assert repr(get_settings()) == "Settings()"


def test_settings_are_an_object() -> None:
    """A file that holds a list is refused."""
    with pytest.raises(SettingsError, match="settings are an object"):
        check([1])  # type: ignore[arg-type]


def test_the_environment() -> None:
    """Every type of setting can be given as text."""
    assert from_environment(
        {
            "TRIGGERS_LEASE": "1.5",
            "TRIGGERS_THREADS": "3",
            "TRIGGERS_FINALIZE": " Yes ",
            "TRIGGERS_ALLOW_IMPORT_PATHS": "0",
            "TRIGGERS_STORAGE": "redis",
            "TRIGGERS_TASKS": "a.tasks, b.tasks,",
            "TRIGGERS_REDIS_URL": "redis://h",
            "TRIGGERS_ARCHIVE_URL": "sqlite:///a",
            "TRIGGERS_TEST_REDIS_URL": "not ours",
            "TRIGGERS_SOMETHING_ELSE": "not ours",
            "OTHER": "x",
        }
    ) == {
        "lease": 1.5,
        "threads": 3,
        "finalize": True,
        "allow_import_paths": False,
        "storage": "redis",
        "tasks": ("a.tasks", "b.tasks"),
        "storages": {"redis": {"url": "redis://h"}, "archive": {"url": "sqlite:///a"}},
    }


@pytest.mark.parametrize(
    "variable, text, message",
    [
        ("TRIGGERS_LEESE", "5", "unknown environment variable TRIGGERS_LEESE, did you mean TRIGGERS_LEASE?"),
        ("TRIGGERS_SQL_ULR", "x", "unknown environment variable TRIGGERS_SQL_ULR, did you mean TRIGGERS_SQL_URL?"),
        ("TRIGGERS_SQL_URI", "x", "unknown environment variable TRIGGERS_SQL_URI, did you mean TRIGGERS_SQL_URL?"),
        ("TRIGGERS_LEASE", "soon", "TRIGGERS_LEASE='soon' is no float"),
        ("TRIGGERS_THREADS", "1.5", "TRIGGERS_THREADS='1.5' is no int"),
        ("TRIGGERS_FINALIZE", "perhaps", "TRIGGERS_FINALIZE='perhaps' is no bool"),
    ],
)
def test_mistakes_in_the_environment(variable: str, text: str, message: str) -> None:
    """The message names the variable."""
    with pytest.raises(SettingsError) as caught:
        from_environment({variable: text})
    assert str(caught.value) == message


def test_a_value_of_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like any other; also where the process has runners and stores that listen to changes."""
    configure(storage="memory", runner="inline")
    get_process().use(storage_backends.get("memory", "settings"))
    get_process().runners.get("inline")
    monkeypatch.setenv("TRIGGERS_LEASE", "nan")
    reset()
    with pytest.raises(SettingsError, match="'lease' must be more than 0"):
        get_settings()


@pytest.mark.parametrize(
    "value, shown",
    [
        ("postgresql://me:secret@h/db", "postgresql://me:***@h/db"),
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("postgresql://me:s@cr:et@h/db", "postgresql://me:***@h/db"),
        ("postgresql://h/db?user=me&password=secret&x=1", "postgresql://h/db?user=me&password=***&x=1"),
        ("postgresql://me:se/cr@et@h/db", "postgresql://me:***@h/db"),
        ("postgresql://h/db?sslpassword=secret&sslmode=require", "postgresql://h/db?sslpassword=***&sslmode=require"),
        ("host=h password='se cret' dbname=x", "host=h password=*** dbname=x"),
        (b"redis://:secret@h", "redis://:***@h"),
        (
            {"pwd": "p", "api_key": "p", "auth": ("u", "p"), "credentials": {"a": "p"}, "pool_size": 3},
            {"pwd": "***", "api_key": "***", "auth": "***", "credentials": "***", "pool_size": 3},
        ),
        (
            {"url": "redis://u:p@h", "Password": "p", "api_token": 5, "n": [1]},
            {"url": "redis://u:***@h", "Password": "***", "api_token": "***", "n": [1]},
        ),
        (["a://b:c@d"], ["a://b:***@d"]),
        (("a://b:c@d", 5), ("a://b:***@d", 5)),
        (5, 5),
    ],
)
def test_redact(value: Any, shown: Any) -> None:
    """Passwords in URLs, in their parameters and under keys that look like one are not shown."""
    assert redact(value) == shown


def test_printing_hides_passwords() -> None:
    """Also those of the storages and runners."""
    settings = Settings(storages={"sql": {"url": "postgresql://me:secret@h/db"}}, runners={"r": {"password": "secret"}})
    assert "secret" not in repr(settings)
    assert "postgresql://me:***@h/db" in repr(settings)


def test_listeners_hear_of_changes() -> None:
    """Whoever keeps something made from settings is told."""
    heard: list[float] = []
    on_change(lambda: heard.append(1))
    configure(lease=5)
    reset()
    assert len(heard) == 2


def test_sources_of_other_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are weaker than the application's; one that cannot be imported is an error that names it, not silence."""

    class Point:
        name, value = "house", "house.settings:read"
        found: dict[str, Any] | Exception | None = None

        def load(self) -> Any:
            if isinstance(self.found, ImportError):
                raise self.found
            return self.read

        def read(self) -> Any:
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()] if group == "triggers.settings" else [])
    assert get_settings().lease == Settings().lease
    monkeypatch.setattr(Point, "found", {"lease": 7, "storage": "memory"})
    reset()
    configure(storage="redis")
    assert (get_settings().lease, get_settings().storage) == (7, "redis")
    monkeypatch.setattr(Point, "found", ImportError("no module 'house'"))
    reset()
    with pytest.raises(SettingsError, match=r"'house' \(house.settings:read\) cannot be imported: no module 'house'; install"):
        get_settings()
    monkeypatch.setattr(Point, "found", RuntimeError("no door"))
    reset()
    with pytest.raises(SettingsError, match=r"'house' \(house.settings:read\) failed: RuntimeError: no door"):
        get_settings()


def test_options_that_a_maker_does_not_have() -> None:
    """The first unknown one is named; a maker that takes everything refuses none."""

    def strict(url: str, *, timeout: float = 1) -> None: ...

    def lenient(**options: object) -> None: ...

    assert refused_option(strict, {"url": "x", "timeout": 2}) is None
    assert "'timeout'" in (refused_option(strict, {"url": "x", "timeuot": 2}) or "")
    assert refused_option(lenient, {"timeuot": 2}) is None


def test_a_fork_while_settings_are_read() -> None:
    """Another thread of the parent holds the lock at that moment: the child does not wait for it, and has the settings."""
    configure(lease=7.5)
    get_process()
    settings._current = None
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with settings._lock:
            held.set()
            release.wait(60)

    def child() -> None:
        assert get_settings().lease == 7.5

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(60)
        in_fork(child)
    finally:
        release.set()
        holder.join(60)
