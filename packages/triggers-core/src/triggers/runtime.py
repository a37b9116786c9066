"""What one process knows: its client ids, what it remembers of sessions and configurations, and whose turn it is."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

from triggers.config import NO_TASKS, Configuration
from triggers.engine.commands import Command, Decision
from triggers.engine.decision import Terms
from triggers.forking import tell_after_fork
from triggers.operation import Operation
from triggers.remembered import RememberedViews
from triggers.settings import Settings, get_settings
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Store
from triggers.turns import Crowds, Turns

R = TypeVar("R")

_CONFIGURATIONS = 1000
_SESSIONS = 10_000


class _Bounded(OrderedDict[str, Configuration]):
    """Decoded configurations, the last thousand used."""

    def get(self, key: str, default: Configuration | None = None) -> Configuration | None:  # type: ignore[override]
        try:
            self.move_to_end(key)
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: str, value: Configuration) -> None:
        super().__setitem__(key, value)
        if len(self) > _CONFIGURATIONS:
            with suppress(KeyError):
                self.popitem(last=False)


class Runtime:
    """Executes commands on sessions; one per process, shared by its threads.

    Args:
        settings: gives the settings in force; those of the process by default.
        clock: gives the time, UTC.

    Attributes:
        clock: gives the time, UTC.
        pause: waits for seconds.
        chance: gives a random number from 0 to 1. A simulation puts its own in the place of these three.
    """

    def __init__(self, settings: Callable[[], Settings] = get_settings, clock: Callable[[], datetime] | None = None) -> None:
        self._settings = settings
        self.clock = clock or utc_now
        self.pause: Callable[[float], None] = time.sleep
        self.chance: Callable[[], float] = random.random
        self.configurations: MutableMapping[str, Configuration] = _Bounded()
        self._last_used: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._last_hash = ""
        self.after_fork()
        tell_after_fork(self)

    def after_fork(self) -> None:
        """Makes this process a client of its own, with nothing remembered and nothing in flight."""
        self._clients: weakref.WeakKeyDictionary[Store, str] = weakref.WeakKeyDictionary()
        self._numbers = itertools.count(1)
        self.turns = Turns()
        self.crowds = Crowds()
        self._guard = threading.Lock()
        self.remembered = RememberedViews(0)
        self._terms: tuple[Settings, Terms] | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings()

    def execute(
        self, storage: BaseTriggerStorage, command: Command[R], *, finalize: bool = False, urgent: bool = False
    ) -> Decision[R]:
        """Decides a command on the stored session and commits what it decided, exactly once.

        Args:
            storage: the session.
            command: what to do.
            finalize: whether the session finalizes (R29).
            urgent: whether it goes before what else this process wants of the session.

        Raises:
            Conflict: others changed the session for longer than ``conflict_timeout``; nothing was stored.
            OutcomeUnknown: the connection was lost, and whether the change was stored cannot be found out.
            TriggersError: the command was refused; nothing was stored.
        """
        key = (id(storage.store), storage.uid)
        operation = Operation(self, storage, key, command, finalize)

        def operate() -> Decision[R]:
            if operation.answer is not None:
                return operation.answer()
            if not urgent and self.crowds.conflicts(key):
                self.pause(self.chance() * self.crowds.before_first(key))
            try:
                return operation.run()
            finally:
                self.crowds.ended(key, operation.tries)

        return self.turns.run(key, operate, urgent=urgent, errand=operation if command.joins else None)

    def client_of(self, store: Store) -> str:
        """This process as a client of one store object: operations through two of them do not queue up for each other."""
        client = self._clients.get(store)
        if client is None:
            with self._guard:
                client = self._clients.setdefault(store, os.urandom(6).hex())
        return client

    def next_token(self, store: Store) -> str:
        """A version for the next commit, unique in the world: ``client:number``."""
        return f"{self.client_of(store)}:{next(self._numbers)}"

    def terms(self, finalize: bool) -> Terms:
        """The terms that the settings give."""
        settings = self.settings
        cached = self._terms
        if cached is None or cached[0] is not settings:
            terms = Terms(
                lease=settings.lease,
                redeliver_after=settings.redeliver_after,
                max_attempts=settings.max_attempts,
                unserved_after=settings.unserved_after,
                max_instances=settings.max_instances,
                event_ttl=settings.event_ttl,
                finalize=settings.finalize,
                history=settings.history,
                keep_finalized=settings.keep_finalized,
                keep_idle=settings.keep_idle,
                delete_unresolved=settings.delete_unresolved,
            )
            cached = self._terms = (settings, terms)
            self.remembered.limit = settings.remembered_sessions
        return cached[1]._replace(finalize=finalize or settings.finalize, jitter=self.chance())

    def believed_configuration(self, key: tuple[int, str]) -> Configuration:
        """The configuration last seen for this session, or else the one last seen at all."""
        return self.configurations.get(self._last_used.get(key, self._last_hash)) or NO_TASKS

    def saw_configuration(self, key: tuple[int, str], configuration_hash: str) -> None:
        """Notes which configuration a session has."""
        if self._last_used.get(key) == configuration_hash:
            return
        with self._guard:
            self._last_used[key] = self._last_hash = configuration_hash
            if len(self._last_used) > _SESSIONS:
                self._last_used.popitem(last=False)


def utc_now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


__all__ = ["Runtime", "utc_now"]
