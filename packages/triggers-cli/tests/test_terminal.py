"""Transcripts: the commands that look and mend in a real terminal, wide and narrow, with and without colours."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

import stuck
from calling import Call, environment, in_terminal

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
NAMES = [f"a trigger whose name is long {number}" for number in range(4)]


@pytest.fixture
def folder(command: Call, tmp_path: Path) -> Path:
    """A session of many instances, one that is stuck, and one with long names."""
    stuck.write(tmp_path)
    (tmp_path / "many.json").write_text(json.dumps({"t_page": {"andEvery": "page", "run": "good"}}))
    (tmp_path / "long.json").write_text(json.dumps({"t_with_a_long_name": {"after": NAMES, "run": "good"}}))
    (tmp_path / "pages.csv").write_text("uid,trigger\n" + "many,page\n" * 60)
    command("fire", "--from", "pages.csv", "--configure", "many.json", "--yes")
    for arguments in (
        ["configure", "s1", "tasks.json"], ["fire", "s1", "a"], ["fire", "s1", "b"],
        ["configure", "long", "long.json"], ["fire", "long", NAMES[0], "--kwargs", json.dumps({"text": "word " * 30})],
    ):  # fmt: skip
        assert command(*arguments, "--yes").code == 0
    return tmp_path


def lines(shown: str) -> list[str]:
    """What can be seen, without control sequences, line by line."""
    seen = [line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", shown))]
    return [line for line in seen if " was served by the manager " not in line]  # what is logged is not folded


LOOKING = [
    ["sessions"], ["sessions", "--status", "failed"], ["show", "s1"], ["show", "many"], ["show", "long"], ["explain", "long"],
    ["history", "s1"], ["history", "many", "--limit", "3"], ["children", "s1"],
]  # fmt: skip
MENDING = [
    ["configure", "s1", "long.json", "--yes"], ["retry-failed", "--dry-run"], ["retry-failed", "--yes"],
    ["replay", "s1", "t_bad#1", "--yes"], ["skip", "s1", "t_bad#2", "--yes"], ["finalize", "s1", "--yes"],
    ["cancel", "long", "--reason", "over", "--yes"], ["delete", "long", "--yes"], ["fire", "s1", "c", "--yes"],
    ["fire", "--from", "pages.csv", "--yes"], ["sweep"], ["migrate"],
]  # fmt: skip


def test_everything_keeps_to_40_columns(folder: Path) -> None:
    """No line is longer than the terminal, nothing is cut off in the middle of it, no command fails."""
    answers = in_terminal(folder, LOOKING + MENDING, columns=40)
    for arguments, answer in zip(LOOKING + MENDING, answers, strict=True):
        assert answer.code == 0, (arguments, answer)
        assert max(map(len, lines(answer.out))) <= 40, (arguments, answer.out)
    shown = lines(answers[2].out)
    assert "t_bad#0" in shown
    assert "  status: failed" in shown
    assert "  result: ValueError: no paper" in shown
    assert "long" in lines(answers[0].out)


def test_transcripts_of_100_columns(folder: Path) -> None:
    """Tables are tables; failed instances are red."""
    shown, many, history = (
        answer.out for answer in in_terminal(folder, [["show", "s1"], ["show", "many"], ["history", "s1"]], columns=100)
    )
    rows = [line.split() for line in lines(shown)]
    assert ["instance", "status", "attempt", "has", "received", "result"] in rows
    assert ["t_bad#0", "failed", "1", "t_good", "ValueError:", "no", "paper"] in rows
    assert "\x1b[1;31mfailed" in shown
    assert "50 of them, unresolved and newest first; 10 more with --limit 0, or choose with --task, --status" in lines(many)
    assert sum("t_page#" in line for line in lines(many)) == 50
    assert any(
        re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d status t_bad#0 \(running → failed\)", line) for line in lines(history)
    )


def test_no_color_is_obeyed(folder: Path) -> None:
    """And so is a pipe, which gets no control sequences at all."""
    (answer,) = in_terminal(folder, [["show", "s1"]], columns=100, more={"NO_COLOR": "1"})
    assert "\x1b[3" not in answer.out
    assert "\x1b[1;3" not in answer.out


def test_json_is_the_same_in_a_terminal_as_in_a_pipe(folder: Path, command: Call) -> None:
    """Neither folded nor coloured."""
    wanted = [["show", "long", "--json"], ["sessions", "--json"], ["history", "s1", "--json"], ["explain", "s1", "--json"]]
    for arguments, answer in zip(wanted, in_terminal(folder, wanted, columns=40), strict=True):
        assert answer.json() == command(*arguments).json()


def document(shown: str) -> Any:
    """The JSON at the end of what a terminal shows, behind what went to standard error: progress, and what was logged."""
    seen = _CONTROL.sub("", shown)
    begin = re.search(r"^[{\[]", seen.replace("\r", "\n"), re.MULTILINE)
    assert begin, shown
    return json.JSONDecoder().raw_decode(seen[begin.start() :])[0]


def test_json_of_what_changes_something(folder: Path) -> None:
    """One document each in a narrow terminal, too, neither folded nor coloured."""
    for arguments, answer in zip(MENDING, in_terminal(folder, [[*each, "--json"] for each in MENDING], columns=40), strict=True):
        assert answer.code == 0, (arguments, answer)
        assert document(answer.out), arguments


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_transcripts_of_the_other_commands(folder: Path, json_: list[str]) -> None:
    """Designing, checking and copying: each says something, in words or as one document."""
    others = [
        ["doctor"], ["lint", "long.json"], ["schema"], ["graph", "long.json"], ["graph", "--session", "s1"],
        ["copy", "sql", "archive", "--yes"], ["conformance", "memory", "-k", "s12"],
    ]  # fmt: skip
    archive = {"TRIGGERS_ARCHIVE_URL": "sqlite:///archive.db"}
    (folder / "triggers.toml").write_text((folder / "triggers.toml").read_text() + '\n[storages.archive]\nbackend = "sql"\n')
    for arguments, answer in zip(
        others, in_terminal(folder, [[*each, *json_] for each in others], columns=40, more=archive), strict=True
    ):
        assert answer.code == 0, (arguments, answer)
        assert answer.out.strip(), arguments
        if json_:
            assert document(answer.out), arguments


def test_a_question_is_answered_in_the_terminal(folder: Path, command: Call) -> None:
    """No ends with 130 and changes nothing; yes does it."""
    for typed, code, left in (("n", 130, True), ("y", 0, False)):
        terminal = pexpect.spawn(
            sys.executable, ["-m", "triggers_cli", "delete", "long"],
            cwd=str(folder), env=environment(folder), dimensions=(20, 80), encoding="utf-8", timeout=60,
        )  # fmt: skip
        terminal.expect(r"delete session 'long' with all of its instances\? \[y/N\]: ")
        terminal.sendline(typed)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == code
        assert lines(terminal.before)[1:] == (["nothing was done", ""] if left else ["deleted", ""])
        assert ("long" in command("sessions", "--json").json()["uids"]) is left


def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    """``| head -1`` of a long answer: no complaint."""
    terminal = pexpect.spawn(
        "/bin/sh", ["-c", f"{sys.executable} -m triggers_cli show many --limit 0 | head -1; echo done"],
        cwd=str(folder), env=environment(folder), dimensions=(20, 80), encoding="utf-8", timeout=60,
    )  # fmt: skip
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert lines(terminal.before)[-2:] == ["done", ""]
    assert "Error" not in terminal.before
