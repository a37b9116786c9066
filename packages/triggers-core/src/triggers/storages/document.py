"""A helper base for media that can keep only one value per session: a cache, a file, an object store.

The whole session is one JSON document; the author writes how to read it and how to replace it if nothing changed.
"""

from __future__ import annotations

import abc
from typing import Any

import msgspec

from triggers.errors import Conflict, SessionTooLarge, UnreadableRecord
from triggers.store import ABSENT, NOTHING, Change, Record, Snapshot, Store, Want

FORMAT = 1
SWAPS = 3
"""How often a commit tries to swap at the expected version; a medium may refuse a swap for its own reasons."""
REMOVALS = 100
"""How often a deletion tries to remove while others change the session."""


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    value: msgspec.Raw
    wake_at: int | None = None


class _Document(msgspec.Struct, frozen=True):
    format: int
    version: str
    labels: tuple[str, ...]
    records: dict[str, dict[str, _Entry]]


class _Format(msgspec.Struct, frozen=True):
    format: int


_EMPTY = _Document(FORMAT, ABSENT, (), {})
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Document)
_format_decoder = msgspec.json.Decoder(_Format)


class DocumentStore(Store):
    """A store that keeps each session as one value. Subclasses give ``read``, ``swap`` and ``remove``.

    Each of the three must be atomic for all threads and processes that share the medium; the contract follows from
    that.
    """

    one_value = True

    @abc.abstractmethod
    def read(self, uid: str) -> tuple[bytes, Any] | None:
        """The session's document and a mark of this very revision (anything that ``swap`` understands), or ``None``."""

    @abc.abstractmethod
    def swap(self, uid: str, old: Any, new: bytes, change: Change) -> bool:
        """Replaces the document if it is still the revision ``old`` (``None``: if there is none); says whether it did.

        A revision that was replaced never comes back, even if the bytes do: compare a mark of the medium, or the
        whole document (each holds the version that made it).

        Raises:
            OutcomeUnknown: the connection was lost after the value was sent.
        """

    @abc.abstractmethod
    def remove(self, uid: str, old: Any) -> bool:
        """Removes the document if it is still the revision ``old``; says whether it did."""

    def load(self, uid: str, want: Want) -> Snapshot:
        """The whole session, whatever was wanted."""
        found = self.read(uid)
        return NOTHING if found is None else _snapshot(parse(uid, found[0]))

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Reads the document, applies the change to it, and swaps it in.

        Raises:
            SessionTooLarge: the document would be larger than ``max_value_bytes``; nothing was stored.
        """
        for _ in range(SWAPS):
            found = self.read(uid)
            document, old = (_EMPTY, None) if found is None else (parse(uid, found[0]), found[1])
            if document.version != expected:
                raise Conflict(uid, _snapshot(document))
            if self.swap(uid, old, self._encode(uid, apply(document, change)), change):
                return
        raise Conflict(uid)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Removes the document, without ``expected`` even an unreadable one; tries again while others change it.

        Raises:
            Conflict: the version is not the expected one, or others changed the session a hundred times meanwhile.
        """
        for _ in range(REMOVALS):
            found = self.read(uid)
            if expected is not None:
                document = _EMPTY if found is None else parse(uid, found[0])
                if document.version != expected:
                    raise Conflict(uid, _snapshot(document))
            if found is None:
                return False
            if self.remove(uid, found[1]):
                return True
        raise Conflict(uid)

    def _encode(self, uid: str, document: _Document) -> bytes:
        encoded = _encoder.encode(document)
        if self.max_value_bytes is not None and len(encoded) > self.max_value_bytes:
            raise SessionTooLarge(
                f"session {uid!r} would take {len(encoded)} bytes and {type(self).__name__} keeps at most "
                f"{self.max_value_bytes} per session; nothing was stored. Keep large documents elsewhere and fire "
                "their names, or use another storage"
            )
        return encoded


def parse(uid: str, raw: bytes) -> _Document:
    """Reads a document of format 1.

    Raises:
        UnreadableRecord: it is no such document.
    """
    try:
        found = _format_decoder.decode(raw).format
        if found != FORMAT:
            raise UnreadableRecord(
                f"session {uid!r}: the stored document has format {found}, this version reads {FORMAT}; upgrade triggers-core"
            )
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableRecord(f"session {uid!r}: the stored document cannot be read: {error}") from error


def apply(document: _Document, change: Change) -> _Document:
    """The document with the change applied; what is both dropped and put is put."""
    records = dict(document.records)
    for collection in {collection for collection, _ in (*change.drop, *change.put)} & records.keys():
        records[collection] = dict(records[collection])
    for collection, key in change.drop:
        entries = records.get(collection)
        if entries is not None:
            entries.pop(key, None)
    for (collection, key), record in change.put.items():
        records.setdefault(collection, {})[key] = _Entry(msgspec.Raw(record.value), record.wake_at)
    labels = document.labels if change.labels is None else tuple(sorted(change.labels))
    return _Document(FORMAT, change.version, labels, {name: entries for name, entries in records.items() if entries})


def _snapshot(document: _Document) -> Snapshot:
    if document.version == ABSENT:
        return NOTHING
    records = {
        collection: {key: Record(bytes(entry.value), entry.wake_at) for key, entry in entries.items()}
        for collection, entries in document.records.items()
    }
    return Snapshot(document.version, records, True)
