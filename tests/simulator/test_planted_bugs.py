"""The simulator finds bugs: each of these is planted on purpose, and must be found within a bounded number of schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.simulator.scenarios import SCENARIOS
from triggers import explain, operation, process, records, relations, sessions
from triggers.codec import encode
from triggers.engine import application, attempts, fire, lifecycle, related, session, wakeups
from triggers.errors import Conflict, OutcomeUnknown
from triggers.instance import Status
from triggers.remembered import RememberedViews
from triggers.storages.memory import MemoryStore
from triggers.testing.simulator import Failure, simulate

Plant = Callable[[pytest.MonkeyPatch], None]
SCHEDULES = 1500


def cascade_in_a_second_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finishing and the cascade are two commits."""

    def end(self: Any, session: Any, before: Any, after: Any) -> None:
        session.place(before, replace(after, status=Status.FINISHED, resolved=session.now, result=self.result))

    follow = process.Process.after

    def after(self: Any, storage: Any, decision: Any) -> None:
        follow(self, storage, decision)
        finished = [i for i in decision.touched.values() if i.status is Status.FINISHED]
        for instance in finished:
            self.runtime.execute(storage, application.Fire(instance.task, instance.result))

    monkeypatch.setattr(attempts.Finish, "end", end)
    monkeypatch.setattr(process.Process, "after", after)


def delivery_instead_of_a_stored_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is scheduled has no wake-up, so a lost delivery is lost for good."""
    place = session.Session.place

    def forgetful(self: Any, before: Any, after: Any, wake_at: Any = None) -> None:
        place(self, before, after, None if after.status is Status.SCHEDULED else wake_at)

    monkeypatch.setattr(session.Session, "place", forgetful)


def no_attempt_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of superseded attempts count."""
    monkeypatch.setattr(attempts, "_is_current", lambda instance, attempt, claim: instance.status is Status.RUNNING)


def lease_not_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost attempt is scheduled again under the same number."""
    monkeypatch.setattr(wakeups.WakeUp, "_next_attempt", _same_attempt)


def _same_attempt(self: Any, session: Any, before: Any, ended: Any) -> None:
    again = replace(ended, status=Status.SCHEDULED, deliveries=0, scheduled=session.now)
    session.place(before, again, session.now + timedelta(seconds=60))
    session.dispatch(again)


def wake_up_forgotten_on_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance in a cooldown has no wake-up."""
    place = session.Session.place

    def forgetful(self: Any, before: Any, after: Any, wake_at: Any = None) -> None:
        place(self, before, after, None if after.not_before is not None else wake_at)

    monkeypatch.setattr(session.Session, "place", forgetful)


def two_deliveries_both_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting does not look at the status."""
    apply = attempts.Start.apply

    def careless(self: Any, session: Any) -> Any:
        started = apply(self, session)
        found = attempts._live_instance(session, self.name)
        if started.instance is None and found is not None and found.status is Status.RUNNING:
            return attempts.Started(found, "")
        return started

    monkeypatch.setattr(attempts.Start, "apply", careless)


def lost_replies_are_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lost reply nobody looks for the token."""
    monkeypatch.setattr(operation.Operation, "_recognise", lambda self, snapshot: None)


def lost_replies_count_as_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection is taken for a commit."""
    commit = operation.Operation._commit

    def optimistic(self: Any, snapshot: Any, want: Any, sent: Any) -> Any:
        outcome = commit(self, snapshot, want, sent)
        return sent.decision if outcome is None and self.sent and self.sent[-1].outcome_open else outcome

    monkeypatch.setattr(operation.Operation, "_commit", optimistic)


def told_before_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a commit takes along hear of their decision at once."""
    sealed = operation.Operation._sealed

    def early(self: Any, expected: Any, head: Any, decision: Any) -> Any:
        sent = sealed(self, expected, head, decision)
        self._stored(sent)
        return sent

    monkeypatch.setattr(operation.Operation, "_sealed", early)


def forgotten_once_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a commit has taken along do not hear of it, and are decided again."""
    monkeypatch.setattr(operation.Operation, "_stored", lambda self, sent: None)


def store_ignores_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits overwrite each other."""
    commit = MemoryStore.commit

    def overwriting(self: Any, uid: str, change: Any, expected: str, want: Any) -> None:
        try:
            commit(self, uid, change, expected, want)
        except Conflict:
            commit(self, uid, change, self.load(uid, want).version, want)

    monkeypatch.setattr(MemoryStore, "commit", overwriting)


