"""A literal model of R3–R10 and R15, written from the rules and without the engine.

It keeps every instance of every task in one list and looks at all of them each time. It is slow and short on purpose: what
it says is compared with what the engine does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Kwargs = dict[str, Any]
Document = Mapping[str, Mapping[str, Any] | None]

RESOLVED = ("finished", "abandoned", "skipped", "replayed")


class Refused(Exception):
    """The rules do not allow it; nothing was changed."""


@dataclass
class ModelInstance:
    """One instance, as far as the rules speak of it."""

    task: str
    number: int
    status: str
    received: dict[str, Kwargs]
    run: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    depth: int = 0
    result: Kwargs | None = None

    @property
    def name(self) -> str:
        """``task#number``."""
        return f"{self.task}#{self.number}"


@dataclass
class Happened:
    """What a fire did (R14)."""

    created: list[str] = field(default_factory=list)
    scheduled: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)


class Model:
    """A session."""

    def __init__(self) -> None:
        self.tasks: dict[str, Mapping[str, Any]] = {}
        self.instances: list[ModelInstance] = []
        self.latest: dict[str, Kwargs] = {}
        self.fires: dict[str, int] = {}

    def of(self, task: str) -> list[ModelInstance]:
        """All instances of a task."""
        return [instance for instance in self.instances if instance.task == task]

    def find(self, name: str) -> ModelInstance:
        """The instance of this name."""
        (found,) = (instance for instance in self.instances if instance.name == name)
        return found

    def configure(self, document: Document) -> None:
        """R3: adds, replaces and removes tasks; applies nothing, changes no status."""
        for name, task in document.items():
            if task is None and name in self.tasks and any(instance.status not in RESOLVED for instance in self.of(name)):
                raise Refused(name)
        for name, task in document.items():
            if task is None:
                self.tasks.pop(name, None)
            else:
                self.tasks[name] = copy.deepcopy(dict(task))

    def fire(self, trigger: str, kwargs: Kwargs) -> Happened:
        """R4–R10."""
        happened = Happened()
        before = dict(self.latest)
        for name, task in self.tasks.items():
            if trigger in self.needs(task) or trigger in task.get("unless", ()):
                self._concern(name, task, trigger, kwargs, before, happened)
        self.latest[trigger] = kwargs
        self.fires[trigger] = self.fires.get(trigger, 0) + 1
        return happened

    def _concern(
        self, name: str, task: Mapping[str, Any], trigger: str, kwargs: Kwargs, before: dict[str, Kwargs], happened: Happened
    ) -> None:
        applied = False
        for instance in self.of(name):  # R6
            if instance.status == "unstarted" and trigger not in instance.received:
                instance.received[trigger] = kwargs
                applied = True
        if not self.of(name) or (trigger == task.get("andEvery") and not applied):  # R5
            known = {
                other: before[other]
                for other in (*self.needs(task), *task.get("unless", ()))
                if other != trigger and other in before
            }  # R7
            new = ModelInstance(name, len(self.of(name)), "unstarted", {**known, trigger: kwargs})
            self.instances.append(new)
            happened.created.append(new.name)
        for instance in self.of(name):  # R8
            if instance.status == "unstarted":
                self._judge(instance, task, happened)

    def _judge(self, instance: ModelInstance, task: Mapping[str, Any], happened: Happened) -> None:
        unless = task.get("unless", ())
        if unless and all(trigger in instance.received for trigger in unless):
            instance.status = "abandoned"
            happened.abandoned.append(instance.name)
        elif all(trigger in instance.received for trigger in self.needs(task)):
            self._schedule(instance, task)
            happened.scheduled.append(instance.name)

    def _schedule(self, instance: ModelInstance, task: Mapping[str, Any]) -> None:
        """R3: from now on it keeps what it was scheduled with; R11: only these kwargs are passed."""
        instance.status = "scheduled"
        instance.run = task["run"]
        instance.params = copy.deepcopy(task.get("withParams", {}))
        instance.received = {trigger: instance.received[trigger] for trigger in self.needs(task)}

    def start(self, name: str) -> None:
        """Scheduled → running."""
        self._move(name, "scheduled", "running")

    def finish(self, name: str, result: Kwargs) -> Happened:
        """Running → finished, and the cascade (R16)."""
        instance = self._move(name, "running", "finished")
        instance.result = result
        return self.fire(instance.task, result)

    def fail(self, name: str) -> None:
        """Running → failed."""
        self._move(name, "running", "failed")

    def skip(self, name: str, cascade: bool, result: Kwargs) -> None:
        """Failed → skipped, with a cascade if asked for (R19)."""
        instance = self._move(name, "failed", "skipped")
        instance.result = result
        if cascade:
            self.fire(instance.task, result)

    def replay(self, name: str, replacement: dict[str, Kwargs] | None = None) -> str:
        """Failed → replayed, and a new instance with the same kwargs or the replacement (R20)."""
        instance = self._move(name, "failed", "replayed")
        task = self.tasks[instance.task]
        kwargs = instance.received if replacement is None else replacement
        new = ModelInstance(
            instance.task,
            len(self.of(instance.task)),
            "scheduled",
            dict(kwargs),
            run=task["run"],
            params=copy.deepcopy(task.get("withParams", {})),
            parent=instance.name,
            depth=instance.depth + 1,
        )
        self.instances.append(new)
        return new.name

    def unresolved_tasks(self) -> list[str]:
        """R15."""
        return [
            name for name in self.tasks if not self.of(name) or any(instance.status not in RESOLVED for instance in self.of(name))
        ]

    def in_status(self, *statuses: str) -> list[str]:
        """The names of the instances in one of these statuses."""
        return [instance.name for instance in self.instances if instance.status in statuses]

    def copy(self) -> Model:
        """Another model in the same state."""
        other = Model()
        other.tasks = dict(self.tasks)
        other.instances = [
            ModelInstance(**{**vars(instance), "received": dict(instance.received)}) for instance in self.instances
        ]
        other.latest = dict(self.latest)
        other.fires = dict(self.fires)
        return other

    @staticmethod
    def needs(task: Mapping[str, Any]) -> list[str]:
        """``after`` and ``andEvery``, each once."""
        every = task.get("andEvery")
        return list(dict.fromkeys([*task.get("after", ()), *([every] if every is not None else [])]))

    def _move(self, name: str, source: str, target: str) -> ModelInstance:
        instance = self.find(name)
        if instance.status != source:
            raise Refused(name)
        instance.status = target
        return instance
