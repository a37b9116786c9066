"""The kit on each of the broken stores, and on those that they are made from. ``test_broken.py`` runs it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance import broken, broken_files
from conformance.folder import FolderStore
from triggers.storages.memory import MemoryStore
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore


class InMemory(StoreConformance):
    """The kit on one object."""

    between_processes = False
    store_class: type[MemoryStore]

    @pytest.fixture
    def the_one(self) -> MemoryStore:
        return self.store_class()

    @pytest.fixture
    def open_store(self, the_one: MemoryStore) -> OpenStore:
        return lambda: the_one

    @pytest.fixture
    def break_connections(self, the_one: MemoryStore) -> Callable[[], None] | None:
        return functools.partial(setattr, the_one, "cut", True) if hasattr(the_one, "cut") else None


class OnFiles(StoreConformance):
    """The kit on a folder. The opener is a lambda on purpose: children are forked."""

    store_class: type[FolderStore]

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return lambda: self.store_class(tmp_path)

    @pytest.fixture
    def spoil_format(self, tmp_path: Path) -> Callable[[str], None]:
        def spoil(uid: str) -> None:
            path = FolderStore(tmp_path).path(uid)
            path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))

        return spoil


def _suite(base: type[Any], store_class: type[Any]) -> type[Any]:
    return type(f"Test{store_class.__name__}", (base,), {"store_class": store_class})


_memory: list[type[MemoryStore]] = [MemoryStore, *broken.STORES.values()]
_files: list[type[FolderStore]] = [FolderStore, *broken_files.STORES.values()]
globals().update({f"Test{_found.__name__}": _suite(InMemory, _found) for _found in _memory})
globals().update({f"Test{_found.__name__}": _suite(OnFiles, _found) for _found in _files})
