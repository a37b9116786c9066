"""The processes that fire the rows of a file.

Each session belongs to one lane, by a hash of its uid: so no two lanes want the same session at once, and its rows are fired in
the order of the file. A lane is a process, or with a single one a thread of this process; rows go in and reports come out
through a pipe, which ends with whoever holds its other end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import threading
import zlib
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, NamedTuple, Protocol, Self

from triggers import errors
from triggers.errors import OutcomeUnknown, StorageUnavailable, TriggersError
from triggers.hooks import get_hooks, hookimpl
from triggers.manager import get_manager
from triggers.operating import join_all
from triggers.settings import configure, get_settings
from triggers.storages.base import BaseTriggerStorage
from triggers_cli.rows import Row

CHUNK = 200
"""So many rows a lane takes at once; after them it waits for the works that it has started."""
QUEUED = 2
"""So many chunks may be with a lane, so that it never waits for the reader."""
KNOWN = 100_000
"""So many sessions a lane remembers, to count them and to configure each once."""

_ERROR = 300
"""So many characters of an error are reported; a report must fit into the pipe while the other side is writing."""
_REFUSALS = (
    errors.InvalidName,
    errors.UnserializableKwargs,
    errors.EventMismatch,
    errors.SessionClosed,
    errors.SessionTooLarge,
    errors.LimitExceeded,
    errors.UnreadableRecord,
)
"""What one row or one session is to blame for; with everything else no other row would fare better."""


class Flag(Protocol):
    """What both kinds of events can do."""

    def is_set(self) -> bool:
        """Whether it was set."""

    def set(self) -> None:
        """Sets it."""


class Job(NamedTuple):
    """What a lane must know beside the rows."""

    settings: Mapping[str, Any] | None
    """The settings, for a process of its own."""
    configuration: Mapping[str, Any] | None
    """The tasks that each new session gets."""
    stop_at_error: bool


class Refused(NamedTuple):
    """A row that was refused, and why."""

    line: int
    uid: str
    trigger: str
    error: str


class Report(NamedTuple):
    """What became of some rows."""

    rows: int = 0
    fired: int = 0
    already_there: int = 0
    sessions: int = 0
    """Sessions that the lane had not met before."""
    forgot: bool = False
    """Whether there were too many sessions to tell new ones from known ones."""
    refused: tuple[Refused, ...] = ()
    fatal: Exception | None = None
    """What ended the lane: the storage does not answer, or cannot be used as it is."""


class Firing:
    """One lane at work."""

    def __init__(self, job: Job, stop: Flag) -> None:
        self.job = job
        self.stop = stop
        self._known: dict[str, None] = {}
        self._marks = threading.local()

    @hookimpl
    def triggers_post_fire(self, storage: BaseTriggerStorage) -> None:
        """The hook that tells a fire that changed something from one whose event id was known."""
        self._marks.fired = True

    def fire_all(self, rows: Sequence[Row]) -> Report:
        """Fires rows, those of one session after one another; waits for the works that are started here."""
        done = fired = sessions = 0
        forgot = False
        refused: list[Refused] = []
        fatal: Exception | None = None
        for row in sorted(rows, key=_uid_of):
            if self.stop.is_set():
                break
            try:
                if row.uid not in self._known:
                    forgot = self._meet(row.uid) or forgot
                    sessions += 1
                fired += self._fire(row)
            except _REFUSALS as error:
                refused.append(Refused(row.line, row.uid, row.trigger, str(error)[:_ERROR]))
                if self.job.stop_at_error:
                    self.stop.set()
            except TriggersError as error:
                unknown = isinstance(error, (StorageUnavailable, OutcomeUnknown))
                fatal = StorageUnavailable(str(error)) if unknown else TriggersError(str(error))
                self.stop.set()
                break
            done += 1
        if fatal is None:
            self._catch_up()
        return Report(done, fired, done - fired - len(refused), sessions, forgot, tuple(refused), fatal)

    def _fire(self, row: Row) -> bool:
        self._marks.fired = False
        get_manager(row.uid).fire(row.trigger, row.kwargs, event_id=row.event_id)
        return bool(self._marks.fired)

    def _meet(self, uid: str) -> bool:
        """Configures a session that is not there yet; returns whether older ones are forgotten from now on."""
        if self.job.configuration is not None:
            manager = get_manager(uid)
            if not manager.storage.exists():
                manager.update_configuration(self.job.configuration)
        self._known[uid] = None
        if len(self._known) <= KNOWN:
            return False
        del self._known[next(iter(self._known))]
        return True

    def _catch_up(self) -> None:
        while not self.stop.is_set():
            if join_all(0.2):
                return
        join_all(get_settings().shutdown_timeout)


def serve(connection: Connection, job: Job, stop: Flag) -> None:
    """Fires what comes until the pipe ends, and reports each chunk."""
    firing = Firing(job, stop)
    get_hooks().register(firing)
    try:
        while True:
            rows = connection.recv()
            connection.send(firing.fire_all(rows))
    except (EOFError, OSError):
        pass  # the reader is done, or is gone
    finally:
        get_hooks().unregister(firing)
        connection.close()


def run_process(connection: Connection, job: Job, stop: Flag) -> None:
    """A lane in a process of its own: takes the settings over, and leaves Ctrl-C to the process that reads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if job.settings is not None:
        configure(**job.settings)
    serve(connection, job, stop)


