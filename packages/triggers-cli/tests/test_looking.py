"""Commands that look: their JSON, filters and pages, and what they say where there is nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import stuck
import triggers
from calling import Call, environment


@pytest.fixture
def folder(command: Call, tmp_path: Path) -> Path:
    """Seven sessions with attributes: those with an odd number are stuck."""
    stuck.write(tmp_path)
    (tmp_path / "log.csv").write_text("uid,trigger\n" + "".join(f"s{n},{'t_good' if n % 2 else 'a'}\n" for n in range(7)))
    assert command("fire", "--from", "log.csv", "--configure", "tasks.json", "--yes").code == 0
    triggers.configure(storage="sql", storages={"sql": {"url": f"sqlite:///{tmp_path / 'mine.db'}"}})
    for number in range(7):
        triggers.get_manager(f"s{number}").label(parity="odd" if number % 2 else "even", third=str(number // 3))
    return tmp_path


@pytest.mark.parametrize(
    "options, uids",
    [
        ([], ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]),
        (["--status", "failed"], ["s1", "s3", "s5"]),
        (["--label", "parity=even"], ["s0", "s2", "s4", "s6"]),
        (["--label", "parity=odd", "--label", "third=1"], ["s3", "s5"]),
        (["--label", "third=1", "--status", "failed"], ["s3", "s5"]),
        (["--status", "cancelled"], []),
        (["--limit", "3"], ["s0", "s1", "s2"]),
        (["--limit", "3", "--all"], ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]),
    ],
)
def test_sessions_are_filtered(folder: Path, command: Call, options: list[str], uids: list[str]) -> None:
    """By status and attributes, together and alone."""
    assert command("sessions", "--json", *options).json()["uids"] == uids


def test_pages_follow_each_other(folder: Path, command: Call) -> None:
    """By the cursor that a page gives; the last has none."""
    first = command("sessions", "--limit", "4", "--json").json()
    second = command("sessions", "--limit", "4", "--cursor", first["cursor"], "--json").json()
    assert first["uids"] + second["uids"] == [f"s{n}" for n in range(7)]
    assert second["cursor"] is None
    assert f"more: --cursor {first['cursor']}\n" in command("sessions", "--limit", "4").out


def test_a_cursor_can_be_typed(folder: Path, command: Call) -> None:
    """Also where the note that sweeps leave, whose name no shell could be given, would end the page."""
    assert command("sweep").code == 0
    said = command("sessions", "--limit", "1").out
    assert said.splitlines()[-1] == "more: --cursor s0"
    assert said.isprintable() or set(said) - {"\n"} == {sign for sign in said if sign.isprintable()}
    assert command("sessions", "--limit", "1", "--cursor", "s0", "--json").json()["uids"] == ["s1"]


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["sessions", "--limit", "99999999999999999999999"], 2, "is not in the range"),
        (["show", "s1", "--status", "fialed"], 2, "is not one of 'unstarted'"),
        (["show", "s1", "--task", "t_bda"], 1, "session 's1' has no task 't_bda', did you mean 't_bad'?"),
    ],
)
def test_a_slip_is_told_and_not_answered_with_nothing(
    folder: Path, command: Call, arguments: list[str], code: int, words: str
) -> None:
    """Numbers that no database takes, statuses and tasks that are none."""
    answer = command(*arguments)
    assert (answer.code, words in " ".join(answer.err.split())) == (code, True)
    assert "Traceback" not in answer.err


def test_what_a_work_says_does_not_steer_the_terminal(folder: Path, command: Call) -> None:
    """Colours, titles, bells and turned text are written out; JSON has what was said."""
    works = (folder / "works.py").read_text()
    said = "\x1b]0;mine\x07\x1b[2J\u202eno\npaper"
    (folder / "works.py").write_text(works.replace('"no paper"', ascii(said)))
    assert command("configure", "p", "tasks.json", "--yes").code == 0
    fire = [sys.executable, "-m", "triggers_cli", "fire", "p"]
    for trigger in "a", "b":
        subprocess.run([*fire, trigger, "--yes"], cwd=folder, env=environment(folder), timeout=60, check=True)
    for arguments in (["show", "p"], ["show", "p", "--traceback"], ["explain", "p"], ["retry-failed", "--dry-run"]):
        shown = command(*arguments).out
        assert "\\x1b]0;mine\\x07\\x1b[2J\\u202eno" in "".join(shown.split())
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    (line,) = [line for line in command("retry-failed", "--dry-run").out.splitlines() if line.startswith("p ")]
    assert line.endswith("\\u202eno paper")
    (failed,) = [entry for entry in command("show", "p", "--json").json()["instances"] if entry["status"] == "failed"]
    assert failed["metadata"]["exception"]["message"] == said


def test_passwords_in_errors_are_hidden(folder: Path, command: Call) -> None:
    """What a work raised may hold the URL of a database."""
    works = (folder / "works.py").read_text()
    (folder / "works.py").write_text(works.replace("no paper", "cannot reach postgresql://me:hunter2@db/x"))
    assert command("configure", "p", "tasks.json", "--yes").code == 0
    fire = [sys.executable, "-m", "triggers_cli", "fire", "p", "t_good", "--yes"]
    subprocess.run(fire, cwd=folder, env=environment(folder), timeout=60, check=True)
    for arguments in (["show", "p"], ["show", "p", "--traceback"], ["explain", "p"], ["retry-failed", "--dry-run"]):
        said = "".join(command(*arguments).out.split())
        assert "postgresql://me:***@db/x" in said
        assert "hunter2" not in said
    for arguments in (
        ["show", "p"], ["explain", "p"], ["explain", "p", "t_bad"], ["retry-failed", "--dry-run"],
        ["replay", "p", "t_bad#0", "--yes"], ["skip", "p", "t_bad#1", "--yes"],
    ):  # fmt: skip
        said = command(*arguments, "--json").out
        assert "postgresql://me:***@db/x" in said, arguments
        assert "hunter2" not in said, arguments


def test_what_was_fired_is_shown_as_it_is(folder: Path, command: Call) -> None:
    """Programs fire it again, so that nothing in it may be hidden."""
    fired = {"token": "17", "url": "https://me:hunter2@host/"}
    assert command("fire", "s0", "more", "--kwargs", json.dumps(fired), "--yes").code == 0
    assert command("show", "s0", "--json").json()["fired"]["more"] == fired


def test_sessions_say_what_is_known_of_each(folder: Path, command: Call) -> None:
    """As a table, as JSON, and in words where there are none."""
    entry = command("sessions", "--label", "third=0", "--status", "failed", "--json").json()["sessions"][0]
    assert {name: value for name, value in entry.items() if name != "touched_at"} == {
        "uid": "s1", "unresolved_tasks": 2, "failed_instances": 1, "instances": 1,
        "closed": None, "finalized_at": None, "attributes": {"parity": "odd", "third": "0"},
    }  # fmt: skip
    assert ["s1", "2", "1", "1"] in [line.split()[:4] for line in command("sessions").out.splitlines()]
    assert command("sessions", "--status", "moved").out == "no such sessions\n"


def test_show_chooses_instances(folder: Path, command: Call) -> None:
    """By task and status; a failed one has its error."""
    assert [found["name"] for found in command("show", "s1", "--status", "failed", "--json").json()["instances"]] == ["t_bad#0"]
    assert command("show", "s1", "--task", "t_good", "--json").json()["instances"] == []
    assert "ValueError: no paper" in command("show", "s1").out
    assert "Traceback" not in command("show", "s1").out
    assert "t_bad#0: Traceback (most recent call last):" in command("show", "s1", "--traceback").out


def test_explain_and_history_as_json(folder: Path, command: Call) -> None:
    """The shapes that their help tells of."""
    told = command("explain", "s0", "--json").json()
    assert (told["uid"], told["state"], [task["task"] for task in told["tasks"]]) == ("s0", "open", ["t_bad", "t_good"])
    assert command("explain", "s0", "t_good", "--json").json()["missing"] == ["b"]
    entries = command("history", "s0", "--json").json()
    assert list(entries[0]) == ["commit", "at", "kind", "subject", "detail"]
    assert command("history", "s0", "--limit", "1", "--json").json() == entries[-1:]
    assert command("children", "s0", "--json").json() == {}
    assert command("children", "s0").out == "no session has joined this one\n"


def test_children_are_listed(folder: Path, command: Call) -> None:
    """By alias."""
    triggers.configure(storage="sql", storages={"sql": {"url": f"sqlite:///{folder / 'mine.db'}"}})
    triggers.get_manager("s1").join("s0", alias="first")
    assert command("children", "s0", "--json").json() == {"first": "s1"}
    assert "first" in command("children", "s0").out


@pytest.mark.parametrize("name", ["show", "explain", "history", "children"])
def test_an_unknown_session_is_told(folder: Path, command: Call, name: str) -> None:
    """With exit code 1, in one line."""
    answer = command(name, "nobody", "--json")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "error: there is no session 'nobody' in the storage 'sql'\n"
