"""Runs tests of the kit inside of this process and tells how each of them ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from triggers.testing.conformance.report import Outcome, outcome


class Collector:
    """A pytest plugin that keeps the outcome of each test of the kit."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keeps what one test came to; an error in its fixtures counts as a failure."""
        found = outcome(report)
        if found is not None:
            self.outcomes.append(found)


def run(arguments: Iterable[str], plugins: Iterable[object] = (), *, shown: bool = False) -> list[Outcome]:
    """Runs pytest with these arguments, with no configuration of the working folder; returns how the tests of the kit ended.

    Raises:
        RuntimeError: there are none, or pytest could not run them at all.
    """
    import pytest

    collector = Collector()
    fixed = [
        "-c",
        os.devnull,
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "--import-mode=importlib",
        *([] if shown else ["-q", "--no-header"]),
    ]
    with contextlib.nullcontext() if shown else _silent():
        code = pytest.main([*fixed, *arguments], plugins=[collector, *plugins])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError("no test of the kit has such a name")
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r} and ran {len(collector.outcomes)} tests of the kit")
    return collector.outcomes


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
