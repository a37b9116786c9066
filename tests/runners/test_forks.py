"""What a forked process does by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from triggers import get_manager
from triggers.process import forget_shared_stores, get_process
from triggers.settings import configure, reset
from triggers.testing.conformance.forks import in_fork


@pytest.fixture(autouse=True)
def _threads_on_memory() -> Iterator[None]:
    """The threading runner, with a sweep beside it."""
    reset()
    configure(storage="memory", runner="threading", sweep_interval=0.2)
    yield
    get_process().close()
    forget_shared_stores()
    reset()


def sweeps() -> bool:
    """Whether this process has a thread that sweeps."""
    return any(thread.name == "triggers-sweep" and thread.is_alive() for thread in threading.enumerate())


def test_r27_a_forked_process_sweeps() -> None:
    """A child that uses a storage which its parent had used before sweeps by itself, as the parent does."""
    get_manager("before").fire("go")
    assert sweeps()

    def use() -> None:
        assert not sweeps()
        get_manager("after").fire("go")
        assert sweeps()

    in_fork(use)
