"""The three tables: sessions, their records, their labels.

Names compare by their exact bytes everywhere. The steps can be repeated: MySQL commits each one, and a process may die in
between.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql, postgresql

revision = "triggers_0001"
down_revision = None
branch_labels = ("triggers",)
depends_on = None


def _name(size: int) -> sa.types.TypeEngine[str]:
    plain = sa.Text()
    return plain.with_variant(postgresql.TEXT(collation="C"), "postgresql").with_variant(
        mysql.VARBINARY(size), "mysql", "mariadb"
    )


def _json() -> sa.types.TypeEngine[str]:
    # MySQL's and MariaDB's JSON functions refuse documents nested deeper than 100 and 32 levels, and so would the column.
    return (
        sa.Text()
        .with_variant(postgresql.JSON(), "postgresql")
        .with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def upgrade() -> None:
    """Makes what is missing."""
    options = context.config.attributes["options"]
    prefix, schema = options.table_prefix, options.schema
    extras = {
        "schema": schema,
        "sqlite_with_rowid": False,
        "mysql_engine": "InnoDB",
        "mysql_row_format": "DYNAMIC",
        "if_not_exists": True,
    }
    op.create_table(
        f"{prefix}sessions",
        sa.Column("uid", _name(255), primary_key=True, nullable=False),
        sa.Column("version", _name(255), nullable=False),
        **extras,
    )
    op.create_table(
        f"{prefix}records",
        sa.Column("uid", _name(255), primary_key=True, nullable=False),
        sa.Column("collection", _name(511), primary_key=True, nullable=False),
        sa.Column("key", _name(511), primary_key=True, nullable=False),
        sa.Column("value", _json(), nullable=False),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        **extras,
    )
    op.create_table(
        f"{prefix}labels",
        sa.Column("uid", _name(255), primary_key=True, nullable=False),
        sa.Column("label", _name(511), primary_key=True, nullable=False),
        **extras,
    )
    wakes = sa.text("wake_at IS NOT NULL")
    _index(
        f"{prefix}records_due",
        f"{prefix}records",
        ["wake_at", "uid", "collection", "key"],
        schema,
        sqlite_where=wakes,
        postgresql_where=wakes,
    )
    _index(f"{prefix}labels_label", f"{prefix}labels", ["label", "uid"], schema)


def _index(name: str, table: str, columns: list[str], schema: str | None, **where: Any) -> None:
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table, schema=schema)}
    if name not in existing:
        op.create_index(name, table, columns, schema=schema, **where)


def downgrade() -> None:
    """Removes everything that is stored."""
    options = context.config.attributes["options"]
    for name in ("labels", "records", "sessions"):
        op.drop_table(f"{options.table_prefix}{name}", schema=options.schema)
