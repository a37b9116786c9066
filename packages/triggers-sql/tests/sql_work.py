"""How much a database has to do for a statement, in its own units: what must not grow with the size of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triggers_sql import SqlStore
from triggers_sql.connections import Link
from triggers_sql.statements import Bound


def rows_touched(store: SqlStore, *statements: Bound) -> int:
    """Runs the statements on a connection and rolls them back; counts what the database did for it.

    SQLite: the steps of its virtual machine. PostgreSQL: the rows that were fetched by scans. MySQL and MariaDB: the
    reads of rows and index entries.
    """
    link = store.connections.open()
    try:
        link.execute(store.connections.database.begin)
        count = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}[store.connections.engine.dialect.name]
        found = count(link, lambda: [link.rows(*each) if _gives_rows(each) else link.execute(*each) for each in statements])
        link.execute("ROLLBACK")
    except BaseException:
        link.throw_away()
        raise
    link.give_back()
    return found


def _gives_rows(statement: Bound) -> bool:
    return statement[0].startswith(("SELECT", "WITH"))


def analyze(store: SqlStore) -> None:
    """Tells the planner how large the tables are."""
    link = store.connections.open()
    for name in ("sessions", "records", "labels"):
        if store.connections.engine.dialect.name == "mysql":
            link.rows(f"ANALYZE TABLE triggers_{name}")
        else:
            link.execute(f"ANALYZE triggers_{name}")
    link.give_back()


def _sqlite(link: Link, run: Callable[[], object]) -> int:
    connection: Any = link.pooled.dbapi_connection
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(step, 1)
    run()
    connection.set_progress_handler(None, 1)
    return steps


def _postgresql(link: Link, run: Callable[[], object]) -> int:
    link.rows("SELECT 1")
    query = "SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_user_tables"
    before = int(link.rows(query)[0][0])
    run()
    return int(link.rows(query)[0][0]) - before


def _mysql(link: Link, run: Callable[[], object]) -> int:
    def reads() -> int:
        found = link.rows("SHOW SESSION STATUS LIKE 'Handler_read%%'", ())
        return sum(int(value) for _, value in found)

    before = reads()
    run()
    after = reads()
    again = reads()
    return (after - before) - (again - after)  # the reading of the counters counts as well
