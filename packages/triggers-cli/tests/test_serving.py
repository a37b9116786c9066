"""Commands that serve: a worker with real signals, the sweep, the tables, the contract of stores."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import stuck
from calling import Call, environment

WORKS = """
import os, time
from triggers import task

@task("slow")
def slow(context):
    open("begun", "w").close()
    while not os.path.exists("end"):
        time.sleep(0.05)
    return {}

@task("good")
def good(context):
    return {}

@task("bad")
def bad(context):
    raise ValueError("no paper")
"""
TASKS = {
    "t_good": {"after": ["a"], "run": "good"},
    "t_bad": {"after": ["a"], "run": "bad"},
    "t_slow": {"after": ["b"], "run": "slow"},
}
LOST = "redeliver_after = 0.2\nsweep_interval = 0.2\n"
"""How soon a worker takes up what was fired where nothing runs."""


@pytest.fixture
def folder(command: Call, tmp_path: Path) -> Path:
    """A session that others fire into, in a process with a runner that runs nothing."""
    (tmp_path / "works.py").write_text(WORKS)
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    (tmp_path / "triggers.toml").write_text(LOST + stuck.SETTINGS)
    command("configure", "s1", "tasks.json", "--yes")
    return tmp_path


def fire_elsewhere(folder: Path, *fired: str) -> None:
    """Fires where no work runs."""
    program = (
        "import triggers, sys, os; triggers.configure(storage='sql', storages={'sql': {'url': 'sqlite:///mine.db'}}, "
        "runner='nobody', redeliver_after=0.2)\n"
        "for trigger in sys.argv[1:]: triggers.get_manager('s1').fire(trigger)\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, *fired], cwd=folder, env=environment(folder), check=True, timeout=60)


@contextmanager
def start(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A worker that writes into the file ``log``; killed if it is still there at the end."""
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-u", "-m", "triggers_cli", "run", *options],
            cwd=folder, env=environment(folder), stdout=log, stderr=subprocess.STDOUT, text=True,
        ) as worker,
    ):  # fmt: skip
        try:
            yield worker
        finally:
            worker.kill()


