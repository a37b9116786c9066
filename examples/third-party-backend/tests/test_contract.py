"""The contract of stores, as ``triggers.testing`` ships it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from triggers_files import FilesStore

from triggers.testing.conformance import StoreConformance


class TestFilesStore(StoreConformance):
    """All rules, on a folder of the test's own."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], FilesStore]:
        """One more handle on the same folder."""
        return functools.partial(FilesStore, tmp_path)

    @pytest.fixture
    def spoil_format(self, tmp_path: Path) -> Callable[[str], None]:
        """Writes format 2 into the session's file."""

        def spoil(uid: str) -> None:
            (path,) = (path.parent / "session.json" for path in tmp_path.rglob("uid") if path.read_text() == uid)
            path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2'))

        return spoil
