"""What one process knows, and the one loop: load, decide, commit, look again.

A commit whose answer got lost must not be applied twice, and one that arrives late must be recognised. So each process (a
*client*)
has one slot in the session's head with the last token that it committed there; an operation remembers every token that it
sent, and whenever an outcome is open it loads again and looks for one of them in its slot.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from triggers import records
from triggers.config import NO_TASKS, Configuration
from triggers.engine.commands import Command, Decision, decide
from triggers.engine.decision import Terms
from triggers.engine.view import NeedMore, View
from triggers.errors import Conflict, OutcomeUnknown, SessionTooLarge, StorageUnavailable, TriggersError
from triggers.forking import tell_after_fork
from triggers.records import Head
from triggers.remembered import RememberedViews
from triggers.settings import Settings, get_settings
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Capability, Change, Snapshot, Store, Want
from triggers.turns import Crowds, Turns

R = TypeVar("R")

CLIENT_SLOTS = 32
_CONFIGURATIONS = 1000
_SESSIONS = 10_000
_ROOM_FOR_REPORTS = 0.75
"""How much of a store's limit for one value fires may fill; the rest is for the reports of what runs."""


class _Sent(NamedTuple):
    token: str
    decision: Any
    expected: str
    head: Head | None
    outcome_open: bool


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

        def operate() -> Decision[R]:
            operation = _Operation(self, storage, key, command, finalize)
            if not urgent and self.crowds.conflicts(key):
                self.pause(self.chance() * self.crowds.before_first(key))
            try:
                return operation.run()
            finally:
                self.crowds.ended(key, operation.tries)

        return self.turns.run(key, operate, urgent=urgent)

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


