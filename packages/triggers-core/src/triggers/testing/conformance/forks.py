"""Forks in tests: what the child does, and that it neither fails nor hangs."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable

import pytest

PATIENCE = 60.0
"""How long (seconds) a forked child may take before it counts as hanging."""


def in_fork(
    in_child: Callable[[], object],
    in_parent: Callable[[], object] = lambda: None,
    *,
    patience: float = PATIENCE,
    ends_with: int = 0,
) -> None:
    """Forks; fails if the child fails or hangs, or ends with another code."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reads)
            in_child()
            code = 0
        except BaseException:
            os.write(writes, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(writes)
    try:
        in_parent()
    finally:
        code = _wait(pid, patience)
    with os.fdopen(reads, "rb") as said:
        assert code == ends_with, f"the forked child failed ({code}):\n{said.read().decode()}"


def _wait(pid: int, patience: float) -> int:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail(f"the forked child hangs: no end within {patience:.0f} seconds (a lock that was held at the fork?)")
