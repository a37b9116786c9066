"""``python -m triggers.testing sql`` on a database in which others live."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from triggers.store import ABSENT, EVERYTHING, NOTHING, Change, Record, Want
from triggers_sql.store import SqlStore

OTHERS = 300


def test_the_kit_leaves_a_crowd_alone(tmp_path: Path) -> None:
    """Among 300 sessions with labels and wake-ups the whole kit passes; they are there as before, and nothing else is."""
    url = f"sqlite:///{tmp_path / 'crowded.db'}"
    store = SqlStore(url=url)
    store.setup()
    for number in range(OTHERS):
        put = {("live/t", "1"): Record(b"{}", number), ("session", "head"): Record(b"{}")}
        store.commit(f"other {number}", Change(f"v{number}", put, labels=frozenset({"l"})), ABSENT, Want())
    before = [store.load(f"other {number}", EVERYTHING) for number in range(OTHERS)]
    assert NOTHING not in before
    ran = subprocess.run(
        [sys.executable, "-m", "triggers.testing", "sql"],
        cwd=tmp_path,
        env={**os.environ, "TRIGGERS_SQL_URL": url},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert "S34   like the memory store                      1       -           -" in ran.stdout.splitlines()
    assert [store.load(f"other {number}", EVERYTHING) for number in range(OTHERS)] == before
    assert len(store.scan(None, None, 2 * OTHERS).uids) == OTHERS
    assert len(store.due(2**53 - 1, None, 2 * OTHERS).entries) == OTHERS
    store.close()