class Lanes:
    """All lanes, from the side of the reader. Use it as a context: at its end none is left.

    Args:
        number: how many; 1 is a thread, more are processes.
        configuration: the tasks that each new session gets.
        stop_at_error: whether the first row that is refused ends all.
    """

    def __init__(self, number: int, configuration: Mapping[str, Any] | None, *, stop_at_error: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.stop: Flag = context.Event() if number > 1 else threading.Event()
        settings = {field.name: getattr(get_settings(), field.name) for field in dataclasses.fields(get_settings())}
        job = Job(settings if number > 1 else None, configuration, stop_at_error)
        self._buckets: list[list[Row]] = [[] for _ in range(number)]
        self._queued = [0] * number
        self._pipes: list[Connection] = []
        self._workers: list[Any] = []
        for _ in range(number):
            ours, theirs = context.Pipe()
            worker: Any
            if number > 1:
                worker = context.Process(target=run_process, args=(theirs, job, self.stop), daemon=True)
                with _deaf():
                    worker.start()
                theirs.close()
            else:
                worker = threading.Thread(target=serve, args=(theirs, job, self.stop), name="triggers-fire", daemon=True)
                worker.start()
            self._pipes.append(ours)
            self._workers.append(worker)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Ends what is left; processes that do not end by themselves are killed."""
        self.stop.set()
        for pipe in self._pipes:
            pipe.close()
        for worker in self._workers:
            worker.join(1)
            if worker.is_alive() and hasattr(worker, "kill"):
                worker.kill()
                worker.join()

    def put(self, row: Row) -> list[Report]:
        """Takes a row; waits if its lane is behind. Returns what was reported meanwhile."""
        number = zlib.crc32(row.uid.encode(errors="replace")) % len(self._buckets)
        bucket = self._buckets[number]
        bucket.append(row)
        reports = []
        if len(bucket) >= CHUNK:
            while self._queued[number] >= QUEUED and not self.stop.is_set():
                reports += self.collect(0.5)
            self._send(number)
        return reports

    def flush(self) -> None:
        """Sends what is left."""
        for number, bucket in enumerate(self._buckets):
            if bucket:
                self._send(number)

    def collect(self, timeout: float) -> list[Report]:
        """What was reported; waits until there is something, ``timeout`` seconds at most."""
        waiting = {pipe: number for number, pipe in enumerate(self._pipes) if self._queued[number]}
        reports = []
        for ready in wait_for_any(list(waiting), timeout):
            number = waiting[ready]  # type: ignore[index]
            try:
                reports.append(self._pipes[number].recv())
                self._queued[number] -= 1
            except (EOFError, OSError):
                self._queued[number] = 0
                self.stop.set()
                reports.append(Report(fatal=TriggersError("a process that fired rows ended unexpectedly; start again to go on")))
        return reports

    @property
    def busy(self) -> bool:
        """Whether any lane has rows that it has not reported on."""
        return any(self._queued)

    def _send(self, number: int) -> None:
        rows, self._buckets[number] = self._buckets[number], []
        with contextlib.suppress(BrokenPipeError):  # ``collect`` finds the end of that pipe
            self._pipes[number].send(rows)
        self._queued[number] += 1


@contextlib.contextmanager
def _deaf() -> Any:
    """A process that is started here is deaf to Ctrl-C from its first moment, which goes to the whole group."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _uid_of(row: Row) -> str:
    return row.uid
