"""The kit finds what is wrong: each deliberately broken store is caught by the test that was written for its mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance import broken, broken_files
from triggers.testing.conformance.report import Outcome
from triggers.testing.conformance.run import run

STORES: dict[str, Any] = {**broken.STORES, **broken_files.STORES}
SLOW = ("s04", "s17", "s18", "s19", "s20", "s22", "s24_processes", "s32", "s34")
"""Tests that race, wait or count to ten thousand: run only on stores that they are to catch, or without mistakes."""

pytestmark = pytest.mark.slow


class Chosen:
    """Leaves out the slow tests of stores that are wrong elsewhere."""

    def __init__(self, intended: str) -> None:
        self.intended = intended

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        slow = tuple(f"test_{name}" for name in SLOW)
        items[:] = [item for item in items if item.name.startswith(self.intended) or not item.name.startswith(slow)]


def outcomes(name: str, plugins: list[object]) -> list[Outcome]:
    """How each test of the kit ends on a store."""
    return run([f"{Path(__file__).with_name('suites.py')}::Test{name}"], plugins)


@pytest.mark.parametrize("name", ["MemoryStore", "FolderStore"])
def test_stores_without_mistakes_pass(name: str) -> None:
    """Nothing fails on the stores that the broken ones are made from."""
    found = outcomes(name, [])
    assert [outcome for outcome in found if outcome.result not in ("passed", "not tested")] == []
    assert sum(outcome.result == "passed" for outcome in found) > 70


@pytest.mark.parametrize("name", STORES)
def test_each_mistake_is_caught_by_its_test(name: str) -> None:
    """The test that was written for the mistake fails, and no test of a rule that the mistake does not touch."""
    intended = STORES[name].caught_by
    found = outcomes(name, [Chosen(intended)])
    failed = {outcome.test.partition("[")[0]: outcome.rule for outcome in found if outcome.result == "failed"}
    assert intended in failed
    assert set(failed.values()) - {failed[intended]} <= set(STORES[name].also.split())
