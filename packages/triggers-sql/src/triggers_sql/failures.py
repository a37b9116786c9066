"""Our errors for what the drivers raise: what happened, where, and what to do. No message has a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.errors import StorageError, StorageUnavailable
from triggers_sql.dialects import Failure

if TYPE_CHECKING:
    from triggers_sql.options import Options

_UNAVAILABLE = (Failure.LOST, Failure.SILENT, Failure.CROSSED)


def explain(error: BaseException, kind: Failure, options: Options, *, connecting: bool = False) -> StorageError:
    """The error to raise for a driver's error that stored nothing."""
    place = options.place
    text = " ".join(str(error).partition("(Background on this error")[0].split())
    if kind is Failure.MISSING:
        return StorageError(missing_tables(options, text))
    if kind is Failure.READ_ONLY:
        return StorageError(
            f"{place} is read-only ({text}); nothing was stored. Check the rights of the file and its folder,"
            " or the server's role"
        )
    if kind is Failure.FULL:
        return StorageError(f"{place}: the disk is full ({text}); nothing was stored")
    if kind is Failure.NO_DATABASE:
        return StorageError(
            f"{place} is no SQLite database, or is damaged ({text}); give another file, or restore this one from a copy"
        )
    if kind is Failure.CANNOT_OPEN:
        return StorageError(f"cannot open {place} ({text}); check that the file and its folder may be read and written")
    if kind is Failure.BUSY:
        return StorageUnavailable(
            f"{place}: a lock was not given within {options.timeout:g} s ({text}); nothing was stored. Another process holds a"
            " transaction open; the option 'timeout' says how long to wait"
        )
    if connecting:
        return StorageUnavailable(f"cannot connect to {place}: {text}")
    if kind in _UNAVAILABLE:
        return StorageUnavailable(f"{place}: {kind.value} ({text}); nothing was stored")
    return StorageError(f"{place}: the database refused: {text}; nothing was stored")


def missing_tables(options: Options, reason: str) -> str:
    """What to do about tables that are not there."""
    return (
        f"{options.place} has not the tables that this version needs ({reason}); make them with"
        f" `triggers migrate`, or {migrate_call(options)} (option auto_setup=True does it at the first use)"
    )


def migrate_call(options: Options) -> str:
    """The call that makes the tables, as one would write it."""
    arguments = [repr(options.place)]
    if options.schema is not None:
        arguments.append(f"schema={options.schema!r}")
    if options.table_prefix != "triggers_":
        arguments.append(f"table_prefix={options.table_prefix!r}")
    return f"triggers_sql.migrate({', '.join(arguments)})"
