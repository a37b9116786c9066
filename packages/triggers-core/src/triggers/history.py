"""Reading the history of a session; ``engine.history`` writes it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from triggers import records
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Want


class HistoryEntry(msgspec.Struct, frozen=True):
    """One thing that happened to a session. What has the same ``commit`` was stored in one step."""

    commit: int
    at: datetime
    kind: str
    """``fired``, ``status``, ``delivered``, ``recovered``, ``replayed``, ``skipped``, ``configured``, ``cancelled``, ``manager``,
    ``finalized``."""
    subject: str
    """The trigger, the instance, …"""
    detail: str
    """What about it: the event id or cause of a fire, ``scheduled → running``, the reason of a cancellation."""

    def __str__(self) -> str:
        """One plain line."""
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind} {self.subject}{f' ({self.detail})' if self.detail else ''}"


def read_history(storage: BaseTriggerStorage) -> list[HistoryEntry]:
    """The history of a session, oldest first."""
    snapshot = storage.store.load(storage.uid, Want(collections=frozenset({"history"})))
    found = snapshot.records.get("history", {})
    entries = [records.read(records.HISTORY, key, record.value) for key, record in found.items()]
    entries.sort(key=lambda entry: entry.number, reverse=True)
    # Where the setting was changed, older entries are left over beyond a gap.
    entries = [entry for place, entry in enumerate(entries) if entry.number == entries[0].number - place][::-1]
    return [
        HistoryEntry(entry.number, entry.at, kind, subject, detail) for entry in entries for kind, subject, detail in entry.facts
    ]
