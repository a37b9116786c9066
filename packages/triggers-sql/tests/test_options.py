"""What cannot be used is refused with one error of ours, before a database is touched; nothing tells a password."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import triggers
from triggers.errors import SettingsError, StorageError, StorageUnavailable
from triggers.store import EVERYTHING
from triggers_sql import SqlStorageBackend, SqlStore, migrate

REFUSED_WHEN_MADE = [
    ({"url": ""}, "option 'url'"),
    ({"url": ""}, "option 'url' of the sql storage is a database URL, got an empty string"),
    ({"url": 7}, "option 'url' of the sql storage is a database URL, got int"),
    ({"table_prefix": "a-b"}, "option 'table_prefix'.*got 'a-b'"),
    ({"table_prefix": 'x"; DROP TABLE y; --'}, "option 'table_prefix'"),
    ({"schema": ""}, "option 'schema'"),
    ({"schema": "1st"}, "option 'schema'.*not a digit first"),
    ({"pool_size": 0}, "option 'pool_size' of the sql storage is a number of at least 1, got 0"),
    ({"pool_size": "5"}, "option 'pool_size'.*got '5'"),
    ({"pool_size": True}, "option 'pool_size'.*got True"),
    ({"max_overflow": -2}, "option 'max_overflow'"),
    ({"pool_timeout": -1}, "option 'pool_timeout'"),
    ({"timeout": 0}, "option 'timeout'"),
    ({"timeout": None}, "option 'timeout'"),
    ({"max_value_bytes": 0}, "option 'max_value_bytes'"),
    ({"synchronous": "full"}, "option 'synchronous'.*one of OFF, NORMAL, FULL, EXTRA, got 'full'"),
    ({"auto_setup": "yes"}, "option 'auto_setup'"),
    ({"connect_args": [1]}, "option 'connect_args'"),
]

REFUSED_AT_FIRST_USE = [
    ("nonsense", "cannot be read as a URL.*sqlite:///triggers.db"),
    ("://x", "cannot be read as a URL"),
    ("oracle://localhost/x", "knows no database 'oracle', only sqlite, postgresql"),
    ("postgresql+psycopg2://localhost/x", "uses postgresql through 'psycopg' and not through 'psycopg2'; write postgresql://"),
    ("mysql+mysqldb://localhost/x", "through 'pymysql'"),
    ("postgresql://me:se@cr@127.0.0.1/x", "^the password in the option 'url' of the sql storage has an @; write it as %40$"),
    ("postgresql://localhost:port/x", "cannot be read as a URL"),
    ("sqlite://", "in memory is seen by one connection only.*sqlite:///triggers.db.*'memory'"),
    ("sqlite:///:memory:", "in memory"),
    ("sqlite:///file::memory:?cache=shared&uri=true", "in memory"),
    ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
]


@pytest.mark.parametrize("options, message", REFUSED_WHEN_MADE)
def test_bad_options_are_refused_when_the_store_is_made(options: dict[str, object], message: str) -> None:
    """An option that cannot be used is a ``SettingsError`` that names it and what it may be."""
    with pytest.raises(SettingsError, match=message):
        SqlStore(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("url, message", REFUSED_AT_FIRST_USE)
def test_bad_urls_are_refused_at_the_first_use(url: str, message: str) -> None:
    """A URL that is none, or of a database or driver that is not ours, is a ``SettingsError`` that shows what URLs look like."""
    with pytest.raises(SettingsError, match=message):
        SqlStore(url=url).load("s", EVERYTHING)


def test_sqlite_has_no_schema(tmp_path: Path) -> None:
    """``schema`` on SQLite is refused and points to ``table_prefix``."""
    with pytest.raises(SettingsError, match=r"'schema'.*not for SQLite; use 'table_prefix'"):
        SqlStore(url=f"sqlite:///{tmp_path}/x.db", schema="s").setup()


def test_an_unknown_option_of_the_handle_is_refused_without_its_password() -> None:
    """A misspelt option in the settings is a ``SettingsError``; the URL in the message has no password."""
    with pytest.raises(SettingsError, match="pol_size") as caught:
        SqlStorageBackend("s", url="postgresql://me:secret@127.0.0.1/x", pol_size=3)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:1/x",
        "mysql://me:s3cret@127.0.0.1:1/x",
        "postgresql://me:s3%2Fcr%40et@127.0.0.1:1/x?connect_timeout=2",
        "postgresql://me@127.0.0.1:1/x?password=s3cret&sslpassword=s3&connect_timeout=2",
    ],
)
def test_no_password_is_told(url: str) -> None:
    """Neither ``repr`` nor the error for a server that refuses the connection has the password, and both have the place."""
    store = SqlStore(url=url, connect_args={"password": "s3cret"})
    with pytest.raises(StorageUnavailable, match=r"cannot connect to .*127.0.0.1:1/x") as caught:
        store.load("s", EVERYTHING)
    told = [repr(store), str(store.options), str(caught.value), repr(caught.value)]
    assert "127.0.0.1:1" in told[0]
    for text in told:
        assert not re.search("s3|et@", text), text


def test_a_missing_driver_says_what_to_install() -> None:
    """Without psycopg or PyMySQL the first use is a ``StorageError`` with the ``pip install`` that helps."""
    code = """
