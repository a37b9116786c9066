"""The kit on SQLite, in a file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.media import tables_of_the_future
from triggers.store import Store
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore
from triggers_sql.store import SqlStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the file is that the tests share."""
    return tmp_path_factory.mktemp("sqlite")


class TestSqlite(StoreConformance):
    """S1 to S34; one file for all tests, and a fresh one for those that set up."""

    @pytest.fixture
    def open_store(self, folder: Path) -> OpenStore:
        """Another handle on the shared file."""
        return functools.partial(SqlStore, url=f"sqlite:///{folder / 'shared.db'}")

    @pytest.fixture
    def open_fresh_store(self, tmp_path: Path) -> OpenStore:
        """A handle on a file that does not exist yet."""
        return functools.partial(SqlStore, url=f"sqlite:///{tmp_path / 'fresh.db'}")

    @pytest.fixture
    def spoil_format(self, store: Store, folder: Path) -> Iterator[Callable[[str], None]]:
        """Has the tables say that a later version made them."""
        with tables_of_the_future(f"sqlite:///{folder / 'shared.db'}") as spoil:
            yield spoil
