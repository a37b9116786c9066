"""Connections: the pool, one statement at a time, transactions, and what is done when one of them fails.

SQLAlchemy keeps the pool and knows the drivers; the statements go to the driver's own cursor, because a statement on SQLite costs
less than the usual way through a SQLAlchemy connection. A transaction ends in exactly one of three ways: it is stored; it is not
stored, for certain; or the connection was lost when COMMIT had been sent, and nobody can know (``OutcomeUnknown``).
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from triggers.errors import Conflict, OutcomeUnknown, TriggersError
from triggers_sql.dialects import Failure
from triggers_sql.engine import make_engine, tables
from triggers_sql.failures import explain
from triggers_sql.forking import Gate

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

    from triggers_sql.options import Options

T = TypeVar("T")

_TRIES = 10
"""How often a transaction is tried that others were in the way of (a deadlock, a serialization failure)."""


class Statement(NamedTuple):
    """One statement as the database got it, and how many rows it returned or changed."""

    text: str
    parameters: Sequence[Any]
    rows: int


class Link:
    """A connection while it is lent out."""

    __slots__ = ("_connections", "_cursor", "pooled")

    def __init__(self, connections: Connections, pooled: PoolProxiedConnection) -> None:
        self._connections = connections
        self.pooled = pooled
        self._cursor = pooled.cursor()

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> int:
        """Runs a statement; returns how many rows it changed."""
        self._run(text, parameters)
        count: int = self._cursor.rowcount
        for observer in self._connections.observers:
            observer(Statement(text, parameters, count))
        return count

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Runs a query; returns all of its rows."""
        self._run(text, parameters)
        found: list[Any] = list(self._cursor.fetchall())
        for observer in self._connections.observers:
            observer(Statement(text, parameters, len(found)))
        return found

    def insert_once(self, text: str, parameters: Sequence[Any]) -> bool:
        """Inserts a row; says whether it was not there. Where the database has no clause for that, the error says it."""
        try:
            return self.execute(text, parameters) == 1
        except self._connections.driver_error as error:
            if self._connections.failure(error, self.pooled) is not Failure.DUPLICATE:
                raise
            return False

    def _run(self, text: str, parameters: Sequence[Any]) -> None:
        waited = 0
        give_up_at = 0.0
        while True:
            try:
                self._cursor.execute(text, parameters)
                return
            except BaseException as error:
                if not self._connections.is_locked(error):
                    self._tell_failed(text, parameters)
                    raise
                give_up_at = give_up_at or time.monotonic() + self._connections.options.timeout
                if time.monotonic() > give_up_at:
                    self._tell_failed(text, parameters)
                    raise
            waited += 1
            time.sleep(random.random() * (0.001 if waited < 200 else 0.01))  # noqa: S311

    def _tell_failed(self, text: str, parameters: Sequence[Any]) -> None:
        for observer in self._connections.observers:
            observer(Statement(text, parameters, -1))

    def give_back(self) -> None:
        """Returns the connection to the pool; no transaction is open on it."""
        self._cursor.close()
        self.pooled.close()
        self._connections.left()

    def throw_away(self) -> None:
        """Closes the connection for good; the server undoes what was not committed."""
        self.pooled.invalidate()
        self.pooled.close()
        self._connections.left()

    def end(self, kind: Failure) -> None:
        """After an error outside of a transaction: keeps the connection if it is sound."""
        if kind in (Failure.CROSSED, Failure.BUSY, Failure.MISSING):
            self.give_back()
        else:
            self.throw_away()


