"""The kit finds what is wrong: each deliberately broken runner is caught by the test that was written for its mistake."""

from __future__ import annotations

import threading

import pytest

from tests.runners import broken_suites
from tests.runners.broken_runners import RUNNERS
from triggers.process import get_process
from triggers.testing.conformance.run import run

pytestmark = pytest.mark.slow

PATIENCE = 20.0
SOUND = "test_rn1_what_is_scheduled_is_run"


@pytest.mark.parametrize("name", RUNNERS)
def test_each_mistake_is_caught_by_its_test(name: str) -> None:
    """The test that was written for the mistake fails; that a work is run at all passes wherever that is not the mistake."""
    caught_by = RUNNERS[name].caught_by
    before = set(threading.enumerate())
    found = run([f"{broken_suites.path_of(name)}::{test}" for test in (SOUND, caught_by)])
    for thread in set(threading.enumerate()) - before:  # what a broken runner has left running must not reach into other tests
        thread.join(PATIENCE)
    get_process().forget_stores()
    assert {outcome.test: outcome.result for outcome in found} == {
        SOUND: "failed" if name == "WithoutClaim" else "passed",
        caught_by: "failed",
    }
