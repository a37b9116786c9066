"""What ``triggers doctor`` finds out."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from triggers.errors import TriggersError
from triggers.hooks import get_hooks
from triggers.manager import trigger_managers
from triggers.registry import BackendRegistry
from triggers.runners import task_runners
from triggers.settings import get_settings, redact
from triggers.storages import storage_backends
from triggers.store import Capability, Want


def checkup() -> dict[str, Any]:
    """Everything, as JSON: ``plugins``, ``storage``, ``warnings``, ``healthy``."""
    plugins = [entry for registry in (storage_backends, task_runners, trigger_managers) for entry in _plugins(registry)]
    plugins.extend(
        {"kind": "plugin", "key": name, "state": f"broken: {error}", "origin": ""} for name, error in get_hooks().broken.items()
    )
    storage, warnings = _storage()
    healthy = storage["answers"] == "yes" and all(entry["state"] == "loads" for entry in plugins)
    return {"plugins": plugins, "storage": storage, "warnings": warnings, "healthy": healthy}


def _plugins(registry: BackendRegistry[Any]) -> list[dict[str, str]]:
    found = []
    for key in registry.keys():  # noqa: SIM118 - a registry is iterated by keys, which imports nothing
        try:
            loaded = registry.get_class(key)
            state, module = "loads", loaded.__module__
        except TriggersError as error:
            state, module = f"broken: {error}", ""
        found.append({"kind": registry.kind, "key": key, "state": state, "origin": _distribution(module)})
    return found


def _distribution(module: str) -> str:
    package = module.partition(".")[0]
    names = importlib.metadata.packages_distributions().get(package, [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in dict.fromkeys(names))


def _storage() -> tuple[dict[str, str], list[str]]:
    key = get_settings().storage
    facts = {"storage": key, "options": str(redact(dict(get_settings().options_of(key))))}
    try:
        store = storage_backends.open_store(key)
        store.load("triggers doctor", Want(frozenset({("session", "head")})))
    except TriggersError as error:
        return {**facts, "answers": f"no: {redact(str(error))}"}, []
    can = [capability.name or "" for capability in Capability if capability in store.capabilities]
    return {**facts, "answers": "yes", "capabilities": ", ".join(can) or "none", **store.promises()}, list(store.warnings())
