"""``triggers fire --from``: a whole log, by several processes, killed half-way: equal to what is computed from its rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy

import triggers
from tests.cli.event_logs import Log, clean_environment, prepare
from triggers import settings
from triggers.storages.base import forget_shared_stores


def take_settings(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process look into, and sweep, what the command has stored."""
    monkeypatch.syspath_prepend(str(log.folder))
    triggers.configure(
        storage="sql", storages={"sql": {"url": log.url}}, tasks=["works"], lease=5.0, redeliver_after=2.0, sweep_interval=0.0
    )


@pytest.fixture
def own_settings() -> Iterator[None]:
    """Settings of this process that are forgotten, and connections that are closed, before a database is dropped."""
    yield
    settings.reset()
    forget_shared_stores()


@pytest.mark.slow
def test_a_log_is_fired_by_two_processes_into_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_settings: None) -> None:
    """Each row once, what had to run has run with what it had to receive, and the same file once more changes nothing."""
    log = prepare(tmp_path, f"sqlite:///{tmp_path / 'log.db'}", 30)
    first = finish(log.start("--processes", "2", "--json"))
    assert (first["rows"], first["fired"], first["already_there"], first["sessions"]) == (len(log.rows), len(log.rows), 0, 30)
    take_settings(log, monkeypatch)
    assert log.stored() == log.expected()
    again = finish(log.start("--json"))
    assert (again["fired"], again["already_there"], again["complete"]) == (0, len(log.rows), True)
    assert log.stored() == log.expected()


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_run_goes_on_in_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str, own_settings: None
) -> None:
    """SIGKILL to all of its processes half-way, started again: equal to what is computed from the rows.

    ``TRIGGERS_EVENTLOG`` names a real log whose columns are those of ``examples/eventlog/permits.json``.
    """
    log = prepare(tmp_path, postgres_url, 200, os.environ.get("TRIGGERS_EVENTLOG"))
    subprocess.run([sys.executable, "-m", "triggers_cli", "migrate"], cwd=tmp_path, env=clean_environment(), check=True)
    began = time.monotonic()
    killed = log.start("--processes", "2")
    events = count_of_events(postgres_url)
    wait_for(lambda: events() > len(log.rows) / 2 or killed.poll() is not None)
    assert killed.poll() is None, killed.communicate()
    processes = [psutil.Process(killed.pid), *psutil.Process(killed.pid).children(recursive=True)]
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    psutil.wait_procs(processes, 30)
    half, killed_after = events(), time.monotonic() - began
    assert 0 < half < len(log.rows)
    summary = finish(log.start("--processes", "2", "--json"))
    assert summary["fired"] + summary["already_there"] == summary["rows"] == len(log.rows)
    assert summary["already_there"] >= half  # the database may still have stored what was on its way to it
    take_settings(log, monkeypatch)
    works = settle(log)
    stored = log.stored()
    assert stored == log.expected()
    print(
        f"{len(log.rows)} rows, {len(stored)} sessions; killed at {half} rows after {killed_after:.0f} s; "
        f"second run {summary['seconds']:.0f} s; {sum(found[1].total() for found in stored.values())} works, "
        f"{sum(found[2].total() for found in stored.values())} abandoned; {works} wake-ups swept; all equal"
    )


def finish(process: Any) -> dict[str, Any]:
    """Waits for a command that has to succeed; its summary."""
    out, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, out + errors
    return dict(json.loads(out))


def count_of_events(url: str) -> Callable[[], int]:
    """Counts the event ids that are stored: each is a row that was fired."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    counting = sqlalchemy.text("SELECT count(*) FROM triggers_records WHERE collection = 'event'")

    def count() -> int:
        try:
            with closing(engine.connect()) as connection:
                return int(connection.execute(counting).scalar_one())
        except sqlalchemy.exc.ProgrammingError as error:
            if "does not exist" in str(error):  # no tables yet
                return 0
            raise

    return count


def wait_for(true: Callable[[], bool]) -> None:
    """Waits until something has become true."""
    end = time.monotonic() + 600
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def settle(log: Log) -> int:
    """Sweeps until nothing is scheduled or running any more; returns how many wake-ups that took."""
    swept = 0
    end = time.monotonic() + 120
    while True:
        swept += triggers.sweep()
        triggers.join_all()
        left = [
            f"{uid} {instance}"
            for uid in {row[log.columns["session"]] for row in log.rows}
            for instance in triggers.get_manager(uid).storage.get_unresolved_instances()
            if instance.status in ("scheduled", "running")
        ]
        if not left:
            return swept
        assert time.monotonic() < end, left
        time.sleep(0.5)