class _Operation(Generic[R]):
    """One command on one session, until it is stored or refused."""

    def __init__(
        self,
        runtime: Runtime,
        storage: BaseTriggerStorage,
        key: tuple[int, str],
        command: Command[R],
        finalize: bool,
    ) -> None:
        self.runtime = runtime
        self.store: Store = storage.store
        self.uid = storage.uid
        self.key = key
        self.command = command
        self.finalize = finalize
        self.want: Want = command.want(runtime.believed_configuration(key))
        self.sent: list[_Sent] = []
        self.tries = 0
        self.give_up_at = 0.0

    def run(self) -> Decision[R]:
        """Decides on what is remembered if there is anything, else on what is loaded, until it is settled."""
        crowded = self.runtime.crowds.conflicts(self.key) > _TOO_CROWDED
        found = None if crowded else self.runtime.remembered.get(self.key)
        settled = None if found is None else self._try(*found, fresh=False)
        snapshot: Snapshot | None = None
        if isinstance(settled, Snapshot):
            settled, snapshot = None, settled
        while settled is None:
            if snapshot is None:
                snapshot = self._load()
            recognised = self._recognise(snapshot) if self.sent else None
            if recognised is not None:
                return recognised
            outcome = self._try(snapshot, self.want, fresh=True)
            snapshot = None
            if isinstance(outcome, Snapshot):
                snapshot = outcome
            else:
                settled = outcome
        return settled

    def _try(self, snapshot: Snapshot, want: Want, *, fresh: bool) -> Decision[R] | Snapshot | None:
        """One decision and its commit: the decision if it stands, a newer snapshot after a conflict, or nothing: load."""
        runtime = self.runtime
        view = View(snapshot, want, runtime.configurations)
        try:
            head = view.head
            decision = decide(self.uid, view, self.command, runtime.clock(), runtime.terms(self.finalize))
        except NeedMore as more:
            self.want = self.want | more.want
            return None
        except TriggersError:
            if fresh:
                raise
            return None
        if not decision.changed:
            return decision if fresh else None
        return self._commit(snapshot, want, head, decision)

    def _commit(self, snapshot: Snapshot, want: Want, head: Head | None, decision: Decision[R]) -> Decision[R] | Snapshot | None:
        runtime = self.runtime
        token = runtime.next_token(self.store)
        change = decision.change(token, CLIENT_SLOTS, self._expiry(decision))
        check_size(self.store, self.uid, snapshot, change, self.command.report)
        outcome_open = False
        began = time.monotonic()
        try:
            self.store.commit(self.uid, change, snapshot.version, self.want)
        except Conflict as conflict:
            runtime.crowds.took(time.monotonic() - began)
            runtime.remembered.forget(self.key)
            self.sent.append(_Sent(token, decision, snapshot.version, head, False))
            # After a pause that snapshot is old: in a busy session the next try would be refused again, and again.
            return None if self._pause(conflict) else conflict.snapshot
        except OutcomeUnknown as error:
            outcome_open = True
            runtime.remembered.forget(self.key)
            self.sent.append(_Sent(token, decision, snapshot.version, head, outcome_open))
            self._pause(error)
            return None
        except StorageUnavailable as error:
            runtime.remembered.forget(self.key)
            if not self._outcome_open:
                raise
            self._pause(error)
            return None
        except BaseException:
            runtime.remembered.forget(self.key)
            raise
        runtime.remembered.committed(self.key, snapshot, want, change)
        runtime.saw_configuration(self.key, decision.configuration_hash)
        return decision

    def _expiry(self, decision: Decision[R]) -> int | None:
        if Capability.EXPIRE not in self.store.capabilities:
            return None
        seconds = self.runtime.settings.expire_finished
        return math.ceil(seconds) if seconds and decision.session_finished else None

    def _load(self) -> Snapshot:
        """Loads; while an outcome is open, for as long as the store may need to come back."""
        while True:
            try:
                return self.store.load(self.uid, self.want)
            except StorageUnavailable as error:
                if not self._outcome_open:
                    raise
                self._pause(error)

    @property
    def _outcome_open(self) -> bool:
        """Whether something that was sent may have been stored, or may still be."""
        return any(sent.outcome_open for sent in self.sent)

    def _recognise(self, snapshot: Snapshot) -> Decision[R] | None:
        """The decision that was stored after all, or ``None`` if none of those sent was.

        Raises:
            OutcomeUnknown: that cannot be told any more, and deciding again could do things twice.
        """
        raw = snapshot.records.get("session", {}).get("head")
        head = None if raw is None else records.read(records.HEAD, "head", raw.value)
        slots = head.clients if head else ()
        for sent in self.sent:
            if sent.token in slots:
                applied: Decision[R] = sent.decision
                return applied
        if self.command.repeatable:
            return None
        for sent in self.sent:
            if sent.outcome_open and not self._surely_refused(sent, snapshot.version, head):
                raise OutcomeUnknown(
                    f"session {self.uid!r}: the connection was lost during a commit, and too many others have committed since "
                    "to tell whether it was stored; look at the session, and fire with an event_id to be able to repeat"
                )
        return None

    def _surely_refused(self, sent: _Sent, version: str, head: Head | None) -> bool:
        """Whether this commit was not stored: nothing has changed, or its slot would still be there."""
        if version == sent.expected:
            return True
        if head is None or (sent.head is not None and head.created != sent.head.created):
            return False
        client = f"{self.runtime.client_of(self.store)}:"
        if len(head.clients) < CLIENT_SLOTS or any(slot.startswith(client) for slot in head.clients):
            return True
        return sent.head is not None and any(slot in head.clients for slot in sent.head.clients)

    def _pause(self, error: Exception) -> bool:
        """Waits a little before the next try, a random time that grows; gives up after ``conflict_timeout``.

        Returns:
            Whether it has waited.
        """
        now = time.monotonic()
        if not self.tries:
            self.give_up_at = now + self.runtime.settings.conflict_timeout
        self.tries += 1
        if now > self.give_up_at:
            if self._outcome_open:
                raise OutcomeUnknown(
                    f"session {self.uid!r}: the connection was lost during a commit, and whether it was stored could not be "
                    f"found out within {self.runtime.settings.conflict_timeout:g} s (setting conflict_timeout): {error}"
                ) from error
            raise error
        crowds = self.runtime.crowds
        if not isinstance(error, Conflict):
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.tries, 10))
        elif self.tries > 1 or crowds.conflicts(self.key):
            longest = crowds.after_conflict(self.key, self.tries)
        else:
            return False
        self.runtime.pause(self.runtime.chance() * longest)
        return True


_TOO_CROWDED = 0.5
"""With more conflicts than this for each operation, what is remembered is not worth a try."""
_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.05


def check_size(store: Store, uid: str, snapshot: Snapshot, change: Change, report: bool) -> None:
    """Accepts a change that the store can keep.

    Raises:
        SessionTooLarge: it cannot; or it could, but would leave no room for the reports of what runs.
    """
    limit = store.max_value_bytes
    if limit is None:
        return
    largest = max((len(record.value) for record in change.put.values()), default=0)
    if store.one_value:
        kept = {
            (collection, key): len(record.value)
            for collection, entries in snapshot.records.items()
            for key, record in entries.items()
        }
        kept.update({place: len(record.value) for place, record in change.put.items()})
        total = sum(kept.values()) + sum(len(name) + len(key) + _OVERHEAD for name, key in kept)
        if not report and total > limit * _ROOM_FOR_REPORTS:
            raise SessionTooLarge(
                f"session {uid!r} would have {total} bytes; its storage keeps {limit} in one value and takes no more fires "
                f"past {_ROOM_FOR_REPORTS:.0%} of that: use a storage without that limit (redis, sql), or shorter sessions"
            )
        largest = max(largest, total)
    if largest > limit:
        raise SessionTooLarge(
            f"session {uid!r}: a value of {largest} bytes is more than its storage keeps ({limit}); pass references instead "
            "of large content"
        )


_OVERHEAD = 24


def utc_now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


__all__ = ["CLIENT_SLOTS", "Runtime", "check_size", "utc_now"]
