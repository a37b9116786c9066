"""SQLite files that cannot be used: one error of ours each, that says what to do, and the file stays as it is."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sql_stores import OpenStore
from triggers.errors import StorageError, StorageUnavailable, UnreadableRecord
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want

CHANGE = Change("v1", {("c", "k"): Record(b"1")})


def test_a_file_that_is_no_database(tmp_path: Path, open_store: OpenStore) -> None:
    """Load and commit say that the file is no database, and leave it alone."""
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and no database at all.\n" * 50)
    before = path.read_bytes()
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=r"notes\.txt is no SQLite database, or is damaged.*another file"):
        store.load("s", EVERYTHING)
    with pytest.raises(StorageError, match="is no SQLite database"):
        store.commit("s", CHANGE, ABSENT, Want())
    assert path.read_bytes() == before


def test_a_folder_that_does_not_exist(tmp_path: Path, open_store: OpenStore) -> None:
    """The error names the folder; it is not made."""
    store = open_store(f"sqlite:///{tmp_path}/missing/x.db")
    with pytest.raises(StorageError, match=f"the folder {tmp_path}/missing does not exist; make it first"):
        store.load("s", EVERYTHING)
    assert not (tmp_path / "missing").exists()


def test_a_path_that_is_a_folder(tmp_path: Path, open_store: OpenStore) -> None:
    """The error says that it cannot be opened and what to check."""
    store = open_store(f"sqlite:///{tmp_path}")
    with pytest.raises(StorageError, match=r"cannot open .*check that the file and its folder may be read and written"):
        store.load("s", EVERYTHING)


def test_a_read_only_file(tmp_path: Path, open_store: OpenStore) -> None:
    """A commit to a database that may only be read says so, and changes nothing; a load works."""
    path = tmp_path / "x.db"
    first = open_store(f"sqlite:///{path}")
    first.commit("s", CHANGE, ABSENT, Want())
    store = open_store(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert store.load("s", EVERYTHING).version == "v1"
    with pytest.raises(StorageError, match=r"is read-only.*nothing was stored.*rights of the file and its folder"):
        store.commit("s", Change("v2", {}), "v1", Want())
    assert first.load("s", EVERYTHING).version == "v1"


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_files_and_folders_without_the_right_to_write(tmp_path: Path, open_store: OpenStore) -> None:
    """As a user without rights on file and folder: one error of ours that says so, and the file stays as it was."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "other").mkdir()
    path = tmp_path / "x.db"
    code = f"""
import os, sys
from triggers.errors import StorageError
from triggers.store import ABSENT, EVERYTHING, Change, Want
from triggers_sql import SqlStore
SqlStore(url="sqlite:///{tmp_path}/other/x.db").setup()
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
store = SqlStore(url="sqlite:///{path}")
try:
    store.commit("s", Change("v2", {{}}), {{"": ABSENT}}.get(sys.argv[1], sys.argv[1]), Want())
except StorageError as error:
    print(type(error).__name__, error)
"""

    def attempt(expected: str) -> str:
        done = subprocess.run([sys.executable, "-c", code, expected], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    tmp_path.chmod(0o555)
    assert attempt("").startswith("StorageError cannot open ")
    tmp_path.chmod(0o755)
    first = open_store(f"sqlite:///{path}")
    first.commit("s", Change("v1", {}), ABSENT, Want())
    first.close()
    before = path.read_bytes()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        said = attempt("v1")
    finally:
        tmp_path.chmod(0o755)
    assert said.startswith("StorageError ")
    assert "read-only" in said or "cannot open" in said
    assert path.read_bytes() == before


def test_a_file_of_a_newer_version(tmp_path: Path, open_store: OpenStore) -> None:
    """Tables at a revision that this version does not know are refused with both revisions, and stay as they are."""
    path = tmp_path / "x.db"
    store = open_store(f"sqlite:///{path}")
    store.commit("s", CHANGE, ABSENT, Want())
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE triggers_alembic_version SET version_num = 'triggers_0917'")
    connection.close()
    for use in (
        lambda: store.load("s", EVERYTHING),
        lambda: store.commit("s", Change("v2", {}), "v1", Want()),
        store.setup,
        lambda: store.scan(None, None, 1),
    ):
        with pytest.raises(UnreadableRecord, match=r"revision 'triggers_0917'.*up to 'triggers_0001'.*upgrade triggers-sql"):
            use()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM triggers_sessions").fetchall() == [("v1",)]
    connection.close()


def test_a_database_of_somebody_else_keeps_its_tables(tmp_path: Path, open_store: OpenStore) -> None:
    """The tables are made beside those of an application, which stay as they are, with its own Alembic version."""
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('theirs')")
        connection.execute("CREATE TABLE sessions (id INTEGER)")
    connection.close()
    store = open_store(f"sqlite:///{path}")
    store.commit("s", CHANGE, ABSENT, Want())
    with sqlite3.connect(path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert names == {
            "alembic_version",
            "sessions",
            "triggers_sessions",
            "triggers_records",
            "triggers_labels",
            "triggers_alembic_version",
        }
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("theirs",)]
    connection.close()


def test_durability_and_wal_are_set_on_every_connection(tmp_path: Path, open_store: OpenStore) -> None:
    """WAL with ``synchronous=FULL`` unless the setting says otherwise, on each connection of the pool."""
    for synchronous, number in (("FULL", 2), ("NORMAL", 1)):
        store = open_store(f"sqlite:///{tmp_path}/{synchronous}.db", synchronous=synchronous)
        links = [store.connections.open() for _ in range(3)]
        for link in links:
            assert link.rows("PRAGMA journal_mode") == [("wal",)]
            assert link.rows("PRAGMA synchronous") == [(number,)]
            link.give_back()


def test_the_durability_setting_is_the_default(tmp_path: Path, open_store: OpenStore) -> None:
    """Without a setting each commit is on disk when it returns."""
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    link = store.connections.open()
    assert link.rows("PRAGMA synchronous") == [(2,)]
    link.give_back()
    assert store.promises()["durability"] == "synchronous=FULL: kept through a loss of power"


def test_a_load_takes_no_lock(tmp_path: Path, open_store: OpenStore) -> None:
    """While another connection holds the write lock, loads, scans and due go on and see what was committed."""
    store = open_store(f"sqlite:///{tmp_path}/x.db", timeout=0.2)
    store.commit("s", Change("v1", {("c", "k"): Record(b"1", 5)}), ABSENT, Want())
    writer = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE triggers_sessions SET version = 'v2'")
    assert store.load("s", EVERYTHING).version == "v1"
    assert store.scan(None, None, 5).uids == ["s"]
    assert [entry.uid for entry in store.due(5, None, 5).entries] == ["s"]
    writer.execute("ROLLBACK")
    writer.close()


def test_a_writer_that_waits_too_long_says_so(tmp_path: Path, open_store: OpenStore) -> None:
    """Past ``timeout`` a commit is ``StorageUnavailable`` with nothing stored; after the lock is free it goes through."""
    store = open_store(f"sqlite:///{tmp_path}/x.db", timeout=0.2)
    store.setup()
    writer = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match=r"a lock was not given within 0\.2 s.*nothing was stored.*'timeout'"):
        store.commit("s", CHANGE, ABSENT, Want())
    writer.execute("ROLLBACK")
    writer.close()
    store.commit("s", CHANGE, ABSENT, Want())


