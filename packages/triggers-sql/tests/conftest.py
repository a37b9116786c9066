"""A fresh, empty database of each kind, and a store on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sql_stores import OpenStore
from triggers_sql import SqlStore


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a new file, or a new database on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(params=["postgres", "mysql"])
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new database on a server."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """Makes stores that are closed at the end."""
    opened: list[SqlStore] = []

    def make(url: str, **options: object) -> SqlStore:
        opened.append(SqlStore(url=url, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore, url: str) -> SqlStore:
    """A store with its tables, on each kind of database."""
    made = open_store(url)
    made.setup()
    return made
