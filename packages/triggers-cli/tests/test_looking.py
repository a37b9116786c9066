"""Commands that look: their JSON, filters and pages, and what they say where there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import stuck
import triggers
from calling import Call


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
    assert f"more: --cursor '{first['cursor']}'" in command("sessions", "--limit", "4").out


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
