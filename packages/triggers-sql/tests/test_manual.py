"""The queries of the manual, on sessions that the framework has made, on every database that they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, pool, text

import triggers
from triggers.testing.isolation import isolated
from triggers_sql import SqlStore, migrate

PAGE = Path(__file__).resolve().parents[3] / "docs" / "backends" / "sql.md"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}


def queries(kind: str) -> list[str]:
    """The queries of the page for a database, in order."""
    found = re.findall(r"^```sql\n-- (.*?)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [query for databases, query in found if NAMES[kind] in databases and "index" not in databases]


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def sessions(url: str) -> str:
    """Two sessions: one with a failed instance, one where a task has finished and one waits."""
    migrate(url)
    with isolated(storage="sql", storages={"sql": {"url": url}}, runner="inline"):

        @triggers.task("shop.ship")
        def ship(context: triggers.TaskContext) -> None:
            if context.trigger_kwargs["paid"]["customer"] == "ada":
                raise ValueError("no address")

        for uid, customer in (("order:1", "ada"), ("order:2", "bob")):
            manager = triggers.get_manager(uid)
            manager.update_configuration(
                {
                    "t_ship": {"after": ["paid", "packed"], "run": "shop.ship"},
                    "t_ask": {"after": ["packed", "opened"], "run": "shop.ask"},
                    "t_lost": {"after": ["opened"], "run": "shop.nowhere"},
                }
            )
            manager.fire("paid", {"customer": customer})
            manager.fire("packed")
        triggers.get_manager("order:3").update_configuration({"t_lost": {"after": ["opened"], "run": "shop.nowhere"}})
        triggers.get_manager("order:3").fire("opened", {"long": "x" * 5000})
    return url


def test_the_five_queries(sessions: str, store: SqlStore) -> None:
    """Each query of the page gives what it says: failures, counts, sessions by kwargs, sizes, wake-ups."""
    failed, counts, by_kwargs, sizes, waiting = queries(store.connections.engine.dialect.name)
    assert ask(sessions, failed) == [("order:1", "t_ship", "no address")]
    assert ask(sessions, counts) == [
        ("t_ask", "unstarted", 2),
        ("t_lost", "scheduled", 1),
        ("t_ship", "failed", 1),
        ("t_ship", "finished", 1),
    ]
    assert ask(sessions, by_kwargs) == [("order:1",)]
    largest = ask(sessions, sizes)
    assert largest[0][0] == "order:3"
    assert largest[0][2] > 10_000  # the kwargs lie with the trigger and with the instance
    ((uid, collection, moment),) = ask(sessions, waiting)
    assert (uid, collection) == ("order:3", "live/t_lost")
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d", str(moment))


def test_the_index_of_the_page(postgres_url: str) -> None:
    """The index that the page proposes can be made, and the query for failures uses it."""
    migrate(postgres_url)
    (statement,) = re.findall(r"^-- PostgreSQL index\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    engine = create_engine(postgres_url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text("EXPLAIN " + queries("postgresql")[0])).scalars().all()
    assert any("failed_instances" in line for line in plan)
