"""What users and the registry see: the handle on one session, and the call that makes the tables."""

from __future__ import annotations

from typing import Any

from triggers.storages.base import BaseTriggerStorage
from triggers_sql.store import SqlStore


class SqlStorageBackend(BaseTriggerStorage):
    """A session in a SQL database, ``storage_backends.get("sql", uid)``; the options are those of ``SqlStore``."""

    key = "sql"
    store_class = SqlStore
    api_version = 1


def migrate(url: str = "sqlite:///triggers.db", **options: Any) -> None:
    """Makes the tables, or brings those of an older version up to date.

    Any number of processes may call it at once, any number of times; what is up to date costs one statement. The rights
    to create tables are needed here and nowhere else.

    Args:
        url: the database.
        **options: those of ``SqlStore`` with which the application runs: ``schema``, ``table_prefix``, ``connect_args``, ….

    Raises:
        SettingsError: the URL or an option cannot be used.
        StorageUnavailable: the database does not answer.
        UnreadableRecord: the tables were made by a newer version.
        StorageError: the database refused, and says why.
    """
    store = SqlStore(url=url, **options)
    try:
        store.setup()
    finally:
        store.close()
