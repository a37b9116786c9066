"""The commands, run as a person runs them: in a process of their own, on a SQLite file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TASKS = """
from triggers import task

@task("good")
def good(context):
    return {"v": 1}

@task("bad")
def bad(context):
    import os
    if not os.path.exists("mended"):
        raise ValueError("no paper")
    return {}
"""
CONFIGURATION = {
    "t_good": {"after": ["a", "b"], "run": "good"},
    "t_bad": {"after": ["t_good"], "run": "bad"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with settings, works, and a configured session."""
    (tmp_path / "works.py").write_text(TASKS)
    (tmp_path / "triggers.toml").write_text('storage = "sql"\ntasks = ["works"]\n[storages.sql]\nurl = "sqlite:///mine.db"\n')
    (tmp_path / "tasks.json").write_text(json.dumps(CONFIGURATION))
    assert call(tmp_path, "configure", "s1", "tasks.json", "--yes").returncode == 0
    return tmp_path


def call(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs one command."""
    return subprocess.run(
        [sys.executable, "-m", "triggers_cli", *arguments],
        cwd=folder, env=environment(folder), input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """The environment without settings of this run."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TRIGGERS_")}
    return {**kept, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "100"}


def test_the_story_of_a_stuck_workflow(folder: Path) -> None:
    """Fire, see what failed and why, mend it, replay everything: the story of a night."""
    assert "created: t_good#0" in call(folder, "fire", "s1", "a", "--yes").stdout
    assert call(folder, "explain", "s1", "t_good").stdout == "t_good waits for b (1 of 2)\n"
    assert "scheduled: t_good#0" in call(folder, "fire", "s1", "b", "--yes").stdout
    assert json.loads(call(folder, "sessions", "--status", "failed", "--json").stdout)["uids"] == ["s1"]
    assert "no paper" in call(folder, "explain", "s1").stdout
    assert "t_bad#0" in call(folder, "retry-failed", "--dry-run").stdout
    (folder / "mended").touch()
    assert "replayed 1" in call(folder, "retry-failed", "--yes").stdout
    shown = json.loads(call(folder, "show", "s1", "--json").stdout)
    assert {found["name"]: found["status"] for found in shown["instances"]} == {
        "t_good#0": "finished",
        "t_bad#0": "replayed",
        "t_bad#1": "finished",
    }
    assert "running → finished" in call(folder, "history", "s1").stdout
    assert "deleted" in call(folder, "delete", "s1", "--yes").stdout


def test_what_changes_something_asks(folder: Path) -> None:
    """Without --yes a no changes nothing, and the exit code says that it was broken off."""
    refused = call(folder, "delete", "s1", stdin="n\n")
    assert refused.returncode == 130
    assert call(folder, "explain", "s1").returncode == 0
    assert call(folder, "cancel", "s1", "--reason", "over", stdin="y\n").returncode == 0
    assert "cancelled" in call(folder, "explain", "s1").stdout


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["show", "nobody"], 1, "there is no session 'nobody'"),
        (["sho", "s1"], 2, "Did you mean 'show'?"),
        (["fire", "s1", "a", "--kwargs", "{", "--yes"], 2, "no JSON"),
        (["fire", "s1", "a", "--kwargs", "[1]", "--yes"], 2, "expected a JSON object"),
        (["replay", "s1", "t_good#9", "--yes"], 1, "no instance 't_good#9'"),
        (["--storage", "cloud", "sessions"], 1, "no storage has the key 'cloud'"),
        (["--settings", "gone.toml", "sessions"], 1, "gone.toml cannot be read"),
        (["lint", "triggers.toml"], 1, "a task is an object of directives"),
        (["configure", "s1", "gone.json", "--yes"], 2, "gone.json"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(folder: Path, arguments: list[str], code: int, words: str) -> None:
    """A mistake is answered with what was wrong, and an exit code."""
    answer = call(folder, *arguments)
    assert answer.returncode == code
    assert words in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_storage_that_does_not_answer_is_exit_code_3(folder: Path) -> None:
    """And the password is not shown."""
    answer = call(folder, "--storage", "redis", "--url", "redis://:geheim@127.0.0.1:1/0", "explain", "s1")
    assert (answer.returncode, "geheim" in answer.stdout + answer.stderr) == (3, False)


def test_doctor_says_what_loads_and_answers(folder: Path) -> None:
    """All registered backends, and what the configured one can do."""
    found = json.loads(call(folder, "doctor", "--json").stdout)
    assert found["storages"][0]["answers"] is True
    assert "DUE" in found["storages"][0]["capabilities"]
    assert {"memory", "sql"} <= {entry["key"] for entry in found["plugins"] if entry["kind"] == "storage"}
    assert "geheim" not in call(folder, "doctor").stdout


def test_a_worker_serves_until_it_is_stopped(folder: Path) -> None:
    """What another process scheduled and lost is run by ``triggers run``, which ends in good order on SIGTERM."""
    program = (
        "import triggers, os; triggers.configure(storage='sql', storages={'sql': {'url': 'sqlite:///mine.db'}}, "
        "runner='nobody', redeliver_after=0.2); m = triggers.get_manager('s1'); m.fire('a'); m.fire('b'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment(folder), check=True, timeout=60)
    settings = folder / "triggers.toml"
    settings.write_text("sweep_interval = 0.2\n" + settings.read_text())
    with subprocess.Popen(
        [sys.executable, "-m", "triggers_cli", "run"],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as worker:  # fmt: skip
        try:
            end = time.monotonic() + 30
            while "t_good is done" not in call(folder, "explain", "s1", "t_good").stdout:
                assert time.monotonic() < end
                time.sleep(0.2)
        finally:
            worker.send_signal(signal.SIGTERM)
        out, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert "stopped" in out


def test_help_imports_no_backend(folder: Path) -> None:
    """``--help`` is quick: no backend and no registry is imported for it."""
    program = (
        "import sys; from triggers_cli.__main__ import run; run(['--help']); "
        "print(sorted({'sqlalchemy', 'redis', 'celery', 'class_registry', 'rich'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stdout.splitlines()[-1] == "[]"
