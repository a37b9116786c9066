"""The simulated world: a store that all processes share, a clock, messages under way, and processes made of greenlets.

A greenlet gives up its turn at every load, before and after every commit, in the middle of a work, and while it waits
for another greenlet of its process. A killed process is never resumed; what its greenlets still try when they are thrown
away is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import greenlet

from triggers.errors import OutcomeUnknown
from triggers.heartbeat import Heartbeat
from triggers.process import Process
from triggers.runners import BaseTaskRunner, Delivery, task_runners
from triggers.settings import Settings
from triggers.storages import storage_backends
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import Capability, Change, DuePage, ScanPage, Snapshot, Store, Want
from triggers.testing.simulator.choices import Choices
from triggers.testing.simulator.scenario import Scenario
from triggers.turns import Errand, Turns

R = TypeVar("R")
START = datetime(2030, 1, 1, tzinfo=UTC)
RUNNER = "simulated"
NEAR, FAR = "simulated-near", "simulated-far"
"""The keys of the two storages."""


class Dead(BaseException):
    """Raised in what is left of a killed process."""


class SimulatedStore(Store):
    """One process's connection to the shared store."""

    api_version = 1
    capabilities = Capability.DUE | Capability.SCAN

    def __init__(self, process: SimulatedProcess, key: str) -> None:
        super().__init__()
        self._process = process
        self._store = process.world.stores[key]
        self._key = key
        self._where = "" if key == NEAR else " far away"

    def load(self, uid: str, want: Want) -> Snapshot:
        """A load; afterwards others may go on."""
        self._process.point(f"load {uid}{self._where}")
        return self._store.load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """A commit; the process may die before and after it, and its answer may get lost."""
        world = self._process.world
        self._process.point(f"commit {uid}{self._where}")
        fault = world.choose_reply()
        if fault == "never sent":
            raise OutcomeUnknown("the connection was lost before the commit")
        self._store.commit(uid, change, expected, want)
        world.changed.add((self._key, uid))
        self._process.point(f"committed {uid}{self._where}")
        if fault == "reply lost":
            raise OutcomeUnknown("the connection was lost after the commit")

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """A deletion."""
        self._process.point(f"delete {uid}{self._where}")
        return self._store.delete(uid, expected)

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """A page of wake-ups."""
        self._process.point(f"due{self._where}")
        return self._store.due(before, after, limit)

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """A page of sessions."""
        return self._store.scan(label, after, limit)


class SimulatedStorage(MemoryStorageBackend):
    """A session as the process sees it whose turn it is."""

    api_version = 1
    key = NEAR
    world: World

    @classmethod
    def shared_store(cls, key: str, options: Mapping[str, Any] | None = None) -> Store:
        """That process's connection to the storage."""
        return cls.world.running.stores[key]


class SimulatedTurns(Turns):
    """Turns of greenlets: the one that waits lets the others go on."""

    def __init__(self, process: SimulatedProcess) -> None:
        super().__init__()
        self._process = process
        self._busy: set[Any] = set()
        self._waiting: list[tuple[Hashable, Errand]] = []

    def behind(self, key: Hashable, limit: int) -> list[Errand]:
        """The errands of those that wait."""
        return [errand for waits_for, errand in self._waiting if waits_for == key][:limit]

    def run(self, key: Hashable, work: Callable[[], R], *, urgent: bool = False, errand: Errand | None = None) -> R:
        """Waits until nobody else of the process is at the session, and does the work."""
        if errand is not None:
            self._waiting.append((key, errand))
        try:
            while key in self._busy and not (errand is not None and errand.settled):
                self._process.point("wait")
        finally:
            if errand is not None:
                self._waiting.remove((key, errand))
        if errand is not None and errand.settled:
            return work()
        self._busy.add(key)
        try:
            return work()
        finally:
            self._busy.discard(key)


class SimulatedHeartbeat(Heartbeat):
    """A heartbeat that beats when the schedule says so."""

    def start(self, store: Store) -> None:
        """Starts nothing."""


class SimulatedRunner(BaseTaskRunner):
    """Puts deliveries among the messages of the world that is being simulated."""

    api_version = 1
    world: World

    def deliver(self, delivery: Delivery) -> None:
        """Sends the message."""
        type(self).world.messages.append(delivery._replace(storage=None))

    def serves(self, run: str) -> bool:
        """Everything."""
        return True


