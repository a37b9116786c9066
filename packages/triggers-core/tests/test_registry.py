"""The registries, with distributions made on disk: nothing is imported that was not asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from triggers.errors import PluginError, UnknownKey
from triggers.managers import trigger_managers
from triggers.registry import BackendRegistry
from triggers.runners import task_runners
from triggers.storages import storage_backends

GROUP = "example.backends"

MODULE = """
class Backend:
    api_version = {version}
    def __init__(self, *arguments):
        self.arguments = arguments
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs distributions: ``install("name", {"key": "module:Class"}, {"module": "source"})``."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def make(name: str, keys: dict[str, str], sources: dict[str, str] | None = None, version: str = "1.2") -> None:
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "\n".join(f"{key} = {target}" for key, target in keys.items())
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")
        for module, source in (sources or {}).items():
            (tmp_path / f"{module}.py").write_text(source)
            modules.append(module)
        importlib.invalidate_caches()

    yield make
    for module in modules:
        sys.modules.pop(module, None)


def registry() -> BackendRegistry[Any]:
    """A fresh registry of that group."""
    return BackendRegistry(GROUP, "backend", 1)


def test_keys_import_nothing(install: Install) -> None:
    """Listing, counting and asking for keys does not import a plugin, also not one that cannot be imported."""
    install("good", {"good": "good_module:Backend"}, {"good_module": MODULE.format(version=1)})
    install("bad", {"bad": "bad_module:Backend"}, {"bad_module": "raise RuntimeError('no')"})
    found = registry()
    assert list(found.keys()) == list(found) == ["bad", "good"]
    assert len(found) == 2
    assert "bad" in found
    assert "other" not in found
    assert "good_module" not in sys.modules
    assert repr(found) == "BackendRegistry('example.backends', keys=['bad', 'good'])"


def test_one_key_loads_one_plugin(install: Install) -> None:
    """The class of one key; the broken one beside it is not touched, now or later."""
    install("good", {"good": "good_module:Backend"}, {"good_module": MODULE.format(version=1)})
    install("bad", {"bad": "bad_module:Backend"}, {"bad_module": "raise RuntimeError('no')"})
    found = registry()
    assert found.get_class("good").__name__ == "Backend"
    assert found.get("good", 1, 2).arguments == (1, 2)
    assert found["good"].arguments == ()
    assert found.get_class("good") is found.get_class("good")
    assert "bad_module" not in sys.modules
    with pytest.raises(PluginError) as caught:
        found.get_class("bad")
    assert str(caught.value) == "backend 'bad' of bad 1.2 cannot be imported (bad_module:Backend): RuntimeError: no"
    assert found.get_class("good").__name__ == "Backend"


@pytest.mark.parametrize(
    "target, source, message",
    [
        ("absent_module:Backend", None, "ModuleNotFoundError"),
        ("some_module:Absent", MODULE.format(version=1), "AttributeError"),
        ("some_module:thing", "thing = 5", "is no class but 5"),
        ("some_module:Backend", "raise SystemExit('no licence')", "SystemExit: no licence"),
        ("some_module:Backend", "class Backend: pass", "says no api_version of the backend interface"),
        (
            "some_module:Backend",
            MODULE.format(version=2),
            "was built for version 2 of the backend interface; this triggers-core has version 1",
        ),
        ("some_module:Backend", MODULE.format(version="'1'"), "was built for version 1 of"),
    ],
)
def test_a_plugin_that_cannot_be_used(install: Install, target: str, source: str | None, message: str) -> None:
    """It is refused by its name and its distribution's, with the reason."""
    install("plugin", {"key": target}, {"some_module": source} if source else None)
    with pytest.raises(PluginError) as caught:
        registry().get_class("key")
    assert message in str(caught.value)
    assert "plugin 1.2" in str(caught.value)


