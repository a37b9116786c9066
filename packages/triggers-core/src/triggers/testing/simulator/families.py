"""What must hold between sessions: a child and its parent (R30), a session and what it was moved to (R31)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from triggers import records
from triggers.engine.closing import COPY, MOVED
from triggers.history import read_history
from triggers.records import Head
from triggers.storages.memory import MemoryStorageBackend
from triggers.store import EVERYTHING
from triggers.testing.simulator.application import ALIAS, PARENT, SESSION, Application
from triggers.testing.simulator.violation import require
from triggers.testing.simulator.world import FAR, NEAR

if TYPE_CHECKING:
    from triggers.testing.simulator.world import World

_STAR = "*."


class Families:
    """Compares sessions with each other, and with what the application was told.

    Args:
        world: the simulation.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def step(self) -> None:
        """R31: of all that bear the session's name, one at most takes fires."""
        heads = [self._head(place, SESSION) for place in self._world.stores]
        active = [head for head in heads if head is not None and head.closed not in (MOVED, COPY)]
        require(len(active) <= 1, "R31: two storages have the session, and both take fires")

    def at_rest(self, application: Application) -> None:
        """Judges the end."""
        self._moved(application)
        if self._world.scenario.parent is not None:
            heard = self._heard(application)
            self._stars(application, heard)

    def _moved(self, application: Application) -> None:
        """R31: the session is where the move brought it, and a mark is all that is left."""
        head = self._head(application.home, SESSION)
        require(head is not None and head.closed not in (MOVED, COPY), "R31: the session is nowhere")
        if "move" in application.done:
            require(application.home == FAR, "R31: a move that was confirmed has not moved the session")
            left = self._world.stores[NEAR].load(SESSION, EVERYTHING).records
            places = {
                (collection, key): record.wake_at for collection, entries in left.items() for key, record in entries.items()
            }
            require(places == {("session", "head"): None}, f"R31: the move has left {sorted(places)}")

    def _heard(self, application: Application) -> list[str]:
        """R30: all that fired since the join arrived, each once and in order; returns the triggers."""
        child = self._head(application.home, SESSION)
        require(child is not None, "the child is gone")
        fired = self._fired(application.home, SESSION, "")
        heard = self._fired(application.parents_home, PARENT, f"{ALIAS}.")
        joined = child is not None and child.parent is not None
        outbox = 0 if child is None else child.outbox
        require(joined or not heard, f"R30: the parent heard {heard} of a session that is not its child")
        require(heard == fired[len(fired) - len(heard) :], f"R30: {fired} fired in the child, the parent heard {heard}")
        told = child is None or child.parent is None or child.parent.confirmed
        require(told or not outbox, "R30: the parent was never told of a child that has fired since")
        require(not joined or len(heard) == outbox, f"R30: {outbox} fires were handed to the parent, it heard {len(heard)}")
        waiting = self._world.stores[application.home].load(SESSION, EVERYTHING).records.get("outbox", {})
        require(not waiting, f"R30: {len(waiting)} fires still wait for their delivery")
        if not {("join",), ("try_join",)} & {*self._world.scenario.operations}:
            require(heard == fired, f"R30: {fired} fired in the child since it joined, the parent heard {heard}")
        times = Counter(heard)
        for (uid, trigger), number in self._world.confirmed.items():
            if uid == PARENT:
                came = times[trigger.removeprefix(f"{ALIAS}.")]
                require(came >= number, f"R30: {trigger} was confirmed {number} times after the join, the parent heard it {came}")
        return heard

    def _stars(self, application: Application, heard: list[str]) -> None:
        """R30: ``*.trigger`` fired once if the children were complete and all had fired it, and else not."""
        parent = self._head(application.parents_home, PARENT)
        if parent is None:
            return
        require(parent.children_complete >= ("complete" in application.done), "R30: the children were declared complete in vain")
        times = Counter(self._fired(application.parents_home, PARENT, ""))
        storage = MemoryStorageBackend(PARENT, store=self._world.stores[application.parents_home])
        for star in {name for task in storage.tasks.values() for name in task.names if name.startswith(_STAR)}:
            all_have = not parent.children or star.removeprefix(_STAR) in heard
            right = int(parent.children_complete and all_have)
            require(times[star] == right, f"R30: {star} fired {times[star]} times instead of {right}")

    def _fired(self, place: str, uid: str, prefix: str) -> list[str]:
        storage = MemoryStorageBackend(uid, store=self._world.stores[place])
        entries = [entry.subject for entry in read_history(storage) if entry.kind == "fired"]
        return [subject.removeprefix(prefix) for subject in entries if subject.startswith(prefix)]

    def _head(self, place: str, uid: str) -> Head | None:
        found = self._world.stores[place].load(uid, EVERYTHING).records.get("session", {}).get("head")
        return None if found is None else records.read(records.HEAD, "head", found.value)
