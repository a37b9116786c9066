"""Each storage against the literal model: Hypothesis fires, configures, works and replays, from two processes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.rules.backends import Backend
from tests.rules.model import Model, Refused
from tests.rules.scene import Scene, held_runner
from tests.rules.session_of_records import check_same, same_fire
from triggers.errors import ConfigurationError
from triggers.manager import TriggerManager
from triggers.runners import Delivery
from triggers.store import EVERYTHING, Snapshot

TRIGGERS = st.sampled_from(["a", "b", "c"])
NAMES = st.sampled_from(["a", "b", "c", "t", "u"])
VALUES = st.dictionaries(st.sampled_from(["x", "é"]), st.integers() | st.text("aé\n🎉", max_size=3) | st.none(), max_size=2)
VALUES = VALUES.filter(lambda value: all(not isinstance(entry, int) or abs(entry) < 2**63 for entry in value.values()))


@st.composite
def tasks(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """One task."""
    every = draw(st.none() | TRIGGERS)
    after = draw(st.lists(NAMES, min_size=0 if every else 1, max_size=2, unique=True))
    task: dict[str, Any] = {"after": after, "run": draw(st.sampled_from(["w1", "w2"]))}
    if every:
        task["andEvery"] = every
    unless = draw(st.lists(NAMES.filter(lambda one: one != every), max_size=2, unique=True))
    if unless:
        task["unless"] = unless
    return task


DOCUMENTS = st.fixed_dictionaries({}, optional={"t": st.none() | tasks("t"), "u": st.none() | tasks("u")})


class Machine(RuleBasedStateMachine):
    """Two processes on one session; ``backend`` is set by the test."""

    backend: Backend

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(self.backend)
        self.model = Model()
        self.outcome: tuple[str, Any] = ("finish", {})
        for name in ("w1", "w2"):
            self.scene.works(name, self._work)
        first = self.scene.manager()
        self.managers = [first, self.scene.manager(first.uid, process=self.scene.another_process())]

    def teardown(self) -> None:
        """Compares everything, and removes the session."""
        try:
            self._compare()
        finally:
            self.scene.forget()

    @initialize(document=DOCUMENTS)
    def begin(self, document: dict[str, Any]) -> None:
        """Mostly, a session begins with tasks."""
        self.configure(document, 0)

    @rule(trigger=NAMES, kwargs=VALUES, who=st.integers(0, 1))
    def fire(self, trigger: str, kwargs: dict[str, Any], who: int) -> None:
        """Fires from one of the processes."""
        told = self.managers[who].fire(trigger, kwargs)
        expected = self.model.fire(trigger, kwargs)
        assert same_fire(told, expected), (told, expected)

    @rule(document=DOCUMENTS, who=st.integers(0, 1))
    def configure(self, document: dict[str, Any], who: int) -> None:
        """Changes the configuration, or is refused like the model."""
        try:
            self.model.configure(document)
        except Refused:
            with pytest.raises(ConfigurationError):
                self.managers[who].update_configuration(document)
        else:
            self.managers[who].update_configuration(document)

    @precondition(lambda self: self.model.in_status("scheduled"))
    @rule(data=st.data(), result=VALUES, how=st.sampled_from(["finish", "finish", "fail"]), who=st.integers(0, 1))
    def work(self, data: st.DataObject, result: dict[str, Any], how: str, who: int) -> None:
        """Delivers a scheduled instance to one of the processes; the work finishes or fails."""
        name = data.draw(st.sampled_from(self.model.in_status("scheduled")))
        self.outcome = (how, result)
        manager = self.managers[who]
        run = self.model.find(name).run
        assert run is not None
        delivery = Delivery("-", manager.uid, name, 1, run, None, None, manager.storage)
        manager._process.runners.get("held").perform(delivery)
        self.model.start(name)
        if how == "finish":
            self.model.finish(name, result)
        else:
            self.model.fail(name)

    @precondition(lambda self: self.model.in_status("failed"))
    @rule(data=st.data(), cascade=st.booleans(), result=VALUES, who=st.integers(0, 1))
    def skip(self, data: st.DataObject, cascade: bool, result: dict[str, Any], who: int) -> None:
        """Skips a failed instance."""
        name = data.draw(st.sampled_from(self.model.in_status("failed")))
        self.managers[who].skip_failed_instance(name, cascade, result)
        self.model.skip(name, cascade, result)

    @precondition(lambda self: self.model.in_status("failed"))
    @rule(data=st.data(), replacement=st.none() | st.dictionaries(TRIGGERS, VALUES, max_size=2), who=st.integers(0, 1))
    def replay(self, data: st.DataObject, replacement: dict[str, Any] | None, who: int) -> None:
        """Replays a failed instance."""
        name = data.draw(st.sampled_from(self.model.in_status("failed")))
        shown = self.managers[who].replay_failed_instance(name, replacement)
        assert shown.name == self.model.replay(name, replacement)

    def _work(self, context: Any) -> dict[str, Any]:
        how, result = self.outcome
        if how == "fail":
            raise ValueError("as the test wants")
        assert isinstance(result, dict)
        return result

    def _compare(self) -> None:
        manager: TriggerManager = self.managers[0]
        snapshot: Snapshot = self.backend.store.load(manager.uid, EVERYTHING)
        places = {(name, key): record for name, entries in snapshot.records.items() for key, record in entries.items()}
        check_same(places, self.model)
        assert manager.storage.latest_kwargs == self.model.latest
        assert sorted(manager.storage.get_unresolved_tasks()) == sorted(self.model.unresolved_tasks())


def test_r3_to_r20_each_storage_does_what_the_model_does(backend: Backend) -> None:
    """Whatever is fired, configured, run, skipped and replayed from two processes: the storage holds what the model says."""
    examples, steps = {"memory": (80, 30), "sqlite": (30, 20)}.get(backend.name, (8, 20))
    kind = type(f"MachineOn{backend.name}", (Machine,), {"backend": backend})
    with held_runner():
        run_state_machine_as_test(
            kind,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
