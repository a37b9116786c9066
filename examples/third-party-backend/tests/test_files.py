"""What a crash, or a disk, may do to files."""

from __future__ import annotations

from pathlib import Path

import pytest
from triggers_files import FilesStorageBackend, FilesStore

from triggers.errors import StorageUnavailable
from triggers.storages import ABSENT, EVERYTHING, Change, Due, Record, Want


def committed(folder: Path, wake_at: int | None = 5) -> FilesStore:
    """A store that holds one session with one wake-up and one label."""
    store = FilesStore(folder)
    put = {("c", "k"): Record(b"1", wake_at)}
    store.commit("s", Change("v1", put, labels=frozenset({"red"})), ABSENT, Want())
    return store


def test_what_a_dead_writer_left_in_the_index_is_not_listed_and_goes(tmp_path: Path) -> None:
    """Entries that no session stands behind are neither due nor listed, and the next look removes those of wake-ups."""
    store = committed(tmp_path)
    (entry,) = (tmp_path / "due").iterdir()
    (label,) = (tmp_path / "labels").iterdir()
    left = entry.read_bytes()
    (place,) = (path.parent for path in tmp_path.rglob("session.json"))
    assert store.delete("s") is True
    (tmp_path / "due" / entry.name).write_bytes(left)
    (label / place.name).touch()
    assert store.due(10, None, 10).entries == []
    assert list((tmp_path / "due").iterdir()) == []
    assert store.scan("red", None, 10).uids == []
    assert store.scan(None, None, 10).uids == []


def test_a_file_that_was_being_written_is_no_session(tmp_path: Path) -> None:
    """A writer that died before its rename leaves the session as it was, and the next writer in peace."""
    store = committed(tmp_path)
    (file,) = tmp_path.rglob("session.json")
    (file.parent / "session.next").write_bytes(b'{"format":1,"ver')
    assert store.load("s", EVERYTHING).version == "v1"
    store.commit("s", Change("v2", {("c", "k"): Record(b"2", 7)}), "v1", Want())
    assert store.load("s", EVERYTHING).records == {"c": {"k": Record(b"2", 7)}}
    assert store.due(10, None, 10).entries == [Due("s", "c", "k", 7)]


def test_a_deleted_session_leaves_no_file(tmp_path: Path) -> None:
    """After deletion only the lock files are left."""
    store = committed(tmp_path)
    store.delete("s")
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} == {"locks"}


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    """Where a file is in the way, a commit says which folder cannot be written, and that nothing was stored."""
    (tmp_path / "taken").touch()
    store = FilesStore(tmp_path / "taken" / "sessions")
    with pytest.raises(StorageUnavailable, match=r"session 's': .*taken/sessions cannot be written: .*; nothing was stored"):
        store.commit("s", Change("v1", {}), ABSENT, Want())
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        store.setup()


def test_a_handle_knows_its_store(tmp_path: Path) -> None:
    """``FilesStorageBackend(uid, folder=…)`` looks into the session of that folder."""
    committed(tmp_path)
    assert FilesStorageBackend("s", folder=str(tmp_path)).store.load("s", EVERYTHING).version == "v1"
    assert FilesStorageBackend("other", folder=str(tmp_path)).exists() is False
