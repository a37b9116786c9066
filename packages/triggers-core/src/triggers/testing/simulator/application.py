"""What the simulated application does: its fires and its operations, each repeated as an application would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.engine.closing import CANCELLED
from triggers.errors import IllegalTransition, OutcomeUnknown, RelationError, SessionClosed, StaleAttempt, UnknownInstance
from triggers.manager import TriggerManager
from triggers.sessions import move
from triggers.store import EVERYTHING
from triggers.testing.simulator.world import FAR, NEAR, SimulatedProcess

if TYPE_CHECKING:
    from triggers.testing.simulator.play import Play

SESSION, PARENT, ALIAS = "session", "parent", "child"
_STEADY = ("join", "complete", "move")
Fire = tuple[str, str | None]
Operation = tuple[str, ...]


class Application:
    """The application of a play.

    Attributes:
        script: fires that are still to come, ``(trigger, event id)``.
        waiting: fires that found the session on its move, and wait until it has arrived.
        operations: operations that are still to come.
        home: the storage in which the application knows the session to be.
        parents_home: the storage of the parent.
        done: the operations that were confirmed.
    """

    def __init__(self, play: Play) -> None:
        scenario = play.scenario
        self._play = play
        self.script: list[Fire] = [(fire, None) if isinstance(fire, str) else fire for fire in scenario.fires]
        self.operations: list[Operation] = list(scenario.operations)
        self.waiting: list[Fire] = []
        self.home = NEAR
        self.parents_home = FAR if scenario.two_stores else NEAR
        self.done: set[str] = set()
        self._linked: dict[str, bool] = {}
        """Of each fire, whether the session was known to have a parent when it was first tried."""
        self._fires: dict[int, list[Fire]] = {}
        self._operating: dict[int, list[Operation]] = {}

    def manager(self, process: SimulatedProcess, uid: str = SESSION) -> TriggerManager:
        """A manager in one of the processes."""
        key = self.parents_home if uid == PARENT else self.home
        return TriggerManager(process.session(uid, key), process=process.process)

    @property
    def unfinished(self) -> Operation | None:
        """An operation that is repeated until it is done, and is not yet."""
        return next((operation for operation in self.operations if operation[0] in _STEADY), None)

    def died(self, process: SimulatedProcess) -> None:
        """What a process was about that died: what can be repeated, is."""
        self.script += [fire for fire in self._fires.pop(process.number, []) if fire[1] is not None]
        self.operations += [one for one in self._operating.pop(process.number, []) if one[0] in _STEADY]

    def fire(self, process: SimulatedProcess, fire: Fire) -> None:
        """Fires, in a process; with an event id again if that is lost, and elsewhere if the session has moved."""
        trigger, event_id = fire
        world = self._play.world
        flying = self._fires.setdefault(process.number, [])
        flying.append(fire)
        linked = self._linked.setdefault(event_id or str(len(self._linked)), "join" in self.done)
        world.attempt(SESSION, trigger, event_id)
        try:
            self.manager(process).fire(trigger, {"from": trigger}, event_id=event_id)
            world.confirm(SESSION, trigger, event_id)
            if linked:
                world.confirm(PARENT, f"{ALIAS}.{trigger}", event_id)
        except OutcomeUnknown:
            if event_id is not None:
                self.script.append(fire)
        except SessionClosed as error:
            if CANCELLED not in str(error):
                (self.script if "move" in self.done else self.waiting).append(fire)
        flying.remove(fire)

    def possible(self, operation: Operation) -> bool:
        """Whether the time of an operation has come."""
        what = operation[0]
        if what in _STEADY or what == "try_join":
            return True
        task, _, number = operation[1].partition("#")
        snapshot = self._play.world.stores[self.home].load(SESSION, EVERYTHING)
        places = ("waiting", "queued", "live") if what == "cancel" else ("live",)
        record = next((found for place in places if (found := snapshot.records.get(f"{place}/{task}", {}).get(number))), None)
        return record is not None and (what == "cancel" or b'"status":"failed"' in record.value)

    def operate(self, process: SimulatedProcess, operation: Operation) -> None:
        """One operation, in a process; a steady one is repeated if it is lost."""
        what = operation[0]
        busy = self._operating.setdefault(process.number, [])
        busy.append(operation)
        try:
            self._do(process, what, operation[-1])
            self.done.add(what)
            if what == "move":
                self.script += self.waiting
                self.waiting.clear()
        except RelationError:
            pass
        except (IllegalTransition, UnknownInstance, OutcomeUnknown, StaleAttempt, SessionClosed):
            if what in _STEADY:
                self.operations.append(operation)
        busy.remove(operation)

    def _do(self, process: SimulatedProcess, what: str, name: str) -> None:
        manager = self.manager(process)
        match what:
            case "join" | "try_join":
                manager.join(PARENT, alias=ALIAS, storage=self.parents_home)
            case "complete":
                self.manager(process, PARENT).children_complete()
            case "move":
                move(process.process.runtime, process.session(SESSION, NEAR), process.session(SESSION, FAR))
                self.home = FAR
            case "replay":
                manager.replay_failed_instance(name)
            case "cancel":
                manager.cancel_instance(name, "simulated")
            case _:
                manager.skip_failed_instance(name, cascade=what == "skip_cascade")
