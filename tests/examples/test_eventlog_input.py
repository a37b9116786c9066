"""The event log says what is wrong with its input: which file, which line, what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.examples.running import run

HEADER = "order,step,time,clerk,channel\n"
ROW = "o1,paid,2026-03-02T08:00:00Z,Ana,web\n"
NOTE = "eventlog.note"
COLUMNS = {"session": "order", "trigger": "step", "time": "time"}

LOGS: list[tuple[str | bytes | None, tuple[str, ...], str]] = [
    (None, (), "there is no event log log.csv"),
    ("", (), "log.csv is empty; it needs a first line with the names of the columns"),
    (HEADER, (), "log.csv has a header and no rows"),
    ("a,b\n1,2\n", (), "no configuration fits the columns a, b"),
    ("order,order\na,b\n", (), "log.csv has two columns 'order'"),
    (HEADER + ROW, ("--trigger-column", "activity"), "log.csv has no column 'activity'; its columns are order, step, time,"),
    (HEADER + ROW, ("--kwargs-columns", "clerk,room"), "log.csv has no column 'room'"),
    (HEADER + ROW + "o1,,2026-03-02T08:00:00Z,Ana,web\n", (), "log.csv, line 3: 'step' is empty"),
    (HEADER + ROW + "o1,paid\n", (), "log.csv, line 3: 2 fields, the header has 5"),
    (HEADER + ROW.replace("paid", "p\x07id"), (), "log.csv, line 2: 'step' has a control character: 'p\\x07id'"),
    (HEADER + ROW.replace("o1", "o" * 201), (), "log.csv, line 2: 'order' is longer than 200 bytes"),
    (HEADER + ROW.replace("2026", "in 26"), (), "log.csv, line 2: 'time' is 'in 26-03-02T08:00:00Z', which is no time"),
    (HEADER + ROW + ROW.replace("Z", ""), ("--order", "time"), "log.csv: some times have a time zone and some have none"),
    ((HEADER + ROW).encode() + b"\xff\xfe,paid\n", (), "log.csv, line 3: no UTF-8"),
    (HEADER + ROW, ("--config", "none.json"), "there is no configuration none.json"),
    (HEADER + ROW, ("--storage", "memory"), "the memory storage is seen by one process only"),
    (HEADER + ROW, ("--storage", "sqll", "--folder", "new"), "Did you mean 'sql'?"),
    (HEADER + ROW, ("--shared", "2"), "argument --shared: must lie between 0 and 1, not 2"),
    (HEADER + ROW, ("--processes", "0"), "argument --processes: must be 1 or more, not 0"),
    (HEADER + ROW, ("--resume",), "--resume and --check need the --folder of the earlier run"),
    (HEADER + ROW, ("--resume", "--folder", "none"), "none has no run that could be resumed or checked"),
]

PLANS: list[tuple[Any, str]] = [
    ("{,", "plan.json, line 1: no JSON"),
    ([], 'plan.json: a configuration is an object with "tasks"'),
    ({"tasks": {}, "columns": COLUMNS}, 'plan.json: a configuration is an object with "tasks"'),
    ({"tasks": {"t_a": {"after": ["paid"], "run": NOTE}}}, "say which columns hold the session and the trigger"),
    ({"tasks": {"t_a": {}}, "columns": {"time": 3}}, 'plan.json: each entry of "columns" is the name of a column'),
    ({"tasks": {"t_a": {}}, "columns": {"when": "time"}}, 'plan.json: "columns" is an object with "session", "trigger"'),
    ({"tasks": {"t_a": {"afer": ["paid"], "run": NOTE}}, "columns": COLUMNS}, "did you mean 'after'"),
    (
        {"tasks": {"t_a": {"after": ["t_b"], "run": NOTE}, "t_b": {"after": ["t_a"], "run": NOTE}}, "columns": COLUMNS},
        "the tasks t_a, t_b wait for each other in a circle",
    ),
    (
        {
            "tasks": {"t_a": {"after": ["paid"], "run": NOTE}, "t_b": {"after": ["t_a"], "unless": ["packed"], "run": NOTE}},
            "columns": COLUMNS,
        },
        "task 't_b' has an unless and depends on the work 't_a': whether it runs depends on when that work ends",
    ),
]


def refused(folder: Path, *arguments: str) -> str:
    """What the example says of input that it must refuse, leaving the folder as it is."""
    before = sorted(path.name for path in folder.iterdir())
    done = run(folder, "eventlog", "--log", "log.csv", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == before
    return done.stderr


@pytest.mark.parametrize("log, arguments, words", LOGS, ids=[words for _, _, words in LOGS])
def test_a_wrong_log_is_refused(tmp_path: Path, log: str | bytes | None, arguments: tuple[str, ...], words: str) -> None:
    """A log or an option that cannot be used ends with 2 and one sentence, before anything is fired."""
    if log is not None:
        (tmp_path / "log.csv").write_bytes(log if isinstance(log, bytes) else log.encode())
    assert words in refused(tmp_path, *arguments)


@pytest.mark.parametrize("plan, words", PLANS, ids=[words for _, words in PLANS])
def test_a_wrong_configuration_is_refused(tmp_path: Path, plan: Any, words: str) -> None:
    """So does a configuration that cannot be used, or for which nothing can be foretold."""
    (tmp_path / "log.csv").write_text(HEADER + ROW, encoding="utf-8")
    (tmp_path / "plan.json").write_text(plan if isinstance(plan, str) else json.dumps(plan), encoding="utf-8")
    assert words in refused(tmp_path, "--config", "plan.json")
