"""The scenarios that the simulator plays for Triggers itself."""

from __future__ import annotations

from triggers.testing.simulator import Outcome, Scenario

JOIN = {"t": {"after": ["a", "b"]}, "u": {"after": ["t"]}}
EVERY = {
    "e": {"after": ["a"], "andEvery": "b", "unless": ["x"], "retry": {"times": 2, "delay": 3}},
    "f": {"after": ["e", "fromBody"]},
}
CALM = Scenario(
    configuration={},
    processes=1,
    kills=0,
    lost_replies=0,
    lost_deliveries=0,
    repeated_deliveries=0,
    sweeps=0,
    clock_steps=0,
    beats=0,
    in_order=True,
    one_at_a_time=True,
)

SCENARIOS = {
    "join with failures and a replay": Scenario(
        configuration=JOIN,
        fires=["a", "b"],
        outcomes=(Outcome.FINISH, Outcome.FAIL),
        operations=(("replay", "t#0"),),
    ),
    "skip with a cascade": Scenario(
        configuration=JOIN,
        fires=["a", "b"],
        outcomes=(Outcome.FAIL, Outcome.FINISH),
        operations=(("skip_cascade", "t#0"), ("skip", "u#0")),
        kills=2,
    ),
    "andEvery, unless, retries, fires from bodies": Scenario(
        configuration=EVERY,
        fires=["a", "b", "b", ("b", "e1"), "x"],
        outcomes=tuple(Outcome),
        kills=2,
        lost_replies=2,
    ),
    "events that come twice": Scenario(
        configuration=EVERY,
        fires=[("a", "1"), ("b", "2"), ("b", "2"), ("a", "1"), ("b", "3")],
        processes=3,
        kills=2,
        lost_replies=2,
        repeated_deliveries=2,
    ),
    "fires that wait for each other": Scenario(
        configuration=EVERY,
        fires=["a", "b", "b", "b", ("b", "e1"), ("b", "e1")],
        processes=2,
        kills=1,
        lost_replies=3,
    ),
    "finalizing with two last tasks at once": Scenario(
        configuration={
            "l": {"after": ["a"]},
            "r": {"after": ["a"]},
            "last": {"after": ["sessionFinalized"]},
            "chained": {"after": ["last"]},
        },
        fires=["a"],
        finalize=True,
        kills=2,
    ),
    "a child and its parent": Scenario(
        configuration=JOIN,
        fires=["a", "b", "b"],
        parent={"p": {"after": ["child.u", "child.sessionFinalized"]}},
        finalize=True,
        kills=2,
        lost_replies=2,
    ),
    "a child and its parent in another store": Scenario(
        configuration=JOIN,
        fires=[("a", "1"), ("b", "2"), "b"],
        parent={"p": {"after": ["child.u", "child.sessionFinalized"]}},
        two_stores=True,
        finalize=True,
        kills=2,
        lost_replies=2,
    ),
    "joining another store's session, and complete children": Scenario(
        configuration={"t": {"after": ["a"]}},
        fires=[("a", "1"), ("b", "2"), ("b", "3")],
        operations=(("join",), ("complete",)),
        parent={"p": {"after": ["*.t"]}, "q": {"after": ["child.a"], "andEvery": "child.b"}},
        two_stores=True,
        kills=2,
        lost_replies=2,
    ),
    "a join that is given up": Scenario(
        configuration={"t": {"after": ["a"]}},
        fires=[("a", "1"), ("b", "2")],
        operations=(("try_join",), ("complete",)),
        parent={"p": {"after": ["*.t"]}},
        two_stores=True,
        kills=2,
    ),
    "moving while it works": Scenario(
        configuration=EVERY,
        fires=[("a", "1"), ("b", "2"), ("b", "3"), "b"],
        operations=(("move",), ("move",)),
        outcomes=(Outcome.FINISH, Outcome.FAIL, Outcome.FIRE),
        two_stores=True,
        kills=2,
        lost_replies=2,
    ),
    "a child that moves": Scenario(
        configuration=JOIN,
        fires=[("a", "1"), ("b", "2"), ("b", "3")],
        operations=(("move",), ("join",), ("complete",)),
        parent={"p": {"after": ["*.sessionFinalized"]}},
        two_stores=True,
        finalize=True,
        kills=2,
        lost_replies=1,
    ),
    "cancelling": Scenario(
        configuration=JOIN,
        fires=["a", "b"],
        operations=(("cancel", "t#0"),),
        kills=1,
    ),
    "leases, timeouts, the last attempt": Scenario(
        configuration={"t": {"after": ["a"], "timeout": 30, "onLost": "fail"}, "u": {"after": ["a"]}, "v": {"after": ["t", "u"]}},
        fires=["a"],
        outcomes=(Outcome.FINISH, Outcome.RETRY),
        sweeps=4,
        clock_steps=5,
        kills=2,
        settings={"max_attempts": 2},
    ),
    "leases that run out while the worker lives": Scenario(
        configuration={"t": {"after": ["a"]}, "u": {"after": ["t"]}},
        fires=["a"],
        kills=0,
        lost_replies=0,
        sweeps=8,
        clock_steps=8,
        beats=1,
    ),
    "without remembered views": Scenario(
        configuration=EVERY,
        fires=["a", "b", "b", "x"],
        outcomes=(Outcome.FINISH, Outcome.FAIL),
        lost_replies=2,
        settings={"remembered_sessions": 0},
    ),
}
