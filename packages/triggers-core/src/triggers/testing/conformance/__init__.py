"""The contracts of stores and of runners, as tests: what the author of a backend runs.

One class with one fixture is all that there is to write::

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(MyStore, folder=tmp_path)


    class TestMyRunner(RunnerConformance):
        runner = "mine"

The rules S1 … and RN1 … are in the manual, each test has its rule's number in its name, and its docstring says what to look at
when it fails.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triggers.testing.conformance.runner_kit import Outage
    from triggers.testing.conformance.runners import RunnerConformance
    from triggers.testing.conformance.stores import StoreConformance

__all__ = ["Outage", "RunnerConformance", "StoreConformance"]

_HOME = {"Outage": "runner_kit", "RunnerConformance": "runners", "StoreConformance": "stores"}

_SPEAKING = (
    "commits",
    "concurrency",
    "forks",
    "lifecycle",
    "listing",
    "loads",
    "model",
    "processes",
    "runner_kit",
    "runner_processes",
    "runners",
    "space",
    "threads",
    "values",
    "wakeups",
)


def __getattr__(name: str) -> Any:
    """Imports a kit when it is asked for, after telling pytest that its assertions are to explain themselves."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _SPEAKING))
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
