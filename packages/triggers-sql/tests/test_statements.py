"""Statements and rows, counted: an operation costs what it changes, whatever the size of the session or of the tables."""

from __future__ import annotations

import json

import pytest

from sql_stores import OpenStore, statements_of
from sql_work import analyze, rows_touched
from triggers.errors import Conflict, SessionTooLarge, StorageError
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_sql import SqlStore, Statement

# What a fire asks for and changes.
WANT = Want(
    records=frozenset({("session", "head"), ("trigger", "t1"), ("count", "a"), ("count", "b"), ("live/a", "7"), ("event", "e")}),
    collections=frozenset({"waiting/a", "waiting/b"}),
)
PUT = {
    ("session", "head"): Record(b'{"format":1}'),
    ("trigger", "t1"): Record(b'{"kwargs":{}}'),
    ("count", "a"): Record(b'{"next":8}'),
    ("live/a", "8"): Record(b'{"status":"scheduled"}', 5),
}
COMMIT = {
    "sqlite": ["BEGIN", "UPDATE", "DELETE", "INSERT", "COMMIT"],
    "postgresql": ["WITH"],
    "mysql": ["BEGIN", "UPDATE", "DELETE", "INSERT", "COMMIT"],
}


def kind(store: SqlStore) -> str:
    return store.connections.engine.dialect.name


def words(statements: list[Statement]) -> list[str]:
    return [statement.text.split()[0] for statement in statements]


def fill(store: SqlStore, uid: str, size: int) -> None:
    """A session with what ``WANT`` asks for, and so many finished, queued and counted records beside it."""
    put = dict(PUT) | {("waiting/a", "0"): Record(b"{}")}
    for number in range(size):
        put["done/a", str(number)] = put["queued/a", str(number)] = Record(b'{"x":"' + b"y" * 100 + b'"}')
        put["count", f"task{number}"] = Record(b"{}", 1000 + number)
    store.commit(uid, Change("v1", put, labels=frozenset({"l"})), ABSENT, Want())


def test_a_fire_costs_the_same_in_a_session_of_any_size(store: SqlStore) -> None:
    """A load and a commit run the same statements and touch as many rows with 0 and with 9 000 other records in the session."""
    for uid in ("small", *(f"other{number}" for number in range(20))):
        fill(store, uid, 0)
    fill(store, "large", 3000)
    analyze(store)
    change = Change("v2", PUT, frozenset({("live/a", "7"), ("waiting/a", "0")}))
    seen: dict[str, list[Statement]] = {}
    touched: dict[str, tuple[int, int]] = {}
    for uid in ("small", "large"):
        statements = store.connections.statements
        load = statements.load(uid, WANT)
        texts = [*statements.drops(uid, change.drop), *statements.puts(uid, change.put)]
        touched[uid] = (
            rows_touched(store, load),
            rows_touched(store, *texts),
        )
        with statements_of(store) as seen[uid]:
            store.load(uid, WANT)
            store.commit(uid, change, "v1", WANT)
    assert words(seen["small"]) == ["SELECT", *COMMIT[kind(store)]]
    assert [(each.text, each.rows) for each in seen["large"]] == [(each.text, each.rows) for each in seen["small"]]
    assert seen["small"][0].rows == 1 + 3 + 1  # the version, the wanted records that there are, and one in `waiting/a`
    for small, large in zip(touched["small"], touched["large"], strict=True):
        assert large <= small * 1.1 + 2, touched


def test_loads_and_commits_of_one_statement_on_postgresql_read_by_key(postgres_url: str, open_store: OpenStore) -> None:
    """The one statement of a commit on PostgreSQL touches as many rows in a session with 9 000 records as in a small one."""
    store = open_store(postgres_url, auto_setup=True)
    for number in range(20):
        fill(store, f"other{number}", 0)
    fill(store, "small", 0)
    fill(store, "large", 3000)
    analyze(store)
    change = Change("v2", PUT, frozenset({("queued/a", "2"), ("waiting/a", "0")}), frozenset({"l", "m"}))
    touched = []
    for uid in ("small", "large"):
        whole = store.connections.statements.whole_commit(uid, change, "v1")
        assert whole is not None
        touched.append(rows_touched(store, whole))
    assert touched[1] <= touched[0] + 4


