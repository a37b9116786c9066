"""The kit on each of the broken runners. ``test_broken_runners.py`` runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.runners.broken_runners import RUNNERS, Vague
from triggers.runners import task_runners
from triggers.testing.conformance import Outage, RunnerConformance


class OnFile(RunnerConformance):
    """The kit with sessions in a SQLite file."""

    runner = "broken"
    runner_class: type[Any]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def installed(cls) -> Iterator[None]:
        """The runner is registered."""
        task_runners.register("broken", cls.runner_class)
        yield
        task_runners.unregister("broken")

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        """A file, which all processes see."""
        if getattr(cls.runner_class, "in_memory", False):
            return {"storage": "memory"}
        url = f"sqlite:///{tmp_path_factory.mktemp('broken') / 'triggers.db'}"
        return {"storage": "sql", "storages": {"sql": {"url": url}}}

    @pytest.fixture
    def wrong_options(self) -> Mapping[str, Any]:
        """Some."""
        return {"colour": "red"}

    @pytest.fixture
    def outage(self) -> Outage:
        """For the one that looks at it."""
        return Outage(partial(setattr, Vague, "away", True), partial(setattr, Vague, "away", False))


def path_of(name: str) -> str:
    """The suite of a runner, for pytest."""
    return f"{Path(__file__)}::Test{name}"


def suite_of(name: str) -> type[OnFile]:
    """The suite of a runner."""
    patience = getattr(RUNNERS[name], "patience", 8.0)
    return type(f"Test{name}", (OnFile,), {"runner_class": RUNNERS[name], "patience": patience, "__module__": __name__})


globals().update({f"Test{name}": suite_of(name) for name in RUNNERS})
