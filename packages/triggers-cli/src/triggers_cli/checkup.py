"""What ``triggers doctor`` finds out: what is installed and loads, what answers in time, and what is overdue."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from triggers.errors import TriggersError
from triggers.hooks import get_hooks
from triggers.manager import trigger_managers
from triggers.process import get_process
from triggers.registry import BackendRegistry
from triggers.runners import task_runners
from triggers.runtime import utc_now
from triggers.settings import get_settings, redact
from triggers.storages import storage_backends
from triggers.store import Capability, Store, Want
from triggers_cli.overdue import sweeping

_LIBRARIES = ("celery", "kombu", "msgspec", "pluggy", "phx-class-registry", "redis", "SQLAlchemy")


def checkup(timeout: float) -> dict[str, Any]:
    """Everything, as JSON: ``versions``, ``plugins``, ``storages``, ``runners``, ``warnings``, ``healthy``.

    Args:
        timeout: how long, in seconds, a storage or a broker may take to answer.
    """
    settings = get_settings()
    plugins = [entry for registry in (storage_backends, task_runners, trigger_managers) for entry in _classes(registry)]
    plugins += [*_manager(settings.manager), *_plugins(), *_tasks()]
    keys = list(dict.fromkeys([settings.storage, *settings.storages]))
    runner_keys = list(dict.fromkeys([settings.runner, *settings.runners]))
    asked = _ask(
        {
            **{f"storage {key}": functools.partial(_storage, key) for key in keys},
            **{f"runner {key}": functools.partial(_runner, key) for key in runner_keys},
        },
        timeout,
    )
    storages = [
        {
            "storage": key,
            "default": key == settings.storage,
            "options": redact(dict(settings.options_of(key))),
            **asked[f"storage {key}"],
        }
        for key in keys
    ]
    runners = [{"runner": key, "default": key == settings.runner, **asked[f"runner {key}"]} for key in runner_keys]
    warnings = [f"storage {found['storage']}: {text}" for found in storages for text in found.get("warnings", ())]
    answering = all(found["answers"] for found in [*storages, *runners])
    return {
        "versions": _versions(),
        "plugins": plugins,
        "storages": storages,
        "runners": runners,
        "warnings": warnings,
        "healthy": answering and all(entry["state"] == "loads" for entry in plugins),
    }


def _ask(questions: dict[str, Callable[[], dict[str, Any]]], timeout: float) -> dict[str, dict[str, Any]]:
    """The answers to all questions, asked at once, each within the time; later ones are not waited for."""
    answers: dict[str, dict[str, Any]] = {}

    def ask(name: str) -> None:
        began = time.monotonic()
        try:
            answers[name] = {"answers": True, "seconds": 0.0, **questions[name]()}
        except TriggersError as error:
            answers[name] = {"answers": False, "problem": redact(str(error))}
        except Exception as error:
            answers[name] = {"answers": False, "problem": redact(f"{type(error).__name__}: {error}")}
        answers[name]["seconds"] = round(time.monotonic() - began, 3)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in questions]
    for thread in threads:
        thread.start()
    end = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    late = {"answers": False, "problem": f"no answer within {timeout:g} s", "seconds": timeout}
    return {name: answers.get(name, late) for name in questions}


def _storage(key: str) -> dict[str, Any]:
    store = storage_backends.open_store(key)
    store.load("triggers doctor", Want(frozenset({("session", "head")})))
    capabilities = [capability.name for capability in Capability if capability in store.capabilities]
    return {
        "capabilities": capabilities,
        "promises": dict(store.promises()),
        "warnings": [*store.warnings(), *_sweep_warnings(store)],
        "sweep": _sweep(store),
    }


def _sweep(store: Store) -> dict[str, Any] | None:
    """When it was last swept and what is overdue, or ``None`` where the storage cannot say."""
    if Capability.DUE not in store.capabilities:
        return None
    return sweeping(store, utc_now(), get_settings().sweep_interval)._asdict()


def _sweep_warnings(store: Store) -> Iterator[str]:
    if Capability.DUE not in store.capabilities:
        yield "it cannot list what is due, so lost work is recovered only in sessions that are touched"
        return
    found = sweeping(store, utc_now(), get_settings().sweep_interval)
    if not found.on_time:
        yield (
            f"{found.waiting()}: no sweep runs, or none has the runner and the works that are needed; "
            "start a worker (triggers run, celery worker), or sweep by hand (triggers sweep)"
        )


def _runner(key: str) -> dict[str, Any]:
    get_process().runners.get(key).probe()
    return {}


def _classes(registry: BackendRegistry[Any]) -> Iterator[dict[str, str]]:
    for key in registry.keys():  # noqa: SIM118 - a registry is iterated by keys, which imports nothing
        try:
            registry.get_class(key)
        except TriggersError as error:
            yield _entry(registry.kind, key, f"broken: {error}", _origins(registry.entry_points().get(key, [])))
        else:
            yield _entry(registry.kind, key, "loads", _origins(registry.entry_points().get(key, [])))


def _manager(key: str) -> Iterator[dict[str, str]]:
    """The manager of the settings, where no class has its key: the others are listed already."""
    if key not in trigger_managers:
        try:
            trigger_managers.get_class(key)
        except TriggersError as error:
            yield _entry("manager", key, f"broken: {error}", "")


def _plugins() -> Iterator[dict[str, str]]:
    hooks = get_hooks()
    found = {entry_point.name: entry_point for entry_point in importlib.metadata.entry_points(group="triggers.plugins")}
    for name, plugin in hooks.manager.list_name_plugin():
        if name != "triggers-body" and plugin is not None:
            yield _entry("plugin", name, "loads", _origins([found[name]] if name in found else []))
    for name, error in hooks.broken.items():
        yield _entry("plugin", name, f"broken: {type(error).__name__}: {error}", _origins([found[name]] if name in found else []))


def _tasks() -> Iterator[dict[str, str]]:
    from triggers.tasks import registered

    try:
        registered.names()
    except Exception as error:
        yield _entry("tasks", ", ".join(get_settings().tasks), f"broken: {error}", "")
    else:
        for module in get_settings().tasks:
            yield _entry("tasks", module, "loads", "")
    for name, reason in registered.broken.items():
        yield _entry("tasks", name, f"broken: {type(reason).__name__}: {reason}", "")


def _entry(kind: str, key: str, state: str, origin: str) -> dict[str, str]:
    return {"kind": kind, "key": key, "state": redact(state), "origin": origin}


def _origins(entry_points: list[importlib.metadata.EntryPoint]) -> str:
    """The distributions that they come with; what was registered in this process has none."""
    return ", ".join(f"{entry.dist.name} {entry.dist.version}" for entry in entry_points if entry.dist is not None)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for distribution in importlib.metadata.distributions():
        name = distribution.name
        if name.startswith("triggers-") or name.lower() in {library.lower() for library in _LIBRARIES}:
            found[name] = distribution.version
    return {"python": found.pop("python"), **dict(sorted(found.items()))}
