"""What must hold after each step of a simulation, read from the store alone and judged without the engine."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from triggers import records
from triggers.codec import decode
from triggers.config import Configuration
from triggers.records import Count, Head, Instance
from triggers.store import EVERYTHING, Snapshot

if TYPE_CHECKING:
    from triggers.testing.simulator.world import World

_RESOLVED = {"finished", "abandoned", "skipped", "replayed"}
_MAY_FOLLOW = {
    "new": {"unstarted", "scheduled", "abandoned"},
    "unstarted": {"unstarted", "scheduled", "abandoned"},
    "scheduled": {"scheduled", "running", "failed", "replayed", "abandoned"},
    "running": {"running", "finished", "failed", "replayed", "skipped", "scheduled", "abandoned"},
    "failed": {"failed", "replayed", "skipped", "abandoned"},
    "finished": {"finished"},
    "abandoned": {"abandoned"},
    "skipped": {"skipped"},
    "replayed": {"replayed"},
}


class Violation(AssertionError):
    """A rule does not hold."""


class Checks:
    """Compares each stored state with the one before, and with what was done.

    Args:
        world: the simulation.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._before: dict[tuple[str, str], Instance] = {}

    def step(self) -> None:
        """Checks the sessions that the last step changed."""
        for uid in sorted(self._world.changed):
            self.session(uid)
        self._world.changed.clear()
        for (uid, name, attempt), times in self._world.bodies.items():
            _require(times == 1, f"R24: attempt {attempt} of {name} in {uid} ran {times} times")

    def session(self, uid: str) -> None:
        """Checks one session."""
        snapshot = self._world.store.load(uid, EVERYTHING)
        if not snapshot.version:
            return
        instances = _instances(snapshot)
        head = records.read(records.HEAD, "head", snapshot.records["session"]["head"].value)
        for instance, place, wake_at in instances:
            self._transition(uid, instance)
            _placed(instance, place)
            _woken(instance, wake_at)
        found = [instance for instance, _, _ in instances]
        _cascades(snapshot, found)
        _counts(snapshot, head, found)
        _one_shots(snapshot, found)
        self._fires(uid, snapshot)
        _finalized(snapshot, head)

    def at_rest(self, uid: str) -> None:
        """Checks a session in which nothing more happens by itself (R28)."""
        snapshot = self._world.store.load(uid, EVERYTHING)
        if not snapshot.version:
            return
        fired = snapshot.records.get("trigger", {})
        instances = [instance for instance, _, _ in _instances(snapshot)]
        for instance in instances:
            _require(instance.status not in ("scheduled", "running"), f"R28: {instance.name} is left {instance.status}")
            if instance.status == "finished":
                ran = self._world.bodies[uid, instance.name, instance.attempt]
                _require(ran == 1, f"R28: {instance.name} is finished, its attempt {instance.attempt} ran {ran} times")
                reported = decode(instance.result)["attempt"] if isinstance(instance.result, msgspec.Raw) else None
                _require(reported == instance.attempt, f"R25: attempt {reported} reported for attempt {instance.attempt}")
        for task, config in _configuration(snapshot).tasks.items():
            own = [instance for instance in instances if instance.task == task]
            named = [trigger for trigger in config.names if trigger in fired]
            _require(bool(own) or not named, f"R5: {task} has no instance though {named} fired")
            for instance in own:
                if instance.status == "unstarted":
                    missing = [trigger for trigger in config.needs if trigger not in instance.kwargs]
                    _require(bool(missing), f"R8: {instance.name} is complete and unstarted")
                    if config.and_every is None:
                        lost = [trigger for trigger in missing if trigger in fired]
                        _require(not lost, f"R6: {instance.name} never received {lost}")
        self._parent(uid, snapshot)

    def _parent(self, uid: str, snapshot: Snapshot) -> None:
        """R30: what fired in the child has fired in the parent, as often."""
        if uid != "parent":
            return
        child = self._world.store.load("session", EVERYTHING).records.get("trigger", {})
        here = snapshot.records.get("trigger", {})
        for trigger, record in child.items():
            there = here.get(f"child.{trigger}")
            count = 0 if there is None else records.read(records.TRIGGERS, trigger, there.value).count
            sent = records.read(records.TRIGGERS, trigger, record.value).count
            _require(count == sent, f"R30: {trigger} fired {sent} times in the child and {count} times in the parent")

    def _transition(self, uid: str, instance: Instance) -> None:
        before = self._before.get((uid, instance.name))
        source = "new" if before is None else str(before.status)
        _require(instance.status in _MAY_FOLLOW[source], f"{instance.name} went from {source} to {instance.status}")
        if before is not None:
            _require(instance.attempt >= before.attempt, f"R25: {instance.name} went back to attempt {instance.attempt}")
            lost = before.status == "running" and instance.status == "scheduled"
            _require(not lost or instance.attempt > before.attempt, f"R25: {instance.name} was lost but kept its attempt")
            for trigger, kwargs in before.kwargs.items():
                if trigger in instance.kwargs:
                    _require(bytes(instance.kwargs[trigger]) == bytes(kwargs), f"R6: {instance.name} lost its {trigger}")
        self._before[uid, instance.name] = instance

    def _fires(self, uid: str, snapshot: Snapshot) -> None:
        confirmed = self._world.confirmed
        for (session, trigger), most in self._world.attempted.items():
            if session == uid:
                record = snapshot.records.get("trigger", {}).get(trigger)
                count = 0 if record is None else records.read(records.TRIGGERS, trigger, record.value).count
                number = confirmed.get((uid, trigger), 0)
                _require(number <= count <= most, f"R28: {trigger} fired {count} times; {number} confirmed, {most} tried")


