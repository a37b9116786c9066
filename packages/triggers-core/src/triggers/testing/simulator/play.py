"""One schedule: the application's script, the scheduler that picks who goes on, and the calm end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from triggers.errors import OutcomeUnknown
from triggers.records import from_microseconds
from triggers.runners import Delivery
from triggers.tasks import registered
from triggers.testing.simulator.application import PARENT, SESSION, Application
from triggers.testing.simulator.checks import Checks
from triggers.testing.simulator.choices import Choices
from triggers.testing.simulator.explanations import State
from triggers.testing.simulator.scenario import Outcome, Scenario
from triggers.testing.simulator.violation import Violation
from triggers.testing.simulator.world import Dead, SimulatedProcess, World
from triggers.worker import perform

WORK = "triggers.testing.simulated"
_MOST_STEPS = 3000
_MOST_ROUNDS = 400
Action = tuple[str, Callable[[], None]]


class Play:
    """Plays one schedule of a scenario.

    Args:
        scenario: what is played.
        choices: the schedule.
        judged: what ``Explanations`` has judged in other plays of the scenario.
    """

    def __init__(self, scenario: Scenario, choices: Choices, judged: set[State] | None = None) -> None:
        self.scenario = scenario
        self.choices = choices
        self.world = World(scenario, choices)
        self.checks = Checks(self.world, judged)
        self.application = Application(self)
        self.sweeps = scenario.sweeps
        self.clock_steps = scenario.clock_steps
        self.beats = scenario.beats
        if not registered.has(WORK):
            registered.add(WORK, _Work())
        _Work.play = self

    def run(self) -> World:
        """Plays it to the end.

        Raises:
            Violation: a rule did not hold.
        """
        try:
            self._set_up()
            for _ in range(_MOST_STEPS):
                actions = self._actions()
                if not actions or self._over():
                    break
                label, act = actions[self.choices.pick(len(actions))]
                self.world.trace.append(label)
                act()
                self.checks.step()
            self._come_to_rest()
            return self.world
        finally:
            self.world.close()
            self.world.graveyard.clear()

    def _set_up(self) -> None:
        world = self.world
        world.calm = True
        first = world.processes[0]
        configuration = _with_work(self.scenario.configuration)
        world.running = first
        self.application.manager(first).update_configuration(configuration)
        if self.scenario.parent is not None:
            self.application.manager(first, PARENT).update_configuration(_with_work(self.scenario.parent))
            if not {("join",), ("try_join",)} & {*self.scenario.operations}:
                self.application.operate(first, ("join",))
        self.checks.step()
        world.calm = False

    def _over(self) -> bool:
        """Whether only faults are left to happen."""
        busy = any(process.greenlets for process in self.world.processes)
        return not (
            self.application.script
            or self.world.messages
            or busy
            or any(map(self.application.possible, self.application.operations))
        )

    def _actions(self) -> list[Action]:
        """All that may happen next; the first ones are progress."""
        world = self.world
        alive = [process for process in world.processes if process.alive]
        actions: list[Action] = []
        for process in alive:
            actions.extend(
                (f"p{process.number} …{what}", partial(process.resume, index))
                for index, (what, _) in enumerate(process.greenlets)
            )
        if alive and not (self.scenario.one_at_a_time and actions):
            actions.extend(self._application(alive))
        if alive:
            actions.extend(self._weather(alive))
        if len(alive) < len(world.processes):
            actions.append(("restart", self._restart))
        return actions

    def _application(self, alive: list[SimulatedProcess]) -> list[Action]:
        actions: list[Action] = []
        actions.extend(
            (f"deliver {message.name}", partial(self._deliver, index, alive)) for index, message in enumerate(self.world.messages)
        )
        script = self.application.script
        fires = script[:1] if self.scenario.in_order else script
        for index, (trigger, _) in enumerate(fires):
            actions.append((f"fire {trigger}", partial(self._fire, index, alive)))
        possible = filter(self.application.possible, self.application.operations)
        actions.extend((" ".join(operation), partial(self._operate, operation, alive)) for operation in possible)
        return actions

    def _weather(self, alive: list[SimulatedProcess]) -> list[Action]:
        actions: list[Action] = []
        faults = self.world.faults
        if self.world.messages and faults["lost_deliveries"]:
            actions.append(("lose a delivery", self._lose))
        if self.world.messages and faults["repeated_deliveries"]:
            actions.append(("repeat a delivery", self._repeat))
        if self.sweeps:
            actions.append(("sweep", lambda: self._sweep(self._pick(alive))))
        if self.clock_steps:
            actions.append(("time passes", self._pass_time))
        actions.extend(
            (f"p{process.number} beats", partial(self._beat, process))
            for process in alive
            if self.beats and process.process.heartbeat.busy and not any(what == "heartbeat" for what, _ in process.greenlets)
        )
        if faults["kills"]:
            actions.append(("kill", lambda: self._kill(self._pick(alive))))
        return actions

    def _pick(self, alive: list[SimulatedProcess]) -> SimulatedProcess:
        return alive[self.choices.pick(len(alive))]

    def _fire(self, index: int, alive: list[SimulatedProcess]) -> None:
        fire = self.application.script.pop(index)
        process = self._pick(alive)
        process.spawn(f"fire {fire[0]}", lambda: self.application.fire(process, fire))

    def _operate(self, operation: tuple[str, ...], alive: list[SimulatedProcess]) -> None:
        self.application.operations.remove(operation)
        process = self._pick(alive)
        process.spawn(" ".join(operation), lambda: self.application.operate(process, operation))

    def _deliver(self, index: int, alive: list[SimulatedProcess]) -> None:
        message = self.world.messages.pop(index)
        self._perform(message, self._pick(alive))

    def _perform(self, message: Delivery, process: SimulatedProcess) -> None:
        own = message._replace(storage=process.session(message.uid, message.storage_key))
        process.spawn(f"work {message.name}", lambda: self._do_perform(process, own))

    def _do_perform(self, process: SimulatedProcess, delivery: Delivery) -> None:
        try:
            perform(process.process, delivery)
        except OutcomeUnknown:
            self.world.trace.append(f"{delivery.name} could not be claimed")

    def _lose(self) -> None:
        self.world.spend("lost_deliveries")
        self.world.messages.pop(self.choices.pick(len(self.world.messages)))

    def _repeat(self) -> None:
        self.world.spend("repeated_deliveries")
        self.world.messages.append(self.world.messages[self.choices.pick(len(self.world.messages))])

    def _beat(self, process: SimulatedProcess) -> None:
        self.beats -= 1
        process.spawn("heartbeat", process.process.heartbeat.beat)

    def _sweep(self, process: SimulatedProcess) -> None:
        self.sweeps -= 1
        process.spawn("sweep", process.process.sweep)

    def _pass_time(self) -> None:
        self.clock_steps -= 1
        self.world.advance((1.0, 20.0, 70.0, 200.0)[self.choices.pick(4)])

    def _kill(self, process: SimulatedProcess) -> None:
        self.world.spend("kills")
        process.kill()
        self.application.died(process)

    def _restart(self) -> None:
        world = self.world
        index = next(index for index, process in enumerate(world.processes) if not process.alive)
        world.processes[index] = SimulatedProcess(world, index)

    def _come_to_rest(self) -> None:
        """No more faults: everything that is ready must run, and everything that waits must be due some day."""
        world = self.world
        world.calm = True
        for process in list(world.processes):
            if not process.alive:
                self._restart()
        for _ in range(_MOST_ROUNDS):
            self._drain()
            unfinished = self.application.unfinished
            if unfinished is not None:
                self._operate(unfinished, [world.processes[0]])
            elif self.application.script:
                self._fire(0, [world.processes[0]])
            elif world.messages:
                self._deliver(0, [world.processes[0]])
            elif not self._next_wake_up():
                self._at_rest()
                return
        raise Violation("R28: the work does not come to rest")

    def _drain(self) -> None:
        for _ in range(_MOST_STEPS):
            busy = [process for process in self.world.processes if process.greenlets]
            if not busy:
                return
            for process in busy:
                for index in reversed(range(len(process.greenlets))):
                    process.resume(index)
                    self.checks.step()
        raise Violation("something waits for ever")

    def _next_wake_up(self) -> bool:
        """Lets time pass until the next wake-up and sweeps; says whether there was one."""
        world = self.world
        pages = [store.due(2**62, None, 1) for store in world.stores.values()]
        due = [page.entries[0].wake_at for page in pages if page.entries]
        if not due:
            return False
        at = from_microseconds(min(due))
        if at > world.now:
            world.advance((at - world.now + timedelta(seconds=1)).total_seconds())
        self.sweeps += 1
        self._sweep(world.processes[0])
        return True

    def _at_rest(self) -> None:
        for place in self.world.stores:
            for uid in (SESSION, PARENT):
                self.checks.session(place, uid)
        self.checks.at_rest(self.application)

    def executed(self, name: str, uid: str, attempt: int) -> None:
        """Notes that a body runs."""
        self.world.bodies[uid, name, attempt] += 1


class _Work:
    """The body of every simulated task."""

    max_retries: int | None = 3
    play: Play

    def __call__(self, context: Any) -> Any:
        play = _Work.play
        world = play.world
        instance = context.task_instance
        process = next((p for p in world.processes if p.process is context.manager._process), None)
        if process is None:
            raise Dead
        play.executed(instance.name, context.manager.uid, instance.attempt)
        process.point(f"in the body of {instance.name}")
        outcomes = play.scenario.outcomes
        outcome = Outcome.FINISH if world.calm else outcomes[play.choices.pick(len(outcomes))]
        process.point(f"{instance.name} will {outcome.value}")
        match outcome:
            case Outcome.FAIL:
                raise ValueError("simulated failure")
            case Outcome.SKIP:
                context.skip()
            case Outcome.RETRY:
                context.retry(cooldown=5.0)
            case Outcome.FIRE:
                identity = instance.name
                world.attempt(context.manager.uid, "fromBody", identity)
                context.fire("fromBody")
                world.confirm(context.manager.uid, "fromBody", identity)
        return {"attempt": instance.attempt}


def _with_work(configuration: Any) -> dict[str, Any]:
    return {task: None if directives is None else {**directives, "run": WORK} for task, directives in configuration.items()}