def refusals_are_believed_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a remembered view refuses is refused, without a load."""
    attempt = operation.Operation._try

    def trusting(self: Any, snapshot: Any, want: Any, *, fresh: bool) -> Any:
        return attempt(self, snapshot, want, fresh=True)

    monkeypatch.setattr(operation.Operation, "_try", trusting)


def memory_without_what_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A remembered view keeps the version of before, so that nothing is decided on the state of now."""
    committed = RememberedViews.committed

    def stale(self: Any, key: Any, snapshot: Any, want: Any, change: Any) -> None:
        committed(self, key, snapshot, want, change._replace(put={}))

    monkeypatch.setattr(RememberedViews, "committed", stale)


def counts_forget_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abandoned instance stays counted as unresolved."""
    monkeypatch.setattr(session, "RESOLVED", frozenset({Status.FINISHED, Status.SKIPPED, Status.REPLAYED}))


def skip_forgets_its_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger reaches the instances but is not remembered."""

    def forgetful(session: Any, trigger: str, *arguments: Any) -> Any:
        result = original(session, trigger, *arguments)
        session.view.drop(records.TRIGGERS, trigger)
        return result

    original = fire.fire
    monkeypatch.setattr(application, "fire", forgetful)


def finalizing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the session was finalized is not looked at."""
    monkeypatch.setattr(session.Session, "finalized", property(lambda self: False))


def parent_forgets_what_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery to the parent that is repeated fires again."""

    class Forgetful(related.Arrive):
        def apply(self, session: Any) -> bool:
            child = session.view.get(records.CHILDREN, self.uid)
            if child is not None:
                session.view.put(records.CHILDREN, self.uid, replace(child, arrived=0))
            return super().apply(session)

    monkeypatch.setattr(relations, "Arrive", Forgetful)


def parcel_dropped_before_it_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox is emptied before the parent has the fire."""
    deliver = relations._deliver

    def hasty(process: Any, child: Any, parent: Any, link: Any, arrivals: Sequence[Any]) -> bool:
        process.runtime.execute(child, related.DropParcels([arrival.number for arrival in arrivals]))
        return deliver(process, child, parent, link, list(arrivals))

    monkeypatch.setattr(relations, "_deliver", hasty)


def repeated_events_fire_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event ids are not kept."""
    apply = application.Fire.apply

    def forgetful(self: Any, session: Any) -> Any:
        self.event_id, kept = None, self.event_id
        try:
            return apply(self, session)
        finally:
            self.event_id = kept

    monkeypatch.setattr(application.Fire, "apply", forgetful)


def finalizing_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last task but one finalizes the session."""
    pending = session.Session.pending.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(session.Session, "pending", property(lambda self: max(0, pending(self) - 1)))


def finalizing_with_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all is resolved is judged by what was stored before, so that of two last tasks neither may finalize."""
    monkeypatch.setattr(session.Session, "pending", property(lambda self: self.head.pending if self.head else 0))


def stars_that_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """``*.trigger`` fires before the set of children is complete."""
    monkeypatch.setattr(session.Session, "children_complete", property(lambda self: True))


def stars_forgotten_when_the_set_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declaring the children complete does not look at what they have fired already."""

    def declare(self: Any, session: Any) -> bool:
        session.set_head(children_complete=True)
        return True

    monkeypatch.setattr(related.CompleteChildren, "apply", declare)


def parcels_last_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox is delivered last first."""
    monkeypatch.setattr(relations, "sorted", lambda numbers: sorted(numbers)[::-1], raising=False)


def incarnations_that_forget_what_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A join that is repeated has the parent take all numbers again."""
    apply = related.RegisterChild.apply

    def anew(self: Any, session: Any) -> None:
        apply(self, session)
        child = session.view.get(records.CHILDREN, self.uid)
        session.view.put(records.CHILDREN, self.uid, replace(child, arrived=0))

    monkeypatch.setattr(related.RegisterChild, "apply", anew)


def moved_whatever_happened_since_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original is closed though it has changed after it was copied."""
    apply = lifecycle.Close.apply

    def careless(self: Any, session: Any) -> str:
        self.expected, copied = session.view.version, self.expected
        apply(self, session)
        if session.head.closed != "moved":
            session.set_head(copy_of=copied)
        return str(copied)

    monkeypatch.setattr(lifecycle.Close, "apply", careless)


