"""The engine's small parts: the view, the status table, delays."""

from __future__ import annotations

import pytest

from triggers import records
from triggers.config import Configuration, RetryPolicy, parse_configuration
from triggers.engine.attempts import retry_delay
from triggers.engine.commands import Decision
from triggers.engine.transitions import TRANSITIONS, check_transition, mermaid, sources
from triggers.engine.view import NeedMore, View
from triggers.errors import IllegalTransition, UnreadableRecord
from triggers.instance import RESOLVED, Status
from triggers.records import COUNTS, Count
from triggers.store import NOTHING, Record, Snapshot, Want


def view(want: Want, snapshot: Snapshot | None = None) -> View:
    """A view of a session with two counts."""
    known = Snapshot("v", {"count": {"a": Record(b'{"next":1}'), "b": Record(b'{"next":2}', 7)}})
    return View(snapshot or known, want, {})


def test_a_record_outside_of_the_want_is_asked_for() -> None:
    """Not loaded is not the same as not there; beyond what was wanted, what is there may be used."""
    seen = view(Want(frozenset({("count", "a"), ("count", "absent")})))
    assert seen.get(COUNTS, "a") == Count(next=1)
    assert seen.get(COUNTS, "absent") is None
    assert seen.get(COUNTS, "b") == Count(next=2)
    with pytest.raises(NeedMore) as caught:
        seen.get(COUNTS, "c")
    assert caught.value.want == Want(frozenset({("count", "c")}))
    with pytest.raises(NeedMore) as caught:
        seen.all(COUNTS)
    assert caught.value.want == Want(collections=frozenset({"count"}))


def test_all_wants_of_a_phase_are_asked_for_at_once() -> None:
    """What is loaded is not asked for again."""
    seen = view(Want(frozenset({("count", "a")}), frozenset({"trigger"})))
    with pytest.raises(NeedMore) as caught:
        seen.require(Want(frozenset({("count", "a"), ("count", "b"), ("trigger", "x")}), frozenset({"trigger", "event"})))
    assert caught.value.want == Want(frozenset({("count", "b")}), frozenset({"event"}))
    seen.require(Want(frozenset({("count", "a")})))
    view(Want(), NOTHING).require(Want(everything=True))


def test_writes_are_seen() -> None:
    """Over what was loaded, in single records and in collections, also what was dropped."""
    seen = view(Want(collections=frozenset({"count"})))
    seen.put(COUNTS, "a", Count(next=5))
    seen.put(COUNTS, "new", Count(next=6))
    seen.drop(COUNTS, "b")
    assert seen.all(COUNTS) == {"a": Count(next=5), "new": Count(next=6)}
    assert seen.get(COUNTS, "b") is None
    seen.put(COUNTS, "b", Count(next=7))
    assert seen.get(COUNTS, "b") == Count(next=7)
    seen.drop(COUNTS, "new")
    assert ("count", "new") not in seen.written, "what was never stored needs no dropping"


def test_wake_ups() -> None:
    """A put without a time has none; one that was not written has its stored one."""
    seen = view(Want(collections=frozenset({"count"})))
    assert seen.wake_at(COUNTS, "a") is None
    assert seen.wake_at(COUNTS, "b") == records.from_microseconds(7)
    assert seen.wake_at(COUNTS, "absent") is None
    seen.put(COUNTS, "a", Count(), records.from_microseconds(9))
    assert seen.wake_at(COUNTS, "a") == records.from_microseconds(9)
    seen.put(COUNTS, "a", Count())
    seen.put(COUNTS, "b", Count())
    assert seen.wake_at(COUNTS, "a") is None
    change = seen.change("w", frozenset({"l"}))
    assert change.put == {("count", "a"): Record(b"{}"), ("count", "b"): Record(b"{}")}
    assert change.labels == frozenset({"l"})


