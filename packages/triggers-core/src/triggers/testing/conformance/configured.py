"""The kit on a storage of the settings, in place: names of its own, which are removed afterwards."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

from triggers.errors import StorageError
from triggers.storages import storage_backends
from triggers.store import ABSENT, Capability, Store, Want
from triggers.testing.conformance.report import Outcome
from triggers.testing.conformance.space import OpenStore, Space

RULES = (
    "absent sessions load as nothing",
    "what is committed is seen",
    "partial loads",
    "loads show one moment",
    "puts, drops, empty sessions",
    "one commit per version",
    "conflicts say what is there",
    "a commit comes twice, or late",
    "versions are opaque",
    "deletion",
    "old versions after a deletion",
    "conditional deletion",
    "names compare by their bytes",
    "names and sessions stay apart",
    "values come back equal",
    "the limit of values",
    "10 000 records",
    "threads lose nothing",
    "processes lose nothing",
    "killed processes",
    "threads share one object",
    "forks",
    "cut connections",
    "setup",
    "close",
    "unknown formats",
    "due: what and in which order",
    "due: one wake-up per record",
    "due: pages",
    "scan: pages",
    "scan: labels",
    "expiry",
    "declarations",
    "like the memory store",
)
"""What the rules S1, S2, … are about."""


class Line(NamedTuple):
    """How the tests of one rule ended."""

    rule: str
    about: str
    passed: int
    failed: int
    not_tested: int


class Verdict(NamedTuple):
    """What a run of the kit on one storage came to."""

    key: str
    store: str
    capabilities: dict[str, bool]
    outcomes: list[Outcome]

    @property
    def failed(self) -> list[Outcome]:
        """The tests that failed."""
        return [outcome for outcome in self.outcomes if outcome.result == "failed"]

    @property
    def lines(self) -> list[Line]:
        """The results by rule."""
        counts = Counter((outcome.rule, outcome.result) for outcome in self.outcomes)
        names = [(f"S{number}", about) for number, about in enumerate(RULES, 1)]
        return [
            Line(rule, about, counts[rule, "passed"], counts[rule, "failed"], counts[rule, "not tested"]) for rule, about in names
        ]


class Target(NamedTuple):
    """The storage that is to be checked."""

    open_store: OpenStore
    between_processes: bool


def check_store(key: str, arguments: Iterable[str] = ()) -> Verdict:
    """Runs the kit on the storage of this key, with further arguments for pytest.

    Sessions, labels and wake-ups of others are left alone.

    Raises:
        UnknownKey: no backend has the key.
        StorageError: the storage cannot be used as it is: it does not answer, or is not set up.
    """
    from triggers.testing.conformance import in_place, run

    target = _target(key)
    with closing(target.open_store()) as store:
        named = type(store).__name__
        capabilities = {str(capability.name): capability in store.capabilities for capability in Capability}
    found = run.run([in_place.__file__, *arguments], [in_place.Aim(target)])
    return Verdict(key, named, capabilities, found)


def _target(key: str) -> Target:
    backend = storage_backends.backend_of(key)
    open_store = functools.partial(backend.make_store, key, backend_options(key))
    first, second = open_store(), open_store()
    space = Space()
    try:
        if first.load(space.uid(), Want()).version != ABSENT:
            raise StorageError(f"storage {key!r} holds a session that nobody has made")
        if _sees(first, second, space):
            return Target(open_store, True)
        return Target(lambda: first, False)
    finally:
        space.clean(first)
        second.close()


def backend_options(key: str) -> dict[str, object]:
    """The options of the settings with which the store of this key is made."""
    from triggers.settings import get_settings

    return {name: value for name, value in get_settings().options_of(key).items() if name != "backend"}


def _sees(first: Store, second: Store, space: Space) -> bool:
    """Whether a second object sees what the first one stored; a store in memory has no second one."""
    version = space.write(first, space.uid(), {("c", "k"): b"1"}, expected=ABSENT)
    return second.load(space.uid(), Want()).version == version
