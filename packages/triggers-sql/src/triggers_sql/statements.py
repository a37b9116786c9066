"""The statements, as text with parameters: what every database runs, with the few places where they must differ.

Everything here is chosen so that the primary key (uid, collection, key) answers it, whatever the planner believes about the
size of a session: a load must cost the same in a session with three records and with three thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from triggers.store import Change, Record, Want

ROWS_PER_STATEMENT = 1000

Bound = tuple[str, "tuple[Any, ...] | list[Any]"]


class Tables(NamedTuple):
    """The quoted names of the tables and of the column ``key``, which is a reserved word in some databases."""

    sessions: str
    records: str
    labels: str
    revision: str
    key: str


class Statements:
    """The texts for one database and one set of table names. The base class has those of SQLite."""

    mark = "?"
    max_parameters = 32_766
    max_bytes: int | None = None
    """How many bytes of values one statement may carry; ``None`` where nothing limits it."""
    insert_once = " ON CONFLICT DO NOTHING"

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        mark, sessions, records, labels = self.mark, tables.sessions, tables.records, tables.labels
        self.create_session = f"INSERT INTO {sessions} (uid, version) VALUES ({mark}, {mark}){self.insert_once}"  # noqa: S608
        self.swap_version = f"UPDATE {sessions} SET version = {mark} WHERE uid = {mark} AND version = {mark}"  # noqa: S608
        self.remove_session = f"DELETE FROM {sessions} WHERE uid = {mark}"  # noqa: S608
        self.remove_session_if = f"DELETE FROM {sessions} WHERE uid = {mark} AND version = {mark}"  # noqa: S608
        self.remove_records = f"DELETE FROM {records} WHERE uid = {mark}"  # noqa: S608
        self.remove_labels = f"DELETE FROM {labels} WHERE uid = {mark}"  # noqa: S608
        self.revision = f"SELECT version_num FROM {tables.revision}"  # noqa: S608
        uid = self.name_column("uid")
        self.scan_all = f"SELECT {uid} FROM {sessions} WHERE uid > {mark} ORDER BY uid LIMIT {mark}"  # noqa: S608
        self.scan_label = f"SELECT {uid} FROM {labels} WHERE label = {mark} AND uid > {mark} ORDER BY uid LIMIT {mark}"  # noqa: S608
        self.load_shape = lru_cache(maxsize=1024)(self._load_text)
        self.put_shape = lru_cache(maxsize=1024)(self._put_text)
        self.drop_shape = lru_cache(maxsize=1024)(self._drop_text)
        self.label_shape = lru_cache(maxsize=64)(self._label_text)

    def name_column(self, column: str) -> str:
        """How a column of names is selected so that it arrives as ``str``."""
        return column

    def value_column(self) -> str:
        """How the JSON is selected so that it arrives as the text that was stored."""
        return "value"

    def load(self, uid: str, want: Want) -> Bound:
        """One statement that gives the version in a row without a collection, and the wanted records."""
        pairs = want.records
        if want.everything or (len(pairs) * 2 + len(want.collections)) * 1.5 > self.max_parameters:
            return self.load_shape(-1, 0), (uid, uid)
        text = self.load_shape(len(want.collections), len(pairs))
        parameters: list[Any] = [uid]
        if want.collections:
            parameters += (uid, *want.collections)
        if pairs:
            parameters.append(uid)
            for pair in pairs:
                parameters += pair
        return text, parameters

    def puts(self, uid: str, put: Mapping[tuple[str, str], Record]) -> Iterator[Bound]:
        """The upserts of these records, many rows in each."""
        parameters: list[Any] = []
        rows = size = 0
        for (collection, key), (value, wake_at) in put.items():
            if rows and (rows == self.rows_per_put or (self.max_bytes and size + len(value) > self.max_bytes)):
                yield self.put_shape(rows), parameters
                parameters, rows, size = [], 0, 0
            parameters += (uid, collection, key, value.decode(), wake_at)
            rows += 1
            size += len(value)
        if rows:
            yield self.put_shape(rows), parameters

    @property
    def rows_per_put(self) -> int:
        """How many records one upsert carries at most."""
        return min(ROWS_PER_STATEMENT, self.max_parameters // 5)

    def drops(self, uid: str, drop: Collection[tuple[str, str]]) -> Iterator[Bound]:
        """The deletions of these records, many in each."""
        limit = min(ROWS_PER_STATEMENT, self.max_parameters // 2 - 1)
        gone = list(drop)
        for start in range(0, len(gone), limit):
            part = gone[start : start + limit]
            yield self.drop_shape(len(part)), [uid, *(name for pair in part for name in pair)]

    def labels(self, uid: str, labels: Collection[str]) -> Iterator[Bound]:
        """The insertion of these labels."""
        limit = min(ROWS_PER_STATEMENT, self.max_parameters // 2)
        found = list(labels)
        for start in range(0, len(found), limit):
            part = found[start : start + limit]
            yield self.label_shape(len(part)), [name for label in part for name in (uid, label)]

    def whole_commit(self, uid: str, change: Change, expected: str) -> Bound | None:
        """One statement that does all of a commit and returns a row if the version was the expected one, or ``None``."""
        return None

    def due(self, before: int, after: tuple[int, str, str, str] | None, limit: int) -> Bound:
        """The wake-ups up to ``before``, oldest first, from behind the cursor on."""
        uid, collection, key = (self.name_column(column) for column in ("uid", "collection", self.tables.key))
        head = f"SELECT {uid}, {collection}, {key}, wake_at FROM {self.tables.records} WHERE wake_at <= {self.mark}"  # noqa: S608
        tail = f" ORDER BY wake_at, uid, collection, {self.tables.key} LIMIT {self.mark}"
        if after is None:
            return head + tail, (before, limit)
        text, parameters = self.behind(after)
        return f"{head} AND {text}{tail}", (before, *parameters, limit)

    def behind(self, after: tuple[int, str, str, str]) -> tuple[str, tuple[Any, ...]]:
        """The condition for what comes after this place in the order of wake-ups."""
        return f"(wake_at, uid, collection, {self.tables.key}) > ({', '.join([self.mark] * 4)})", after

    def _load_text(self, collections: int, pairs: int) -> str:
        mark, key = self.mark, self.tables.key
        select = (
            f"SELECT NULL, {self.name_column('collection')}, {self.name_column(key)}, {self.value_column()}, wake_at"  # noqa: S608
            f" FROM {self.tables.records} WHERE "
        )
        version = self.name_column("version")
        arms = [f"SELECT {version}, NULL, NULL, NULL, NULL FROM {self.tables.sessions} WHERE uid = {mark}"]  # noqa: S608
        if collections < 0:
            arms.append(f"{select}uid = {mark}")
        if collections > 0:
            arms.append(f"{select}uid = {mark} AND {self._collection_in(collections)}")
        if pairs:
            arms.append(self._pairs_arm(select, pairs))
        return " UNION ALL ".join(arms)

    def _collection_in(self, count: int) -> str:
        return f"collection IN ({', '.join([self.mark] * count)})"

    def _pairs_arm(self, select: str, pairs: int) -> str:
        return select + self._pairs_condition(pairs)

    def _pairs_condition(self, pairs: int) -> str:
        rows = ", ".join([f"({self.mark}, {self.mark})"] * pairs)
        return f"(uid, collection, {self.tables.key}) IN (SELECT {self.mark}, column1, column2 FROM (VALUES {rows}))"  # noqa: S608

    def _put_text(self, rows: int) -> str:
        row = f"({', '.join([self.mark] * 5)})"
        return (
            f"INSERT INTO {self.tables.records} (uid, collection, {self.tables.key}, value, wake_at)"  # noqa: S608
            f" VALUES {', '.join([row] * rows)}{self._replace()}"
        )

    def _replace(self) -> str:
        key = self.tables.key
        return f" ON CONFLICT (uid, collection, {key}) DO UPDATE SET value = excluded.value, wake_at = excluded.wake_at"

    def _drop_text(self, pairs: int) -> str:
        return f"DELETE FROM {self.tables.records} WHERE {self._pairs_condition(pairs)}"  # noqa: S608

    def _label_text(self, rows: int) -> str:
        values = ", ".join([f"({self.mark}, {self.mark})"] * rows)
        return f"INSERT INTO {self.tables.labels} (uid, label) VALUES {values}"  # noqa: S608