def test_what_was_dropped_is_not_there() -> None:
    """``first_of`` finds where a record lies, and asks for nothing."""
    seen = view(Want())
    assert seen.first_of(["trigger", "count"], "a") == "count"
    seen.drop(COUNTS, "a")
    assert seen.first_of(["trigger", "count"], "a") is None
    seen.put(COUNTS, "z", Count())
    assert seen.first_of(["count"], "z") == "count"


def test_unreadable() -> None:
    """A record that is none is named."""
    with pytest.raises(UnreadableRecord, match="count/a cannot be read"):
        view(Want(), Snapshot("v", {"count": {"a": Record(b"[]")}})).get(COUNTS, "a")


def test_the_status_table() -> None:
    """R15: nothing follows what is resolved; everything else is reached and left by what the table says."""
    assert set(TRANSITIONS) == set(Status)
    for status, targets in TRANSITIONS.items():
        assert (not targets) == (status in RESOLVED)
    assert sources(Status.SCHEDULED) == (Status.UNSTARTED, Status.RUNNING)
    assert sources(Status.REPLAYED) == (Status.FAILED,)
    assert sources(Status.FINISHED) == (Status.RUNNING,)


@pytest.mark.parametrize("source", list(Status))
def test_r22_no_other_change_is_possible(source: Status) -> None:
    """For each pair of statuses: in the table, or refused with the statuses in which it would be possible."""
    for target in Status:
        if target in TRANSITIONS[source]:
            check_transition("t#0", source, target)
        else:
            with pytest.raises(IllegalTransition) as caught:
                check_transition("t#0", source, target)
            expected = " or ".join(sources(target)) or "no status"
            assert str(caught.value) == f"t#0 is {source} and cannot become {target}; that is possible when it is {expected}"


def test_the_picture() -> None:
    """The diagram has an arrow for each entry of the table."""
    drawn = mermaid().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    for source, targets in TRANSITIONS.items():
        for target, by in targets.items():
            assert f"    {source} --> {target} : {by}" in drawn
    assert "    finished --> [*]" in drawn


@pytest.mark.parametrize(
    "policy, delays",
    [
        (RetryPolicy(times=9, delay=10, jitter=False), [10, 20, 40, 80]),
        (RetryPolicy(times=9, delay=10, factor=3, max=50, jitter=False), [10, 30, 50, 50]),
        (RetryPolicy(times=9, delay=10, factor=1, jitter=False), [10, 10, 10, 10]),
        (RetryPolicy(times=9, jitter=False), [0, 0, 0, 0]),
        (RetryPolicy(times=9, delay=10, max=5), [2.5, 2.5, 2.5, 2.5]),
    ],
)
def test_delays_of_retries(policy: RetryPolicy, delays: list[float]) -> None:
    """Exponential, limited; with jitter between half and all of it."""
    assert [retry_delay(policy, number, jitter=0.0) for number in range(4)] == delays
    whole = [delay * 2 if policy.jitter else delay for delay in delays]
    assert [retry_delay(policy, number, jitter=1.0) for number in range(4)] == whole


def test_an_endless_number_of_retries_has_an_end() -> None:
    """However often, the delay is a time that can be reached."""
    assert retry_delay(RetryPolicy(times=10**6, delay=1e8, factor=1e6, jitter=False), 10**6, 1.0) <= 10 * 366 * 86_400


def test_a_decision_about_nothing_has_nothing_to_commit() -> None:
    """Where there is no session, asking for the change is a mistake of the caller."""
    with pytest.raises(ValueError, match="does not exist has nothing to commit"):
        Decision(None, None).change("token", 32)


def test_r29_who_waits_for_the_end_of_the_session() -> None:
    """Directly, through a cascade, or both: each is found once."""
    tasks = {
        "a": {"after": ["sessionFinalized"], "run": "w"},
        "b": {"after": ["sessionFinalized", "a"], "run": "w"},
        "c": {"after": ["b", "x"], "run": "w"},
        "d": {"after": ["x"], "run": "w"},
    }
    found = {name: task for name, task in parse_configuration(tasks).items() if task is not None}
    assert Configuration(found).awaiting_finalization == {"a", "b", "c"}
