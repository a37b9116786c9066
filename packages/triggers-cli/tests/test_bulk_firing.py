"""``fire --from``: what it fires, what it refuses, how it ends; each run in this process but those that say otherwise."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pexpect
import pytest

import triggers
from calling import Call, environment

WORKS = """
from triggers import task

@task("good")
def good(context):
    return {"received": sorted(context.trigger_kwargs)}
"""
SETTINGS = 'storage = "sql"\ntasks = ["works"]\n[storages.sql]\nurl = "sqlite:///mine.db"\n'
ROWS = "uid,trigger,n\ns1,a,1\ns2,a,2\ns1,b,3\n"
COUNTS = ("rows", "fired", "already_there", "refused", "sessions")


@pytest.fixture
def folder(command: Call, tmp_path: Path) -> Path:
    """A folder with settings, works, tasks and a file."""
    (tmp_path / "works.py").write_text(WORKS)
    (tmp_path / "triggers.toml").write_text(SETTINGS)
    (tmp_path / "tasks.json").write_text(json.dumps({"t": {"after": ["a", "b"], "run": "good"}}))
    (tmp_path / "log.csv").write_text(ROWS)
    return tmp_path


def test_rows_are_fired_once_however_often_the_file_is(folder: Path, command: Call) -> None:
    """New sessions are configured first; works run; the second run finds everything there."""
    arguments = ("fire", "--from", "log.csv", "--rest-as-kwargs", "--configure", "tasks.json", "--yes")
    first = command(*arguments)
    assert first.code == 0
    assert [line.split() for line in first.out.splitlines()][:6] == [
        ["file", "log.csv"], ["rows", "3"], ["fired", "3"], ["already", "there", "0"], ["refused", "0"], ["sessions", "2"],
    ]  # fmt: skip
    shown = command("show", "s1", "--json").json()
    assert shown["fired"] == {"a": {"n": "1"}, "b": {"n": "3"}, "t": {"received": ["a", "b"]}}
    assert shown["instances"][0]["causes"]["b"].startswith("log.csv:4:")
    second = command(*arguments, "--json").json()
    assert [second[name] for name in COUNTS] == [3, 0, 3, 0, 2]
    assert second["complete"] is True
    assert command("show", "s1", "--json").json()["session"]["fires"] == 3  # a, b, and the cascade of t


def test_a_session_that_is_there_keeps_its_tasks(folder: Path, command: Call) -> None:
    """``--configure`` is for new sessions alone."""
    (folder / "other.json").write_text(json.dumps({"own": {"after": ["z"], "run": "good"}}))
    command("configure", "s1", "other.json", "--yes")
    command("fire", "--from", "log.csv", "--configure", "tasks.json", "--yes")
    assert command("show", "s1", "--json").json()["instances"] == []
    assert [found["name"] for found in command("show", "s2", "--json").json()["instances"]] == ["t#0"]


def test_ndjson_from_standard_input(folder: Path) -> None:
    """Through a pipe, with an id column."""
    lines = "".join(json.dumps({"uid": "s1", "trigger": "a", "id": n, "kwargs": {"n": n}}) + "\n" for n in (1, 2, 1))
    answer = subprocess.run(
        [sys.executable, "-m", "triggers_cli", "fire", "--from", "-", "--format", "ndjson", "--kwargs-column", "kwargs",
         "--event-id-column", "id", "--yes", "--json"],
        cwd=folder, env=environment(folder), input=lines, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = json.loads(answer.stdout)
    assert [found[name] for name in COUNTS] == [3, 2, 1, 0, 1]
    assert found["file"] == "standard input"


def test_a_refused_row_stops_and_names_its_line(folder: Path, command: Call) -> None:
    """By default; what came before it is fired, the exit code is 1."""
    (folder / "log.csv").write_text("uid,trigger\ns1,a\ns1\ns1,c\n")
    answer = command("fire", "--from", "log.csv", "--yes")
    assert answer.code == 1
    assert "log.csv, line 3: 1 fields, the header has 2\n" in answer.err
    assert "stopped before the end; the same command goes on" in answer.out
    assert list(command("show", "s1", "--json").json()["fired"]) == ["a"]


def test_refused_rows_can_be_skipped(folder: Path, command: Call) -> None:
    """Those of the file and those that the session refuses; all others are fired, and the exit code says that some were not."""
    (folder / "log.csv").write_text(f"uid,trigger\ns1,a\ns1\ns1,{'y' * 300}\n{'x' * 300},a\ns1,c\n")
    answer = command("fire", "--from", "log.csv", "--yes", "--on-error", "skip", "--json")
    assert answer.code == 1
    found = answer.json()
    assert [found[name] for name in COUNTS[:4]] == [5, 2, 0, 3]
    assert sorted(error["line"] for error in found["errors"]) == [3, 4, 5]
    assert next(error for error in found["errors"] if error["line"] == 4)["trigger"] == "y" * 300
    assert "log.csv, line 4: " in answer.err
    assert found["complete"] is True


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--from", "gone.csv"], 1, "gone.csv cannot be opened: No such file or directory"),
        (["--from", "log.csv", "--uid-column", "case"], 1, "has no column 'case'; its columns are 'uid', 'trigger', 'n'"),
        (["--from", "log.csv", "--delimiter", "ab"], 2, "expected one sign, or 'tab'"),
        (["--from", "log.csv", "--configure", "gone.json"], 2, "gone.json cannot be read"),
        (["--from", "log.csv", "--configure", "wrong.json"], 1, "$.t"),
        (["--from", "log.csv", "--rest-as-kwargs", "--kwarg", "n"], 2, "take one of"),
        (["s1", "a", "--from", "log.csv"], 2, "leave UID, TRIGGER and --kwargs out"),
        (["s1"], 2, "give UID and TRIGGER, or --from FILE"),
        (["s1", "a", "--configure", "wrong.json"], 2, "--configure is for --from FILE, which is missing"),
        (["s1", "a", "--rest-as-kwargs"], 2, "--rest-as-kwargs is for --from FILE, which is missing"),
        (["--from", "blank.csv"], 1, "blank.csv, line 1 is blank; it must name the columns"),
    ],
)
def test_what_cannot_be_used_fires_nothing(folder: Path, command: Call, arguments: list[str], code: int, words: str) -> None:
    """And says what was wrong in one line."""
    (folder / "wrong.json").write_text('{"t": {"afer": ["a"]}}')
    (folder / "blank.csv").write_text("\nuid,trigger\ns1,a\n")
    answer = command("fire", *arguments, "--yes")
    assert answer.code == code
    assert words in " ".join(answer.err.split())
    assert command("sessions", "--json").json()["uids"] == []


def test_the_memory_storage_takes_one_process(folder: Path, command: Call) -> None:
    """Other processes would fire into nothing."""
    answer = command("--storage", "memory", "fire", "--from", "log.csv", "--processes", "2", "--yes")
    assert (answer.code, "seen by one process only" in answer.err) == (2, True)
    assert command("--storage", "memory", "fire", "--from", "log.csv", "--yes", "--json").json()["fired"] == 3


def test_nobody_can_answer_where_standard_input_is_the_file(folder: Path) -> None:
    """So it must be said before; nothing hangs."""
    answer = subprocess.run(
        [sys.executable, "-m", "triggers_cli", "fire", "--from", "-"],
        cwd=folder, env=environment(folder), input=ROWS, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (answer.returncode, "give --yes" in answer.stderr) == (2, True)


def test_a_storage_that_does_not_answer_is_exit_code_3(folder: Path, command: Call) -> None:
    """The summary says how far it came."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"redis://:geheim@127.0.0.1:{mute.getsockname()[1]}/0?socket_timeout=0.3&socket_connect_timeout=0.3"
        answer = command("--storage", "redis", "--url", url, "fire", "--from", "log.csv", "--yes", "--json")
    assert answer.code == 3
    assert "the storage does not answer" in answer.err
    assert "geheim" not in answer.out + answer.err
    assert (answer.json()["fired"], answer.json()["complete"]) == (0, False)