def test_a_conflict_is_told_with_what_was_wanted_in_one_more_statement(store: SqlStore) -> None:
    """A refused commit runs one select more, puts nothing, and carries the snapshot."""
    fill(store, "s", 10)
    with statements_of(store) as seen, pytest.raises(Conflict) as caught:
        store.commit("s", Change("v9", PUT), "v0", WANT)
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.version == "v1"
    assert caught.value.snapshot.records["waiting/a"] == {"0": Record(b"{}")}
    expected = ["WITH", "SELECT"] if kind(store) == "postgresql" else ["BEGIN", "UPDATE", "SELECT", "ROLLBACK"]
    assert words(seen) == expected


def test_a_first_commit_makes_the_session(store: SqlStore) -> None:
    """The commit on ``ABSENT`` inserts the session's row where others update it; no statement is added."""
    with statements_of(store) as seen:
        store.commit("s", Change("v1", PUT), ABSENT, WANT)
    assert words(seen) == (["WITH"] if kind(store) == "postgresql" else ["BEGIN", "INSERT", "INSERT", "COMMIT"])


def test_many_records_take_a_fixed_number_of_statements_per_thousand(store: SqlStore) -> None:
    """10 000 records are put by ten statements at most, and dropped by ten; PostgreSQL takes one for all."""
    pairs = [("c", str(number)) for number in range(10_000)]
    store.setup()
    with statements_of(store) as seen:
        store.commit("s", Change("v1", {pair: Record(b"1") for pair in pairs}), ABSENT, Want())
        store.commit("s", Change("v2", {}, frozenset(pairs)), "v1", Want())
    if kind(store) == "postgresql":
        assert words(seen) == ["WITH", "WITH"]
    else:
        assert words(seen) == ["BEGIN", "INSERT", *["INSERT"] * 10, "COMMIT", "BEGIN", "UPDATE", *["DELETE"] * 10, "COMMIT"]
    assert store.load("s", EVERYTHING).records == {}


def test_however_much_is_wanted_is_one_select(store: SqlStore) -> None:
    """20 000 wanted records, and 30 000 wanted collections, are one statement each, and what is there of them comes."""
    fill(store, "s", 3)
    pairs = frozenset(("done/a", str(number)) for number in range(20_000))
    names = frozenset({"done/a", *(f"no{number}" for number in range(30_000))})
    for want in (Want(records=pairs), Want(collections=names), Want(pairs, names)):
        with statements_of(store) as seen:
            found = store.load("s", want)
        assert words(seen) == ["SELECT"]
        assert sorted(found.records["done/a"]) == ["0", "1", "2"]


def test_pages_cost_the_same_at_any_size(store: SqlStore) -> None:
    """A page of wake-ups, of sessions and of a label touches as many rows among 4 000 as among 40, at any place."""
    for size in (40, 4000):
        for start in range(0, size, 1000):
            count = min(1000, size - start)
            put = {("live/a", f"{start + number:05}"): Record(b"{}", 1000 + start + number) for number in range(count)}
            store.commit(f"many{size}-{start}", Change("v", put), ABSENT, Want())
    _many_sessions(store, 2000)
    analyze(store)
    statements = store.connections.statements
    first = rows_touched(store, statements.due(10**9, None, 10))
    early, late = (
        rows_touched(store, statements.due(10**9, (at, f"many4000-{at - 1000}", "live/a", "00000"), 10)) for at in (2000, 4000)
    )
    assert late <= early + 2
    assert late <= first * 2 + 5
    begin = rows_touched(store, (statements.scan_all, ("", 10)))
    middle = rows_touched(store, (statements.scan_all, ("session-01500", 10)))
    labelled = rows_touched(store, (statements.scan_label, ("even", "session-01500", 10)))
    assert middle <= begin + 2
    assert labelled <= begin * 1.5 + 12