def test_two_plugins_with_one_key(install: Install) -> None:
    """A clash names both distributions, and concerns this key only."""
    install("first", {"same": "first_module:Backend", "own": "first_module:Backend"}, {"first_module": MODULE.format(version=1)})
    install("second", {"same": "second_module:Backend"}, {"second_module": MODULE.format(version=1)})
    found = registry()
    with pytest.raises(PluginError, match=r"backend 'same' comes with first 1.2 and second 1.2; uninstall one of them"):
        found.get_class("same")
    assert found.get_class("own").__name__ == "Backend"


@pytest.mark.parametrize("key", [["a"], None, 5])
def test_a_key_that_is_no_string(key: Any) -> None:
    """It says what a key is, also where the key could not even be looked up."""
    for found in (registry(), storage_backends):
        with pytest.raises(UnknownKey, match="is a string, got"):
            found.get(key, "s")


def test_unknown_keys() -> None:
    """The message lists the known keys, and suggests."""
    found = registry()
    with pytest.raises(UnknownKey) as caught:
        found.get_class("sqll")
    assert str(caught.value) == "no backend has the key 'sqll'; known are none"

    @found.register("sql")
    class _Sql:
        api_version = 1

    with pytest.raises(UnknownKey, match=r"known are sql\. Did you mean 'sql'"):
        found.get_class("sqll")
    with pytest.raises(KeyError):
        found.get_class("nothing like it")


@pytest.mark.parametrize(
    "registry_of, key, distribution",
    [
        (storage_backends, "redis", "triggers-redis"),
        (storage_backends, "cache", "triggers-cache"),
        (storage_backends, "sql", "triggers-sql"),
        (task_runners, "celery", "triggers-celery"),
    ],
)
def test_what_to_install(monkeypatch: pytest.MonkeyPatch, registry_of: Any, key: str, distribution: str) -> None:
    """A key that a published distribution brings is answered with what to install."""
    monkeypatch.setattr(registry_of, "_found", {})
    monkeypatch.setattr(registry_of, "_loaded", {})
    with pytest.raises(UnknownKey, match=f"It comes with {distribution}: pip install {distribution}"):
        registry_of.get_class(key)


def test_registering_in_process(install: Install) -> None:
    """A class of this process is stronger than an entry point; unregistered, the entry point is back."""
    install("good", {"key": "good_module:Backend"}, {"good_module": MODULE.format(version=1)})
    found = registry()

    class Mine:
        api_version = 1

    found.register("key", Mine)
    assert found.get_class("key") is Mine
    assert dict(found.items()) == {"key": Mine}
    assert list(found.values()) == list(found.classes()) == [Mine]
    assert found.unregister("key") is Mine
    assert found.get_class("key").__name__ == "Backend"
    with pytest.raises(UnknownKey, match="no backend was registered in this process as 'key'"):
        found.unregister("key")


def test_registering_what_does_not_fit() -> None:
    """A class without the right interface number, and a missing key, are refused at once."""
    with pytest.raises(PluginError, match="says no api_version"):
        registry().register("key", object)
    with pytest.raises(PluginError, match="the key is missing"):
        registry().register(object)


def test_refresh_finds_what_was_installed_since(install: Install) -> None:
    """The distributions are searched once, and again after ``refresh``."""
    found = registry()
    assert list(found) == []
    install("good", {"key": "good_module:Backend"}, {"good_module": MODULE.format(version=1)})
    assert list(found) == []
    found.refresh()
    assert list(found) == ["key"]


def test_the_own_entry_points() -> None:
    """What the core itself registers, each of which can be used."""
    assert {"default", "finalizing"} <= set(trigger_managers)
    assert "memory" in storage_backends
    assert {"threading", "inline"} <= set(task_runners)
    for own, keys in (
        (trigger_managers, ("default", "finalizing")),
        (storage_backends, ("memory",)),
        (task_runners, ("threading", "inline")),
    ):
        for key in keys:
            assert own.get_class(key).api_version == 1
