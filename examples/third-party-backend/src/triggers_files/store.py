"""The store: a folder per session, replaced file by file, with two indexes beside it.

    sessions/<aa>/<hash of the uid>/session.json    the session; a rename replaces it, and that rename is the commit
    sessions/<aa>/<hash of the uid>/uid             whose session it is
    due/, labels/                                   the indexes (see ``index.py``)
    locks/<aa>                                      256 lock files, never removed

A writer holds the lock of the session, compares, writes a new file beside the old one, and renames it. Where it dies, the
system lets go of its lock, and the session is what it was before the rename, or what it is after.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers.storages import Capability, Change, Due, DuePage, ScanPage
from triggers.storages.document import DocumentStore
from triggers_files.index import DueIndex, LabelIndex, flush


class FilesStore(DocumentStore):
    """Sessions as files below one folder, on a local file system (``flock`` is not to be trusted on network ones).

    Args:
        folder: is made if it is not there.
        flush: whether each commit is on the disk before it counts; without it, a loss of power may take the last ones.
    """

    api_version = 1
    capabilities = Capability.DUE | Capability.SCAN

    def __init__(self, folder: str | os.PathLike[str] = "triggers-files", *, flush: bool = True) -> None:
        super().__init__()
        self.folder = Path(folder).absolute()
        self._flush = flush
        self._due = DueIndex(self.folder / "due", flush=flush)
        self._labels = LabelIndex(self.folder / "labels", flush=flush)

    def read(self, uid: str) -> tuple[bytes, bytes] | None:
        """The file's bytes. They are their own mark, for each document holds the version that made it."""
        found = self._read(self._place(uid))
        return None if found is None else (found, found)

    def swap(self, uid: str, old: bytes | None, new: bytes, change: Change) -> bool:
        """Index first, then the rename, then what the index no longer needs: it may say too much, never too little."""
        place = self._place(uid)
        with self._locked(uid):
            before = self._read(place)
            if before != old:
                return False
            with self._nothing_stored(uid):
                self._due.add(uid, place.name, new)
                self._labels.add(place.name, new)
                self._write_beside(place, uid, new)
            self._rename(place, uid)
            self._due.forget(uid, place.name, before, new)
            self._labels.forget(place.name, before, new)
            return True

    def remove(self, uid: str, old: bytes) -> bool:
        """The session's file first: without it there is no session, whatever else is left."""
        place = self._place(uid)
        with self._locked(uid):
            before = self._read(place)
            if before != old:
                return False
            with self._nothing_stored(uid):
                (place / "session.json").unlink()
            with contextlib.suppress(OSError):
                flush(place, self._flush)
                (place / "uid").unlink()
                place.rmdir()
            self._due.forget(uid, place.name, before, None)
            self._labels.forget(place.name, before, None)
            return True

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """Reads the names in the index; each that counts is checked against its session."""
        found: list[Due] = []
        last = after
        for name in self._due.names(before, after):
            if len(found) == limit:
                return DuePage(found, last)
            last = name
            entry = self._due.entry(name)
            if entry is not None and (self._is_due(entry) or not self._sweep(name, entry)):
                found.append(entry)
        return DuePage(found, None)

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """Walks the folders, or the index of the label, in order of the hash of the uid."""
        names = self._all_names(after or "") if label is None else self._labels.names(label, after or "")
        page: list[str] = []
        last = after
        for name in names:
            if len(page) == limit:
                return ScanPage(page, last)
            last = name
            place = self._folder_of(name)
            found = self._read(place)
            if found is not None and (label is None or label in self._labels.of(found)):
                with contextlib.suppress(FileNotFoundError):  # it may have been deleted just now
                    page.append((place / "uid").read_text(encoding="utf-8"))
        return ScanPage(page, None)

    def setup(self) -> None:
        """Makes the folder. It is also made by the first commit."""
        with self._nothing_stored("any"):
            self.folder.mkdir(parents=True, exist_ok=True)

    def promises(self) -> dict[str, str]:
        """What holds on a local file system."""
        kept = "kept through a loss of power" if self._flush else "the last commits may be lost with a loss of power"
        return {"durability": kept, "place": str(self.folder), "reach": "processes of one machine"}

    def _is_due(self, entry: Due) -> bool:
        found = self._read(self._place(entry.uid))
        return found is not None and entry in self._due.of(entry.uid, found)

    def _sweep(self, name: str, entry: Due) -> bool:
        """Removes an entry that a writer left behind; not while a writer is at work, whose entry it may be."""
        with self._locked(entry.uid):
            if self._is_due(entry):
                return False
            self._due.remove(name)
            return True

    def _place(self, uid: str) -> Path:
        return self._folder_of(hashlib.sha256(uid.encode()).hexdigest())

    def _folder_of(self, name: str) -> Path:
        return self.folder / "sessions" / name[:2] / name

    def _all_names(self, after: str) -> Iterator[str]:
        shards = (f"{number:02x}" for number in range(256))
        for shard in itertools.dropwhile(lambda shard: shard < after[:2], shards):
            with contextlib.suppress(FileNotFoundError):
                yield from sorted(name for name in os.listdir(self.folder / "sessions" / shard) if name > after)

    def _read(self, place: Path) -> bytes | None:
        try:
            return (place / "session.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageUnavailable(f"{place} cannot be read: {error}") from error

    def _write_beside(self, place: Path, uid: str, new: bytes) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "uid").exists():
            (place / "uid.next").write_text(uid, encoding="utf-8")
            (place / "uid.next").replace(place / "uid")
        with (place / "session.next").open("wb") as file:
            file.write(new)
            file.flush()
            if self._flush:
                os.fsync(file.fileno())

    def _rename(self, place: Path, uid: str) -> None:
        with self._nothing_stored(uid):
            (place / "session.next").replace(place / "session.json")
        try:
            flush(place, self._flush)
            flush(place.parent, self._flush)
        except OSError as error:
            raise OutcomeUnknown(f"session {uid!r}: {place} could not be flushed to the disk: {error}") from error

    @contextlib.contextmanager
    def _locked(self, uid: str) -> Iterator[None]:
        name = hashlib.sha256(uid.encode()).hexdigest()[:2]
        with contextlib.ExitStack() as stack:
            with self._nothing_stored(uid):
                (self.folder / "locks").mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((self.folder / "locks" / name).open("wb"))
                fcntl.flock(file, fcntl.LOCK_EX)
            # Closing would not do: a child that is forked meanwhile has the file open as well.
            stack.callback(fcntl.flock, file, fcntl.LOCK_UN)
            yield

    @contextlib.contextmanager
    def _nothing_stored(self, uid: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageUnavailable(f"session {uid!r}: {self.folder} cannot be written: {error}; nothing was stored") from error
