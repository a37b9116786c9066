"""Commands that change a session: what they do, say, ask and refuse; for people and as JSON."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import stuck
import triggers
from calling import Call
from triggers.hooks import get_hooks, hookimpl


@pytest.fixture
def folder(command: Call, tmp_path: Path) -> Path:
    """A folder with settings and works, and a session with two tasks."""
    stuck.write(tmp_path)
    assert command("configure", "s1", "tasks.json", "--yes").code == 0
    return tmp_path


@pytest.fixture
def failed(folder: Path, command: Call) -> Path:
    """The same, stuck at ``t_bad#0``."""
    command("fire", "s1", "a", "--yes")
    command("fire", "s1", "b", "--yes")
    return folder


def statuses(command: Call, uid: str = "s1") -> dict[str, str]:
    """The instances of a session with their statuses."""
    return {found["name"]: found["status"] for found in command("show", uid, "--json").json()["instances"]}


def test_the_story_of_a_stuck_workflow(folder: Path, command: Call) -> None:
    """Fire, see what failed and why, mend it, replay everything: the story of a night."""
    assert "created: t_good#0" in command("fire", "s1", "a", "--yes").out
    assert command("explain", "s1", "t_good").out == "t_good waits for b (1 of 2)\n"
    assert "scheduled: t_good#0" in command("fire", "s1", "b", "--yes").out
    assert command("sessions", "--status", "failed", "--json").json()["uids"] == ["s1"]
    assert "no paper" in command("explain", "s1").out
    assert "s1 t_bad#0  ValueError: no paper\n1 failed instance\n" in command("retry-failed", "--dry-run").out
    (folder / "mended").touch()
    assert "replayed 1: 1 finished" in command("retry-failed", "--yes").out
    assert statuses(command) == {"t_good#0": "finished", "t_bad#0": "replayed", "t_bad#1": "finished"}
    assert "running → finished" in command("history", "s1").out


def test_configure_shows_the_difference_first(folder: Path, command: Call) -> None:
    """Directive by directive; the same once more changes nothing and asks nothing."""
    (folder / "new.toml").write_text('[t_bad]\nafter = ["t_good", "c"]\nrun = "bad"\n[t_new]\nafter = ["x"]\nrun = "good"\n')
    refused = command("configure", "s1", "new.toml")
    assert refused.code == 2
    assert refused.out.splitlines() == [
        "t_bad", '  - after: ["t_good"]', '  + after: ["t_good", "c"]',
        "t_new is new", '  + run: "good"', '  + after: ["x"]',
    ]  # fmt: skip
    changed = command("configure", "s1", "new.toml", "--yes", "--json").json()
    assert changed["changed"] is True
    assert changed["tasks"]["t_new"] == {"before": None, "after": {"after": ["x"], "run": "good"}}
    assert command("configure", "s1", "new.toml", "--json").json() == {"changed": False, "tasks": {}}
    (folder / "gone.json").write_text('{"t_new": null}')
    assert "t_new is removed" in command("configure", "s1", "gone.json", "--yes").out


def test_replay_and_skip_one_instance(failed: Path, command: Call) -> None:
    """Replay makes a new one; skip may cascade."""
    replayed = command("replay", "s1", "t_bad#0", "--yes", "--json").json()
    assert (replayed["replayed"], replayed["instance"]["name"], replayed["instance"]["status"]) == (
        "t_bad#0",
        "t_bad#1",
        "failed",
    )
    skipped = command("skip", "s1", "t_bad#1", "--cascade", "--result", '{"n": 1}', "--yes", "--json").json()
    assert (skipped["skipped"], skipped["instance"]["status"]) == ("t_bad#1", "skipped")
    assert command("show", "s1", "--json").json()["fired"]["t_bad"] == {"n": 1}
    assert command("skip", "s1", "t_bad#1", "--result", "{}", "--yes").code == 2
    again = command("skip", "s1", "t_bad#1", "--yes")
    assert (again.code, "t_bad#1 is skipped" in again.err) == (1, True)


def test_retry_failed_chooses_by_label_task_and_error(failed: Path, command: Call) -> None:
    """Each filter leaves out what it does not fit."""
    for uid in ("s2", "s3"):
        command("configure", uid, "tasks.json", "--yes")
        command("fire", uid, "t_good", "--yes")
    triggers.configure(storage="sql", storages={"sql": {"url": f"sqlite:///{failed / 'mine.db'}"}})
    triggers.get_manager("s2").label(customer="7")

    def found(*options: str) -> list[str]:
        return [entry["uid"] for entry in command("retry-failed", "--dry-run", "--json", *options).json()["instances"]]

    assert found() == ["s1", "s2", "s3"]
    assert found("--label", "customer=7") == ["s2"]
    assert found("--task", "t_bad", "--error", "VALUEERROR: no") == ["s1", "s2", "s3"]
    assert found("--task", "t_good") == []
    assert found("--error", "timeout") == []


