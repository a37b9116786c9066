"""Keeps Triggers sessions in SQLite, PostgreSQL, MySQL or MariaDB.

Importing this package is cheap: SQLAlchemy, Alembic and the drivers are imported when a store first needs them.
"""

from triggers_sql.backend import SqlStorageBackend, migrate
from triggers_sql.store import SqlStore, Statement

__all__ = ["SqlStorageBackend", "SqlStore", "Statement", "migrate"]