def copies_that_are_active_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy takes fires before its original is closed."""
    write = sessions._copy_of

    def active(snapshot: Any, head: Any, version: str, source: str) -> Any:
        change = write(snapshot, head, version, source)
        record = change.put["session", "head"]
        return change._replace(put={**change.put, ("session", "head"): record._replace(value=encode(head))})

    monkeypatch.setattr(sessions, "_copy_of", active)


def moved_sessions_still_take_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original takes fires after it was closed."""
    monkeypatch.setattr(application.Fire, "admitted_when_closed", True)


def explanations_without_unless(monkeypatch: pytest.MonkeyPatch) -> None:
    """``explain`` does not see that an ``unless`` is complete."""
    monkeypatch.setattr(explain, "_forbids", lambda task, received, missing: False)


def explanations_that_forget_a_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    """``explain`` forgets one of the triggers that are missing."""
    lacks = explain._lacks
    monkeypatch.setattr(explain, "_lacks", lambda task, received: lacks(task, received)[1:] or lacks(task, received))


def explanations_with_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """``explain`` names triggers that have come."""
    monkeypatch.setattr(explain, "_lacks", lambda task, received: task.needs)


PLANTED: dict[str, tuple[Plant, str]] = {
    "cascade in a second commit": (cascade_in_a_second_commit, "join with failures and a replay"),
    "no wake-up for what is scheduled": (delivery_instead_of_a_stored_schedule, "join with failures and a replay"),
    "no attempt check": (no_attempt_check, "leases that run out while the worker lives"),
    "lease not fenced": (lease_not_fenced, "leases that run out while the worker lives"),
    "wake-up forgotten on retry": (wake_up_forgotten_on_retry, "andEvery, unless, retries, fires from bodies"),
    "two deliveries both start": (two_deliveries_both_start, "events that come twice"),
    "lost replies are decided again": (lost_replies_are_decided_again, "without remembered views"),
    "lost replies count as success": (lost_replies_count_as_success, "without remembered views"),
    "told before it is stored": (told_before_it_is_stored, "fires that wait for each other"),
    "forgotten once stored": (forgotten_once_stored, "fires that wait for each other"),
    "the store ignores the version": (store_ignores_the_version, "join with failures and a replay"),
    "refusals are believed from memory": (refusals_are_believed_from_memory, "join with failures and a replay"),
    "a stale memory": (memory_without_what_was_dropped, "andEvery, unless, retries, fires from bodies"),
    "counts forget the abandoned": (counts_forget_abandoned, "andEvery, unless, retries, fires from bodies"),
    "fires are not remembered": (skip_forgets_its_cascade, "join with failures and a replay"),
    "finalizing twice": (finalizing_twice, "finalizing with two last tasks at once"),
    "the parent forgets what arrived": (parent_forgets_what_arrived, "a child and its parent"),
    "a parcel dropped before it arrived": (parcel_dropped_before_it_arrived, "a child and its parent"),
    "finalizing too early": (finalizing_too_early, "finalizing with two last tasks at once"),
    "finalizing with the next commit": (finalizing_with_the_next_commit, "finalizing with two last tasks at once"),
    "stars that wait for nobody": (stars_that_wait_for_nobody, "joining another store's session, and complete children"),
    "stars forgotten when the set is complete": (
        stars_forgotten_when_the_set_is_complete,
        "joining another store's session, and complete children",
    ),
    "parcels last first": (parcels_last_first, "a child and its parent in another store"),
    "an incarnation that forgets what arrived": (
        incarnations_that_forget_what_arrived,
        "joining another store's session, and complete children",
    ),
    "moved whatever happened since the copy": (moved_whatever_happened_since_the_copy, "moving while it works"),
    "copies that are active at once": (copies_that_are_active_at_once, "moving while it works"),
    "moved sessions still take fires": (moved_sessions_still_take_fires, "moving while it works"),
    "explanations without unless": (explanations_without_unless, "andEvery, unless, retries, fires from bodies"),
    "explanations that forget a trigger": (explanations_that_forget_a_trigger, "join with failures and a replay"),
    "explanations with too much": (explanations_with_too_much, "join with failures and a replay"),
    "repeated events fire again": (repeated_events_fire_again, "events that come twice"),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED)
def test_the_simulator_finds(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug is found, and the report shows a short schedule."""
    plant, scenario = PLANTED[bug]
    plant(monkeypatch)
    with pytest.raises((Failure, OutcomeUnknown, Exception)) as found:
        simulate(SCENARIOS[scenario], SCHEDULES)
    assert isinstance(found.value, Failure), f"found as {found.value!r}"
    assert len(found.value.choices) < 80
