"""Does a workflow give the same result in every order of its events?"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from triggers.store import EVERYTHING
from triggers.testing.simulator.application import SESSION
from triggers.testing.simulator.choices import Choices
from triggers.testing.simulator.play import Play
from triggers.testing.simulator.scenario import Scenario
from triggers.testing.simulator.world import NEAR, World

_EXHAUSTIVE = 720
_SAMPLES = 300


class NotConfluent(AssertionError):
    """Two orders of the same events gave different results."""


def assert_confluent(
    configuration: Mapping[str, Any],
    events: Sequence[str],
    *,
    duplicates: bool = True,
    crashes: bool = True,
    seed: int = 0,
) -> int:
    """Plays a workflow in every order of its events (in 300 random ones where there are more than 720) and compares the ends.

    Every work finishes. The result is: for each task, how many instances ended how, and which triggers each received.

    Args:
        configuration: the tasks; ``run`` does not matter.
        events: the triggers that are fired.
        duplicates: whether events and deliveries also come twice (events with an event id).
        crashes: whether processes are also killed on the way.
        seed: where the random schedules come from.

    Returns:
        How many schedules were compared.

    Raises:
        NotConfluent: two orders differ; the message has both.
        Failure: a rule of Triggers did not hold.
    """
    expected: tuple[Any, Sequence[str]] | None = None
    played = 0
    for order in _orders(events, seed):
        for scenario, choices in _variants(configuration, order, duplicates, crashes, seed + played):
            result = _result(Play(scenario, choices).run())
            played += 1
            if expected is None:
                expected = (result, order)
            elif result != expected[0]:
                raise NotConfluent(
                    f"the order {list(expected[1])} ends in\n  {json.dumps(expected[0])}\n"
                    f"but {list(order)} ends in\n  {json.dumps(result)}"
                )
    return played


def _orders(events: Sequence[str], seed: int) -> Iterable[Sequence[str]]:
    if math.factorial(len(events)) <= _EXHAUSTIVE:
        return sorted(set(itertools.permutations(events)))
    chance = random.Random(seed)
    return [chance.sample(events, len(events)) for _ in range(_SAMPLES)]


def _variants(
    configuration: Mapping[str, Any], order: Sequence[str], duplicates: bool, crashes: bool, seed: int
) -> Iterable[tuple[Scenario, Choices]]:
    """The order as it is, and once with all that may go wrong."""
    fires = [(trigger, f"{trigger}-{index}") for index, trigger in _numbered(order)]
    calm = Scenario(
        configuration=configuration, fires=fires, in_order=True, processes=1, kills=0, lost_replies=0,
        lost_deliveries=0, repeated_deliveries=0, sweeps=0, clock_steps=0,
    )  # fmt: skip
    yield calm, Choices()
    if duplicates or crashes:
        twice = [fire for fire in fires for _ in range(2)] if duplicates else fires
        rough = Scenario(
            configuration=configuration, fires=twice, in_order=True, processes=1, kills=int(crashes), lost_replies=int(crashes),
            lost_deliveries=int(crashes), repeated_deliveries=int(duplicates), sweeps=1, clock_steps=1,
        )  # fmt: skip
        yield rough, Choices(seed=seed)


def _numbered(order: Sequence[str]) -> Iterable[tuple[int, str]]:
    seen: dict[str, int] = {}
    for trigger in order:
        seen[trigger] = seen.get(trigger, 0) + 1
        yield seen[trigger], trigger


def _result(world: World) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = {}
    from triggers import records

    snapshot = world.stores[NEAR].load(SESSION, EVERYTHING)
    for collection, entries in snapshot.records.items():
        task = records.task_of(collection)
        if task is not None:
            ends = [records.present(record) for record in entries.values()]
            result.setdefault(task, []).extend([str(end.status), sorted(end.kwargs)] for end in ends)
    return {task: sorted(ends) for task, ends in sorted(result.items())}