def _instances(snapshot: Snapshot) -> list[tuple[Instance, str, int | None]]:
    return [
        (records.read(records.live(""), key, record.value), collection.partition("/")[0], record.wake_at)
        for collection, entries in snapshot.records.items()
        if records.task_of(collection) is not None
        for key, record in entries.items()
    ]


def _placed(instance: Instance, place: str) -> None:
    right = "done" if instance.status in _RESOLVED else "live"
    if instance.status == "unstarted":
        _require(place in ("waiting", "queued"), f"{instance.name} is unstarted in {place}")
    else:
        _require(place == right, f"{instance.name} is {instance.status} in {place}")


def _woken(instance: Instance, wake_at: int | None) -> None:
    needs = instance.status in ("scheduled", "running")
    _require(needs == (wake_at is not None), f"R27: {instance.name} is {instance.status} with the wake-up {wake_at}")


def _cascades(snapshot: Snapshot, instances: list[Instance]) -> None:
    """R16: as many cascades as finished instances, at every moment (works that skip themselves do not cascade here)."""
    finished = Counter(instance.task for instance in instances if instance.status == "finished")
    skipped = Counter(i.task for i in instances if i.status == "skipped" and i.metadata.get("cascade"))
    fired = snapshot.records.get("trigger", {})
    for task in {instance.task for instance in instances}:
        record = fired.get(task)
        count = 0 if record is None else records.read(records.TRIGGERS, task, record.value).count
        least = finished[task]
        most = finished[task] + sum(i.status == "skipped" for i in instances if i.task == task)
        _require(least + skipped[task] <= count <= most, f"R16: {task} cascaded {count} times, {least} instances finished")


def _counts(snapshot: Snapshot, head: Head, instances: list[Instance]) -> None:
    """The counts say what a recount says (R15)."""
    tasks = _configuration(snapshot).tasks
    counts = {
        task: records.read(records.COUNTS, task, record.value) for task, record in snapshot.records.get("count", {}).items()
    }
    unresolved_tasks = 0
    for task in {*tasks, *(instance.task for instance in instances)}:
        own = [instance for instance in instances if instance.task == task]
        unresolved = sum(instance.status not in _RESOLVED for instance in own)
        count = counts.get(task, Count())
        _require(count.next == len(own), f"{task} counts {count.next} instances, it has {len(own)}")
        _require(count.unresolved == unresolved, f"{task} counts {count.unresolved} unresolved, it has {unresolved}")
        queued = len(snapshot.records.get(f"queued/{task}", {}))
        _require(count.queued == queued, f"{task} counts {count.queued} queued, it has {queued}")
        unresolved_tasks += task in tasks and (not own or unresolved > 0)
    _require(head.unresolved == unresolved_tasks, f"R15: {head.unresolved} unresolved tasks, a recount gives {unresolved_tasks}")
    failed = sum(instance.status == "failed" for instance in instances)
    _require(head.failed == failed, f"{head.failed} failed instances, a recount gives {failed}")
    _require(head.instances == len(instances), f"{head.instances} instances, a recount gives {len(instances)}")


def _one_shots(snapshot: Snapshot, instances: list[Instance]) -> None:
    for task, config in _configuration(snapshot).tasks.items():
        if config.and_every is None:
            first = [instance for instance in instances if instance.task == task and instance.parent is None]
            _require(len(first) <= 1, f"R10: {task} made {len(first)} instances of its own")


def _finalized(snapshot: Snapshot, head: Head) -> None:
    record = snapshot.records.get("trigger", {}).get("sessionFinalized")
    count = 0 if record is None else records.read(records.TRIGGERS, "sessionFinalized", record.value).count
    _require(count == (head.finalized is not None), f"R29: sessionFinalized fired {count} times, finalized: {head.finalized}")


def _configuration(snapshot: Snapshot) -> Configuration:
    record = snapshot.records.get("config", {}).get("current")
    return Configuration({}) if record is None else Configuration.decode(record.value)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)
