"""What must hold after each step of a simulation, read from the store alone and judged without the engine."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from triggers import records
from triggers.codec import decode
from triggers.config import Configuration
from triggers.engine.closing import COPY, MOVED
from triggers.records import Count, Head, Instance
from triggers.store import EVERYTHING, Snapshot
from triggers.testing.simulator.application import PARENT, SESSION, Application
from triggers.testing.simulator.explanations import Explanations, State
from triggers.testing.simulator.families import Families
from triggers.testing.simulator.violation import require

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


class Checks:
    """Compares each stored state with the one before, and with what was done.

    Args:
        world: the simulation.
        judged: what ``Explanations`` has judged before.
    """

    def __init__(self, world: World, judged: set[State] | None = None) -> None:
        self._world = world
        self._explanations = Explanations(judged)
        self._families = Families(world)
        self._before: dict[tuple[str, str, str], Instance] = {}
        self._final: set[tuple[str, str]] = set()

    def step(self) -> None:
        """Checks the sessions that the last step changed."""
        for place, uid in sorted(self._world.changed):
            self.session(place, uid)
        if self._world.changed:
            self._families.step()
        self._world.changed.clear()
        for (uid, name, attempt), times in self._world.bodies.items():
            require(times == 1, f"R24: attempt {attempt} of {name} in {uid} ran {times} times")

    def session(self, place: str, uid: str) -> None:
        """Checks one session in one of the stores; of one that was moved only its mark is left."""
        snapshot = self._world.stores[place].load(uid, EVERYTHING)
        if not snapshot.version:
            return
        instances = _instances(snapshot)
        head = records.read(records.HEAD, "head", snapshot.records["session"]["head"].value)
        if head.closed == MOVED:
            return
        for instance, collection, wake_at in instances:
            self._transition((place, uid, instance.name), instance, head.closed == COPY)
            _placed(instance, collection)
            _woken(instance, wake_at)
        found = [instance for instance, _, _ in instances]
        _cascades(snapshot, found)
        _counts(snapshot, head, found)
        _one_shots(snapshot, found)
        if head.closed != COPY:
            self._fires(uid, snapshot)
        finalizes = self._world.scenario.finalize
        _finalized(snapshot, head, found, (place, uid) in self._final, finalizes and bool(_configuration(snapshot).tasks))
        if head.finalized is not None:
            self._final.add((place, uid))
        self._explanations.check(uid, snapshot, self._world.now)

    def at_rest(self, application: Application) -> None:
        """Checks that nothing is left to happen by itself (R28)."""
        self._at_rest(application.home, SESSION)
        self._at_rest(application.parents_home, PARENT)
        self._families.at_rest(application)

    def _at_rest(self, place: str, uid: str) -> None:
        snapshot = self._world.stores[place].load(uid, EVERYTHING)
        if not snapshot.version:
            return
        fired = snapshot.records.get("trigger", {})
        instances = [instance for instance, _, _ in _instances(snapshot)]
        for instance in instances:
            require(instance.status not in ("scheduled", "running"), f"R28: {instance.name} is left {instance.status}")
            if instance.status == "finished":
                ran = self._world.bodies[uid, instance.name, instance.attempt]
                require(ran == 1, f"R28: {instance.name} is finished, its attempt {instance.attempt} ran {ran} times")
                reported = decode(instance.result)["attempt"] if isinstance(instance.result, msgspec.Raw) else None
                require(reported == instance.attempt, f"R25: attempt {reported} reported for attempt {instance.attempt}")
        for task, config in _configuration(snapshot).tasks.items():
            own = [instance for instance in instances if instance.task == task]
            named = [trigger for trigger in config.names if trigger in fired]
            require(bool(own) or not named, f"R5: {task} has no instance though {named} fired")
            for instance in own:
                if instance.status == "unstarted":
                    missing = [trigger for trigger in config.needs if trigger not in instance.kwargs]
                    require(bool(missing), f"R8: {instance.name} is complete and unstarted")
                    if config.and_every is None:
                        lost = [trigger for trigger in missing if trigger in fired]
                        require(not lost, f"R6: {instance.name} never received {lost}")

    def _transition(self, key: tuple[str, str, str], instance: Instance, inert: bool) -> None:
        """The step from what it was before; a copy that is not active may be an old one."""
        before = None if inert else self._before.get(key)
        self._before[key] = instance
        if inert:
            return
        source = "new" if before is None else str(before.status)
        require(instance.status in _MAY_FOLLOW[source], f"{instance.name} went from {source} to {instance.status}")
        if before is not None:
            require(instance.attempt >= before.attempt, f"R25: {instance.name} went back to attempt {instance.attempt}")
            lost = before.status == "running" and instance.status == "scheduled"
            require(not lost or instance.attempt > before.attempt, f"R25: {instance.name} was lost but kept its attempt")
            for trigger, kwargs in before.kwargs.items():
                if trigger in instance.kwargs:
                    require(bytes(instance.kwargs[trigger]) == bytes(kwargs), f"R6: {instance.name} lost its {trigger}")

    def _fires(self, uid: str, snapshot: Snapshot) -> None:
        confirmed = self._world.confirmed
        for (session, trigger), most in self._world.attempted.items():
            if session == uid:
                record = snapshot.records.get("trigger", {}).get(trigger)
                count = 0 if record is None else records.read(records.TRIGGERS, trigger, record.value).count
                number = confirmed.get((uid, trigger), 0)
                require(number <= count <= most, f"R28: {trigger} fired {count} times; {number} confirmed, {most} tried")


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
        require(place in ("waiting", "queued"), f"{instance.name} is unstarted in {place}")
    else:
        require(place == right, f"{instance.name} is {instance.status} in {place}")


def _woken(instance: Instance, wake_at: int | None) -> None:
    needs = instance.status in ("scheduled", "running")
    require(needs == (wake_at is not None), f"R27: {instance.name} is {instance.status} with the wake-up {wake_at}")


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
        require(least + skipped[task] <= count <= most, f"R16: {task} cascaded {count} times, {least} instances finished")


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
        require(count.next == len(own), f"{task} counts {count.next} instances, it has {len(own)}")
        require(count.unresolved == unresolved, f"{task} counts {count.unresolved} unresolved, it has {unresolved}")
        queued = len(snapshot.records.get(f"queued/{task}", {}))
        require(count.queued == queued, f"{task} counts {count.queued} queued, it has {queued}")
        unresolved_tasks += task in tasks and (not own or unresolved > 0)
    require(head.unresolved == unresolved_tasks, f"R15: {head.unresolved} unresolved tasks, a recount gives {unresolved_tasks}")
    failed = sum(instance.status == "failed" for instance in instances)
    require(head.failed == failed, f"{head.failed} failed instances, a recount gives {failed}")
    require(head.instances == len(instances), f"{head.instances} instances, a recount gives {len(instances)}")


def _one_shots(snapshot: Snapshot, instances: list[Instance]) -> None:
    for task, config in _configuration(snapshot).tasks.items():
        if config.and_every is None:
            first = [instance for instance in instances if instance.task == task and instance.parent is None]
            require(len(first) <= 1, f"R10: {task} made {len(first)} instances of its own")


def _finalized(snapshot: Snapshot, head: Head, instances: list[Instance], before: bool, finalizes: bool) -> None:
    """R29: once, in the step that resolves the last task that does not wait for it, and in no other."""
    record = snapshot.records.get("trigger", {}).get("sessionFinalized")
    count = 0 if record is None else records.read(records.TRIGGERS, "sessionFinalized", record.value).count
    require(count == (head.finalized is not None), f"R29: sessionFinalized fired {count} times, finalized: {head.finalized}")
    if not finalizes or before or head.closed:
        return
    left = [task for task in _before_finalization(_configuration(snapshot)) if not _resolved(task, instances)]
    require(head.finalized is None or not left, f"R29: finalized though {left} are unresolved")
    require(head.finalized is not None or bool(left), "R29: every task is resolved, and the session is not finalized")


def _before_finalization(configuration: Configuration) -> list[str]:
    """The tasks that wait for ``sessionFinalized`` neither themselves nor through others."""
    awaiting = {"sessionFinalized"}
    while more := {task for task, config in configuration.tasks.items() if awaiting & {*config.needs}} - awaiting:
        awaiting |= more
    return [task for task in configuration.tasks if task not in awaiting]


def _resolved(task: str, instances: list[Instance]) -> bool:
    own = [instance for instance in instances if instance.task == task]
    return bool(own) and all(instance.status in _RESOLVED for instance in own)


def _configuration(snapshot: Snapshot) -> Configuration:
    record = snapshot.records.get("config", {}).get("current")
    return Configuration({}) if record is None else Configuration.decode(record.value)
