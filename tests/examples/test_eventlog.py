"""The event log: what it expects is right, its check can fail, it goes on after a kill, and it runs on every storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.examples.running import command, environment, lines, rewrite, run, wait_until
from tests.servers import client
from tests.servers.plugin import Space

ROOT = Path(__file__).resolve().parents[2]

BY_HAND = {
    "o1": "ordered paid picked packed asked asked",
    "o2": "paid cancelled packed",
    "o3": "packed paid cancelled",
    "o4": "reminded due due paid due",
    "o5": "asked asked ordered asked",
    "o6": "due paid due reminded",
}
"""What happens to six orders, in this order."""

HAD_TO_RUN = {
    "t_ship": (1, 0),
    "t_invoice": (1, 0),
    "t_archive": (1, 0),
    "t_answer": (5, 0),
    "t_answer_filed": (5, 0),
    "t_refund": (1, 2),
    "t_dun": (2, 6),
}
"""How often each task of ``orders.json`` has to run for these, and how many of its instances have to be abandoned; by hand."""


def write_log(path: Path, orders: dict[str, str]) -> Path:
    """A log of these orders, one step per minute."""
    steps = [(order, step) for order, text in orders.items() for step in text.split()]
    rows = [f"{order},{step},2026-03-02T08:{minute:02}:00Z,Ana,web" for minute, (order, step) in enumerate(steps)]
    path.write_text("\n".join(["order,step,time,clerk,channel", *rows]) + "\n", encoding="utf-8")
    return path


def table(shown: str) -> dict[str, tuple[int, int, int]]:
    """The table of tasks: how often each had to run, ran, and was abandoned."""
    rows = [line.split() for line in shown.partition("without Triggers")[2].splitlines() if line.startswith("  t_")]
    return {row[0]: (int(row[-3]), int(row[-2]), int(row[-1])) for row in rows}


@pytest.fixture(scope="module")
def run_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the six orders whose records were kept."""
    folder = tmp_path_factory.mktemp("eventlog")
    log = write_log(folder / "six.csv", BY_HAND)
    done = run(folder, "eventlog", "--log", log, "--order", "file", "--shared", 0, "--processes", 2, "--folder", folder / "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "kept" / "shown.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.fixture
def check_again(run_before: Path, tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Checks a copy of that run, which a test may spoil in ``tmp_path / "kept"``."""
    subprocess.run(["cp", "-r", str(run_before / "kept"), str(tmp_path)], check=True)
    arguments = ("--log", run_before / "six.csv", "--order", "file", "--shared", 0, "--folder", tmp_path / "kept", "--check")
    return lambda: run(tmp_path, "eventlog", *arguments)


def test_what_is_expected_is_what_was_counted_by_hand(run_before: Path) -> None:
    """Six orders: joins, cascades, ``andEvery``, ``unless`` before, at and after the last trigger."""
    shown = (run_before / "kept" / "shown.txt").read_text(encoding="utf-8")
    assert table(shown) == {task: (runs, runs, abandoned) for task, (runs, abandoned) in HAD_TO_RUN.items()}
    assert "All right: 16 works had to run, 16 ran; 0 differences" in shown


def test_time_is_an_order(tmp_path: Path) -> None:
    """A log whose times are not in order of its rows: ``unless`` comes first in time, last in the file."""
    log = write_log(tmp_path / "log.csv", {"o1": "paid cancelled packed"})
    log.write_text(log.read_text().replace("packed,2026", "packed,2025"))
    found = {
        order: table(run(tmp_path, "eventlog", "--log", log, "--order", order, "--shared", 0, "--processes", 1).stdout)
        for order in ("file", "time")
    }
    assert found["file"]["t_refund"] == (1, 1, 0)
    assert found["time"]["t_refund"] == (0, 0, 1)


def test_a_made_up_log_is_right(tmp_path: Path) -> None:
    """Without a log one is made; half of its sessions are fired into by all processes; nothing is left behind."""
    done = run(tmp_path, "eventlog")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("orders.csv: 1707 rows of 300 sessions")
    assert "into 150 sessions all processes fire at once" in done.stdout
    assert "All right" in done.stdout
    assert all(runs for runs, _, _ in table(done.stdout).values()), "the log lets every task run"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def spoil(folder: Path, kind: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Changes the records of a kept run."""
    for path, found in lines(folder / "kept", f"{kind}-*.jsonl"):
        rewrite(path, change(found))


def test_the_check_sees_a_missing_work(tmp_path: Path, check_again: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    """A work that nobody wrote down is told with its session and the rows that it should have seen."""
    spoil(tmp_path, "work", lambda found: [line for line in found if line["task"] != "t_refund"])
    done = check_again()
    assert done.returncode == 1
    assert "WRONG  o2: t_refund did not run with cancelled: row 8; paid: row 7\n" in done.stdout
    assert "NOT right: 16 works had to run, 15 ran; 1 differences" in done.stdout


def test_the_check_sees_a_work_that_ran_twice(
    tmp_path: Path, check_again: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    """A second instance of a one-shot task is too much, wherever it comes from."""

    def twice(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*found, *({**line, "instance": "t_ship#1"} for line in found if line["task"] == "t_ship")]

    spoil(tmp_path, "work", twice)
    done = check_again()
    assert done.returncode == 1
    assert "WRONG  o1: t_ship ran, and should not have, with packed: row 4; paid: row 2; picked: row 3\n" in done.stdout


def test_the_check_sees_a_wrong_row(tmp_path: Path, check_again: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    """A work that received the kwargs of another row is told twice: what it missed, and what it had."""
    spoil(
        tmp_path,
        "work",
        lambda found: [{**line, "seen": {**line["seen"], "paid": [3]}} if line["task"] == "t_ship" else line for line in found],
    )
    done = check_again()
    assert done.returncode == 1
    assert "t_ship did not run with packed: row 4; paid: row 2; picked: row 3\n" in done.stdout
    assert "t_ship ran, and should not have, with packed: row 4; paid: row 3; picked: row 3\n" in done.stdout


def test_the_check_sees_a_row_that_was_not_fired(
    tmp_path: Path, check_again: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    """A row of the log that no process wrote down is told."""
    spoil(tmp_path, "fired", lambda found: [line for line in found if line["row"] != 1])
    done = check_again()
    assert done.returncode == 1
    assert "WRONG  o1: row 1 (ordered) was not fired\n" in done.stdout


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """All processes killed with SIGKILL in the middle; the same command with ``--resume`` ends well, each work counted once."""
    arguments = ("--folder", tmp_path / "kept", "--processes", 2, "--seed", 5)
    running = subprocess.Popen(
        command("eventlog", *arguments), cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL
    )
    wait_until(lambda: sum(len(found) for _, found in whole_lines(tmp_path / "kept")) > 400)
    for process in [*psutil.Process(running.pid).children(recursive=True), psutil.Process(running.pid)]:
        process.kill()
    running.wait()
    before = sum(len(found) for _, found in whole_lines(tmp_path / "kept"))
    done = run(tmp_path, "eventlog", *arguments, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All right" in done.stdout
    assert 400 < before < 1707
    again = run(tmp_path, "eventlog", *arguments)
    assert again.returncode == 2
    assert "has a run already: --resume goes on with it, --check checks it" in again.stderr


def whole_lines(folder: Path) -> list[tuple[Path, list[str]]]:
    """The rows written down so far; a line that is being written does not count."""
    return [(path, path.read_text(encoding="utf-8").split("\n")[:-1]) for path in folder.glob("fired-*.jsonl")]


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    """Stopped in the middle it ends with 130, without a traceback, a process or a folder."""
    running = subprocess.Popen(
        command("eventlog"), cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_until(lambda: bool(list(tmp_path.glob("eventlog-*/fired-*.jsonl"))))
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=200)
    assert (running.returncode, told.decode().strip()) == (130, "stopped")
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]
    assert list(tmp_path.iterdir()) == []


def test_the_generator_makes_the_same_log_for_the_same_seed(tmp_path: Path) -> None:
    """Two calls with one seed agree to the byte; another seed gives another log."""
    logs = [run(tmp_path, "eventlog", "--sessions", 30, "--seed", seed, program="generate.py").stdout for seed in (7, 7, 8)]
    assert logs[0] == logs[1] != logs[2]
    assert logs[0].splitlines()[0] == "order,step,time,clerk,channel"


def on_server(tmp_path: Path, *storage: object) -> None:
    """Runs the example on a storage, small."""
    (tmp_path / "log.csv").write_text(run(tmp_path, "eventlog", "--sessions", 30, program="generate.py").stdout, encoding="utf-8")
    done = run(tmp_path, "eventlog", "--log", tmp_path / "log.csv", "--processes", 2, *storage)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All right" in done.stdout


def test_it_runs_on_redis(tmp_path: Path, redis_space: Space) -> None:
    """Redis, by one setting."""
    on_server(tmp_path, "--storage", "redis", "--url", redis_space.url)


def test_it_runs_on_redis_cluster(tmp_path: Path, redis_cluster_space: Space) -> None:
    """A Redis Cluster, by one setting."""
    on_server(tmp_path, "--storage", "redis", "--url", redis_cluster_space.url.replace("redis://", "redis+cluster://"))


def test_it_runs_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    """PostgreSQL, by one setting."""
    on_server(tmp_path, "--storage", "sql", "--url", postgres_url)


def test_it_runs_on_mysql(tmp_path: Path, mysql_url: str) -> None:
    """MariaDB, by one setting."""
    on_server(tmp_path, "--storage", "sql", "--url", mysql_url)


def test_it_runs_on_memcached(tmp_path: Path) -> None:
    """memcached, by one setting."""
    on_server(tmp_path, "--storage", "cache", "--url", client.shared("memcached").url)


def test_the_environment_names_storage_and_log(tmp_path: Path, redis_space: Space) -> None:
    """``TRIGGERS_STORAGE``, ``TRIGGERS_REDIS_URL`` and ``TRIGGERS_EVENTLOG`` do what the options do."""
    log = write_log(tmp_path / "six.csv", BY_HAND)
    done = run(
        tmp_path,
        "eventlog",
        TRIGGERS_STORAGE="redis",
        TRIGGERS_REDIS_URL=redis_space.url,
        TRIGGERS_EVENTLOG=str(log),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("six.csv: 25 rows of 6 sessions")
    assert "into storage 'redis'" in done.stdout


def test_a_run_is_resumed_only_as_what_it_was(
    tmp_path: Path, check_again: Callable[[], subprocess.CompletedProcess[str]], run_before: Path
) -> None:
    """With another seed or another log the records mean something else: refused."""
    assert check_again().returncode == 0
    same = ("--log", run_before / "six.csv", "--order", "file", "--shared", 0, "--folder", tmp_path / "kept")
    other = run(tmp_path, "eventlog", *same, "--resume", "--seed", 99)
    assert other.returncode == 2
    assert "began with another seed; give the same, or a new --folder" in other.stderr


@pytest.mark.eventlog
@pytest.mark.timeout(900)
def test_a_whole_log(tmp_path: Path) -> None:
    """The log that ``TRIGGERS_EVENTLOG`` names, or the permits beside the repository, or a large one that is made up."""
    beside = ROOT.parent / "shared" / "data" / "permits.csv"
    log = Path(os.environ.get("TRIGGERS_EVENTLOG") or (beside if beside.exists() else tmp_path / "orders.csv"))
    if not log.exists():
        made = run(tmp_path, "eventlog", "--sessions", 1500, program="generate.py")
        log.write_text(made.stdout, encoding="utf-8")
    done = subprocess.run(
        command("eventlog", "--log", log, "--folder", tmp_path / "kept"),
        env=environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        timeout=800,
    )
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    about = json.loads((tmp_path / "kept" / "run.json").read_text(encoding="utf-8"))
    assert about["order"] == "shuffled"
    assert "; 0 differences" in done.stdout
