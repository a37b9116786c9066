"""Django's database cache: independent of what the application does with its own connection."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from django.core.cache import caches
from django.db import connections, transaction

from caching import projects
from test_contract import alias
from triggers.errors import StorageError, StorageUnavailable
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_cache import CacheStore

ONE = Change("v1", {("c", "k"): Record(b"1")})


@pytest.fixture
def name(postgres_url: str) -> str:
    """An alias of a cache and a database on PostgreSQL."""
    name = alias()
    projects.add_cache(name, projects.database_cache(name), projects.postgres_database(postgres_url))
    return name


def test_a_rollback_of_the_application_keeps_what_was_committed(name: str) -> None:
    """A commit inside of ``transaction.atomic`` is seen by others at once, and outlives the rollback of that transaction."""
    with contextlib.closing(CacheStore(name)) as store:
        store.setup()
        seen: list[str] = []
        with contextlib.closing(connections[name]), contextlib.suppress(ZeroDivisionError), transaction.atomic(using=name):
            with connections[name].cursor() as cursor:
                cursor.execute("CREATE TABLE undone (n int)")
            store.commit("s", ONE, ABSENT, Want())
            other = threading.Thread(target=lambda: seen.append(store.load("s", EVERYTHING).version))
            other.start()
            other.join()
            _ = 1 / 0
        assert seen == ["v1"]
        assert store.load("s", EVERYTHING).version == "v1"
        with contextlib.closing(connections[name]):
            assert connections[name].introspection.table_names() == [f"{name}_cache"]


@pytest.mark.parametrize("level", ["read\\ committed", "serializable"])
def test_a_commit_that_waited_for_another_one_is_a_conflict(postgres_url: str, level: str) -> None:
    """A commit that has to wait for somebody else's row lock, and then comes second, is a ``Conflict`` in every isolation."""
    name = alias()
    database = {**projects.postgres_database(postgres_url), "OPTIONS": {"options": f"-c default_transaction_isolation={level}"}}
    projects.add_cache(name, projects.database_cache(name), database)
    with contextlib.closing(CacheStore(name)) as store, contextlib.closing(connections.create_connection(name)) as first:
        store.setup()
        store.commit("s", ONE, ABSENT, Want())
        told: list[object] = []

        def second() -> None:
            found = store.read("s")
            assert found is not None
            waiting.set()
            try:
                told.append(store.swap("s", found[1], found[0], ONE))
            except StorageError as error:
                told.append(error)

        waiting = threading.Event()
        thread = threading.Thread(target=second)
        first.set_autocommit(False)
        with first.cursor() as cursor:
            cursor.execute(f"UPDATE {name}_cache SET value = 'other mark' || substr(value, 11)")
            thread.start()
            waiting.wait(60)
            time.sleep(0.3)
            assert told == []
        first.commit()
        thread.join(60)
        assert told == [False]
        first.set_autocommit(True)


def test_a_table_that_is_missing_says_what_to_run(name: str) -> None:
    """Without its table the store says ``StorageUnavailable``, the table's name, and the command that makes it."""
    with contextlib.closing(CacheStore(name)) as store:
        for use in (lambda: store.load("s", EVERYTHING), lambda: store.commit("s", ONE, ABSENT, Want())):
            with pytest.raises(StorageUnavailable, match=rf"{name}_cache is missing, run `manage.py createcachetable`"):
                use()
        store.setup()
        store.commit("s", ONE, ABSENT, Want())


def test_other_entries_of_the_table_are_left_alone(name: str) -> None:
    """The application's own use of the same cache goes on beside the sessions, and neither sees the other."""
    with contextlib.closing(CacheStore(name)) as store, contextlib.closing(connections[name]):
        store.setup()
        caches[name].set("mine", {"a": 1}, timeout=None)
        store.commit("s", ONE, ABSENT, Want())
        assert caches[name].get("mine") == {"a": 1}
        assert store.delete("s") is True
        assert caches[name].get("mine") == {"a": 1}
        assert caches[name].get("s") is None
