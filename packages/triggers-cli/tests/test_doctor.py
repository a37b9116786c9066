"""``triggers doctor``: what loads, what answers within its time, what is overdue."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import triggers
from calling import Call, environment, in_terminal
from triggers import settings
from triggers.hooks import get_hooks
from triggers.records import to_microseconds
from triggers.storages.memory import MemoryStore
from triggers.store import ABSENT, Change, Record, Want
from triggers.sweeping import SWEPT, note_sweep
from triggers_cli.overdue import duration, sweeping

SETTINGS = """
storage = "sql"
[storages.sql]
url = "sqlite:///mine.db"
"""


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_all_is_well(command: Call) -> None:
    """Versions, plugins with their distributions, the storage with what it can and promises, the runner, no overdue work."""
    Path("triggers.toml").write_text(SETTINGS)
    answer = command("doctor", "--json")
    assert answer.code == 0
    found = answer.json()
    assert found["healthy"]
    assert {"python", "triggers-core", "triggers-cli", "SQLAlchemy"} <= set(found["versions"])
    states = {(entry["kind"], entry["key"]): (entry["state"], entry["origin"]) for entry in found["plugins"]}
    assert states["storage", "sql"] == ("loads", f"triggers-sql {found['versions']['triggers-sql']}")
    assert states["runner", "threading"][0] == "loads"
    (storage,) = found["storages"]
    assert (storage["storage"], storage["default"], storage["answers"]) == ("sql", True, True)
    assert storage["capabilities"] == ["DUE", "SCAN"]
    assert "synchronous" in storage["promises"]["durability"]
    nothing_due = {"on_time": True, "due": 0, "oldest_seconds": 0.0, "allowed_seconds": 80.0}
    assert storage["sweep"] == {"running": False, "last_seconds": None, **nothing_due}
    plain = command("doctor").out
    assert "storage sql (default): answers in" in plain
    assert "can         keep sessions, find what is due (DUE), list sessions (SCAN)\n" in plain
    assert "no sweep was ever noted; nothing is overdue" in plain
    assert plain.endswith("all is well\n")


def test_every_configured_storage_is_asked_and_only_for_so_long(command: Call, silent: int) -> None:
    """One answers, one refuses, one never says a word: exit code 3, within the time, and without passwords."""
    pytest.importorskip("triggers_redis.store")  # what is imported and made already takes no time from the answers
    Path("triggers.toml").write_text(SETTINGS)
    assert command("migrate").code == 0
    Path("triggers.toml").write_text(
        SETTINGS
        + f'[storages.redis]\nurl = "redis://:geheim@127.0.0.1:{silent}/0"\n'
        + '[storages.archive]\nbackend = "redis"\nurl = "redis://:geheim@127.0.0.1:1/0"\n'
    )
    answer = command("doctor", "--json", "--timeout", "4")
    assert answer.code == 3
    assert "geheim" not in answer.out + answer.err
    answers = {found["storage"]: found for found in answer.json()["storages"]}
    assert {key: found["answers"] for key, found in answers.items()} == {"sql": True, "redis": False, "archive": False}
    assert answers["redis"]["problem"] == "no answer within 4 s"
    assert "127.0.0.1:1" in answers["archive"]["problem"]
    assert "geheim" not in command("doctor", "--timeout", "1").out


def test_a_broken_plugin_is_told_with_its_reason(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a module of tasks; exit code 1."""
    monkeypatch.setitem(get_hooks().broken, "lost", ImportError("no module named lost"))
    Path("triggers.toml").write_text(f'tasks = ["not_here"]{SETTINGS}')
    answer = command("doctor", "--json")
    assert answer.code == 1
    broken = {entry["kind"]: entry["state"] for entry in answer.json()["plugins"] if entry["state"] != "loads"}
    assert broken["plugin"] == "broken: ImportError: no module named lost"
    assert "'not_here' of the setting 'tasks' cannot be imported" in broken["tasks"]


