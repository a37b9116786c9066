"""The contract of runners on the process pool of the examples, which is no part of the workspace."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.servers.client import ROOT
from triggers.runners import task_runners
from triggers.testing.conformance import RunnerConformance

SOURCES = ROOT / "examples" / "process_pool" / "src"


class TestProcessPool(RunnerConformance):
    """RN1 to RN15, with sessions in a SQLite file that all processes see."""

    runner = "processes"
    own_processes = True

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def installed(cls) -> Iterator[None]:
        """The example can be imported, here and in the processes of its pool, and is registered."""
        path, environment = list(sys.path), os.environ.get("PYTHONPATH")
        sys.path.insert(0, str(SOURCES))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCES), environment]))
        module = importlib.import_module("triggers_processes")
        task_runners.register("processes", module.ProcessPoolTaskRunner)
        yield
        task_runners.unregister("processes")
        sys.path[:] = path
        if environment is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = environment

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        """A file, and two processes."""
        url = f"sqlite:///{tmp_path_factory.mktemp('sessions') / 'triggers.db'}"
        return {"storage": "sql", "storages": {"sql": {"url": url}}, "runners": {"processes": {"processes": 2}}}

    @pytest.fixture
    def wrong_options(self) -> Mapping[str, Any]:
        """It takes none."""
        return {"queue": "gpu"}
