"""The kit on a store that is made with the core's helper for one-value media."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.folder import FolderStore
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore


class TestFolderStore(StoreConformance):
    """S1 to S34 on files: neither DUE nor SCAN nor EXPIRE."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """Another handle on the same folder."""
        return functools.partial(FolderStore, tmp_path)

    @pytest.fixture
    def spoil_format(self, tmp_path: Path) -> Callable[[str], None]:
        """Writes format 2 into the file."""

        def spoil(uid: str) -> None:
            path = FolderStore(tmp_path).path(uid)
            path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))

        return spoil