def test_overdue_work_is_a_warning(command: Call, tmp_path: Path) -> None:
    """What was scheduled by a process that died, and found by no sweep, is counted."""
    Path("triggers.toml").write_text(f"sweep_interval = 0.01{SETTINGS}")
    program = (
        "import triggers, os; triggers.configure(storage='sql', storages={'sql': {'url': 'sqlite:///mine.db'}}, "
        "runner='nobody', redeliver_after=0.01); m = triggers.get_manager('s1'); "
        "m.update_configuration({'t': {'after': ['a'], 'run': 'x'}}); m.fire('a'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(tmp_path), check=True, timeout=60)
    end = time.monotonic() + 60
    while (answer := command("doctor", "--json")).json()["storages"][0]["sweep"]["on_time"]:
        assert time.monotonic() < end
    assert answer.code == 0
    found = answer.json()["storages"][0]["sweep"]
    assert (found["on_time"], found["due"]) == (False, 1)
    assert found["oldest_seconds"] > found["allowed_seconds"] == 0.08
    (warning,) = answer.json()["warnings"]
    assert warning.startswith("storage sql: 1 wake-ups are due, the oldest for ")
    assert "no sweep runs, or none has the runner and the works that are needed" in warning


@pytest.mark.parametrize(
    "waited, count, on_time, words",
    [
        ([], 0, True, "nothing is overdue"),
        ([30], 1, True, "1 wake-ups are due, the oldest for 30 s"),
        ([79, 10], 2, True, "2 wake-ups are due, the oldest for 1 min 19 s"),
        ([81, 10], 2, False, "2 wake-ups are due, the oldest for 1 min 21 s"),
        ([90_000] * 1500, 1000, False, "1000 or more wake-ups are due, the oldest for 1 d 1 h"),
    ],
)
def test_late_means_more_than_two_of_the_longest_pauses(waited: list[int], count: int, on_time: bool, words: str) -> None:
    """An idle sweep waits four intervals of ten seconds at most."""
    now = datetime(2026, 5, 1, tzinfo=UTC)
    store = MemoryStore()
    records = {
        ("live/t", str(number)): Record(b"{}", to_microseconds(now - timedelta(seconds=seconds)))
        for number, seconds in enumerate(waited)
    }
    records["live/t", "later"] = Record(b"{}", to_microseconds(now + timedelta(seconds=1)))
    store.commit("s", Change("1", records), ABSENT, Want())
    found = sweeping(store, now, 10.0)
    assert (found.due, found.on_time, found.waiting()) == (count, on_time, words)


def test_when_it_was_last_swept(command: Call) -> None:
    """A sweep by hand or beside a runner leaves a note, which is no session."""
    Path("triggers.toml").write_text(SETTINGS)
    settings.use_base({"storage": "sql", "storages": {"sql": {"url": "sqlite:///mine.db"}}})
    triggers.sweep()
    found = command("doctor", "--json").json()["storages"][0]["sweep"]
    assert (found["running"], found["last_seconds"] < 60) == (True, True)
    assert "last swept" in command("doctor").out
    Path("triggers.toml").write_text(SETTINGS.replace("mine", "other"))
    assert command("sweep").code == 0
    assert command("doctor", "--json").json()["storages"][0]["sweep"]["running"]
    assert command("sessions", "--json").json()["uids"] == []


def test_the_note_of_a_sweep() -> None:
    """One per minute and store, whoever sweeps; it grows old."""
    store, now = MemoryStore(), datetime(2026, 5, 1, tzinfo=UTC)
    assert sweeping(store, now, 10.0).last_seconds is None
    note_sweep(store, to_microseconds(now))
    version = store.load(SWEPT, Want()).version
    note_sweep(store, to_microseconds(now + timedelta(seconds=29)))
    assert store.load(SWEPT, Want()).version == version
    note_sweep(store, to_microseconds(now + timedelta(seconds=31)))
    assert store.load(SWEPT, Want()).version != version
    ages = {seconds: sweeping(store, now + timedelta(seconds=31 + seconds), 10.0) for seconds in (0, 200, 201)}
    assert {seconds: (found.last_seconds, found.running) for seconds, found in ages.items()} == {
        0: (0.0, True),
        200: (200.0, True),
        201: (201.0, False),
    }


def test_durations() -> None:
    """Two units at most."""
    assert [duration(seconds) for seconds in (0, 59.9, 60, 3_661, 90_061)] == ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h"]


def test_a_broker_that_does_not_answer(command: Call) -> None:
    """The runner celery is asked, too."""
    pytest.importorskip("triggers_celery")
    Path("works_app.py").write_text(
        "import celery, triggers_celery\n"
        "app = celery.Celery('works', broker='redis://:geheim@127.0.0.1:1/0')\ntriggers_celery.install(app)\n"
    )
    Path("triggers.toml").write_text(f'runner = "celery"{SETTINGS}[runners.celery]\napp = "works_app:app"\ntimeout = 2\n')
    answer = command("doctor", "--json", "--timeout", "20")
    assert answer.code == 1
    (runner,) = answer.json()["runners"]
    assert runner["answers"] is False
    assert "the broker redis://:***@127.0.0.1:1/0 does not answer" in runner["problem"]
    assert "geheim" not in answer.out + answer.err


def test_a_broker_that_answers(command: Call, redis_space: Any) -> None:
    """Through a real Redis."""
    pytest.importorskip("triggers_celery")
    Path("works_app2.py").write_text(f"import celery, triggers_celery\napp = celery.Celery('w', broker={redis_space.url!r})\n")
    Path("triggers.toml").write_text(f'runner = "celery"{SETTINGS}[runners.celery]\napp = "works_app2:app"\n')
    answer = command("doctor", "--json", "--timeout", "20")
    assert (answer.code, answer.json()["runners"][0]["answers"]) == (0, True)


@pytest.mark.parametrize("arguments", [["explain", "s"], ["sessions"], ["graph", "--session", "s"]])
def test_a_storage_that_never_says_a_word_is_exit_code_3(command: Call, silent: int, arguments: list[str]) -> None:
    """Within the time that the storage allows itself, on one line."""
    url = f"redis://:geheim@127.0.0.1:{silent}/0?socket_timeout=0.5"
    answer = command("--storage", "redis", "--url", url, *arguments)
    assert answer.code == 3
    assert answer.err.startswith("error: the storage does not answer: ")
    assert "geheim" not in answer.err
    assert len(answer.err.splitlines()) == 1


def test_doctor_in_a_narrow_terminal(tmp_path: Path) -> None:
    """The table fits into forty columns, and colours are left out if they are not wanted."""
    (tmp_path / "triggers.toml").write_text(SETTINGS)
    plain, machine, mistaken = in_terminal(
        tmp_path,
        [["doctor"], ["doctor", "--json"], ["--settings", "gone.toml", "doctor"]],
        columns=40,
        more={"NO_COLOR": "1"},
    )
    assert (plain.code, machine.code, mistaken.code) == (0, 0, 1)
    table = plain.out[: plain.out.index("storage sql (default)")]
    assert "threading" in table
    assert max(map(len, table.splitlines())) <= 40
    assert "\x1b[3" not in plain.out
    assert machine.json()["healthy"]
    assert mistaken.out.strip() == "error: the settings file gone.toml cannot be read: No such file or directory"


def test_settings_that_are_wrong(command: Call) -> None:
    """One line with the reason."""
    mistakes = {"storage = ": "is no TOML", 'storge = "sql"': "did you mean 'storage'", "lease = 'x'": "type float"}
    for text, words in mistakes.items():
        Path("triggers.toml").write_text(text)
        answer = command("doctor")
        assert (answer.code, len(answer.err.splitlines())) == (1, 1)
        assert words in answer.err
        assert answer.err.startswith("error: the settings file triggers.toml")


def test_a_manager_that_is_none_is_broken(command: Call) -> None:
    """Nothing could be fired with it."""
    Path("triggers.toml").write_text('manager = "finalising"')
    answer = command("doctor", "--json")
    assert (answer.code, answer.json()["healthy"]) == (1, False)
    (broken,) = [entry for entry in answer.json()["plugins"] if entry["state"] != "loads"]
    assert (broken["kind"], broken["key"]) == ("manager", "finalising")
    assert "known are default, finalizing" in broken["state"]


def test_a_module_that_raises_does_not_tell_passwords(command: Call) -> None:
    """Neither through doctor nor through lint, as text or as JSON."""
    Path("triggers.toml").write_text('tasks = ["raising"]')
    Path("raising.py").write_text('raise OSError("cannot reach postgresql://me:hunter2@db/x")')
    Path("w.json").write_text('{"t": {"run": "x", "after": ["a"]}}')
    for arguments in (["doctor"], ["doctor", "--json"], ["lint", "w.json"], ["lint", "w.json", "--json"]):
        said = "".join("".join(command(*arguments)[1:]).split())
        assert "postgresql://me:***@db/x" in said
        assert "hunter2" not in said


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_a_time_that_is_none(command: Call, seconds: str) -> None:
    """Is wrong use."""
    answer = command("doctor", "--timeout", seconds)
    assert (answer.code, "Traceback" in answer.err) == (2, False)


def test_settings_may_begin_with_a_byte_order_mark(command: Call) -> None:
    """As some editors write it."""
    Path("triggers.toml").write_bytes(b'\xef\xbb\xbfstorage = "memory"\r\n')
    assert command("migrate").out == "storage 'memory' is up to date\n"


def test_without_a_settings_file_modules_are_found_in_the_working_folder(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the environment names."""
    Path("named_works.py").write_text("from triggers import task\n\n\n@task('named')\ndef named(context):\n    pass\n")
    monkeypatch.setenv("TRIGGERS_TASKS", "named_works")
    entries = command("doctor", "--json").json()["plugins"]
    assert [entry["state"] for entry in entries if entry["kind"] == "tasks"] == ["loads"]


def test_modules_beside_the_settings_are_found(command: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another folder, with --settings; so ``triggers`` needs no PYTHONPATH."""
    command("init", "app")
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    answer = command("--settings", "../app/triggers.toml", "doctor", "--json")
    assert [entry["state"] for entry in answer.json()["plugins"] if entry["kind"] == "tasks"] == ["loads"]