def _many_sessions(store: SqlStore, count: int) -> None:
    link = store.connections.open()
    names = store.connections.statements.tables
    mark = store.connections.statements.mark
    link.execute(store.connections.database.begin)
    uids = [f"session-{number:05}" for number in range(count)]
    for start in range(0, count, 500):
        part = uids[start : start + 500]
        rows = ", ".join([f"({mark}, {mark})"] * len(part))
        link.execute(f"INSERT INTO {names.sessions} (uid, version) VALUES {rows}", [x for uid in part for x in (uid, "v")])
        link.execute(f"INSERT INTO {names.labels} (uid, label) VALUES {rows}", [x for uid in part for x in (uid, "even")])
    link.execute("COMMIT")
    link.give_back()


def test_wake_ups_of_one_moment_are_walked_in_pages(store: SqlStore) -> None:
    """Hundreds of records with the same ``wake_at`` come once each, in order, in pages that do not get slower."""
    put = {(f"live/{number % 3}", f"{number:03}"): Record(b"{}", 7) for number in range(300)}
    for uid in ("a", "A", "á"):
        store.commit(uid, Change("v", put), ABSENT, Want())
    found, cursor = [], None
    while True:
        page = store.due(7, cursor, 50)
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            break
        assert json.loads(cursor)[0] == 7
    order = [(entry.uid, entry.collection, entry.key) for entry in found]
    assert order == [
        (uid, f"live/{part}", f"{n:03}") for uid in ("A", "a", "á") for part in range(3) for n in range(part, 300, 3)
    ]


def test_statements_of_mysql_stay_below_the_packet(mysql_url: str, open_store: OpenStore) -> None:
    """Large records go in statements of their own; what is as large as allowed and grows when quoted still fits."""
    store = open_store(mysql_url)
    store.setup()
    assert store.max_value_bytes == 4 * 1024 * 1024
    quotes = b'"' + b'\\"' * (2 * 1024 * 1024 - 1) + b'"'
    assert len(quotes) == store.max_value_bytes
    put = {("c", str(number)): Record(quotes) for number in range(3)} | {("c", "x"): Record(b"1"), ("c", "y"): Record(b"2")}
    with statements_of(store) as seen:
        store.commit("s", Change("v1", put), ABSENT, Want())
    assert words(seen) == ["BEGIN", "INSERT", *["INSERT"] * 4, "COMMIT"]
    assert store.load("s", EVERYTHING).records["c"]["2"].value == quotes


def test_a_server_that_takes_too_little_says_so_at_the_start(mysql_url: str, open_store: OpenStore) -> None:
    """Where ``max_allowed_packet`` is too small for ``max_value_bytes``, the first use names both and what is needed."""
    store = open_store(mysql_url, max_value_bytes=1024 * 1024 * 1024)
    with pytest.raises(StorageError, match=r"max_allowed_packet is \d+, and records of up to 1073741824 bytes.*need 2149580800"):
        store.setup()


def test_a_record_over_the_limit_is_refused_before_anything_is_sent(store: SqlStore) -> None:
    """A record one byte too large is ``SessionTooLarge`` with its name, size and limit; no statement is run."""
    store.setup()
    value = b'"' + b"x" * (store.max_value_bytes or 0) + b'"'
    with (
        statements_of(store) as seen,
        pytest.raises(SessionTooLarge, match=r"record c/k of session 's' has \d+ bytes, the limit is"),
    ):
        store.commit("s", Change("v1", {("c", "a"): Record(b"1"), ("c", "k"): Record(value)}), ABSENT, Want())
    assert seen == []
