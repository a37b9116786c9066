"""What the kit itself promises: tests cannot be replaced, failures are expected only with a reason, children report."""

from __future__ import annotations

import functools
import os
import secrets
import signal
from pathlib import Path
from typing import Any

import pytest

from conformance.folder import FolderStore
from triggers.storages.memory import MemoryStore
from triggers.store import Store
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.children import Children
from triggers.testing.conformance.report import Outcome
from triggers.testing.conformance.run import run
from triggers.testing.conformance.space import OpenStore, Space
from triggers.testing.conformance.threads import run_threads

SUITE = """
import pytest
from triggers.storages.memory import MemoryStore
from triggers.testing.conformance import StoreConformance

class TestIt(StoreConformance):
    between_processes = False
    expected_failures = {expected!r}

    @pytest.fixture
    def open_store(self):
        store = {store}()
        return lambda: store

class Forgetful(MemoryStore):
    def delete(self, uid, expected=None):
        return super().delete(uid)
"""


def outcomes(folder: Path, only: str, store: str = "MemoryStore", expected: dict[str, str] | None = None) -> list[Outcome]:
    """How the tests whose names match end on a store."""
    suite = folder / f"test_{secrets.token_hex(4)}.py"  # a module of this name may have been imported before
    suite.write_text(SUITE.format(store=store, expected=expected or {}))
    return run([str(suite), "-k", only])


@pytest.mark.parametrize("replacement", [lambda self: None, None])
def test_a_standard_test_cannot_be_replaced(replacement: Any) -> None:
    """A subclass that overrides a test of the contract cannot even be made."""
    with pytest.raises(TypeError, match=r"overrides test_s12_conditional_delete.*expected_failures"):
        type("TestTheirs", (StoreConformance,), {"test_s12_conditional_delete": replacement})


def test_nor_two_classes_further_down() -> None:
    """The same holds below a class of one's own."""
    base = type("Theirs", (StoreConformance,), {"between_processes": False})
    with pytest.raises(TypeError, match="test_s01_loading_makes_no_session"):
        type("TestTheirs", (base,), {"test_s01_loading_makes_no_session": lambda self: None})


@pytest.mark.parametrize(
    "expected, said",
    [({"test_s12_nothing": "why"}, "no test of the kit"), ({"test_s12_conditional_delete": " "}, "gives no reason")],
)
def test_an_expected_failure_names_a_test_and_a_reason(expected: dict[str, str], said: str) -> None:
    """Neither an unknown test nor an empty reason is taken."""
    with pytest.raises(TypeError, match=said):
        type("TestTheirs", (StoreConformance,), {"expected_failures": expected})


def test_an_expected_failure_is_told_with_its_reason(tmp_path: Path) -> None:
    """What fails as expected does not fail the run, and the report says why."""
    expected = {"test_s12_conditional_delete": "deletes whatever is there"}
    (told,) = outcomes(tmp_path, "s12", "Forgetful", expected)
    assert told == Outcome("TestIt", "S12", "test_s12_conditional_delete", "expected failure", "deletes whatever is there")


def test_an_expected_failure_that_passes_fails(tmp_path: Path) -> None:
    """A failure that does not come is no longer to be expected, and the run says so."""
    (told,) = outcomes(tmp_path, "s12", "MemoryStore", {"test_s12_conditional_delete": "deletes whatever is there"})
    assert told.result == "failed"


def test_the_mark_of_one_suite_is_not_on_another() -> None:
    """An expected failure of one store is none of all others."""
    type("TestTheirs", (StoreConformance,), {"expected_failures": {"test_s12_conditional_delete": "why"}})
    assert not hasattr(StoreConformance.test_s12_conditional_delete, "pytestmark")


def test_the_report_tells_results_and_reasons(tmp_path: Path) -> None:
    """Each test is told with its rule: passed, failed with its message, or not tested with the reason."""
    told = {found.rule: found for found in outcomes(tmp_path, "s12 or s26 or s33_decl", "Forgetful")}
    assert told["S33"].result == "passed"
    assert told["S26"][3:] == ("not tested", "gives no fixture `spoil_format`")
    assert (told["S12"].result, told["S12"].reason.splitlines()[0]) == ("failed", "Failed: DID NOT RAISE Conflict")


def test_every_rule_of_the_contract_has_tests_and_a_place_in_the_manual() -> None:
    """S1 to S34 each have a test that says what to look at, and a paragraph in ``docs/contract.md``."""
    tests = {name: function for name, function in vars_of(StoreConformance) if name.startswith("test_s")}
    assert {f"S{int(name[6:8])}" for name in tests} == {f"S{number}" for number in range(1, 35)}
    assert [name for name, function in tests.items() if "Look at: " not in " ".join(function.__doc__.split())] == []
    manual = Path(__file__).parents[4].joinpath("docs/contract.md").read_text(encoding="utf-8")
    assert [line for line in manual.splitlines() if line.startswith("S")] == [f"S{number}" for number in range(1, 35)]


def vars_of(cls: type) -> list[tuple[str, Any]]:
    """All attributes, inherited ones too."""
    return [(name, getattr(cls, name)) for name in dir(cls)]


def ask(open_store: OpenStore, say: Any, question: str) -> str:
    """What a child does in these tests."""
    if question == "kill yourself":
        os.kill(os.getpid(), signal.SIGKILL)
    if question == "fail":
        raise ValueError("the child's own error")
    say(os.getpid())
    return repr(open_store())


def test_a_picklable_opener_starts_clean_children(tmp_path: Path) -> None:
    """Children of an opener that can be pickled are not forked from this process."""
    with Children() as children:
        child = children.start(functools.partial(FolderStore, tmp_path), ask, "who are you")
        assert child.hear() == child.process.pid
        assert "FolderStore" in child.hear()
        assert type(child.process).__name__ == "ForkServerProcess"


def test_any_other_opener_is_inherited(tmp_path: Path) -> None:
    """Children of a lambda are forked."""
    with Children() as children:
        child = children.start(lambda: FolderStore(tmp_path), ask, "who are you")
        assert child.hear() == child.process.pid
        assert type(child.process).__name__ == "ForkProcess"


@pytest.mark.parametrize("question, said", [("fail", "the child's own error"), ("kill yourself", "exit code -9")])
def test_what_goes_wrong_in_a_child_is_told(question: str, said: str) -> None:
    """A child's exception, or its death, fails the test with what is known of it."""
    with Children() as children, pytest.raises(AssertionError, match=said):
        children.start(MemoryStore, ask, question).hear()


def test_no_child_outlives_its_test() -> None:
    """Children that still run at the end of a test are killed."""
    with Children() as children:
        child = children.start(MemoryStore, wait_for_ever)
        assert child.hear() == "waiting"
    assert child.process.exitcode == -signal.SIGKILL


def wait_for_ever(open_store: OpenStore, say: Any) -> None:
    """Says that it is there, and never ends."""
    say("waiting")
    signal.pause()


def test_an_error_in_a_thread_fails_the_test() -> None:
    """What any thread raises is raised by ``run_threads``."""
    with pytest.raises(ZeroDivisionError):
        run_threads(lambda: None, lambda: 1 // 0)


def test_a_space_removes_what_it_made() -> None:
    """The sessions of a test are gone at its end; those of others stay."""
    store: Store = MemoryStore()
    others, mine = Space(), Space()
    others.write(store, others.uid("stays"), {("c", "k"): b"1"})
    mine.write(store, mine.uid("goes"), {("c", "k"): b"1"})
    mine.clean(store)
    assert store.scan(None, None, 10).uids == [others.uid("stays")]