def test_a_writer_waits_for_the_writer_before_it(tmp_path: Path, open_store: OpenStore) -> None:
    """A commit that meets the lock of another process for less than ``timeout`` goes through."""
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    store.setup()
    writer = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: writer.execute("COMMIT"))
    timer.start()
    store.commit("s", CHANGE, ABSENT, Want())
    timer.join()
    writer.close()
    assert store.load("s", EVERYTHING).version == "v1"


def test_a_full_disk_stores_nothing(tmp_path: Path, open_store: OpenStore) -> None:
    """When the file may not grow, the commit says that the disk is full, nothing of it is there, and later ones work."""
    store = open_store(f"sqlite:///{tmp_path}/x.db", pool_size=1, max_overflow=0)
    store.commit("s", CHANGE, ABSENT, Want())
    link = store.connections.open()
    link.rows("PRAGMA max_page_count = 20")
    link.give_back()
    large = Change("v2", {("c", "k"): Record(b'"' + b"x" * 1_000_000 + b'"')})
    with pytest.raises(StorageError, match=r"the disk is full.*nothing was stored"):
        store.commit("s", large, "v1", Want())
    assert store.load("s", EVERYTHING).records == {"c": {"k": Record(b"1")}}
    store.commit("s", Change("v3", {("c", "k"): Record(b"3")}), "v1", Want())
    assert store.load("s", EVERYTHING).version == "v3"
