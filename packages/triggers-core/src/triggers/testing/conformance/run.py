"""Runs tests of the kit inside of this process and tells how each of them ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from triggers.testing.conformance.report import Outcome, outcome


class Collector:
    """A pytest plugin that keeps the outcome of each test of the kit, and ends the run when it is interrupted."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.interrupted = False

    def interrupt(self, number: int, frame: Any) -> None:
        """Ctrl-C or SIGTERM: pytest takes the exception, and removes the sessions of the test that runs."""
        self.interrupted = True
        raise KeyboardInterrupt

    def pytest_runtest_logfinish(self) -> None:
        """Ends the run where a test, or what it called, has swallowed the exception."""
        if self.interrupted:
            raise KeyboardInterrupt

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keeps what one test came to; an error in its fixtures counts as a failure."""
        found = outcome(report)
        if found is not None:
            self.outcomes.append(found)


def run(arguments: Iterable[str], plugins: Iterable[object] = (), *, shown: bool = False) -> list[Outcome]:
    """Runs pytest with these arguments, with no configuration of the working folder; returns how the tests of the kit ended.

    Raises:
        RuntimeError: there are none, or pytest could not run them at all.
        KeyboardInterrupt: Ctrl-C or SIGTERM came meanwhile.
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
    with contextlib.nullcontext() if shown else _silent(), _interrupting(collector):
        code = pytest.main([*fixed, *arguments], plugins=[collector, *plugins])
    if collector.interrupted:
        raise KeyboardInterrupt
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError("no test of the kit has such a name")
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r} and ran {len(collector.outcomes)} tests of the kit")
    return collector.outcomes


@contextlib.contextmanager
def _interrupting(collector: Collector) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, collector.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
