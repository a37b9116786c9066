"""The statements as PostgreSQL likes them: arrays as parameters, and a whole commit in one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from triggers.store import ABSENT, Change, Record, Want
from triggers_sql.statements import ROWS_PER_STATEMENT, Bound, Statements, Tables


class PostgresStatements(Statements):
    """Arrays as parameters: one text for any number of records, which the server keeps prepared.

    Names and values go as binary (``%b``): in an array as text every quote of the JSON would be escaped, which took three
    quarters of what a commit costs this process. Labels stay text, since an empty array has no binary type.
    """

    mark = "%s"
    max_parameters = 65_535

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.commit_shape = lru_cache(maxsize=32)(self._commit_text)

    def whole_commit(self, uid: str, change: Change, expected: str) -> Bound | None:
        """See ``Statements.whole_commit``: everything hangs on the row that takes the session.

        The conditions read what the statement saw when it began. That is enough: the session's row is taken only at the
        expected version, and nothing else of a session changes without its version.
        """
        parameters: list[Any] = [uid, change.version] if expected == ABSENT else [change.version, uid, expected]
        drop = change.drop.difference(change.put) if change.drop else ()
        if drop:
            parameters += ([pair[0] for pair in drop], [pair[1] for pair in drop])
        put = change.put
        if put:
            parameters += (
                [pair[0] for pair in put],
                [pair[1] for pair in put],
                [record.value.decode() for record in put.values()],
                [record.wake_at for record in put.values()],
            )
        if change.labels is not None:
            labels = list(change.labels)
            parameters += (labels, labels)
        text = self.commit_shape(expected == ABSENT, bool(drop), bool(put), change.labels is not None)
        return text, parameters

    def value_column(self) -> str:
        """``json`` as its text, which psycopg would otherwise decode."""
        return "value::text"

    def load(self, uid: str, want: Want) -> Bound:
        """See ``Statements.load``; each list is one array."""
        if want.everything:
            return self.load_shape(-1, 0), (uid, uid)
        parameters: list[Any] = [uid]
        if want.collections:
            parameters += (uid, list(want.collections))
        if want.records:
            parameters += ([pair[0] for pair in want.records], [pair[1] for pair in want.records], uid)
        return self.load_shape(len(want.collections) and 1, len(want.records) and 1), parameters

    def puts(self, uid: str, put: Mapping[tuple[str, str], Record]) -> Iterator[Bound]:
        """See ``Statements.puts``."""
        found = list(put.items())
        for start in range(0, len(found), ROWS_PER_STATEMENT):
            part = found[start : start + ROWS_PER_STATEMENT]
            yield (
                self.put_shape(1),
                (
                    uid,
                    [pair[0] for pair, _ in part],
                    [pair[1] for pair, _ in part],
                    [record.value.decode() for _, record in part],
                    [record.wake_at for _, record in part],
                ),
            )

    def drops(self, uid: str, drop: Collection[tuple[str, str]]) -> Iterator[Bound]:
        """See ``Statements.drops``."""
        gone = list(drop)
        for start in range(0, len(gone), ROWS_PER_STATEMENT):
            part = gone[start : start + ROWS_PER_STATEMENT]
            yield self.drop_shape(1), ([pair[0] for pair in part], [pair[1] for pair in part], uid)

    def _collection_in(self, count: int) -> str:
        return "collection = ANY(%b::text[])"

    def _pairs_arm(self, select: str, pairs: int) -> str:
        # LIMIT keeps the planner from turning this into a join that reads the whole session.
        key = self.tables.key
        return (
            "SELECT NULL, found.* FROM unnest(%b::text[], %b::text[]) AS wanted (c, k) CROSS JOIN LATERAL"  # noqa: S608
            f" (SELECT collection, {key}, value::text, wake_at FROM {self.tables.records}"
            f" WHERE uid = %s AND collection = wanted.c AND {key} = wanted.k LIMIT 1) AS found"
        )

    def _put_text(self, rows: int) -> str:
        return (
            f"INSERT INTO {self.tables.records} (uid, collection, {self.tables.key}, value, wake_at)"  # noqa: S608
            " SELECT %s, c, k, v::json, w FROM unnest(%b::text[], %b::text[], %b::text[], %s::bigint[]) AS put (c, k, v, w)"
            f"{self._replace()}"
        )

    def _drop_text(self, pairs: int) -> str:
        key, records = self.tables.key, self.tables.records
        return (
            f"DELETE FROM {records} WHERE ctid = ANY(ARRAY(SELECT found.ctid FROM unnest(%b::text[], %b::text[]) AS gone (c, k)"  # noqa: S608
            f" CROSS JOIN LATERAL (SELECT ctid FROM {records}"
            f" WHERE uid = %s AND collection = gone.c AND {key} = gone.k LIMIT 1) AS found))"
        )

    def _commit_text(self, absent: bool, drop: bool, put: bool, labels: bool) -> str:
        names, key = self.tables, self.tables.key
        steps = [f"taken AS ({self.create_session if absent else self.swap_version} RETURNING uid)"]
        if drop:
            steps.append(
                f"gone AS (DELETE FROM {names.records} WHERE ctid = ANY(ARRAY(SELECT found.ctid FROM taken"  # noqa: S608
                " CROSS JOIN unnest(%b::text[], %b::text[]) AS old (c, k) CROSS JOIN LATERAL"
                f" (SELECT ctid FROM {names.records} WHERE uid = taken.uid AND collection = old.c AND {key} = old.k LIMIT 1)"
                " AS found)))"
            )
        if put:
            steps.append(
                f"kept AS (INSERT INTO {names.records} (uid, collection, {key}, value, wake_at)"  # noqa: S608
                " SELECT taken.uid, c, k, v::json, w FROM taken CROSS JOIN"
                f" unnest(%b::text[], %b::text[], %b::text[], %s::bigint[]) AS new (c, k, v, w){self._replace()})"
            )
        if labels:
            steps.append(
                f"unlabelled AS (DELETE FROM {names.labels} AS old USING taken"  # noqa: S608
                " WHERE old.uid = taken.uid AND old.label <> ALL(%s::text[]))"
            )
            steps.append(
                f"labelled AS (INSERT INTO {names.labels} (uid, label) SELECT taken.uid, label FROM taken"  # noqa: S608
                " CROSS JOIN unnest(%s::text[]) AS new (label) ON CONFLICT DO NOTHING)"
            )
        return f"WITH {', '.join(steps)} SELECT 1 FROM taken"  # noqa: S608
