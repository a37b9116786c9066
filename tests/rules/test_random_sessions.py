"""Long random sessions, with the configuration changing under them, against the literal model (R3–R10, R15, R16, R19, R20).

The sessions are made so that the engine's shortcuts matter: queues of ``andEvery`` instances that wait for another
trigger, and tasks that are changed, removed and brought back while they wait.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.rules.model import Model, Refused
from tests.rules.session_of_records import Kept, check_same, same_fire
from triggers.errors import ConfigurationError

TRIGGERS = ["a", "b", "c", "d"]
TASKS = ["t", "u", "v"]
STEPS = 40


def some_task(choose: random.Random) -> dict[str, Any]:
    """A task over few triggers, most of them with ``andEvery``."""
    names = [*TRIGGERS, *TASKS]
    every = choose.choice([None, *TRIGGERS, *TRIGGERS])
    after = choose.sample(names, choose.choice([0, 1, 1, 2, 3]) if every else choose.choice([1, 1, 2, 3]))
    task: dict[str, Any] = {"after": after, "run": choose.choice(["w1", "w2"])}
    if every:
        task["andEvery"] = every
    if choose.random() < 0.4:
        task["unless"] = choose.sample([name for name in names if name != every], choose.choice([1, 1, 2]))
    if choose.random() < 0.3:
        task["withParams"] = {choose.choice(TRIGGERS): {"p": choose.randrange(3)}}
    return task


def some_change(choose: random.Random, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """A change of the configuration: something new, something that was there before, or a removal."""
    if earlier and choose.random() < 0.4:
        return choose.choice(earlier)
    document: dict[str, Any] = {name: some_task(choose) for name in choose.sample(TASKS, choose.choice([1, 1, 2]))}
    for name, task in document.items():
        if task.get("andEvery") == name:
            del task["andEvery"]
            task["after"] = task["after"] or ["a"]
    earlier.append(document)
    if choose.random() < 0.1:
        return {choose.choice(TASKS): None}
    return document


class Twins:
    """A session on the engine and the same one on the model."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.kept = Kept()
        self.model = Model()
        self.earlier: list[dict[str, Any]] = []
        self.hashes = [""]
        self.done: list[str] = []
        self.long_queues = 0

    def step(self, number: int) -> None:
        """Does one thing on both and compares everything."""
        choose = self.choose
        dice = choose.random()
        if dice < 0.1 or number == 0:
            self.configure(some_change(choose, self.earlier))
        elif dice < 0.75:
            self.fire(choose.choice(TRIGGERS), {"n": number})
        elif dice < 0.78:
            self.fire(choose.choice(TASKS), {"n": number})
        else:
            self.work(number)
        check_same(self.kept.places, self.model)
        queued = sum(place.startswith("queued/") for place, _ in self.kept.places)
        self.long_queues += queued >= 3

    def configure(self, document: dict[str, Any]) -> None:
        """Changes the configuration, unless the rules refuse that."""
        self.done.append(f"configure {document}")
        try:
            self.model.configure(document)
        except Refused:
            with pytest.raises(ConfigurationError):
                self.kept.configure(document)
            return
        self.kept = self.kept.configure(document)
        self.hashes.append(self.kept.configuration)

    def fire(self, trigger: str, kwargs: dict[str, Any]) -> None:
        """Fires, sometimes from a process that believes in an old configuration."""
        self.done.append(f"fire {trigger}")
        believed = self.choose.choice(self.hashes) if self.choose.random() < 0.2 else None
        self.kept, told = self.kept.fire(trigger, kwargs, believed)
        expected = self.model.fire(trigger, kwargs)
        assert same_fire(told, expected), f"told {told}, expected {expected}"

    def work(self, number: int) -> None:
        """Moves some instance that is at work one step on."""
        names = self.model.in_status("scheduled", "running", "failed")
        if not names:
            return
        name = self.choose.choice(names)
        status = self.model.find(name).status
        result = {"r": number}
        if status == "scheduled":
            self.done.append(f"start {name}")
            self.kept = self.kept.start(name)
            self.model.start(name)
        elif status == "running" and self.choose.random() < 0.6:
            self.done.append(f"finish {name}")
            self.kept = self.kept.finish(name, result)
            self.model.finish(name, result)
        elif status == "running":
            self.done.append(f"fail {name}")
            self.kept = self.kept.fail(name)
            self.model.fail(name)
        elif self.choose.random() < 0.5:
            replacement = self.choose.choice([None, {}, {"a": {"new": number}}])
            self.done.append(f"replay {name} with {replacement}")
            self.kept = self.kept.replay(name, replacement)
            self.model.replay(name, replacement)
        else:
            cascade = self.choose.random() < 0.5
            self.done.append(f"skip {name}, cascade {cascade}")
            self.kept = self.kept.skip(name, cascade, result)
            self.model.skip(name, cascade, result)


@pytest.mark.parametrize("block", range(10))
def test_r3_to_r10_random_sessions(block: int) -> None:
    """Whatever is fired, configured and worked on, in whatever order, gives what looking at all instances gives."""
    long_queues = 0
    for seed in range(block * 100, block * 100 + 100):
        twins = Twins(seed)
        try:
            for number in range(STEPS):
                twins.step(number)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}:\n" + "\n".join(twins.done) + f"\n{error}") from error
        long_queues += twins.long_queues
    assert long_queues > 100, "the sessions no longer have queues, so they no longer test the shortcut"
