"""The benchmarks work: each measurement is made once, small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.client import ROOT, shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*arguments: str, **environment: str) -> str:
    """What a benchmark prints."""
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "TRIGGERS_BENCH_SESSIONS": "300", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_all_is_measured_on_every_storage(tmp_path: Path) -> None:
    """A quick run brings the ratios of fires, joins, contention, sessions and imports, as a table and as plots."""
    pytest.importorskip("matplotlib")
    servers = {
        "TRIGGERS_TEST_REDIS_URL": shared("redis").url,
        "TRIGGERS_TEST_POSTGRES_URL": shared("postgres").url,
    }
    run("benchmarks/run.py", "--quick", "--rounds", "3", "--output", str(tmp_path), **servers)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    for storage in ("memory", "SQLite", "Redis", "PostgreSQL"):
        assert f"| {storage} | fresh, loading |" in table
        assert f"| {storage} | fire, fire, start, finish |" in table
    for line in ("| 8 threads, one session |", "| chords of two, 5 at once |", "| among 300 sessions |", "| import triggers |"):
        assert line in table
    assert (tmp_path / "a-recorded-fire.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_scale_is_measured() -> None:
    """Many sessions are made and measured beside few."""
    assert "| SQLite | a fire |" in run("benchmarks/scale.py", "--sessions", "1500", "--rounds", "3")


def test_two_commits_are_compared() -> None:
    """The files as they are here, beside themselves."""
    shown = run("benchmarks/compare.py", ".", ".", "--rounds", "1", TRIGGERS_TEST_REDIS_URL=shared("redis").url)
    assert "| a recorded fire, Redis, processor time |" in shown