class SimulatedProcess:
    """A process of the application, with its own client, memory and connection."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.alive = True
        self.stores = {key: SimulatedStore(self, key) for key in world.stores}
        self.process = Process(lambda: world.settings, lambda: world.now)
        self.process.runtime.turns = SimulatedTurns(self)
        self.process.runtime.pause = lambda seconds: self.point("pause")
        self.process.runtime.chance = lambda: 0.5
        self.process.heartbeat = SimulatedHeartbeat(self.process.runtime)
        self.greenlets: list[tuple[str, greenlet.greenlet]] = []
        for key in self.stores:
            self.process.use(self.session("any", key))

    def session(self, uid: str, key: str) -> SimulatedStorage:
        """A handle on a session."""
        return SimulatedStorage(uid, key=key, store=self.stores[key])

    def spawn(self, what: str, run: Callable[[], Any]) -> None:
        """Starts something in this process; it gets its first turn later."""
        self.greenlets.append((what, greenlet.greenlet(run)))

    def point(self, where: str) -> None:
        """Gives up the turn; raises ``Dead`` if the process was killed meanwhile."""
        current = greenlet.getcurrent()
        if not self.alive:
            raise Dead
        if current is not self.world.hub:
            self.world.trace.append(f"p{self.number}: {where}")
            self.world.hub.switch()
            if not self.alive:
                raise Dead

    def resume(self, index: int) -> None:
        """Gives one greenlet its turn."""
        what, running = self.greenlets[index]
        self.world.trace.append(f"p{self.number} goes on with {what}")
        self.world.running = self
        running.switch()
        if running.dead:
            self.greenlets = [pair for pair in self.greenlets if pair[1] is not running]

    def kill(self) -> None:
        """Ends the process where it is."""
        self.alive = False
        self.world.trace.append(f"p{self.number} is killed")
        self.world.graveyard.extend(running for _, running in self.greenlets)
        self.greenlets = []


class World:
    """All that one schedule plays with.

    Args:
        scenario: what is played.
        choices: the schedule.
    """

    def __init__(self, scenario: Scenario, choices: Choices) -> None:
        self.scenario = scenario
        self.choices = choices
        self.hub = greenlet.getcurrent()
        self.stores = {key: MemoryStore() for key in ((NEAR, FAR) if scenario.two_stores else (NEAR,))}
        self.now = START
        self.settings = Settings(
            storage=NEAR,
            runner=RUNNER,
            sweep_interval=0.0,
            finalize=scenario.finalize,
            **{"lease": 60.0, "redeliver_after": 60.0, "max_attempts": 50, "history": 500, **scenario.settings},
        )
        self.messages: list[Delivery] = []
        self.trace: list[str] = []
        self.changed: set[tuple[str, str]] = set()
        self.graveyard: list[greenlet.greenlet] = []
        self.bodies: Counter[tuple[str, str, int]] = Counter()
        self._confirmed: dict[tuple[str, str], set[str]] = {}
        self._attempted: dict[tuple[str, str], set[str]] = {}
        self._fires = 0
        self.faults = {
            "kills": scenario.kills,
            "lost_replies": scenario.lost_replies,
            "lost_deliveries": scenario.lost_deliveries,
            "repeated_deliveries": scenario.repeated_deliveries,
        }
        self.calm = False
        SimulatedRunner.world = SimulatedStorage.world = self
        if RUNNER not in task_runners:
            task_runners.register(RUNNER, SimulatedRunner)
        for key in (NEAR, FAR):
            if key not in storage_backends:
                storage_backends.register(key, SimulatedStorage)
        self.processes = [SimulatedProcess(self, number) for number in range(scenario.processes)]
        self.running = self.processes[0]

    @property
    def confirmed(self) -> dict[tuple[str, str], int]:
        """How often each trigger was confirmed to have fired, by session and trigger."""
        return {key: len(found) for key, found in self._confirmed.items()}

    @property
    def attempted(self) -> dict[tuple[str, str], int]:
        """How often each trigger was tried to be fired; with an event id only once per id."""
        return {key: len(found) for key, found in self._attempted.items()}

    def attempt(self, uid: str, trigger: str, identity: str | None) -> None:
        """Notes that a fire is tried."""
        self._fires += 1
        self._attempted.setdefault((uid, trigger), set()).add(identity or f"#{self._fires}")

    def confirm(self, uid: str, trigger: str, identity: str | None) -> None:
        """Notes that a fire was confirmed."""
        self._fires += 1
        self._confirmed.setdefault((uid, trigger), set()).add(identity or f"#{self._fires}")

    def spend(self, fault: str) -> bool:
        """Takes one from the budget of a fault; says whether there was one."""
        if self.calm or not self.faults[fault]:
            return False
        self.faults[fault] -= 1
        return True

    def choose_reply(self) -> str:
        """What becomes of a commit: usually nothing special."""
        if self.calm or not self.faults["lost_replies"]:
            return ""
        choice = self.choices.pick(6)
        if choice not in (4, 5) or not self.spend("lost_replies"):
            return ""
        fault = "reply lost" if choice == 4 else "never sent"
        self.trace.append(f"the next commit: {fault}")
        return fault

    def advance(self, seconds: float) -> None:
        """Moves the clock."""
        self.now += timedelta(seconds=seconds)
        self.trace.append(f"{seconds:g} s pass")

    def close(self) -> None:
        """Ends all processes, so that nothing of them acts any more."""
        for process in self.processes:
            process.kill()
