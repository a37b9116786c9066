"""The engine on a plain dictionary of records, and the comparison of what is stored with the model.

Each step gives a new value and leaves the old one alone, so that all orders of some fires can be tried by walking a tree. A step
sees only what its command wants, never more: what the engine did not ask for, it does not know.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from tests.rules.model import Model
from triggers import records
from triggers.codec import decode, encode
from triggers.config import Configuration, parse_configuration
from triggers.engine.application import Configure, Fire
from triggers.engine.attempts import Fail, Failure, Finish, Start
from triggers.engine.commands import Command, decide
from triggers.engine.decision import FireResult, Terms
from triggers.engine.operations import Replay, Skip
from triggers.engine.view import NeedMore, View
from triggers.store import ABSENT, NOTHING, Record, Snapshot, Want

R = TypeVar("R")

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
TERMS = Terms()
MAX_LOADS = 4
"""More rounds of NeedMore than this for one command would be a round trip per record."""

Places = Mapping[tuple[str, str], Record]
_tokens = itertools.count()
_known: dict[str, Configuration] = {}


class Kept(NamedTuple):
    """A session as a store would keep it."""

    version: str = ABSENT
    places: Places = {}

    def load(self, want: Want) -> Snapshot:
        """Exactly what was wanted."""
        if self.version == ABSENT:
            return NOTHING
        found: dict[str, dict[str, Record]] = {}
        for (collection, key), record in self.places.items():
            if want.covers(collection, key):
                found.setdefault(collection, {})[key] = record
        return Snapshot(self.version, found)

    def after(self, command: Command[R], believed: str | None = None) -> tuple[Kept, R]:
        """What is kept after a command, and its result.

        Args:
            command: what to do.
            believed: the hash of the configuration that the process believes in; the session's own by default.
        """
        want = command.want(_known.get(self.configuration if believed is None else believed, _NO_TASKS))
        for _ in range(MAX_LOADS):
            try:
                decision = decide("s", View(self.load(want), want, _known), command, NOW, TERMS)
                break
            except NeedMore as more:
                if _covers(want, more.want):
                    raise AssertionError(f"asks again for what it has: {more.want}") from more
                want = want | more.want
        else:
            raise AssertionError(f"{command} needed more than {MAX_LOADS} loads")
        if not decision.changed:
            return self, decision.result
        change = decision.change(f"c:{next(_tokens)}", 32)
        places = {place: record for place, record in self.places.items() if place not in change.drop}
        return Kept(change.version, {**places, **change.put}), decision.result

    @property
    def configuration(self) -> str:
        """The hash of its configuration."""
        head = self.places.get(("session", "head"))
        return records.read(records.HEAD, "head", head.value).config if head else ""

    def fire(self, trigger: str, kwargs: dict[str, Any], believed: str | None = None) -> tuple[Kept, FireResult]:
        """Fires."""
        return self.after(Fire(trigger, msgspec.Raw(encode(kwargs))), believed)

    def configure(self, document: Mapping[str, Any], *, evaluate: bool = False) -> Kept:
        """Changes the configuration."""
        return self.after(Configure(parse_configuration(document), evaluate))[0]

    def start(self, name: str) -> Kept:
        """Starts the attempt of a scheduled instance."""
        kept, started = self.after(Start(name, 1, f"claim of {name}"))
        assert started.instance is not None, started.refusal
        return kept

    def finish(self, name: str, result: dict[str, Any]) -> Kept:
        """Reports the running attempt as finished."""
        return self.after(Finish(name, msgspec.Raw(encode(result)), 1, f"claim of {name}"))[0]

    def fail(self, name: str) -> Kept:
        """Reports the running attempt as failed."""
        return self.after(Fail(name, Failure({"type": "x", "message": "y"}), 1, f"claim of {name}"))[0]

    def skip(self, name: str, cascade: bool, result: dict[str, Any]) -> Kept:
        """Skips a failed instance."""
        return self.after(Skip(name, msgspec.Raw(encode(result)), cascade))[0]

    def replay(self, name: str, replacement: dict[str, dict[str, Any]] | None = None) -> Kept:
        """Replays a failed instance."""
        kwargs = None if replacement is None else {key: msgspec.Raw(encode(value)) for key, value in replacement.items()}
        return self.after(Replay(name, kwargs))[0]


_NO_TASKS = Configuration({})


def _covers(have: Want, asked: Want) -> bool:
    return have | asked == have


def seen_in(places: Places) -> dict[str, dict[str, Any]]:
    """The instances in the records, in the words of the model; also checks that each lies in one place only."""
    found: dict[str, dict[str, Any]] = {}
    for (collection, key), record in places.items():
        task = records.task_of(collection)
        if task is None:
            continue
        instance = records.read(records.live(task), key, record.value)
        assert instance.name not in found, f"{instance.name} lies in two places"
        assert (instance.task, str(instance.number)) == (task, key)
        _check_place(collection.partition("/")[0], str(instance.status), instance.name)
        found[instance.name] = {
            "status": str(instance.status),
            "received": {name: decode(raw) for name, raw in instance.kwargs.items()},
            "run": instance.run,
            "params": {} if instance.with_params is msgspec.UNSET else decode(instance.with_params),
            "parent": None if instance.parent is None else f"{task}#{instance.parent}",
            "depth": instance.depth,
            "result": None if instance.result is msgspec.UNSET else decode(instance.result),
        }
    return found


def _check_place(place: str, status: str, name: str) -> None:
    belongs = {
        "unstarted": ("waiting", "queued"),
        "scheduled": ("live",),
        "running": ("live",),
        "failed": ("live",),
    }.get(status, ("done",))
    assert place in belongs, f"{name} is {status} and lies in {place}"


def expected_of(model: Model) -> dict[str, dict[str, Any]]:
    """What the records should say."""
    return {
        instance.name: {
            "status": instance.status,
            "received": instance.received,
            "run": instance.run,
            "params": instance.params,
            "parent": instance.parent,
            "depth": instance.depth,
            "result": instance.result,
        }
        for instance in model.instances
    }


def check_same(places: Places, model: Model) -> None:
    """Fails unless the records say what the model says: instances, what fired, and every count."""
    assert seen_in(places) == expected_of(model)
    fired = {
        key: records.read(records.TRIGGERS, key, record.value)
        for (collection, key), record in places.items()
        if collection == "trigger"
    }
    assert {trigger: decode(found.kwargs) for trigger, found in fired.items()} == model.latest
    assert {trigger: found.count for trigger, found in fired.items()} == model.fires
    check_counts(places, model)


def check_counts(places: Places, model: Model) -> None:
    """Fails unless the counts, which the engine keeps beside the instances, say what the instances say."""
    for task in {instance.task for instance in model.instances}:
        count = records.read(records.COUNTS, task, places["count", task].value)
        unresolved = [one for one in model.of(task) if one.status not in ("finished", "abandoned", "skipped", "replayed")]
        queued = [place for place in places if place[0] == f"queued/{task}"]
        assert (count.next, count.unresolved, count.queued) == (len(model.of(task)), len(unresolved), len(queued))
    if ("session", "head") not in places:
        return
    head = records.read(records.HEAD, "head", places["session", "head"].value)
    told = (head.fires, head.instances, head.failed, head.tasks, head.unresolved)
    assert told == (
        sum(model.fires.values()),
        len(model.instances),
        len(model.in_status("failed")),
        len(model.tasks),
        len(model.unresolved_tasks()),
    )


def same_fire(told: FireResult, expected: Any) -> bool:
    """Whether a fire reported what the model's did."""
    return (sorted(told.created), sorted(told.scheduled), sorted(told.abandoned)) == (
        sorted(expected.created),
        sorted(expected.scheduled),
        sorted(expected.abandoned),
    )
