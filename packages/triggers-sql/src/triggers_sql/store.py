"""The store on a SQL database: what the core asks of it, in terms of the statements and the connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from triggers.errors import Conflict, SessionTooLarge
from triggers.store import (
    ABSENT,
    NOTHING,
    Capability,
    Change,
    Due,
    DuePage,
    Record,
    ScanPage,
    Snapshot,
    Store,
    Want,
)
from triggers_sql.connections import Connections, Link, Statement
from triggers_sql.options import Options, working_folder

if TYPE_CHECKING:
    from triggers_sql.statements import Statements

__all__ = ["SqlStore", "Statement"]

WHOLE_BYTES = 32 * 1024 * 1024
"""Up to this size a commit may be sent as one statement."""


class SqlStore(Store):
    """Keeps sessions in three tables of a SQLite, PostgreSQL, MySQL or MariaDB database.

    Making one costs microseconds and touches no database: the driver is imported and the connection made at the first use. One
    object serves all threads of a process and survives a fork.

    Args:
        url: the database, as ``sqlite:///triggers.db``, ``postgresql://user:password@host/name`` or ``mysql://…``. A relative
            path starts from the working folder of this moment.
        schema: the schema (MySQL: the database) that has the tables, if it is not the connection's own.
        table_prefix: what the names of the tables begin with.
        auto_setup: whether missing tables are made at the first use; by default only on SQLite.
        timeout: how many seconds to wait for a lock, for a connection to be made, and (MySQL) for a reply.
        synchronous: SQLite's durability: ``FULL`` keeps what was committed through a loss of power, ``NORMAL`` may lose the last
            commits then.
        max_value_bytes: how large a record may be. On MySQL, ``max_allowed_packet`` must be at least twice as much.
        pool_size: how many connections are kept open.
        max_overflow: how many more may be open for a moment; -1 for any number.
        pool_timeout: how many seconds to wait for a free one.
        pool_recycle: after how many seconds a connection is replaced; -1 for never.
        connect_args: further arguments for the driver's ``connect``.

    Raises:
        SettingsError: an option cannot be used.
    """

    api_version = 1
    capabilities = Capability.DUE | Capability.SCAN

    def __init__(
        self,
        *,
        url: str = "sqlite:///triggers.db",
        schema: str | None = None,
        table_prefix: str = "triggers_",
        auto_setup: bool | None = None,
        timeout: float = 30.0,
        synchronous: str = "FULL",
        max_value_bytes: int | None = None,
        pool_size: int = 5,
        max_overflow: int = 10,
        pool_timeout: float = 30.0,
        pool_recycle: float = -1,
        connect_args: Mapping[str, Any] | None = None,
    ) -> None:
        if max_value_bytes is None:
            max_value_bytes = (4 if str(url).startswith(("mysql", "mariadb")) else 16) * 1024 * 1024
        self.options = Options(
            url=url,
            schema=schema,
            table_prefix=table_prefix,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            pool_recycle=pool_recycle,
            timeout=timeout,
            synchronous=synchronous,
            max_value_bytes=max_value_bytes,
            auto_setup=auto_setup,
            connect_args=connect_args or {},
            folder=working_folder(),
        )
        self.max_value_bytes = max_value_bytes
        self._observers: list[Callable[[Statement], None]] = []
        self._lock = threading.Lock()
        self._connections: Connections | None = None
        self._inherited: list[Connections] = []
        super().__init__()

    def load(self, uid: str, want: Want) -> Snapshot:
        """One statement, and so one snapshot. See ``Store.load``."""
        connections = self.connections
        text, parameters = connections.statements.load(uid, want)
        return _snapshot(connections.read(text, parameters), want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """One transaction that begins by taking the session's row. See ``Store.commit``."""
        size = self._check_sizes(uid, change)
        connections = self.connections
        statements = connections.statements
        whole = statements.whole_commit(uid, change, expected) if size <= WHOLE_BYTES else None
        if whole is not None:
            if not connections.write_once(uid, *whole):
                raise Conflict(uid, self.load(uid, want))
            return

        def body(link: Link) -> None:
            if expected == ABSENT:
                taken = link.insert_once(statements.create_session, (uid, change.version))
            else:
                taken = link.execute(statements.swap_version, (change.version, uid, expected)) == 1
            if not taken:
                raise Conflict(uid, _snapshot(link.rows(*statements.load(uid, want)), want))
            _write(link, statements, uid, change)

        connections.write(uid, body)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """One transaction that begins by taking the session's row away. See ``Store.delete``."""
        connections = self.connections
        statements = connections.statements

        def body(link: Link) -> bool:
            if expected is None:
                gone = link.execute(statements.remove_session, (uid,))
            elif expected == ABSENT:
                gone = len(link.rows(*statements.load(uid, Want())))
                if gone:
                    raise Conflict(uid)
            else:
                gone = link.execute(statements.remove_session_if, (uid, expected))
                if not gone:
                    raise Conflict(uid)
            if gone:
                link.execute(statements.remove_records, (uid,))
                link.execute(statements.remove_labels, (uid,))
            return bool(gone)

        return connections.write(uid, body)

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """One statement on the index of wake-ups. See ``Store.due``."""
        connections = self.connections
        place = None if after is None else tuple(json.loads(after))
        text, parameters = connections.statements.due(before, place, limit)
        entries = [Due(*row) for row in connections.read(text, parameters)]
        if len(entries) < limit:
            return DuePage(entries, None)
        last = entries[-1]
        return DuePage(entries, json.dumps([last.wake_at, last.uid, last.collection, last.key]))

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """One statement on the sessions, or on the index of labels, in order of uid. See ``Store.scan``."""
        connections = self.connections
        statements = connections.statements
        if label is None:
            rows = connections.read(statements.scan_all, (after or "", limit))
        else:
            rows = connections.read(statements.scan_label, (label, after or "", limit))
        uids = [uid for (uid,) in rows]
        return ScanPage(uids, uids[-1] if len(uids) == limit else None)

    def setup(self) -> None:
        """Makes the tables or brings them up to date; what is up to date costs one statement. See ``triggers_sql.migrate``."""
        self._open().setup()

    def close(self) -> None:
        """Closes the idle connections; those in use are closed when they are given back."""
        with self._lock:
            connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()

    def after_fork(self) -> None:
        """Leaves the parent's connections alone, for as long as this process lives: closing one would tell its server."""
        self._lock = threading.Lock()
        if self._connections is not None:
            self._inherited.append(self._connections)
            self._connections = None

    def warnings(self) -> list[str]:
        """Settings of the database under which commits can be lost; asks the server. See ``Store.warnings``."""
        connections = self.connections
        if connections.database.embedded and self.options.synchronous in ("OFF", "NORMAL"):
            return [f"synchronous={self.options.synchronous}: the last commits may be lost when the machine loses power"]
        return [
            advice
            for query, (weak, advice) in connections.database.weak_settings.items()
            if str(connections.read(query)[0][0]) in weak
        ]

    def promises(self) -> dict[str, str]:
        """How durable a commit is."""
        if self.options.url.startswith("sqlite"):
            kept = {"FULL": "kept through a loss of power", "EXTRA": "kept through a loss of power"}.get(
                self.options.synchronous, "the last commits may be lost with a loss of power, none with a crash of the process"
            )
            return {"durability": f"synchronous={self.options.synchronous}: {kept}"}
        return {"durability": "as the server is set up (PostgreSQL: synchronous_commit; MySQL: innodb_flush_log_at_trx_commit)"}

    def observe(self, observer: Callable[[Statement], None]) -> Callable[[], None]:
        """Calls the observer after each statement, in the thread that ran it; returns what ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    @property
    def connections(self) -> Connections:
        """The pool of this process, opened and checked for its tables at the first use."""
        found = self._connections
        if found is None or not found.ready:
            found = self._open()
            found.require_tables()
        return found

    def _check_sizes(self, uid: str, change: Change) -> int:
        limit = self.options.max_value_bytes
        total = 0
        for (collection, key), record in change.put.items():
            size = len(record.value)
            if size > limit:
                raise SessionTooLarge(
                    f"record {collection}/{key} of session {uid!r} has {size} bytes, the limit is {limit}"
                    " (option max_value_bytes of the sql storage)"
                )
            total += size
        return total

    def _open(self) -> Connections:
        with self._lock:
            if self._connections is None:
                self._connections = Connections(self.options, self._observers)
            return self._connections

    def __repr__(self) -> str:
        """Where it keeps sessions, without the password."""
        return f"SqlStore({self.options.place!r})"


def _write(link: Link, statements: Statements, uid: str, change: Change) -> None:
    drop = change.drop.difference(change.put) if change.drop else ()
    for text, parameters in statements.drops(uid, drop):
        link.execute(text, parameters)
    for text, parameters in statements.puts(uid, change.put):
        link.execute(text, parameters)
    if change.labels is not None:
        link.execute(statements.remove_labels, (uid,))
        for text, parameters in statements.labels(uid, change.labels):
            link.execute(text, parameters)


def _snapshot(rows: list[Any], want: Want) -> Snapshot:
    version = ABSENT
    records: dict[str, dict[str, Record]] = {}
    for stamp, collection, key, value, wake_at in rows:
        if collection is None:
            version = stamp
        elif collection in records:
            records[collection][key] = Record(value.encode(), wake_at)
        else:
            records[collection] = {key: Record(value.encode(), wake_at)}
    if version == ABSENT:
        return NOTHING
    return Snapshot(version, records, want.everything)
