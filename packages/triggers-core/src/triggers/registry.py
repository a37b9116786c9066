"""Registries of managers, storages and runners: which class has this key?

``BackendRegistry`` is class-registry's ``EntryPointClassRegistry`` without its traps: it imports one plugin when that plugin is
asked for and no other, a clash of keys is an error, and what a broken plugin raises names the distribution that it came with.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from class_registry.entry_points import EntryPointClassRegistry

from triggers.errors import PluginError, UnknownKey
from triggers.names import shorten, suggestion

T = TypeVar("T")

PUBLISHED = {
    "triggers.storages": {"sql": "triggers-sql", "redis": "triggers-redis", "cache": "triggers-cache"},
    "triggers.runners": {"celery": "triggers-celery"},
}
"""Keys that a published distribution brings, for the message when it is not installed."""


class BackendRegistry(EntryPointClassRegistry[T]):
    """The classes of one kind, by key: those registered in this process first, then those of entry points.

    Args:
        group: the entry point group, ``triggers.storages``.
        kind: what the classes are, for messages: ``"storage"``.
        api_version: the interface that this core implements; a class says literally which one it was written for.
    """

    def __init__(self, group: str, kind: str, api_version: int) -> None:
        super().__init__(group)
        self.kind = kind
        self.api_version = api_version
        self._registered: dict[str, type[T]] = {}
        self._loaded: dict[str, type[T]] = {}
        self._found: dict[str, list[importlib.metadata.EntryPoint]] | None = None
        self._guard = threading.RLock()

    def entry_points(self) -> dict[str, list[importlib.metadata.EntryPoint]]:
        """The entry points by key, without importing any; the distributions are searched once."""
        with self._guard:
            if self._found is None:
                found: dict[str, list[importlib.metadata.EntryPoint]] = {}
                for entry_point in importlib.metadata.entry_points(group=self.group):
                    same = found.setdefault(entry_point.name, [])
                    if not any(_source(entry_point) == _source(other) for other in same):
                        same.append(entry_point)
                self._found = found
            return self._found

    def keys(self) -> Iterator[str]:
        """All known keys, in order; imports nothing."""
        return iter(sorted({*self._registered, *self.entry_points()}))

    def get_class(self, key: Any) -> type[T]:
        """The class with this key; imports this one entry point and no other.

        Raises:
            UnknownKey: nobody registered it; the message lists the known keys.
            PluginError: two distributions have it, it fails to import, or it was built for another interface.
        """
        if not isinstance(key, str):
            raise UnknownKey(f"the key of a {self.kind} is a string, got {shorten(key)}")
        found = self._registered.get(key) or self._loaded.get(key)
        if found is not None:
            return found
        with self._guard:
            candidates = self.entry_points().get(key, [])
            if not candidates:
                raise UnknownKey(self._unknown(key))
            if len(candidates) > 1:
                names = " and ".join(sorted(_source(entry_point) for entry_point in candidates))
                raise PluginError(f"{self.kind} {key!r} comes with {names}; uninstall one of them")
            loaded = self._load(key, candidates[0])
            self._loaded[key] = loaded
            return loaded

    def get(self, key: Any, *args: Any, **kwargs: Any) -> T:
        """A new instance of the class with this key; further arguments are the class's own."""
        return self.create_instance(self.get_class(key), *args, **kwargs)

    def register(self, key: Any, cls: type[T] | None = None) -> Any:
        """Registers a class in this process, stronger than any entry point: ``register("mine", MyBackend)``, or as a decorator.

        Raises:
            PluginError: the class was written for another interface, or says none.
        """
        if not isinstance(key, str):
            raise PluginError(f"a {self.kind} is registered under a key, register('mine', {key!r}); the key is missing")
        if cls is None:
            return self._decorator(key)
        with self._guard:
            self._registered[key] = self._checked(key, cls, f"{cls.__module__}.{cls.__qualname__}")
        return cls

    def unregister(self, key: Any) -> type[T]:
        """Removes a class that was registered in this process.

        Raises:
            UnknownKey: none was.
        """
        with self._guard:
            if key not in self._registered:
                raise UnknownKey(f"no {self.kind} was registered in this process as {key!r}")
            return self._registered.pop(key)

    def refresh(self) -> None:
        """Searches the installed distributions anew at the next use."""
        with self._guard:
            self._found = None
            self._loaded.clear()

    def items(self) -> Iterator[tuple[str, type[T]]]:
        """Keys with their classes, imported one by one."""
        return ((key, self.get_class(key)) for key in self.keys())

    def values(self) -> Iterator[type[T]]:
        """The classes, imported one by one."""
        return (self.get_class(key) for key in self.keys())

    def classes(self) -> Iterator[type[T]]:
        """The classes, imported one by one."""
        return self.values()

    def __contains__(self, key: Any) -> bool:
        """Whether the key is known; imports nothing."""
        return key in self._registered or key in self.entry_points()

    def __getitem__(self, key: Any) -> T:
        """A new instance, made without arguments."""
        return self.get(key)

    def __iter__(self) -> Iterator[str]:
        """The keys."""
        return self.keys()

    def __len__(self) -> int:
        """How many keys there are."""
        return len(list(self.keys()))

    def __repr__(self) -> str:
        """The group and the keys."""
        return f"BackendRegistry({self.group!r}, keys={list(self.keys())})"

    def _decorator(self, key: str) -> Callable[[type[T]], type[T]]:
        def decorate(cls: type[T]) -> type[T]:
            self.register(key, cls)
            return cls

        return decorate

    def _load(self, key: str, entry_point: importlib.metadata.EntryPoint) -> type[T]:
        origin = _source(entry_point)
        try:
            cls = entry_point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind} {key!r} of {origin} cannot be imported ({entry_point.value}): {type(error).__name__}: {error}"
            ) from error
        return self._checked(key, cls, origin)

    def _checked(self, key: str, cls: type[T], origin: str) -> type[T]:
        if not isinstance(cls, type):
            raise PluginError(f"{self.kind} {key!r} of {origin} is no class but {cls!r}")
        version = getattr(cls, "api_version", None)
        if version != self.api_version:
            says = "says no api_version" if version is None else f"was built for version {version}"
            raise PluginError(
                f"{self.kind} {key!r} of {origin} {says} of the {self.kind} interface; this triggers-core has version "
                f"{self.api_version}: install a matching release"
            )
        return cls

    def _unknown(self, key: Any) -> str:
        known = list(self.keys())
        text = f"no {self.kind} has the key {key!r}; known are {', '.join(known) or 'none'}"
        distribution = PUBLISHED.get(self.group, {}).get(key)
        if distribution:
            return f"{text}. It comes with {distribution}: pip install {distribution}"
        meant = suggestion(str(key), known)
        return f"{text}. Did you mean {meant!r}?" if meant else text


def _source(entry_point: importlib.metadata.EntryPoint) -> str:
    distribution = entry_point.dist
    return f"{distribution.name} {distribution.version}" if distribution else entry_point.value
