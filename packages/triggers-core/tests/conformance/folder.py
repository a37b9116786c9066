"""A store on files, one per session, on the core's helper for one-value media."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from triggers.storages import BaseTriggerStorage
from triggers.storages.document import DocumentStore
from triggers.store import Change


class FolderStore(DocumentStore):
    """A file per session, replaced by renaming under a lock on a second file."""

    api_version = 1
    max_value_bytes = 4 * 2**20

    def __init__(self, folder: Path | str) -> None:
        super().__init__()
        self.folder = Path(folder)

    def read(self, uid: str) -> tuple[bytes, bytes] | None:
        """The file's bytes, which are their own mark: each document holds the version that made it."""
        try:
            raw = self.path(uid).read_bytes()
        except FileNotFoundError:
            return None
        return raw, raw

    def swap(self, uid: str, old: bytes | None, new: bytes, change: Change) -> bool:
        """Writes a file beside it and renames that."""
        with self._locked(uid):
            if self._current(uid) != old:
                return False
            beside = self.path(uid).with_suffix(f".{os.getpid()}")
            beside.write_bytes(new)
            beside.replace(self.path(uid))
            return True

    def remove(self, uid: str, old: bytes) -> bool:
        """Removes the file."""
        with self._locked(uid):
            if self._current(uid) != old:
                return False
            self.path(uid).unlink()
            return True

    def path(self, uid: str) -> Path:
        """The file of a session."""
        return self.folder / f"{hashlib.sha256(uid.encode()).hexdigest()}.json"

    def _current(self, uid: str) -> bytes | None:
        found = self.read(uid)
        return None if found is None else found[1]

    @contextlib.contextmanager
    def _locked(self, uid: str) -> Iterator[None]:
        with self.path(uid).with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class FolderStorageBackend(BaseTriggerStorage):
    """A session in a folder."""

    api_version = 1
    key = "folder"
    store_class = FolderStore
