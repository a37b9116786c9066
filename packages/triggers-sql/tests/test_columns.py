"""What the columns are: exact names, JSON that comes back as it was, and JSON that people can ask."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import create_engine, inspect, pool, text

from sql_stores import OpenStore
from triggers.errors import StorageError
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_sql import SqlStore

VALUES = {
    "large": b"9223372036854775807",
    "small": b"-9223372036854775808",
    "beyond a double": b"9007199254740993",
    "floats": b"[0.1,1e22,5e-324,1.7976931348623157e+308,-0.0,1.0,100000.0]",
    "order of keys": b'{"b":1,"a":2,"":3}',
    "escapes": b'"\\u00e9\\ud83e\\udd8b\\n\\""',
    "text": '"é 🦋 \\u2028"'.encode(),
    "deep": b'{"x":' + b"[" * 150 + b"]" * 150 + b"}",
    "spaces": b'{ "a" : [ 1 , 2 ] }',
    "percent": b'"100%s %(a)s ? :b {c}"',
    "empty": b'""',
    "null": b"null",
}


def column_types(url: str) -> dict[str, str]:
    engine = create_engine(url, poolclass=pool.NullPool)
    columns = inspect(engine).get_columns("triggers_records")
    return {column["name"]: str(column["type"]).upper() for column in columns}


def test_values_come_back_byte_for_byte(store: SqlStore) -> None:
    """Numbers of 64 bits, floats, the order of keys, escapes, spaces and 150 levels of nesting come back as the same text."""
    put = {("c", name): Record(value) for name, value in VALUES.items()}
    store.commit("s", Change("v1", put), ABSENT, Want())
    found = store.load("s", EVERYTHING).records["c"]
    assert {name: record.value for name, record in found.items()} == VALUES


def test_the_types_of_the_columns(store: SqlStore, url: str) -> None:
    """PostgreSQL has ``json``, which keeps the text; MySQL has LONGTEXT and binary names; SQLite has TEXT. Times are 64 bits."""
    kind = store.connections.engine.dialect.name
    expected = {
        "sqlite": ("TEXT", "TEXT", "BIGINT"),
        "postgresql": ("TEXT", "JSON", "BIGINT"),
        "mysql": ("VARBINARY(511)", "LONGTEXT", "BIGINT"),
    }[kind]
    types = column_types(url)
    assert (types["key"].split(" COLLATE")[0], types["value"].split(" COLLATE")[0], types["wake_at"][:6]) == expected


def test_names_are_compared_by_their_bytes_in_every_column(store: SqlStore) -> None:
    """``a``, ``A``, ``a `` and ``á`` are four: as uids, versions, collections, keys and labels, alone and among many."""
    names = ["a", "A", "a ", "á", "a\u0301", "%", "_", "\\", "'", '"', "\\'", "a%", "%s", "?"]
    records = {each: {each: Record(json.dumps(each).encode(), 5)} for each in names}
    put = {(each, each): records[each][each] for each in names}
    for name in names:
        store.commit(name, Change(name, put, labels=frozenset({name})), ABSENT, Want())
    for name in names:
        found = store.load(name, Want(frozenset((name, each) for each in names), frozenset({"a "})))
        assert found == (name, {"a ": records["a "], name: records[name]}, False)
        assert store.scan(name, None, 100).uids == [name]
        store.commit(name, Change(f"{name}2", {}, frozenset({(name, name)})), name, Want())
        assert sorted(store.load(name, EVERYTHING).records) == sorted(set(names) - {name})
    assert store.scan(None, None, 100).uids == sorted(names, key=str.encode)
    order = [(entry.uid, entry.collection, entry.key) for entry in store.due(5, None, 10_000).entries]
    assert order == sorted(order, key=lambda entry: tuple(name.encode() for name in entry))
    assert len(order) == 14 * 13


def test_names_of_the_greatest_length(store: SqlStore) -> None:
    """255 bytes fit in uids, versions and keys, and more than that in collections, which carry the name of a task."""
    name = "é" * 127 + "x"
    collection = f"waiting/{name}"
    put = {(collection, name): Record(b"1", 5)}
    store.commit(name, Change(name, put, labels=frozenset({name})), ABSENT, Want())
    assert store.load(name, Want(frozenset({(collection, name)}))).records == {collection: {name: Record(b"1", 5)}}
    assert store.due(5, None, 1).entries == [(name, collection, name, 5)]


def test_a_name_that_is_too_long_is_refused_and_not_cut(mysql_url: str, open_store: OpenStore) -> None:
    """On MySQL a name longer than its column is an error of ours; strict mode is on, whatever the server's default."""
    store = open_store(mysql_url, auto_setup=True)
    with pytest.raises(StorageError, match=r"the database refused: .*Data too long for column 'uid'.*nothing was stored"):
        store.commit("x" * 256, Change("v1", {}), ABSENT, Want())
    with pytest.raises(StorageError, match=r"Data too long for column 'key'"):
        store.commit("s", Change("v1", {("c", "x" * 600): Record(b"1")}), ABSENT, Want())
    assert store.scan(None, None, 9).uids == []


def test_a_nul_is_refused_by_postgresql(postgres_url: str, open_store: OpenStore) -> None:
    """PostgreSQL cannot keep a NUL in a name: an error of ours, and nothing is stored."""
    store = open_store(postgres_url, auto_setup=True)
    with pytest.raises(StorageError, match=r"0x00.*nothing was stored"):
        store.commit("s", Change("v1", {("c", "a\0b"): Record(b"1")}), ABSENT, Want())
    assert store.scan(None, None, 9).uids == []


def test_what_is_no_json_is_refused_by_postgresql(postgres_url: str, open_store: OpenStore) -> None:
    """The column is ``json``: a value that is none is an error of ours, and nothing is stored."""
    store = open_store(postgres_url, auto_setup=True)
    with pytest.raises(StorageError, match=r"invalid input syntax for type json.*nothing was stored"):
        store.commit("s", Change("v1", {("c", "k"): Record(b"{no")}), ABSENT, Want())
    assert store.scan(None, None, 9).uids == []


def test_people_can_ask_the_json(store: SqlStore, url: str) -> None:
    """The database's own JSON functions read the values."""
    put = {("live/a", "0"): Record(b'{"status":"failed"}'), ("live/a", "1"): Record(b'{"status":"running"}')}
    store.commit("s", Change("v1", put), ABSENT, Want())
    ask = {
        "sqlite": "SELECT uid, key FROM triggers_records WHERE json_extract(value, '$.status') = 'failed'",
        "postgresql": "SELECT uid, key FROM triggers_records WHERE value->>'status' = 'failed'",
        "mysql": "SELECT CONVERT(uid USING utf8mb4), CONVERT(`key` USING utf8mb4) FROM triggers_records"
        " WHERE JSON_VALUE(value, '$.status') = 'failed'",
    }[store.connections.engine.dialect.name]
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(text(ask))] == [("s", "0")]
