"""The effects of the works, in a database of the application's own that Triggers knows nothing of."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from triggers import TaskContext


@contextlib.contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """The ledger."""
    path = os.environ.get("SURVEY_LEDGER", "ledger.db")
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as ledger, ledger:
        yield ledger


def make() -> None:
    """Makes the table."""
    with opened() as ledger:
        ledger.execute("PRAGMA journal_mode = WAL")
        ledger.execute(
            "CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, respondent TEXT, task TEXT, value TEXT, runs INTEGER)"
        )


def enter(context: TaskContext, value: object) -> None:
    """Enters an effect once, and counts how often it was tried."""
    row = (context.idempotency_key, context.manager.uid, context.task_instance.task, str(value))
    with opened() as ledger:
        ledger.execute("INSERT INTO entry VALUES (?, ?, ?, ?, 1) ON CONFLICT (key) DO UPDATE SET runs = runs + 1", row)