import sys
sys.modules["psycopg"] = sys.modules["pymysql"] = None
from triggers.errors import StorageError
from triggers.store import EVERYTHING
from triggers_sql import SqlStore
for url in ("postgresql://127.0.0.1/x", "mysql://127.0.0.1/x"):
    try:
        SqlStore(url=url).load("s", EVERYTHING)
    except StorageError as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].endswith("pip install 'triggers-sql[postgresql]'")
    assert said[1].endswith("pip install 'triggers-sql[mysql]'")


def test_importing_and_making_a_store_imports_no_library() -> None:
    """``import triggers_sql`` and making a store import neither SQLAlchemy nor Alembic nor a driver."""
    code = """
import sys, triggers_sql
triggers_sql.SqlStore(url="postgresql://127.0.0.1/x")
triggers_sql.SqlStorageBackend("s", url="sqlite:///never.db")
print(sorted({"sqlalchemy", "alembic", "psycopg", "pymysql", "sqlite3"} & set(sys.modules)))
"""
    # A process whose coverage is measured imports sqlite3 for that alone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    outcome = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


def test_making_a_store_is_cheap() -> None:
    """Making a store takes microseconds: a thousand take less than a second of this thread's time."""
    start = time.thread_time()
    for _ in range(1000):
        SqlStore(url="postgresql://me@127.0.0.1:1/x")
    assert time.thread_time() - start < 1


def test_a_relative_path_starts_where_the_store_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that changes its working folder after the settings were read still opens the same file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqlStore(url="sqlite:///here.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.setup()
    store.close()
    assert (tmp_path / "here.db").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_registry_finds_the_handle_by_its_key(tmp_path: Path) -> None:
    """``storage_backends.get("sql", uid)`` gives a handle on the store of the settings."""
    from triggers.storages import storage_backends

    triggers.configure(storages={"sql": {"url": f"sqlite:///{tmp_path}/settings.db"}})
    try:
        handle = storage_backends.get("sql", "session")
        assert type(handle) is SqlStorageBackend
        assert handle.metadata == {}
        assert (tmp_path / "settings.db").exists()
        handle.store.close()
    finally:
        triggers.settings.reset()


def test_migrate_refuses_what_a_store_refuses() -> None:
    """``migrate`` has the options of the store and their errors."""
    with pytest.raises(SettingsError, match="table_prefix"):
        migrate("sqlite:///x.db", table_prefix="no good")
    with pytest.raises(StorageError, match=r"folder .*nowhere does not exist; make it first"):
        migrate("sqlite:////nowhere/x.db")