def wait_for(true: Callable[[], bool], worker: subprocess.Popen[str]) -> None:
    """Waits for something that a worker does."""
    end = time.monotonic() + 60
    while not true():
        assert worker.poll() is None, "the worker has ended"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_says_what_it_does_and_drains(folder: Path, command: Call) -> None:
    """Works and failures, a line each; on SIGTERM it finishes what runs, and ends with 0."""
    fire_elsewhere(folder, "a", "b")
    log = folder / "log"
    with start(folder) as worker:
        wait_for(lambda: (folder / "begun").exists() and "t_bad#0 of session s1" in log.read_text(), worker)
        worker.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping: waiting for running works" in log.read_text(), worker)
        (folder / "end").touch()
        assert worker.wait(60) == 0
    told = [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
    assert told[0] == "serving: storage 'sql', 3 works, 8 threads; stop with Ctrl-C"
    assert "finished t_good#0 of session s1" in told
    assert "failed t_bad#0 of session s1: ValueError: no paper" in told
    assert told.index("stopping: waiting for running works; a second signal ends at once") < told.index(
        "finished t_slow#0 of session s1"
    )
    assert told[-1] == "stopped"


@pytest.mark.slow
def test_the_log_of_a_worker_has_no_passwords(folder: Path) -> None:
    """Neither in messages nor in tracebacks; and it cannot steer the terminal."""
    (folder / "works.py").write_text(
        "import logging\n"
        "from triggers import task\n"
        "try:\n"
        "    raise OSError('cannot reach postgresql://me:hunter2@db/x')\n"
        "except OSError:\n"
        "    logging.getLogger('triggers.mine').exception('no archive at redis://:hunter2@db \\x1b[2J')\n"
        "task('only')(print)\n"
    )
    with start(folder) as worker:
        wait_for(lambda: "serving" in (folder / "log").read_text(), worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    log = (folder / "log").read_text()
    assert "ERROR triggers.mine: no archive at redis://:***@db \\x1b[2J\n" in log
    assert "\nOSError: cannot reach postgresql://me:***@db/x\n" in log
    assert "hunter2" not in log
    assert "serving: storage 'sql', 1 work, 8 threads" in log


@pytest.mark.slow
def test_a_worker_gives_up_after_its_limit(folder: Path) -> None:
    """Works that do not end are left for the sweep, and the exit code says so; as JSON, an object in each line."""
    fire_elsewhere(folder, "b")
    with start(folder, "--drain", "0.2", "--json") as worker:
        wait_for((folder / "begun").exists, worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 1
    told = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith("{")]
    assert [entry["event"] for entry in told if entry["event"] != "recovered"] == ["serving", "running", "stopping", "gave_up"]
    assert not any("error" in entry for entry in told)
    running = next(entry for entry in told if entry["event"] == "running")
    assert (running["uid"], running["instance"], running["attempt"], running["run"]) == ("s1", "t_slow#0", 1, "slow")


@pytest.mark.slow
def test_a_second_signal_ends_a_worker_at_once(folder: Path) -> None:
    """Whatever runs."""
    fire_elsewhere(folder, "b")
    with start(folder) as worker:
        wait_for((folder / "begun").exists, worker)
        worker.send_signal(signal.SIGINT)
        wait_for(lambda: "stopping" in (folder / "log").read_text(), worker)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 130


def test_sweep_delivers_what_was_lost(folder: Path, command: Call) -> None:
    """And waits for it."""
    fire_elsewhere(folder, "a")
    time.sleep(0.3)
    assert command("sweep", "--json").json() == {"handled": 2}
    found = {entry["name"]: entry["status"] for entry in command("show", "s1", "--json").json()["instances"]}
    assert found == {"t_good#0": "finished", "t_bad#0": "failed"}
    assert command("sweep").out == "handled 0 wake-ups\n"


def test_migrate_makes_the_tables(folder: Path, command: Call) -> None:
    """As often as one likes."""
    assert command("migrate").out == "storage 'sql' is up to date\n"
    assert command("migrate", "--json").json() == {"storage": "sql", "up_to_date": True}


@pytest.mark.slow
def test_conformance_checks_a_storage(folder: Path, command: Call) -> None:
    """Rule by rule; an unknown key is told."""
    answer = command("conformance", "sql", "-k", "s01 or s02", "--json")
    told = answer.json()
    assert (answer.code, told["key"], told["failed"]) == (0, "sql", [])
    assert told["capabilities"]["DUE"] is True
    assert {"rule": "S1", "about": "absent sessions load as nothing"}.items() <= told["rules"][0].items()
    assert told["rules"][0]["passed"] > 0
    assert "absent sessions load as nothing" in command("conformance", "sql", "-k", "s01").out
    assert command("conformance", "cloud").code == 1


@pytest.mark.parametrize("expression", ["nothing_is_called_so", "((("])
def test_conformance_of_no_test(folder: Path, command: Call, expression: str) -> None:
    """Is wrong use, with one line that repeats what was asked for."""
    answer = command("conformance", "memory", "-k", expression)
    assert (answer.code, answer.out) == (2, "")
    assert f"Invalid value for -k: '{expression}': " in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.slow
def test_ctrl_c_ends_the_conformance_tests(folder: Path) -> None:
    """One line, and 130, whichever test runs."""
    checking = subprocess.Popen(
        [sys.executable, "-m", "triggers_cli", "--url", "sqlite:///checked.db", "conformance", "sql", "--json"],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for((folder / "checked.db").exists, checking)
    time.sleep(1)
    checking.send_signal(signal.SIGINT)
    out, err = checking.communicate(timeout=60)
    assert (checking.returncode, out, err.strip()) == (130, "", "interrupted")
