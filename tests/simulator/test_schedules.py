"""Random schedules of all scenarios, and every crash point of the small ones."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.simulator.scenarios import CALM, JOIN, SCENARIOS
from triggers.testing.simulator import Failure, NotConfluent, Outcome, assert_confluent, explore, run_schedule, simulate
from triggers.testing.simulator.world import SimulatedTurns
from triggers.turns import Turns

SCHEDULES = int(os.environ.get("TRIGGERS_TEST_SCHEDULES", "200"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_r28_random_schedules_keep_the_rules(name: str) -> None:
    """R3-R31 hold, and explanations are right, after each step of random schedules, and all work comes to rest."""
    assert simulate(SCENARIOS[name], SCHEDULES) > SCHEDULES


@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("name", SCENARIOS)
def test_r28_very_many_random_schedules_keep_the_rules(name: str, part: int) -> None:
    """The same with thousands of schedules: more than 20 000 in all."""
    simulate(SCENARIOS[name], 340, first_seed=1_000_000 * (part + 1))


def test_there_are_so_many() -> None:
    """What is promised is played."""
    assert len(SCENARIOS) * 4 * 340 >= 20_000


ONE_CRASH = replace(CALM, kills=1)

CRASH_POINTS = {
    "fire, start, finish with cascade": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["a"]}, "u": {"after": ["t"]}},
        fires=[("a", "1")],
    ),
    "fail with retry": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["a"], "retry": {"times": 1, "delay": 5}}},
        fires=[("a", "1")],
        outcomes=(Outcome.FAIL,),
    ),
    "replay": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["a"]}},
        fires=[("a", "1")],
        outcomes=(Outcome.FAIL,),
        operations=(("replay", "t#0"),),
    ),
    "skip with cascade": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["a"]}, "u": {"after": ["t"]}},
        fires=[("a", "1")],
        outcomes=(Outcome.FAIL,),
        operations=(("skip_cascade", "t#0"),),
    ),
    "finalizing": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["a"]}, "u": {"after": ["a"]}, "last": {"after": ["sessionFinalized"]}},
        fires=[("a", "1")],
        finalize=True,
    ),
    "joining a parent in another store": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["never"]}},
        fires=[("a", "1")],
        operations=(("join",),),
        parent={"p": {"after": ["child.a"]}},
        two_stores=True,
    ),
    "declaring children complete": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["never"]}},
        fires=[("a", "1")],
        operations=(("complete",),),
        parent={"p": {"after": ["*.a"]}},
        two_stores=True,
    ),
    "a move": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["never"]}},
        fires=[("a", "1")],
        operations=(("move",),),
        two_stores=True,
    ),
    "a child's fire on its way to the parent": replace(
        ONE_CRASH,
        configuration={"t": {"after": ["never"]}},
        fires=[("a", "1")],
        parent={"p": {"after": ["child.a"]}},
    ),
}


@pytest.mark.parametrize("name", CRASH_POINTS)
def test_r28_every_crash_point_is_survived(name: str) -> None:
    """Each point at which the only process can die is tried, and none is left out."""
    played, complete = explore(CRASH_POINTS[name], most=4000)
    assert complete
    assert played > 10


def test_the_simulated_parts_stand_in_for_all_of_the_real_ones() -> None:
    """A method that only the real turns have would wait for a thread, and in the world of greenlets nobody comes: for ever."""
    missing = {name for name in vars(Turns) if not name.startswith("_")} - vars(SimulatedTurns).keys()
    assert not missing


def test_a_join_is_confluent() -> None:
    """Two orders, each calm and rough, end alike."""
    assert assert_confluent(JOIN, ["a", "b"]) == 4


def test_an_unless_is_not_confluent_and_the_message_shows_both_orders() -> None:
    """Whether ``unless`` comes before or after the last trigger makes a difference, which is reported."""
    with pytest.raises(NotConfluent, match="abandoned") as caught:
        assert_confluent({"t": {"after": ["a"], "unless": ["x"]}}, ["a", "x"], duplicates=False, crashes=False)
    assert "finished" in str(caught.value)


def test_a_failing_schedule_is_replayed_from_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choices of a report play the same failure again."""
    from triggers.engine import attempts

    monkeypatch.setattr(attempts, "fire", lambda *arguments: None)
    scenario = CRASH_POINTS["fire, start, finish with cascade"]
    with pytest.raises(Failure) as found:
        simulate(scenario, 20)
    with pytest.raises(Failure) as again:
        run_schedule(scenario, found.value.choices)
    assert again.value.violation == found.value.violation


def test_many_events_are_played_in_some_orders() -> None:
    """Beyond 720 orders a sample is played."""
    events = ["a", "b", "c", "d", "e", "f", "g"]
    assert assert_confluent({"t": {"after": events}}, events, duplicates=False, crashes=False) == 300
