"""The store: sessions in Redis, each load and each commit one script and one round trip."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from triggers.errors import Conflict, OutcomeUnknown, SettingsError, StorageError, StorageUnavailable
from triggers.store import Capability, Change, DuePage, ScanPage, Snapshot, Store, Want
from triggers_redis import address, keys, listing
from triggers_redis.commands import Command, NotRun, ReplyLost, call
from triggers_redis.scripts import COMMIT, DELETE, LOAD, PURGE, Script
from triggers_redis.session import MAX_VALUE_BYTES, Question, commit_arguments

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

    from triggers_redis.link import Link

T = TypeVar("T")

_abandoned: list[Link] = []
"""Connections that a fork inherited: kept, so that nothing closes what the parent still uses."""


class RedisStore(Store):
    """Keeps sessions in Redis 6.2 or later, Valkey, or a cluster of either. Connects at first use.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://`` or ``redis+sentinel://``.
        prefix: what each key begins with; has no braces.
        shards: over how many slots of a cluster the sessions spread; fixed by the first process that uses the prefix.
        timeout: seconds to wait for an answer.
        connect_timeout: seconds to wait for a connection.
        retries: how often what is safe to repeat (a read, or what was not sent) is tried again within ``timeout``.
        max_connections: the most connections of one process; one thread uses one at a time.
        client: a ready ``redis.Redis`` or ``redis.RedisCluster`` instead of a URL; its owner closes it.

    Raises:
        SettingsError: an option has a value that it cannot have.
    """

    api_version = 1
    capabilities = Capability.DUE | Capability.SCAN | Capability.EXPIRE
    max_value_bytes = MAX_VALUE_BYTES

    def __init__(
        self,
        *,
        url: str = "redis://127.0.0.1:6379/0",
        prefix: str = "triggers:",
        shards: int = 64,
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        retries: int = 2,
        max_connections: int = 100,
        client: Redis | RedisCluster | None = None,
    ) -> None:
        super().__init__()
        _check(prefix, shards, retries, max_connections, {"timeout": timeout, "connect_timeout": connect_timeout})
        self._address = address.parse(url)
        self._layout = keys.Layout(prefix, shards)
        self._prefix = prefix
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._retries, self._max_connections = retries, max_connections
        self._client = client
        self._name = "the given client's server" if client is not None else self._address.shown
        self._lock = threading.Lock()
        self._link: Link | None = None

    def __repr__(self) -> str:
        return f"<RedisStore {self._name} prefix={self._prefix!r}>"

    def load(self, uid: str, want: Want) -> Snapshot:
        """Reads what is wanted, and not more, with one script."""
        session = self._layout.session(uid)
        question = Question(want)
        return question.snapshot(uid, self._read_one(LOAD, (session.hash_key, session.index_key), question.arguments()))

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Applies the change with one script; the conflict comes with its snapshot in the same reply."""
        session = self._layout.session(uid)
        question = Question(want)
        arguments = [*commit_arguments(session, change, expected), *question.arguments()]
        reply = self._write(COMMIT, session, arguments, f"the commit to session {uid!r}")
        if reply != 1:
            raise Conflict(uid, question.snapshot(uid, reply))

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Removes the session and all entries about it with one script."""
        session = self._layout.session(uid)
        arguments = [keys.mark(session.uid)]
        if expected is not None:
            arguments += (b"if", expected.encode())
        else:
            arguments.append(b"")
        reply = self._write(DELETE, session, arguments, f"the deletion of session {uid!r}")
        if reply == 2:
            raise Conflict(uid)
        if isinstance(reply, bytes):
            Question(Want()).snapshot(uid, reply)
        return bool(reply)

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """Merges the wake-ups of all shards, in one round trip or two."""
        _check_limit(limit)
        page: DuePage = self._listed(listing.due(self._layout, self._read, before, after, limit))
        return page

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """Lists uids by shard and bytes, in one round trip or two."""
        _check_limit(limit)
        page: ScanPage = self._listed(listing.scan(self._layout, self._read, label, after, limit))
        return page

    def setup(self) -> None:
        """Connects, and notes the number of shards with the data if nobody has."""
        self._run(lambda _: None, None)

    def close(self) -> None:
        """Closes the connections that this store opened."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None and self._client is None:
            link.close()

    def after_fork(self) -> None:
        """Leaves the parent's connections to the parent."""
        if self._link is not None:
            _abandoned.append(self._link)
        self._link = None
        self._lock = threading.Lock()

    def warnings(self) -> Iterable[str]:
        """Whether the server may evict keys, keeps nothing on disk, is too old, or takes no writes; asks it."""
        from triggers_redis import checks

        return self._run(checks.warnings, None)

    def promises(self) -> Mapping[str, str]:
        """What Redis keeps, and how far that depends on its configuration."""
        from triggers_redis import checks

        return checks.PROMISES

    def _listed(self, found: listing.Found) -> Any:
        """The page. What expired sessions have left is cleared away, or if that fails left to the next listing."""
        if found.expired:
            sessions = [self._layout.session(uid.decode()) for uid in found.expired]
            with contextlib.suppress(StorageError):
                self._read([call(PURGE, _all_keys(session), [keys.mark(session.uid)]) for session in sessions])
        return found.page

    def _read_one(self, script: Script, names: Sequence[bytes], arguments: list[bytes]) -> Any:
        return self._read([call(script, names, arguments)])[0]

    def _read(self, commands: Sequence[Command]) -> list[Any]:
        """Runs what is safe to repeat."""
        return self._run(lambda link: link.run(commands), None)

    def _write(self, script: Script, session: keys.SessionKeys, arguments: list[bytes], what: str) -> Any:
        command = call(script, _all_keys(session), arguments)
        return self._run(lambda link: link.run([command]), what)[0]

    def _run(self, act: Callable[[Link], T], change: str | None) -> T:
        """Talks to the server; tries again, within the timeout, what cannot have run or may run twice.

        Args:
            act: what to do.
            change: what it changes, for the message, or ``None`` if it may be done twice.
        """
        started = time.monotonic()
        pause = 0.05
        tries = 0
        while True:
            try:
                return act(self._connected())
            except NotRun as error:
                failure = StorageUnavailable(f"{self._name} does not serve us: {_reason(error.cause)}")
                cause, hopeless = error.cause, error.hopeless
            except ReplyLost as error:
                cause, hopeless = error.cause, False
                if change is not None:
                    raise OutcomeUnknown(
                        f"{self._name}: the connection was lost after {change} was sent; it may have been stored, "
                        f"or not: {_reason(cause)}"
                    ) from cause
                failure = StorageUnavailable(f"{self._name} does not answer: {_reason(cause)}")
            tries += 1
            if hopeless or tries > self._retries or time.monotonic() - started + pause > self._timeout:
                raise failure from cause
            time.sleep(pause)
            pause *= 2

    def _connected(self) -> Link:
        link = self._link
        return link if link is not None else self._connect()

    def _connect(self) -> Link:
        from triggers_redis import checks
        from triggers_redis.link import Link, open_link

        with self._lock:
            if self._link is not None:
                return self._link
            if self._client is not None:
                link = Link(self._client, self._name, keep=False)
            else:
                link = open_link(self._address, self._timeout, self._connect_timeout, self._max_connections)
            checks.check_layout(link, self._layout, self._name)
            self._link = link
        checks.log_warnings(link, self._name)
        if self._client is None:
            link.let_go()
        return link


