"""``triggers init``: what it writes runs, by the commands that it prints."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

from calling import Call, in_terminal
from triggers.settings import check


def test_the_printed_commands_run_the_workflow(tmp_path: Path) -> None:
    """In a terminal: init, then each command exactly as printed; the work runs once both triggers have fired."""
    (written,) = in_terminal(tmp_path, [["init"]])
    assert written.code == 0
    printed = [line.strip() for line in written.out.partition("Now:")[2].splitlines() if line.strip()]
    assert len(printed) >= 5
    commands = [shlex.split(line) for line in printed]
    assert {command[0] for command in commands} == {"triggers"}
    answers = in_terminal(tmp_path, [command[1:] for command in commands])
    assert [answer.code for answer in answers] == [0] * len(commands)
    outputs = dict(zip(printed, [answer.out for answer in answers], strict=True))
    assert "fine" in outputs["triggers lint workflow.json"]
    assert "t_greet waits for nameReceived" in outputs["triggers explain welcome:1"]
    fired = next(output for line, output in outputs.items() if "nameReceived" in line)
    assert "Hello Ada!" in fired
    assert outputs["triggers show welcome:1"].count("finished") == 2


def test_what_is_written_is_right(command: Call) -> None:
    """The settings are settings, all of them explained, and the folder is made."""
    answer = command("init", "--json", "new/place")
    assert answer.code == 0
    assert answer.json()["written"] == ["new/place/triggers.toml", "new/place/workflow_tasks.py", "new/place/workflow.json"]
    assert answer.json()["next"][0] == "cd new/place"
    text = Path("new/place/triggers.toml").read_text()
    check(tomllib.loads(text))
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line or line.startswith("["))
    known = [line.split(" = ")[0] for line in uncommented.splitlines() if " = " in line]
    assert {"storage", "tasks", "runner", "lease", "url"} <= set(known)


def test_nothing_is_overwritten(command: Call) -> None:
    """The file in the way is named, and the others are not written, either."""
    Path("workflow.json").write_text("mine")
    answer = command("init")
    assert (answer.code, answer.err) == (1, "Error: there is already workflow.json; nothing was written\n")
    assert Path("workflow.json").read_text() == "mine"
    assert not Path("triggers.toml").exists()
    Path("file").touch()
    assert command("init", "file/below").code == 1
