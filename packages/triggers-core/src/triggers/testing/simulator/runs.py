"""Running schedules: random ones by seed, all where there are few, one again; and making a failing one short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triggers.testing.simulator.choices import Choices
from triggers.testing.simulator.explanations import State
from triggers.testing.simulator.play import Play
from triggers.testing.simulator.scenario import Scenario
from triggers.testing.simulator.violation import Violation
from triggers.testing.simulator.world import World

_SHRINKS = 400


class Failure(AssertionError):
    """A schedule in which a rule did not hold; ``choices`` replay it with ``run_schedule``."""

    def __init__(self, violation: str, choices: Sequence[int], trace: Sequence[str], seed: int | None) -> None:
        self.violation = violation
        self.choices = list(choices)
        self.trace = list(trace)
        origin = "" if seed is None else f" (found with seed {seed})"
        steps = "\n".join(f"  {step}" for step in trace)
        super().__init__(f"{violation}{origin}\nreplay: run_schedule(scenario, {self.choices})\n{steps}")


def run_schedule(scenario: Scenario, choices: Sequence[int]) -> World:
    """Plays one schedule again.

    Raises:
        Failure: a rule did not hold.
    """
    return _play(scenario, Choices(choices), None)


def simulate(scenario: Scenario, schedules: int, first_seed: int = 0) -> int:
    """Plays random schedules, one per seed; returns how many steps there were in all.

    Raises:
        Failure: a rule did not hold; with the shortest schedule that could be found.
    """
    steps = 0
    judged: set[State] = set()
    for seed in range(first_seed, first_seed + schedules):
        choices = Choices(seed=seed)
        try:
            _play(scenario, choices, seed, judged)
        except Failure as failure:
            raise shorten(scenario, failure, seed) from None
        steps += len(choices.taken)
    return steps


def explore(scenario: Scenario, most: int = 100_000) -> tuple[int, bool]:
    """Plays every schedule of a small scenario, in order; returns how many there were, and whether these were all.

    Raises:
        Failure: a rule did not hold.
    """
    played = 0
    judged: set[State] = set()
    prefix: list[int] | None = []
    while prefix is not None and played < most:
        choices = Choices(prefix)
        _play(scenario, choices, None, judged)
        played += 1
        prefix = _next(choices.taken, choices.widths)
    return played, prefix is None


def shorten(scenario: Scenario, failure: Failure, seed: int | None = None) -> Failure:
    """The shortest failing schedule that a bounded search finds: without choices that do not matter, the others small."""
    best = failure
    tries = 0
    improved = True
    while improved and tries < _SHRINKS:
        improved = False
        for candidate in _simpler(best.choices):
            tries += 1
            if tries >= _SHRINKS:
                break
            try:
                _play(scenario, Choices(candidate), seed)
            except Failure as shorter:
                shorter.choices = _trimmed(candidate)
                if _weight(shorter.choices) < _weight(best.choices):
                    best = Failure(shorter.violation, shorter.choices, shorter.trace, seed)
                    improved = True
                    break
    return best


def _play(scenario: Scenario, choices: Choices, seed: int | None, judged: set[State] | None = None) -> World:
    play = Play(scenario, choices, judged)
    try:
        return play.run()
    except Violation as violation:
        raise Failure(str(violation), choices.taken, play.world.trace, seed) from violation


def _next(taken: Sequence[int], widths: Sequence[int]) -> list[int] | None:
    for position in reversed(range(len(taken))):
        if taken[position] + 1 < widths[position]:
            return [*taken[:position], taken[position] + 1]
    return None


def _simpler(choices: Sequence[int]) -> Iterator[list[int]]:
    size = len(choices)
    chunk = max(1, size // 2)
    while chunk:
        for start in range(0, size, chunk):
            yield [*choices[:start], *choices[start + chunk :]]
        chunk //= 2
    for position, choice in enumerate(choices):
        if choice:
            yield [*choices[:position], 0, *choices[position + 1 :]]


def _trimmed(choices: Sequence[int]) -> list[int]:
    trimmed = list(choices)
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed


def _weight(choices: Sequence[int]) -> tuple[int, int]:
    return len(choices), sum(choices)