def _all_keys(session: keys.SessionKeys) -> tuple[bytes, ...]:
    shard = session.shard
    return session.hash_key, session.index_key, shard.due, shard.sessions, shard.labels, shard.expiring


def _reason(cause: Exception) -> str:
    from redis.exceptions import AuthenticationError

    text = str(cause) or type(cause).__name__
    return f"{text} (check the user and the password in the url)" if isinstance(cause, AuthenticationError) else text


def _check(prefix: str, shards: int, retries: int, max_connections: int, seconds: Mapping[str, float]) -> None:
    if type(prefix) is not str or "{" in prefix or "}" in prefix:
        raise SettingsError(f"the prefix of the redis storage must be text without braces, got {prefix!r}")
    for name, number, least, most in (
        ("shards", shards, 1, 16384),
        ("retries", retries, 0, 100),
        ("max_connections", max_connections, 1, 2**31),
    ):
        if type(number) is not int or not least <= number <= most:
            raise SettingsError(f"{name} of the redis storage must be a whole number from {least} to {most}, got {number!r}")
    for name, value in seconds.items():
        if type(value) not in {int, float} or not 0 < value < float("inf"):
            raise SettingsError(f"{name} of the redis storage must be a number of seconds above 0, got {value!r}")


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"a page has at least one entry, got limit={limit}")
