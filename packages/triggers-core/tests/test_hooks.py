"""Hooks: guarded, in order, and checked for misspelt names."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from triggers.errors import PluginError
from triggers.hooks import Hooks, hookimpl


class Notes:
    """A plugin that notes its calls."""

    def __init__(self, name: str, heard: list[str]) -> None:
        self.name = name
        self.heard = heard

    @hookimpl
    def triggers_dispatch_failed(self, name: str) -> None:
        self.heard.append(f"{self.name}: {name}")


def failed(hooks: Hooks) -> None:
    """Calls a hook."""
    hooks.call("triggers_dispatch_failed", storage=None, name="t#0", runner="r", error=ValueError())


def test_no_plugins() -> None:
    """Nobody wants to know, and calling does nothing."""
    hooks = Hooks()
    assert not hooks.wanted("triggers_dispatch_failed")
    failed(hooks)


def test_each_plugin_gets_the_arguments_that_it_names() -> None:
    """In order of registration, last first, as pluggy has it; one that is unregistered no more."""
    hooks, heard = Hooks(), list[str]()
    first, second = Notes("first", heard), Notes("second", heard)
    hooks.register(first)
    hooks.register(second)
    assert hooks.wanted("triggers_dispatch_failed")
    assert not hooks.wanted("triggers_post_fire")
    failed(hooks)
    assert heard == ["second: t#0", "first: t#0"]
    hooks.unregister(second)
    failed(hooks)
    assert heard == ["second: t#0", "first: t#0", "first: t#0"]


def test_what_one_raises_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with the hook and the plugin."""

    class Raises:
        @hookimpl
        def triggers_dispatch_failed(self) -> None:
            raise RuntimeError("mine")

    hooks, heard = Hooks(), list[str]()
    hooks.register(Notes("before", heard))
    hooks.register(Raises(), "the raising one")
    hooks.register(Notes("after", heard))
    failed(hooks)
    assert heard == ["after: t#0", "before: t#0"]
    assert "triggers_dispatch_failed of plugin the raising one raised" in caplog.text
    assert "mine" in caplog.text


def test_a_misspelt_hook_is_refused() -> None:
    """And the plugin is not left half registered."""

    class Misspelt:
        @hookimpl
        def triggers_post_fired(self) -> None: ...

    hooks, plugin = Hooks(), Misspelt()
    with pytest.raises(PluginError, match="triggers_post_fired"):
        hooks.register(plugin)
    assert not hooks.manager.is_registered(plugin)
    hooks.register(Notes("fine", []))


def test_an_argument_that_does_not_exist_is_refused() -> None:
    """A plugin that asks for more than the hook gives is told when it is registered."""

    class Asks:
        @hookimpl
        def triggers_dispatch_failed(self, colour: str) -> None: ...

    hooks = Hooks()
    with pytest.raises(PluginError, match="colour"):
        hooks.register(Asks())


def test_around_the_body() -> None:
    """Wrappers see the body's result and exceptions, the last registered outermost; without any the body is called directly."""
    order: list[str] = []

    class Wraps:
        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl(wrapper=True)
        def triggers_call_task(self, context: Any) -> Any:
            order.append(f"{self.name} before")
            try:
                result = yield
            finally:
                order.append(f"{self.name} after")
            return {**result, self.name: context}

    hooks = Hooks()
    context: Any = "the context"
    assert hooks.call_task(context, lambda: {"r": 1}) == {"r": 1}
    hooks.register(Wraps("inner"))
    hooks.register(Wraps("outer"))
    assert hooks.call_task(context, lambda: {"r": 1}) == {"r": 1, "inner": context, "outer": context}
    assert order == ["outer before", "inner before", "inner after", "outer after"]

    def raises() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        hooks.call_task(context, raises)
    assert len(order) == 8


def test_entry_points(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Plugins of installed distributions are loaded once; one that fails is noted and stops no other."""

    class Point:
        def __init__(self, name: str, plugin: object, value: str = "") -> None:
            self.name, self.plugin, self.value = name, plugin, value or f"{name}:plugin"

        def load(self) -> object:
            if isinstance(self.plugin, BaseException):
                raise self.plugin
            return self.plugin

    heard: list[str] = []
    points = [
        Point("broken", ImportError("no driver")),
        Point("leaves", SystemExit("no licence")),
        Point("good", Notes("good", heard)),
        Point("good", Notes("another", heard), "another:plugin"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "triggers.plugins" else [])
    hooks = Hooks()
    with caplog.at_level(logging.ERROR):
        hooks.load()
        hooks.load()
    failed(hooks)
    assert heard == ["good: t#0"]
    assert str(hooks.broken["broken"]) == "no driver"
    assert str(hooks.broken["leaves"]) == "no licence"
    assert "good:plugin has the same name; uninstall one" in str(hooks.broken["good (another:plugin)"])
    assert "plugin broken (broken:plugin) cannot be loaded" in caplog.text
