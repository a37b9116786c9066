"""Stores on files with one mistake each, of the kinds that only several handles or processes show."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from conformance.folder import FolderStore
from triggers.errors import StorageUnavailable
from triggers.storages import document
from triggers.store import Change, Snapshot, Want

STORES: dict[str, type[BrokenFiles]] = {}


class BrokenFiles(FolderStore):
    """A store on files; a subclass gets one thing wrong and registers itself."""

    caught_by: ClassVar[str]
    also: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        STORES[cls.__name__] = cls


class RemembersWhatItRead(BrokenFiles):
    """A handle keeps the last snapshot of each session and does not look again."""

    caught_by = "test_s02_committed_is_seen_by_every_handle"
    also = "S1 S6 S10 S11 S12 S23 S24 S25"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._remembered: dict[str, Snapshot] = {}

    def load(self, uid: str, want: Want) -> Snapshot:
        if uid not in self._remembered:
            self._remembered[uid] = super().load(uid, want)
        return self._remembered[uid]

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change, expected, want)
        self._remembered.pop(uid, None)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        self._remembered.pop(uid, None)
        return super().delete(uid, expected)


class LocksOnlyItsProcess(BrokenFiles):
    """The lock holds for the threads of one process."""

    caught_by = "test_s19_processes_lose_no_update"
    lock: ClassVar[Any] = threading.Lock()

    @contextlib.contextmanager
    def _locked(self, uid: str) -> Iterator[None]:
        with self.lock:
            yield

    def swap(self, uid: str, old: bytes | None, new: bytes, change: Change) -> bool:
        with self._locked(uid):
            if self._current(uid) != old:
                return False
            time.sleep(0.001)
            self.path(uid).with_suffix(f".{id(self)}").write_bytes(new)
            self.path(uid).with_suffix(f".{id(self)}").replace(self.path(uid))
            return True


class CommitsHalf(BrokenFiles):
    """What a commit drops is removed in a second step."""

    caught_by = "test_s20_killed_processes_leave_all_or_nothing"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change._replace(drop=frozenset()), expected, want)
        if change.drop:
            time.sleep(0.1)
            super().commit(uid, Change(change.version, {}, change.drop - change.put.keys()), change.version, want)


class WritesInPlace(BrokenFiles):
    """The file is written over, not replaced."""

    caught_by = "test_s20_killed_processes_leave_all_or_nothing"

    def swap(self, uid: str, old: bytes | None, new: bytes, change: Change) -> bool:
        with self._locked(uid):
            if self._current(uid) != old:
                return False
            with self.path(uid).open("wb") as file:
                file.write(new[:100])
                file.flush()
                time.sleep(0.005)
                file.write(new[100:])
            return True


class LeavesItsLock(BrokenFiles):
    """The lock is a file that is made and removed; a killed process leaves it."""

    caught_by = "test_s20_killed_processes_leave_all_or_nothing"

    @contextlib.contextmanager
    def _locked(self, uid: str) -> Iterator[None]:
        lock = self.path(uid).with_suffix(".held")
        for _ in range(1000):
            try:
                lock.open("x").close()
                break
            except FileExistsError:
                time.sleep(0.001)
        else:
            raise StorageUnavailable(f"{lock} is held")
        try:
            time.sleep(0.005)
            yield
        finally:
            lock.unlink()


class ChecksThenMakes(BrokenFiles):
    """``setup`` looks whether there is a folder, and makes it."""

    caught_by = "test_s24_processes_set_up_at_once"
    also = "S24"

    def setup(self) -> None:
        made = self.folder / "made"
        if not made.exists():
            time.sleep(0.5)
            made.mkdir()


class GuessesTheFormat(BrokenFiles):
    """A format number that it does not know is taken for its own."""

    caught_by = "test_s26_unknown_formats_are_refused"

    def read(self, uid: str) -> tuple[bytes, bytes] | None:
        found = super().read(uid)
        if found is None:
            return None
        content = json.loads(found[0])
        content["format"] = document.FORMAT
        return json.dumps(content).encode(), found[1]