def test_a_short_time_for_event_ids_is_said(folder: Path, command: Call) -> None:
    """With ``event_ttl`` a run can be started again only for so long."""
    (folder / "triggers.toml").write_text("event_ttl = 60.0\n" + SETTINGS)
    assert "event ids are forgotten after 60 s (event_ttl)" in command("fire", "--from", "log.csv", "--yes").err


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_ends_after_the_current_rows_and_a_second_run_completes(folder: Path, command: Call, processes: str) -> None:
    """In a terminal of 40 columns, with a bar: exit code 130, the summary is printed, no row is lost or doubled."""
    rows = 4000
    (folder / "log.csv").write_text("uid,trigger,n\n" + "".join(f"s{n % 50},a{n},{n}\n" for n in range(rows)))
    arguments = ["fire", "--from", "log.csv", "--yes", "--processes", processes]
    terminal = pexpect.spawn(
        sys.executable, ["-m", "triggers_cli", *arguments],
        cwd=str(folder), env=environment(folder), dimensions=(20, 40), encoding="utf-8", timeout=60,
    )  # fmt: skip
    terminal.expect(r"[1-9]\d* rows")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    shown = terminal.before
    assert terminal.exitstatus == 130, shown
    assert "stopped before the end" in shown
    assert "Traceback" not in shown
    fired = int(shown.rpartition("fired:")[2].split()[0])
    assert 0 < fired < rows
    second = command(*arguments, "--json").json()
    assert [second[name] for name in COUNTS] == [rows, rows - fired, fired, 0, 50]


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    folder: Path, command: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, with the part of the file that was read."""
    monkeypatch.setattr("triggers_cli.progress.LINE_EVERY", 0.0)
    answer = command("fire", "--from", "log.csv", "--yes", "--json")
    assert "rows, " in answer.err
    assert "/s (100 %)" in answer.err
    assert answer.json()["fired"] == 3


def test_works_of_a_log_are_waited_for(folder: Path, command: Call) -> None:
    """A fire of many rows leaves no work behind in this process."""
    (folder / "log.csv").write_text("uid,trigger\n" + "".join(f"s{n},{trigger}\n" for n in range(120) for trigger in "ab"))
    answer = command("fire", "--from", "log.csv", "--configure", "tasks.json", "--yes", "--json")
    assert answer.json()["fired"] == 240
    triggers.configure(storage="sql", storages={"sql": {"url": f"sqlite:///{folder / 'mine.db'}"}})
    assert {triggers.get_manager(f"s{n}").storage["t#0"].status for n in range(120)} == {"finished"}
    assert not [thread for thread in threading.enumerate() if thread.name == "triggers-fire"]
    assert os.path.exists("mine.db")
