"""The pytest plugin: fixtures for tests of workflows, and a summary of what the kits for backends could not show.

Loaded by pytest in every project where Triggers is installed, so it imports nothing before a test asks for a fixture.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from triggers.manager import TriggerManager
    from triggers.process import Process
    from triggers.storages import BaseTriggerStorage
    from triggers.testing.clock import MovableClock
    from triggers.testing.isolation import Isolation

_KIT = "triggers.testing.conformance.contract"
_MARK = ("triggers", "conformance")


@pytest.fixture
def trigger_clock() -> MovableClock:
    """A clock that stands still until the test moves it: ``trigger_clock.move(minutes=5)``.

    Moving it ends cooldowns, lets leases run out and sweeps, in the order in which all of that is due.
    """
    from triggers.testing.clock import MovableClock

    return MovableClock()


@pytest.fixture
def trigger_isolation(trigger_clock: MovableClock) -> Iterator[Isolation]:
    """A process of the test's own, for the application too: an empty memory storage, threads, ``trigger_clock``.

    At the end all work is waited for, and what the test configured, registered and stored is gone.
    """
    from triggers.testing.isolation import isolated

    with isolated(clock=trigger_clock) as isolation:
        yield isolation


@pytest.fixture
def trigger_process(trigger_isolation: Isolation) -> Process:
    """What the managers and workers of the test share; ``get_process()`` gives the same."""
    return trigger_isolation.process


@pytest.fixture
def trigger_storage(trigger_isolation: Isolation) -> BaseTriggerStorage:
    """The handle of the session ``test``."""
    return trigger_isolation.storage()


@pytest.fixture
def trigger_manager(trigger_isolation: Isolation) -> TriggerManager:
    """The manager of the session ``test``; ``triggers.join_all()`` waits for what it starts."""
    return trigger_isolation.manager()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Marks the tests of the kits, so that the summary knows them among all others, also from other processes."""
    kit = sys.modules.get(_KIT)
    if kit is not None and isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, kit.Contract):
        item.user_properties.append(_MARK)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says which rules of a contract were not shown, where a kit has run."""
    stats = {
        outcome: [report for report in reports if _MARK in map(tuple, getattr(report, "user_properties", ()))]
        for outcome, reports in terminalreporter.stats.items()
    }
    if any(stats.values()):
        from triggers.testing.conformance.report import write_summary

        write_summary(types.SimpleNamespace(stats=stats, section=terminalreporter.section, line=terminalreporter.line))
