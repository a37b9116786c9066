"""What the tests of the command line share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import Answer, Call
from triggers import settings
from triggers.process import get_process
from triggers.storages.base import forget_shared_stores
from triggers.tasks import registered
from triggers_cli.__main__ import run


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Runs commands in this process, in an empty folder, with settings of their own."""
    for variable in [name for name in os.environ if name.startswith("TRIGGERS_") and "_TEST_" not in name]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules, names = set(sys.modules), set(registered._bodies)
    settings.reset()
    forget_shared_stores()

    def call(*arguments: str | Path) -> Answer:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        get_process().sweeper.stop()  # it would go on with the settings of others
        said = capfd.readouterr()
        forget_shared_stores()  # the next command has settings of its own, and nobody would close these
        settings.reset()
        return Answer(code, said.out, said.err)

    yield call
    forget_shared_stores()
    settings.reset()
    for name in set(registered._bodies) - names:
        registered.remove(name)
    for module in set(sys.modules) - modules:
        if str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]
            registered._imported.discard(module)
