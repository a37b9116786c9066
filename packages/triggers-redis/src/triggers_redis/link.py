"""Talks to the server: hands over commands, brings back replies, and knows whether a command may have run.

It takes connections from redis-py but sends by itself, for two reasons. It must tell "nothing was sent" from "the reply
was lost", which redis-py does not say. And commands to several shards, or to several nodes of a cluster, go out together
before the first reply is awaited, so that they cost one round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.client import NEVER_DECODE
from redis.cluster import RedisCluster
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)

from triggers.errors import StorageError, UnreadableRecord
from triggers_redis.address import Address, connect
from triggers_redis.commands import Command, NotRun, ReplyLost, packed, with_text
from triggers_redis.connections import Connections, receive, send

if TYPE_CHECKING:
    from redis import Redis

_PASSING = ("BUSY Redis", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")
_ELSEWHERE = (MovedError, AskError, TryAgainError, ClusterDownError)


class Link:
    """One client of one process, shared by its threads."""

    def __init__(self, client: Redis | RedisCluster, name: str, *, keep: bool) -> None:
        self._client: Any = client
        self._name = name
        self._server = None if isinstance(client, RedisCluster) else Connections(client.connection_pool, keep=keep)
        self._closed = False

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Runs the commands in one round trip, or two where a server has forgotten a script.

        Raises:
            NotRun: none of them was run.
            ReplyLost: some may have been.
            StorageError: the server refused one, which says that this one changed nothing.
        """
        replies = self.exchange(commands)
        forgotten = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if forgotten:
            again = self.exchange([with_text(commands[at]) for at in forgotten])
            for at, reply in zip(forgotten, again, strict=True):
                replies[at] = reply
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise _refusal(self._name, reply) from reply
        return replies

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Runs the commands in one round trip; a reply may be a ``ResponseError``.

        Raises:
            NotRun: none of them was run.
            ReplyLost: some may have been.
        """
        if self._server is not None:
            return self._ask(self._server, commands)
        try:
            replies = self._ask_nodes(self._by_node(commands), commands)
        except (NotRun, ReplyLost):
            self._learn_nodes()
            raise
        for at, reply in enumerate(replies):
            if isinstance(reply, _ELSEWHERE):
                replies[at] = self._follow(commands[at])
        return replies

    def servers(self) -> list[Any]:
        """A client for each server that takes writes."""
        if self._server is not None:
            return [self._client]
        return [self._client.get_redis_connection(node) for node in self._client.get_primaries()]

    def let_go(self) -> None:
        """Closes the connections that redis-py keeps for questions to a server; those that commands use are kept elsewhere."""
        if self._server is not None:
            self._client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Closes the connections; one that another thread is using is closed when it is given back."""
        self._closed = True
        if self._server is not None:
            self._server.close()
            return
        for node in self._client.get_nodes():
            if node.redis_connection is not None:
                Connections(node.redis_connection.connection_pool, keep=False).close()

    def _by_node(self, commands: Sequence[Command]) -> list[tuple[Connections, list[int]]]:
        groups: dict[str, tuple[Connections, list[int]]] = {}
        for at, command in enumerate(commands):
            try:
                node = self._client.get_node_from_key(command.key)
            except (SlotNotCoveredError, RedisClusterException) as error:
                self._learn_nodes()
                raise NotRun(error) from error
            if node.name not in groups:
                pool = self._client.get_redis_connection(node).connection_pool
                groups[node.name] = Connections(pool, keep=False), []
            groups[node.name][1].append(at)
        return list(groups.values())

    def _ask(self, server: Connections, commands: Sequence[Command]) -> list[Any]:
        connection = server.take()
        in_step = False
        try:
            send(connection, b"".join([packed(command) for command in commands]))
            replies = [receive(connection) for _ in commands]
            in_step = True
        finally:
            server.give_back(connection, in_step)
            if self._closed:
                server.close()
        return replies

    def _ask_nodes(self, groups: list[tuple[Connections, list[int]]], commands: Sequence[Command]) -> list[Any]:
        """Sends to every node, then reads from each."""
        connections: list[Any] = []
        replies: list[Any] = [None] * len(commands)
        in_step = False
        try:
            for node, _ in groups:
                connections.append(node.take())
            for connection, (_, places) in zip(connections, groups, strict=True):
                send(connection, b"".join([packed(commands[at]) for at in places]))
            for connection, (_, places) in zip(connections, groups, strict=True):
                for at in places:
                    replies[at] = receive(connection)
            in_step = True
        finally:
            for connection, (node, _) in zip(connections, groups, strict=False):
                node.give_back(connection, in_step)
                if self._closed:
                    node.close()
        return replies

    def _follow(self, command: Command) -> Any:
        """Runs a command that its node would not: redis-py follows the redirection and learns from it."""
        name, *rest = command.arguments
        try:
            return self._client.execute_command(name.decode(), *rest, **{NEVER_DECODE: True})
        except (*_ELSEWHERE, ClusterError, RedisClusterException) as error:
            raise NotRun(error) from error  # each of them ends a search for the node that would run it
        except ResponseError as error:
            return error
        except (RedisError, OSError) as error:
            raise ReplyLost(error) from error

    def _learn_nodes(self) -> None:
        try:
            self._client.nodes_manager.initialize()
        except (RedisError, RedisClusterException, OSError):
            return  # the next try starts from the nodes that are known


def open_link(address: Address, timeout: float, connect_timeout: float, max_connections: int) -> Link:
    """A link to what a URL names.

    Raises:
        NotRun: a cluster's nodes do not answer.
        SettingsError: the URL has an option that redis-py does not take.
    """
    try:
        client = connect(address, timeout, connect_timeout, max_connections)
    except ResponseError as error:
        raise _refusal(address.shown, error) from error
    except (RedisError, RedisClusterException, OSError) as error:
        raise NotRun(error, hopeless=isinstance(error, AuthenticationError)) from error
    return Link(client, address.shown, keep=address.kind == "single")


def _refusal(name: str, error: ResponseError) -> Exception:
    """What an error reply means; a script that was refused changed nothing.

    Servers before 7.0 put the word that they answer with behind "Error running script", so it is looked for everywhere.
    """
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "OOM command" in text:
        return StorageError(f"{name} is out of memory (maxmemory) and stored nothing; give it more, or delete sessions: {text}")
    if isinstance(error, ReadOnlyError | MasterDownError) or any(word in text for word in _PASSING):
        return NotRun(error)
    if isinstance(error, MovedError | AskError | ClusterCrossSlotError):
        return StorageError(f"{name} is a node of a cluster; use a url that begins with redis+cluster:// ({text})")
    if isinstance(error, NoPermissionError) or "can't run this command" in text:
        return StorageError(f"{name} does not allow its user what Triggers needs (see the manual on ACLs): {text}")
    if "WRONGTYPE" in text:
        return UnreadableRecord(f"{name} has a key of another kind under our prefix; use another prefix: {text}")
    return StorageError(f"{name} refused, and stored nothing: {text}")
