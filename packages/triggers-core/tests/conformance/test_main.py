"""``python -m triggers.testing KEY``: the kit on a storage of the settings."""

from __future__ import annotations

import contextlib
import importlib.abc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import triggers
from conformance.broken import DeletesAnyVersion
from conformance.folder import FolderStorageBackend, FolderStore
from triggers.storages import BaseTriggerStorage, storage_backends
from triggers.storages.memory import MemoryStore
from triggers.testing.__main__ import _check as check
from triggers.testing.__main__ import main
from triggers.testing.conformance.configured import RULES, check_store
from triggers.testing.conformance.report import _outcomes as report_outcomes
from triggers.testing.conformance.report import outcome
from triggers.testing.conformance.space import VERSION_ONLY, Space


class BrokenBackend(BaseTriggerStorage):
    """A storage whose deletions ignore their condition."""

    api_version = 1
    key = "broken"
    store_class = DeletesAnyVersion


class SwallowsInterrupts(MemoryStore):
    """A store amid whose deletions Ctrl-C comes, and gets lost in a driver."""

    deletions = 0

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Deletes."""
        type(self).deletions += 1
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return super().delete(uid, expected)


class InterruptedBackend(BaseTriggerStorage):
    """A storage on such a store."""

    api_version = 1
    key = "interrupted"
    store_class = SwallowsInterrupts


BACKENDS = (BrokenBackend, FolderStorageBackend, InterruptedBackend)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The storages under their keys."""
    for backend in BACKENDS:
        storage_backends.register(backend.key, backend)
    yield
    for backend in BACKENDS:
        storage_backends.unregister(backend.key)
    triggers.settings.reset()


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    """A store that keeps the contract ends with 0, and with a line for each of the 34 rules."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERS_")}
    command = [sys.executable, "-m", "triggers.testing", "memory", "-k", "s12 or s13 or s16 or s19"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[:4] == ["MemoryStore (storage 'memory')", "  DUE      declared", "  SCAN     declared", "  EXPIRE   -"]
    assert "S12   conditional deletion                       1       -           -" in lines
    assert "S16   the limit of values                        1       -           1" in lines
    assert "  its data are not shared between processes (S19)" in lines
    assert sum(line.startswith("S") for line in lines) == 34
    assert list(tmp_path.iterdir()) == []


def test_failures_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """A store that breaks a rule ends with 1; the test is named, with what its docstring says to look at."""
    assert main(["broken", "-k", "s12 or s33_decl"]) == 1
    printed = capsys.readouterr().out
    assert "S12   conditional deletion                       -       1           -" in printed
    assert "  S12 test_s12_conditional_delete\n      Failed: DID NOT RAISE Conflict\n" in printed
    assert "Look at: a deletion that compares first" in printed


@pytest.mark.parametrize(
    "arguments, said",
    [(["nobody"], "no storage has the key 'nobody'"), (["memory", "-k", "s99"], "no test of the kit has such a name")],
)
def test_what_cannot_be_checked(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """An unknown key, or a name that no test has, ends with 2 and one line."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_an_interrupt_ends_the_run_where_it_is_swallowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the test in which it came, with 130 and one line; before, the rest went on and a result was printed."""
    from triggers.testing.conformance import configured

    monkeypatch.setattr(configured, "_target", lambda key: configured.Target(SwallowsInterrupts, between_processes=False))
    assert main(["interrupted", "-k", "s12_conditional_delete or s13 or s14"]) == 130
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_whole_kit_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    """The kit runs on the storage as it is, also in child processes, and removes what it made but not what others have."""
    triggers.configure(storages={"folder": {"folder": str(tmp_path)}})
    store, others = FolderStore(tmp_path), Space()
    version = others.write(store, others.uid("theirs"), {("c", "k"): b"1"})
    before = sorted(tmp_path.glob("*.json"))
    verdict = check_store("folder")
    assert verdict.failed == []
    assert {outcome.reason for outcome in verdict.outcomes if outcome.result == "not tested"} == {
        "declares no capability DUE",
        "declares no capability SCAN",
        "gives no fixture `break_connections`",
        "gives no fixture `spoil_format`",
    }
    tested = {line.rule for line in verdict.lines if line.passed}
    assert tested == {f"S{number}" for number in range(1, len(RULES) + 1)} - {"S23", "S26", "S28", "S29", "S31"}
    assert sorted(tmp_path.glob("*.json")) == before
    assert store.load(others.uid("theirs"), VERSION_ONLY).version == version


@pytest.mark.parametrize("missing, raised", [("pytest", RuntimeError), ("our_own_module", ModuleNotFoundError)])
def test_what_the_kit_needs_is_named(monkeypatch: pytest.MonkeyPatch, missing: str, raised: type[Exception]) -> None:
    """Without the extra, the message says what to install; any other missing module is a mistake and stays one."""

    class Without(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname == "triggers.testing.conformance.configured":
                raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.delitem(sys.modules, "triggers.testing.conformance.configured")
    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
    with pytest.raises(raised, match=missing):
        check("memory", None)


def test_reports_of_other_tests_are_none_of_the_kit() -> None:
    """What has no number of a rule is left out."""
    assert outcome(SimpleNamespace(nodeid="tests/test_x.py::test_something", when="call")) is None
    assert list(report_outcomes([SimpleNamespace(), SimpleNamespace(nodeid="tests/test_x.py::test_y", when="call")])) == []
