"""Django's database cache: its table, changed by single statements that compare and set.

Django's own methods are not used: they read, decide and write in three statements, so that two may replace an expired
entry at once; they return ``False`` for a database that is down; and they run inside whatever transaction the application
has open, so that a rollback would undo what was reported as stored. Here each statement is a transaction on a connection
of its own.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.createcachetable import Command
from django.db import DatabaseError, IntegrityError, InterfaceError, connections, router
from django.utils import timezone

from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers_cache.medium import Medium
from triggers_cache.pool import Pool

_MARK_CHARACTERS = 32
_PURGE_EVERY = 1000
_SETUP_SECONDS = 30.0
_SOMEBODY_ELSE = ("40001", "40P01")
"""SQLSTATE of a serialization failure and a deadlock: another one's statement came first."""
_LOST = (DatabaseError, InterfaceError)

_sqlite = threading.Lock()
"""Held by the one thread that is inside of SQLite. SQLite has locks of its own that nobody can reset in a forked child: a
process that forks while another thread holds one has a child that hangs. So forks wait for this lock."""


def _before_fork() -> None:
    _sqlite.acquire()


def _after_fork() -> None:
    _sqlite.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class DatabaseMedium(Medium):
    """The table of a ``DatabaseCache``.

    Args:
        cache: the cache of Django's settings.
        name: its alias, for messages.
    """

    method = "single SQL statements that compare and set"

    def __init__(self, cache: Any, name: str) -> None:
        self._model = cache.cache_model_class
        self._table_name = cache._table
        self._max_entries = cache._max_entries
        self._name = name
        self._alias = router.db_for_write(self._model)
        self._is_sqlite = connections[self._alias].vendor == "sqlite"
        quote = connections[self._alias].ops.quote_name
        self._names = {"table": quote(self._table_name)} | {column: quote(column) for column in ("cache_key", "value", "expires")}
        self._swaps = itertools.count(1)
        self._pool: Pool[Any] = Pool(self._connect, _close)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """One select."""
        try:
            with self._gate():
                found = self._pool.ask(lambda connection: self._select(connection, key), _LOST)
        except _LOST as error:
            raise self._unavailable(error) from error
        return None if found is None else (found[_MARK_CHARACTERS:].encode(), found[:_MARK_CHARACTERS])

    def swap(self, key: str, mark: str | None, value: bytes, seconds: int | None) -> bool:
        """One update, or an update of what has expired and an insert."""
        new = secrets.token_hex(_MARK_CHARACTERS // 2) + value.decode()
        if next(self._swaps) % _PURGE_EVERY == 0:
            self._purge()
        with self._write() as connection:
            expires, now = _expires(connection, seconds), _now(connection)
            assign = "UPDATE {table} SET {value} = %s, {expires} = %s WHERE {cache_key} = %s AND "
            if mark is not None:
                return self._change(connection, assign + "SUBSTR({value}, 1, 32) = %s", new, expires, key, mark) == 1
            if self._change(connection, assign + "{expires} <= %s", new, expires, key, now) == 1:
                return True
            try:
                insert = "INSERT INTO {table} ({cache_key}, {value}, {expires}) VALUES (%s, %s, %s)"
                return self._change(connection, insert, key, new, expires) == 1
            except IntegrityError:
                return False

    def remove(self, key: str, mark: str) -> bool:
        """One delete."""
        with self._write() as connection:
            delete = "DELETE FROM {table} WHERE {cache_key} = %s AND SUBSTR({value}, 1, 32) = %s"
            return self._change(connection, delete, key, mark) == 1

    def eviction(self) -> str:
        """Django's culling."""
        return (
            f"Django culls the table {self._table_name} of cache {self._name!r}, whoever's rows they are, "
            f"when another use of it finds more than {self._max_entries} (MAX_ENTRIES)"
        )

    def setup(self) -> None:
        """Makes the table, as ``manage.py createcachetable`` does; several processes may do it at once."""
        deadline = time.monotonic() + _SETUP_SECONDS
        while not self._table_is_there():
            try:
                self._create_table()
            except (CommandError, *_LOST) as error:
                if not self._table_is_there() and time.monotonic() > deadline:
                    raise self._unavailable(error) from error
                time.sleep(0.05)

    def close(self) -> None:
        """Closes the idle connections."""
        with self._gate():
            self._pool.clear()

    def after_fork(self) -> None:
        """New connections."""
        self._pool.after_fork()

    def _create_table(self) -> None:
        """Through the application's connection of this thread, as Django's command does; closed if it was not open."""
        shared = connections[self._alias]
        was_closed = shared.connection is None
        command = Command(stdout=io.StringIO(), stderr=io.StringIO())
        command.verbosity = 0
        try:
            with self._gate():
                command.create_table(self._alias, self._table_name, dry_run=False)
        finally:
            if was_closed:
                shared.close()

    def _table_is_there(self) -> bool:
        try:
            with self._take(fresh=True) as connection:
                return self._table_name in connection.introspection.table_names()
        except _LOST as error:
            raise self._unavailable(error) from error

    @contextlib.contextmanager
    def _take(self, *, fresh: bool = False) -> Iterator[Any]:
        with self._gate(), self._pool.take(fresh=fresh) as connection:
            yield connection

    def _gate(self) -> contextlib.AbstractContextManager[Any]:
        return _sqlite if self._is_sqlite else contextlib.nullcontext()

    def _connect(self) -> Any:
        connection = connections.create_connection(self._alias)
        connection.inc_thread_sharing()
        connection.ensure_connection()
        connection.set_autocommit(True)
        return connection

    def _select(self, connection: Any, key: str) -> str | None:
        with connection.cursor() as cursor:
            select = "SELECT {value} FROM {table} WHERE {cache_key} = %s AND {expires} > %s"
            cursor.execute(select.format(**self._names), [key, _now(connection)])
            row = cursor.fetchone()
        return None if row is None else str(row[0])

    def _change(self, connection: Any, statement: str, *parameters: Any) -> int:
        with connection.cursor() as cursor:
            try:
                cursor.execute(statement.format(**self._names), parameters)
            except DatabaseError as error:
                if _sqlstate(error) in _SOMEBODY_ELSE:
                    return 0
                raise
            return int(cursor.rowcount)

    @contextlib.contextmanager
    def _write(self) -> Iterator[Any]:
        connection = None
        try:
            with self._take() as connection:
                yield connection
        except _LOST as error:
            if connection is None or _was_refused(connection, error):
                raise self._unavailable(error) from error
            raise OutcomeUnknown(f"the database of cache {self._name!r} was lost after a change was sent: {error}") from error

    def _purge(self) -> None:
        """Expired rows: the database does not drop them by itself. Those that are left are found next time."""
        with contextlib.suppress(*_LOST), self._take() as connection:
            self._change(connection, "DELETE FROM {table} WHERE {expires} <= %s", _now(connection))

    def _unavailable(self, error: Exception) -> StorageUnavailable:
        return StorageUnavailable(
            f"the database {self._alias!r} of cache {self._name!r} did not do what was asked: {error} "
            f"(if the table {self._table_name} is missing, run `manage.py createcachetable`)"
        )


def _was_refused(connection: Any, error: Exception) -> bool:
    """Whether the database itself answered that it did not do it; a lost connection leaves that open."""
    if connection.vendor == "sqlite":
        return True
    state = _sqlstate(error)
    return state is not None and not state.startswith(("08", "57P"))


def _sqlstate(error: Exception) -> str | None:
    state = getattr(error.__cause__, "sqlstate", None)
    return None if state is None else str(state)


def _now(connection: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(timezone.now().replace(microsecond=0))


def _expires(connection: Any, seconds: int | None) -> Any:
    if seconds is None:
        never = datetime(9999, 1, 1, tzinfo=timezone.now().tzinfo)
        return connection.ops.adapt_datetimefield_value(never)
    rounded = timezone.now().replace(microsecond=0) + timedelta(seconds=seconds + 1)
    return connection.ops.adapt_datetimefield_value(rounded)


def _close(connection: Any) -> None:
    connection.close()
