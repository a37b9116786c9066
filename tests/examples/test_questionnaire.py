"""The questionnaire: it runs, its check can fail, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from tests.examples.running import command, environment, lines, rewrite, run, wait_until
from tests.servers.plugin import Space

SMALL = ("--sessions", 8, "--processes", 2, "--pause", 0, "--seed", 3)


@pytest.fixture(scope="module")
def run_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run whose records were kept."""
    folder = tmp_path_factory.mktemp("questionnaire")
    done = run(folder, "questionnaire", *SMALL, "--folder", folder / "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "kept"


@pytest.fixture
def kept(run_before: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be spoilt."""
    return Path(shutil.copytree(run_before, tmp_path / "kept"))


def test_it_runs_and_is_right(tmp_path: Path) -> None:
    """A small run ends well, says so in each line of its check, and removes its folder."""
    done = run(tmp_path, "questionnaire", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.partition("without Triggers")[2].splitlines() if "t_" in line] == ["ok"] * 6
    assert re.search(r"All right: \d+ fires and \d+ works", done.stdout)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminal, moves", [("xterm", True), ("dumb", False)])
def test_progress_moves_in_a_terminal_that_can(tmp_path: Path, terminal: str, moves: bool) -> None:
    """In a terminal the bars move; in a dumb one a line follows the other."""
    first, *arguments = command("questionnaire", *SMALL)
    child = pexpect.spawn(first, arguments, env={**environment(tmp_path), "TERM": terminal}, encoding="utf-8", timeout=200)
    shown = child.read()
    child.close()
    assert child.exitstatus == 0, shown
    assert ("\x1b[" in shown) is moves
    assert ("process A" in shown) is moves


def test_one_process_is_killed_and_all_is_right(tmp_path: Path) -> None:
    """With ``--kill`` one process dies by SIGKILL in the middle, and the check still finds each work once; also in ASCII."""
    arguments = ("--sessions", 20, "--processes", 2, "--pause", 0.01, "--kill")
    done = run(tmp_path, "questionnaire", *arguments, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.isascii()
    assert "process A was killed" in done.stdout
    assert "All right" in done.stdout


def test_the_check_sees_what_is_wrong(tmp_path: Path, kept: Path) -> None:
    """Records in which a work is missing, ran twice, or saw something else make the check fail, each in words of its own."""
    path, found = next((path, found) for path, found in lines(kept, "work-*.jsonl") if any_household(found))
    place = next(number for number, line in enumerate(found) if line["task"] == "t_household")
    wrong: dict[str, list[dict[str, Any]]] = {
        "missing 1 times": found[:place] + found[place + 1 :],
        "1 times too often": [*found, found[place]],
        "or with wrong values": [{**line, "points": line.get("points", 0) + (at == place)} for at, line in enumerate(found)],
    }
    for words, changed in wrong.items():
        rewrite(path, changed)
        done = run(tmp_path, "questionnaire", "--folder", kept, "--check")
        assert done.returncode == 1, words
        assert re.search(f"WRONG  t_household .*{words}", done.stdout), done.stdout
        assert "NOT right" in done.stdout
    rewrite(path, found)
    assert run(tmp_path, "questionnaire", "--folder", kept, "--check").returncode == 0


def any_household(found: list[dict[str, Any]]) -> bool:
    """Whether a file of records tells of a household."""
    return any(line["task"] == "t_household" for line in found)


def test_the_check_looks_at_what_is_stored(tmp_path: Path, kept: Path) -> None:
    """Answers that give another sum than the stored report make the check fail."""
    complete = next(line["session"] for _, found in lines(kept, "work-*.jsonl") for line in found if line["task"] == "t_report")
    for path, found in lines(kept, "answer-*.jsonl"):
        rewrite(
            path, [{**line, "points": 100} if (line["session"], line["event"]) == (complete, "page1") else line for line in found]
        )
    done = run(tmp_path, "questionnaire", "--folder", kept, "--check")
    assert done.returncode == 1
    assert f"the stored total is wrong for 1: {complete}" in done.stdout


def test_it_runs_on_redis(tmp_path: Path, redis_space: Space) -> None:
    """One setting takes it to another storage, and it deletes its sessions there."""
    import redis

    done = run(tmp_path, "questionnaire", *SMALL, "--storage", "redis", "--url", redis_space.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "storage 'redis'" in done.stdout
    with redis.Redis.from_url(redis_space.url) as client:
        assert list(client.scan_iter("*questionnaire/*")) == []


@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, signal_sent: signal.Signals) -> None:
    """Stopped in the middle it ends with 130, its processes and its folder are gone, and nobody sees a traceback."""
    running = subprocess.Popen(
        command("questionnaire", "--sessions", 40, "--processes", 2, "--pause", 0.1),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,  # noqa: PLW1509 - this process has no threads that could hold a lock
    )
    wait_until(lambda: bool(lines(tmp_path, "questionnaire-*/answer-*.jsonl")))
    children = psutil.Process(running.pid).children(recursive=True)
    if signal_sent is signal.SIGINT:
        os.killpg(running.pid, signal.SIGINT)
    else:
        running.terminate()
    _, told = running.communicate(timeout=200)
    assert running.returncode == 130
    assert told.strip() == "stopped; nothing is left behind"
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]
    assert list(tmp_path.iterdir()) == []


def listen_to_ctrl_c() -> None:
    """What a shell does for a program in its foreground; here somebody may have switched it off."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """With ``| head -1`` it ends in silence."""
    with subprocess.Popen(
        command("questionnaire", *SMALL),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline().startswith("8 respondents")
        running.stdout.close()
        told = running.stderr.read()
    assert (running.returncode, told) == (141, "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--storage", "memory"), "main.py: the memory storage is seen by one process only; take sql, redis or cache"),
        (("--storage", "sqll"), "Did you mean 'sql'?"),
        (("--url", "sqlite:////nowhere/at/all.db"), "the folder /nowhere/at does not exist"),
        (("--sessions", "0"), "argument --sessions: must be 1 or more, not 0"),
        (("--processes", "many"), "argument --processes: invalid positive value: 'many'"),
        (("--pause", "-1"), "argument --pause: must be 0 or more, not -1"),
        (("--check",), "--check needs the --folder of the earlier run"),
        (("--folder", "."), "is there already; name a new folder"),
        (("--folder", "none", "--check"), "has no records of an earlier run"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """What cannot be done ends with 2 and says why, without a traceback and without anything left."""
    done = run(tmp_path, "questionnaire", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