class Connections:
    """An engine with its pool, for one process."""

    def __init__(self, options: Options, observers: list[Callable[[Statement], None]]) -> None:
        self.options = options
        self.observers = observers
        self.engine, self.database = make_engine(options)
        self.statements = self.database.statements(tables(self.engine.dialect, options))
        self.driver_error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        self.ready = False
        """Whether the tables were found, at the revision that this version knows."""
        self._setup_lock = threading.Lock()
        self._gate = Gate(self.engine.dispose, options.timeout) if self.database.embedded else None

    def failure(self, error: Exception, pooled: PoolProxiedConnection | None = None) -> Failure:
        """What the driver's error means."""
        connection = pooled.dbapi_connection if pooled is not None else None
        return self.database.failure(error, self.engine.dialect, connection)

    def is_locked(self, error: BaseException) -> bool:
        """Whether SQLite's lock was in the way of a statement, which then did nothing and can be tried again.

        SQLite's own waiting sleeps ever longer, up to 100 ms, and starves the one that has waited longest: with 8 processes the
        slowest commits took 5 s, and with short pauses of random length half a second, at twice the rate.
        """
        return (
            self.database.embedded
            and isinstance(error, self.driver_error)
            and self.database.failure(error, self.engine.dialect, None) is Failure.BUSY
        )

    def read(self, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Runs one query outside of a transaction; once more on a new connection if the one it had was lost."""
        tried = 0
        while True:
            link = self.open()
            try:
                found = link.rows(text, parameters)
            except self.driver_error as error:
                kind = self.failure(error, link.pooled)
                link.end(kind)
                tried += 1
                if (kind is Failure.LOST and tried == 1) or (kind is Failure.CROSSED and tried < _TRIES):
                    self._forget_idle(kind)
                    continue
                raise explain(error, kind, self.options) from error
            except BaseException:
                link.throw_away()
                raise
            link.give_back()
            return found

    def write(self, uid: str, body: Callable[[Link], T]) -> T:
        """Runs the body in a transaction, again if others were in the way or the connection was lost before COMMIT.

        Raises:
            Conflict: the body raised it; nothing was stored.
            OutcomeUnknown: the connection was lost after COMMIT was sent.
            StorageUnavailable: the database does not answer, or is too busy; nothing was stored.
            StorageError: the database refused; nothing was stored.
        """
        tried = lost = 0
        while True:
            link = self.open()
            committing = False
            try:
                link.execute(self.database.begin)
                outcome = body(link)
                committing = True
                link.execute("COMMIT")
            except Conflict:
                self._undo(link)
                raise
            except self.driver_error as error:
                kind = self.failure(error, link.pooled)
                self._undo(link, kind)
                if committing and kind not in (Failure.CROSSED, Failure.BUSY):
                    raise unknown(uid, error) from error
                if kind is Failure.LOST and not lost:
                    lost += 1
                    self._forget_idle(kind)
                    continue
                tried += 1
                if kind is Failure.CROSSED and tried < _TRIES:
                    pause(tried)
                    continue
                raise explain(error, kind, self.options) from error
            except BaseException:
                link.throw_away()
                raise
            link.give_back()
            return outcome

    def write_once(self, uid: str, text: str, parameters: Sequence[Any]) -> list[Any]:
        """Runs one statement that writes and is a transaction by itself; again if others were in the way.

        Raises:
            OutcomeUnknown: the connection was lost after the statement was sent.
            StorageUnavailable: the database does not answer, or is too busy; nothing was stored.
            StorageError: the database refused; nothing was stored.
        """
        tried = 0
        while True:
            link = self.open(fresh=True)
            try:
                found = link.rows(text, parameters)
            except self.driver_error as error:
                kind = self.failure(error, link.pooled)
                link.end(kind)
                if kind in (Failure.LOST, Failure.SILENT):
                    self._forget_idle(kind)
                    raise unknown(uid, error) from error
                tried += 1
                if kind is not Failure.CROSSED or tried == _TRIES:
                    raise explain(error, kind, self.options) from error
                pause(tried)
            except BaseException:
                link.throw_away()
                raise
            else:
                link.give_back()
                return found

    def open(self, *, fresh: bool = False) -> Link:
        """Borrows a connection; with ``fresh`` one that the server has not hung up on while it was idle.

        Raises:
            StorageUnavailable: none can be had.
        """
        if self._gate is not None:
            self._gate.enter()
        try:
            pooled = self._borrow()
            if fresh and self.database.is_stale(pooled.dbapi_connection):
                pooled.invalidate()
                pooled.close()
                self.engine.dispose()
                pooled = self._borrow()
            return Link(self, pooled)
        except BaseException:
            self.left()
            raise

    def left(self) -> None:
        """A connection that was borrowed is back."""
        if self._gate is not None:
            self._gate.leave()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """For work with a connection of the engine's own: no fork happens meanwhile."""
        if self._gate is not None:
            self._gate.enter()
        try:
            yield
        finally:
            self.left()

    def _borrow(self) -> PoolProxiedConnection:
        try:
            return self.engine.pool.connect()
        except self.driver_error as error:
            raise explain(error, self.failure(error), self.options, connecting=True) from error
        except TriggersError:
            raise
        except Exception as error:  # drivers raise other things as well, for methods of authentication that they lack
            raise explain(error, Failure.LOST, self.options, connecting=True) from error

    def close(self) -> None:
        """Closes the idle connections."""
        self.engine.dispose()

    def require_tables(self) -> None:
        """Looks once whether the tables are there and as this version knows them; makes them where that is allowed.

        Raises:
            UnreadableRecord: they were made by a newer version.
            StorageError: they are missing or old, and ``auto_setup`` is off.
        """
        from triggers_sql.migrating import check_revision

        with self._setup_lock:
            if not self.ready:
                check_revision(self)
                self.ready = True

    def setup(self) -> None:
        """Makes the tables or brings them up to date."""
        from triggers_sql.migrating import check_revision

        with self._setup_lock:
            check_revision(self, may_upgrade=True)
            self.ready = True

    def _undo(self, link: Link, kind: Failure | None = None) -> None:
        if kind in (Failure.LOST, Failure.SILENT):
            link.throw_away()
            return
        try:
            link.execute("ROLLBACK")
        except self.driver_error:
            # SQLite has already rolled back after some errors; elsewhere closing the connection does it.
            link.throw_away()
        else:
            link.give_back()

    def _forget_idle(self, kind: Failure) -> None:
        """Where one connection was lost, the idle ones were probably lost as well."""
        if kind is Failure.LOST:
            self.engine.dispose()


def unknown(uid: str, error: Exception) -> OutcomeUnknown:
    """The error for a commit whose answer did not come."""
    return OutcomeUnknown(f"the answer to a commit of session {uid!r} did not arrive ({error}); it may have been stored or not")


def pause(tried: int) -> None:
    """Lets those who were in the way finish; longer each time, and never as long as the neighbour does."""
    time.sleep(random.random() * 0.005 * tried)  # noqa: S311
