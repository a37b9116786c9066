"""The contract of runners on the process pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from triggers.testing.conformance import RunnerConformance


class TestProcessPool(RunnerConformance):
    """RN1 to RN15, with sessions in a SQLite file that all processes see."""

    runner = "processes"
    own_processes = True

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
