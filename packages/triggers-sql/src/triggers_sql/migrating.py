"""Whether the tables are there and how they get there. Alembic is imported only when something has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.errors import StorageError, UnreadableRecord
from triggers_sql.dialects import Failure
from triggers_sql.failures import explain, missing_tables

if TYPE_CHECKING:
    from triggers_sql.connections import Connections

REVISIONS = ("triggers_0001",)
"""The revisions that this version knows, oldest first; it runs on the last one."""


def check_revision(connections: Connections, *, may_upgrade: bool | None = None) -> None:
    """Compares the revision of the tables with the one that this version needs, and upgrades them where that is allowed.

    Raises:
        UnreadableRecord: a newer version has made them.
        StorageError: they are missing or old and must not be made here, or the database refused.
    """
    options = connections.options
    found = current_revision(connections)
    if found == REVISIONS[-1]:
        return
    _refuse_newer(connections, found)
    allowed = may_upgrade
    if allowed is None:
        allowed = connections.database.embedded if options.auto_setup is None else options.auto_setup
    if not allowed:
        raise StorageError(missing_tables(options, "there are none" if found is None else f"they are at revision {found}"))
    from triggers_sql.migrations.run import upgrade

    upgrade(connections)
    found = current_revision(connections)
    _refuse_newer(connections, found)
    if found != REVISIONS[-1]:
        raise StorageError(f"{options.place}: after the upgrade the tables are at revision {found}, not {REVISIONS[-1]}")


def current_revision(connections: Connections) -> str | None:
    """The revision that the tables are at; ``None`` if there are none."""
    link = connections.open()
    try:
        rows = link.rows(connections.statements.revision)
    except connections.driver_error as error:
        kind = connections.failure(error, link.pooled)
        link.end(kind)
        if kind is Failure.MISSING:
            return None
        raise explain(error, kind, connections.options) from error
    except BaseException:
        link.throw_away()
        raise
    link.give_back()
    return str(rows[0][0]) if rows else None


def _refuse_newer(connections: Connections, found: str | None) -> None:
    if found is not None and found not in REVISIONS:
        raise UnreadableRecord(
            f"{connections.options.place} has tables of revision {found!r}, this version of triggers-sql knows them up to"
            f" {REVISIONS[-1]!r}: a newer version made them; upgrade triggers-sql here"
        )