def test_retry_failed_goes_on_where_one_is_refused(failed: Path, command: Call, closing: str) -> None:
    """One session is closed by somebody else in between: it is told, the others are replayed, the exit code is 1."""
    for uid in ("s0", closing):
        command("configure", uid, "tasks.json", "--yes")
        command("fire", uid, "t_good", "--yes")
    (failed / "mended").touch()
    answer = command("retry-failed", "--yes", "--json")
    told = answer.json()
    assert answer.code == 1
    assert {entry["uid"]: entry["status"] for entry in told["instances"]} == {"s0": "finished", "s1": "finished", closing: None}
    assert (told["found"], told["replayed"], told["refused"]) == (3, 2, 1)
    assert "was cancelled (over)" in next(entry["refused"] for entry in told["instances"] if entry["uid"] == closing)


def test_ctrl_c_ends_a_bulk_of_replays_and_tells_how_far_it_came(failed: Path, command: Call) -> None:
    """What was replayed is replayed, the rest is as it was, and the exit code is 130."""

    class Interrupting:
        @hookimpl
        def triggers_post_replay(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    for uid in ("s2", "s3"):
        command("configure", uid, "tasks.json", "--yes")
        command("fire", uid, "t_good", "--yes")
    plugin = Interrupting()
    get_hooks().register(plugin)
    try:
        answer = command("retry-failed", "--yes", "--json")
    finally:
        get_hooks().unregister(plugin)
    told = answer.json()
    assert (answer.code, told["interrupted"], told["found"], told["replayed"]) == (130, True, 3, 1)
    assert [entry["replacement"] for entry in told["instances"]] == ["t_bad#1", None, None]
    assert statuses(command, "s2") == {"t_bad#0": "failed"}


@pytest.fixture
def closing(tmp_path: Path) -> Iterator[str]:
    """The uid of a session that is cancelled as soon as something is replayed."""

    class Closing:
        @hookimpl
        def triggers_post_replay(self) -> None:
            triggers.get_manager("s1x").cancel("over")

    plugin = Closing()
    get_hooks().register(plugin)
    yield "s1x"
    get_hooks().unregister(plugin)


def test_cancel_finalize_and_delete(failed: Path, command: Call) -> None:
    """Whole sessions."""
    waiting = command("finalize", "s1", "--yes", "--json").json()
    assert waiting == {"uid": "s1", "finalized_at": None, "unresolved_tasks": ["t_bad"]}
    assert command("finalize", "s1", "--yes").out == "will finalize once these are resolved: t_bad\n"
    command("skip", "s1", "t_bad#0", "--yes")
    assert "finalized at 20" in command("finalize", "s1", "--yes").out
    command("configure", "s2", "tasks.json", "--yes")
    command("fire", "s2", "a", "--yes")
    assert command("cancel", "s2", "--reason", "over", "--yes", "--json").json() == {"cancelled": "s2", "abandoned": ["t_good#0"]}
    assert command("delete", "s2", "--yes", "--json").json() == {"uid": "s2", "deleted": True}
    assert command("delete", "s2", "--yes").code == 1


def test_a_session_that_is_done_finalizes_at_once(folder: Path, command: Call) -> None:
    """Also one of the default manager."""
    (folder / "mended").touch()
    (folder / "more.json").write_text('{"t_last": {"after": ["sessionFinalized"], "run": "good"}}')
    for arguments in (["configure", "s1", "more.json"], ["fire", "s1", "a"], ["fire", "s1", "b"], ["finalize", "s1"]):
        command(*arguments, "--yes")
    assert statuses(command)["t_last#0"] == "finished"


def test_copy_says_what_it_did(failed: Path, command: Call) -> None:
    """All, again, and one; a session in the target that is no copy is refused, with its reason."""
    (failed / "triggers.toml").write_text(stuck.SETTINGS + '[storages.archive]\nbackend = "sql"\nurl = "sqlite:///old.db"\n')
    assert command("copy", "sql", "archive", "--yes", "--json").json() == {"copied": 1, "unchanged": 0, "refused": {}}
    assert command("copy", "sql", "archive", "--yes").out == "copied 0, already there 1, refused 0\n"
    assert command("copy", "sql", "archive", "--uid", "s1", "--yes", "--json").json()["unchanged"] == 1
    command("fire", "s2", "a", "--yes")
    command("--storage", "archive", "fire", "s2", "a", "--yes")
    refused = command("copy", "sql", "archive", "--yes")
    assert refused.code == 1
    assert "s2: the target has a session 's2' that is no copy" in refused.out


ASKING = [
    ["fire", "s1", "a"], ["configure", "s1", "new.json"], ["replay", "s1", "t_bad#0"], ["skip", "s1", "t_bad#0"],
    ["retry-failed"],    ["cancel", "s1", "--reason", "x"], ["finalize", "s1"], ["delete", "s1"], ["copy", "sql", "archive"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", ASKING, ids=lambda arguments: arguments[0])
def test_what_changes_something_asks(failed: Path, command: Call, arguments: list[str]) -> None:
    """Where nobody can answer it is wrong use, and nothing changes."""
    (failed / "new.json").write_text('{"t_new": {"after": ["x"], "run": "good"}}')
    before = command("show", "s1", "--json").out
    answer = command(*arguments)
    assert answer.code == 2
    assert "standard input is no terminal; give --yes" in " ".join(answer.err.split())
    assert command("show", "s1", "--json").out == before


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["replay", "s1", "t_bad#9", "--yes"], 1, "no instance 't_bad#9'"),
        (["replay", "s1", "t_bad#0", "--kwargs", "{", "--yes"], 2, "no JSON"),
        (["replay", "s1", "t_bad#0", "--kwargs", "[1]", "--yes"], 2, "expected a JSON object"),
        (["fire", "s1", "x", "--kwargs", "[" * 100_000, "--yes"], 2, "nested too deeply"),
        (["fire", "s1", "x", "--kwargs", "1" * 5000, "--yes"], 2, "no JSON"),
        (["configure", "s1", "gone.json", "--yes"], 2, "gone.json cannot be read: No such file or directory"),
        (["configure", "s1", "broken.json", "--yes"], 2, "broken.json, line 2"),
        (["configure", "s1", "wrong.json", "--yes"], 1, "did you mean 'after'?"),
        (["cancel", "s1", "--reason", " ", "--yes"], 2, "say why"),
        (["retry-failed", "--label", "x"], 2, "expected NAME=VALUE, got 'x'"),
        (["retry-failed", "--label", "status=x"], 2, "no session can have an attribute 'status'"),
        (["copy", "sql", "sql", "--yes"], 2, "source and target are both 'sql'"),
        (["copy", "sql", "memory", "--uid", "", "--yes"], 1, "the name of a session must not be empty, got ''"),
        (["copy", "sql", "cloud", "--yes"], 1, "no storage has the key 'cloud'"),
        *[([name, "nobody", *more, "--yes"], 1, "there is no session 'nobody'") for name, *more in
          (["replay", "t#0"], ["skip", "t#0"], ["cancel", "--reason", "x"], ["finalize"], ["delete"])],
    ],
)  # fmt: skip
def test_mistakes_get_one_line_and_no_traceback(folder: Path, command: Call, arguments: list[str], code: int, words: str) -> None:
    """What was wrong, and an exit code."""
    (folder / "broken.json").write_text('{"t":\n')
    (folder / "wrong.json").write_text('{"t": {"afer": ["a"]}}')
    answer = command(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert words in " ".join(answer.err.split())
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("arguments", [*ASKING, ["sweep"], ["sessions"], ["run"]], ids=lambda arguments: arguments[0])
def test_a_storage_that_does_not_answer_is_exit_code_3(folder: Path, command: Call, arguments: list[str]) -> None:
    """A port that takes connections and says nothing: told within the time that the URL allows, without the password."""
    if arguments[0] == "copy":
        arguments = ["copy", "redis", "sql"]
    (folder / "new.json").write_text('{"t_new": {"after": ["x"], "run": "good"}}')
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"redis://:geheim@127.0.0.1:{mute.getsockname()[1]}/0?socket_timeout=0.3&socket_connect_timeout=0.3"
        asks = arguments in ASKING
        answer = command("--storage", "redis", "--url", url, *arguments, *(["--yes"] if asks or arguments[0] == "copy" else []))
    assert answer.code == 3, answer.err
    assert "the storage does not answer" in answer.err
    assert "geheim" not in answer.out + answer.err
