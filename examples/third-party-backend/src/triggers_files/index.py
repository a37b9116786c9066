"""The indexes: empty or small files whose names sort as they are to be listed.

An entry is there before the session says what it stands for, and goes after the session has stopped saying it. So an
index may say too much, after a crash for example, and never too little; what it says is checked against the session.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from triggers.storages import Due
from triggers.storages.document import parse


class DueIndex:
    """One file per wake-up: ``<wake_at, 20 digits>.<hash of the uid>.<hash of collection and key>``."""

    def __init__(self, folder: Path, *, flush: bool) -> None:
        self._folder = folder
        self._flush = flush

    def of(self, uid: str, raw: bytes | None) -> set[Due]:
        """The wake-ups that a stored session has."""
        if raw is None:
            return set()
        return {
            Due(uid, collection, key, entry.wake_at)
            for collection, entries in parse(uid, raw).records.items()
            for key, entry in entries.items()
            if entry.wake_at is not None
        }

    def add(self, uid: str, session: str, new: bytes) -> None:
        """Makes the entries of what the session is about to be."""
        wanted = {_name(session, due): due for due in self.of(uid, new)}
        missing = [name for name in wanted if not (self._folder / name).exists()]
        if not missing:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            beside = self._folder / f"{name}.next"
            beside.write_text(json.dumps(wanted[name]), encoding="utf-8")
            beside.replace(self._folder / name)
        flush(self._folder, self._flush)

    def forget(self, uid: str, session: str, before: bytes | None, now: bytes | None) -> None:
        """Removes the entries that the session no longer needs."""
        for due in self.of(uid, before) - self.of(uid, now):
            self.remove(_name(session, due))

    def names(self, before: int, after: str | None) -> list[str]:
        """The names of what is due, oldest first, after a name."""
        try:
            found = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(name for name in found if (after or "") < name < f"{before + 1:020d}" and not name.endswith(".next"))

    def entry(self, name: str) -> Due | None:
        """What an entry stands for, unless it has just gone."""
        try:
            return Due(*json.loads((self._folder / name).read_bytes()))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Removes one entry."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()


class LabelIndex:
    """A folder per label, with one empty file per session, named for the hash of its uid."""

    def __init__(self, folder: Path, *, flush: bool) -> None:
        self._folder = folder
        self._flush = flush

    def of(self, raw: bytes | None) -> set[str]:
        """The labels that a stored session has."""
        return set() if raw is None else set(parse("?", raw).labels)

    def add(self, session: str, new: bytes) -> None:
        """Makes the entries of what the session is about to be."""
        for label in self.of(new):
            folder = self._folder_of(label)
            if not (folder / session).exists():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / session).touch()
                flush(folder, self._flush)

    def forget(self, session: str, before: bytes | None, now: bytes | None) -> None:
        """Removes the entries that the session no longer needs."""
        for label in self.of(before) - self.of(now):
            with contextlib.suppress(OSError):
                (self._folder_of(label) / session).unlink()

    def names(self, label: str, after: str) -> Iterator[str]:
        """The sessions that may have the label, in order, after a name."""
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(name for name in os.listdir(self._folder_of(label)) if name > after)

    def _folder_of(self, label: str) -> Path:
        return self._folder / hashlib.sha256(label.encode()).hexdigest()


def flush(folder: Path, really: bool) -> None:
    """Has the names in a folder written to the disk."""
    if really:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name(session: str, due: Due) -> str:
    place = hashlib.sha256(json.dumps([due.collection, due.key]).encode()).hexdigest()
    return f"{due.wake_at:020d}.{session}.{place}"
