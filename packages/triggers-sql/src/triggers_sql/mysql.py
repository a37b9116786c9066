"""The statements as MySQL and MariaDB like them."""

from __future__ import annotations

from typing import Any

from triggers_sql.statements import Statements


class MySQLStatements(Statements):
    """MySQL and MariaDB: rows as literals, which the range optimizer takes to the primary key."""

    mark = "%s"
    max_bytes: int = 1024 * 1024
    insert_once = ""

    def name_column(self, column: str) -> str:
        """Names are binary strings there; the server decodes them."""
        return f"CONVERT({column} USING utf8mb4)"

    def behind(self, after: tuple[int, str, str, str]) -> tuple[str, tuple[Any, ...]]:
        """See ``Statements.behind``; a row comparison would read the index from its start."""
        key = self.tables.key
        at, uid, collection, name = after
        text = (
            f"(wake_at > %s OR (wake_at = %s AND (uid > %s OR (uid = %s AND"
            f" (collection > %s OR (collection = %s AND {key} > %s))))))"
        )
        return text, (at, at, uid, uid, collection, collection, name)

    def _pairs_condition(self, pairs: int) -> str:
        return f"uid = %s AND (collection, {self.tables.key}) IN ({', '.join(['(%s, %s)'] * pairs)})"

    def _replace(self) -> str:
        return " ON DUPLICATE KEY UPDATE value = VALUES(value), wake_at = VALUES(wake_at)"
