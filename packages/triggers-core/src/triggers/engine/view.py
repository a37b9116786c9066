"""What a decision sees of a session: what was loaded, and over it what the decision has written so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, TypeVar, cast

from triggers import records
from triggers.codec import encode
from triggers.config import NO_TASKS, Configuration
from triggers.records import CONFIG, CONFIG_KEY, HEAD, HEAD_KEY, Collection, Head
from triggers.store import ABSENT, EVERYTHING, Change, Record, Snapshot, Want

T = TypeVar("T")

_DROPPED: Any = object()
HEAD_WANT = Want(frozenset({(HEAD.name, HEAD_KEY)}))
CONFIG_WANT = Want(frozenset({(CONFIG.name, CONFIG_KEY)}))


class NeedMore(Exception):
    """The decision needs records that were not loaded."""

    def __init__(self, want: Want) -> None:
        super().__init__(want)
        self.want = want


class View:
    """A snapshot with a layer of writes; or, made by ``on_top``, another layer over the writes of a view.

    Args:
        snapshot: what was loaded.
        want: what it was loaded for; a record outside of it is not known to be absent.
        known: configurations that were decoded before, by hash; a new one is added.
    """

    __slots__ = ("_below", "_complete", "_decoded", "_known", "_records", "_wake_at", "_want", "_written", "version")

    def __init__(self, snapshot: Snapshot, want: Want, known: MutableMapping[str, Configuration]) -> None:
        self.version = snapshot.version
        self._records = snapshot.records
        self._complete = snapshot.complete or want.everything or snapshot.version == ABSENT
        self._want = want
        self._known = known
        self._below: View | None = None
        self._decoded: dict[tuple[str, str], Any] = {}
        self._written: dict[tuple[str, str], Any] = {}
        self._wake_at: dict[tuple[str, str], datetime] = {}

    def on_top(self) -> View:
        """A view for another decision, which sees what this one has written; both are committed together, or this one alone."""
        view = View(Snapshot(self.version, self._records, self._complete), self._want, self._known)
        view._below = self
        view._decoded = self._decoded
        return view

    def get(self, collection: Collection[T], key: str) -> T | None:
        """The record, or ``None`` if it does not exist; raises ``NeedMore`` if that is not known."""
        place = (collection.name, key)
        found = self._written.get(place)
        if found is None and self._below is not None:
            found = self._below._written_in_any_layer(place)
        if found is not None:
            return None if found is _DROPPED else cast("T", found)
        found = self._decoded.get(place)
        if found is not None:
            return cast("T", found)
        entries = self._records.get(collection.name)
        record = entries.get(key) if entries else None
        if record is None:
            if not (self._complete or self._want.covers(*place)):
                raise NeedMore(Want(frozenset({place})))
            return None
        value = records.read(collection, key, record.value)
        self._decoded[place] = value
        return value

    def all(self, collection: Collection[T]) -> dict[str, T]:
        """All records of a collection; raises ``NeedMore`` if they were not loaded."""
        name = collection.name
        if not (self._complete or name in self._want.collections):
            raise NeedMore(Want(collections=frozenset({name})))
        keys = dict.fromkeys(self._records.get(name, ()))
        for layer in self._layers():
            keys.update((key, None) for place, key in layer._written if place == name)
        found = {key: self.get(collection, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def first_of(self, collections: Iterable[str], key: str) -> str | None:
        """The first of the collections in which the record is known to be; never asks for more."""
        for name in collections:
            written = self._written_in_any_layer((name, key))
            if written is not _DROPPED and (written is not None or self._stored((name, key))):
                return name
        return None

    def require(self, want: Want) -> None:
        """Raises one ``NeedMore`` for all that a phase needs and that was not loaded."""
        if self._complete:
            return
        loaded = self._want
        missing = Want(
            frozenset(place for place in want.records - loaded.records if place[0] not in loaded.collections),
            want.collections - loaded.collections,
            want.everything,
        )
        if missing.records or missing.collections or missing.everything:
            raise NeedMore(missing)

    def put(self, collection: Collection[T], key: str, value: T, wake_at: datetime | None = None) -> None:
        """Writes a record; without ``wake_at`` it has no wake-up."""
        place = (collection.name, key)
        self._written[place] = value
        if wake_at is None:
            self._wake_at.pop(place, None)
        else:
            self._wake_at[place] = wake_at

    def drop(self, collection: Collection[Any], key: str) -> None:
        """Removes a record."""
        place = (collection.name, key)
        if place in self._written and self._below is None and not self._stored(place) and self._known_absent(place):
            del self._written[place]
        else:
            self._written[place] = _DROPPED
        self._wake_at.pop(place, None)

    def clear(self) -> None:
        """Removes every record but the head; raises ``NeedMore`` if not all were loaded."""
        self.require(EVERYTHING)
        places = [(name, key) for name, entries in self._records.items() for key in entries]
        for layer in self._layers():
            places += layer._written
        self._written.update({place: _DROPPED for place in places if place != (HEAD.name, HEAD_KEY)})

    def wake_at(self, collection: Collection[Any], key: str) -> datetime | None:
        """When the record next needs attention."""
        place = (collection.name, key)
        for layer in reversed(self._layers()):
            if place in layer._written:
                return layer._wake_at.get(place)
        record = self._records.get(collection.name, {}).get(key)
        return None if record is None or record.wake_at is None else records.from_microseconds(record.wake_at)

    @property
    def head(self) -> Head | None:
        """The session's head, or ``None`` for a session that does not exist."""
        return self.get(HEAD, HEAD_KEY)

    def configuration(self) -> Configuration:
        """The session's configuration; decoded once per process."""
        head = self.head
        if head is None or not head.config:
            return NO_TASKS
        known = self._known.get(head.config)
        if known is None:
            raw = self.get(CONFIG, CONFIG_KEY)
            if raw is None:
                raise NeedMore(CONFIG_WANT)
            known = self._known[head.config] = Configuration.decode(bytes(raw))
        return known

    @property
    def written(self) -> Mapping[tuple[str, str], Any]:
        """What was written so far."""
        return self._written

    def change(self, version: str, labels: frozenset[str] | None, expire_in: int | None = None) -> Change:
        """All writes as one change, with those of the layers below."""
        written = self._written
        wake_at = self._wake_at
        if self._below is not None:
            written, wake_at = {}, {}
            for layer in self._layers():
                for place, value in layer._written.items():
                    written[place] = value
                    at = layer._wake_at.get(place)
                    if at is None:
                        wake_at.pop(place, None)
                    else:
                        wake_at[place] = at
        put: dict[tuple[str, str], Record] = {}
        drop: list[tuple[str, str]] = []
        for place, value in written.items():
            if value is _DROPPED:
                drop.append(place)
            else:
                at = wake_at.get(place)
                put[place] = Record(encode(value), None if at is None else records.to_microseconds(at))
        return Change(version, put, frozenset(drop), labels, expire_in)

    def _layers(self) -> list[View]:
        """This view and those below it, the lowest first."""
        return [self] if self._below is None else [*self._below._layers(), self]

    def _written_in_any_layer(self, place: tuple[str, str]) -> Any:
        found = self._written.get(place)
        if found is None and self._below is not None:
            return self._below._written_in_any_layer(place)
        return found

    def _stored(self, place: tuple[str, str]) -> bool:
        return place[1] in self._records.get(place[0], ())

    def _known_absent(self, place: tuple[str, str]) -> bool:
        return self._complete or self._want.covers(*place)
