"""Redis or Valkey: one server, a cluster of three, and a primary with a replica watched by a sentinel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from tests.servers.place import Place, find_program
from tests.servers.recipes.base import Recipe, ask

SLOTS = 16384


class Redis(Recipe):
    """One server that appends each write to a file before it answers, so a kill loses nothing that it confirmed."""

    service = "redis"
    package = "redis-server"
    accounts = ("redis", "valkey")

    def programs(self) -> dict[str, str | None]:
        return {"redis-server": find_program(["redis-server", "valkey-server"])}

    def url(self, place: Place) -> str:
        return f"redis://127.0.0.1:{place.port}/0"

    def server(self, place: Place, name: str, port: int, *arguments: str) -> list[str]:
        """The command line of one server with its own folder."""
        return [
            self.program("redis-server"),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(place.subfolder(name))),
            # With the usual appendfsync, everysec, a write is put off while a sync runs, though it has been answered.
            *("--appendonly", "yes", "--appendfsync", "no", "--save", "", "--databases", "16"),
            *arguments,
            *place.arguments,
        ]

    def commands(self, place: Place) -> list[list[str]]:
        return [self.server(place, "data", place.port)]

    async def answers(self, place: Place) -> bool:
        return await pings(place.port)


class RedisCluster(Redis):
    """Three primaries that share the slots; the smallest cluster there is."""

    service = "redis-cluster"
    port_count = 3
    highest_port = 55535  # each node also listens 10 000 higher, for its peers

    def url(self, place: Place) -> str:
        return f"redis://127.0.0.1:{place.port}/0"

    def commands(self, place: Place) -> list[list[str]]:
        return [
            self.server(
                place,
                f"node{port}",
                port,
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "3000",
                "--databases",
                "1",
            )
            for port in place.ports
        ]

    async def answers(self, place: Place) -> bool:
        if not await all_of(*(pings(port) for port in place.ports)):
            return False
        if not (place.folder / "arranged").exists():
            return True
        states = [await ask(port, b"CLUSTER INFO\r\n", 4096) for port in place.ports]
        return all(b"cluster_state:ok" in state and b"cluster_known_nodes:3" in state for state in states)

    async def arrange(self, place: Place) -> None:
        share = SLOTS // len(place.ports) + 1
        for index, port in enumerate(place.ports):
            slots = range(index * share, min((index + 1) * share, SLOTS))
            await confirmed(port, f"CLUSTER ADDSLOTS {' '.join(map(str, slots))}\r\n")
            # Nodes of one age clash over the slots' epoch; a distinct one each is what the official tool sets as well.
            await confirmed(port, f"CLUSTER SET-CONFIG-EPOCH {index + 1}\r\n")
        for port in place.ports[1:]:
            await confirmed(place.port, f"CLUSTER MEET 127.0.0.1 {port}\r\n")
        (place.folder / "arranged").touch()


class RedisSentinel(Redis):
    """A primary (process 0), its replica (1), and a sentinel (2) that knows them as `mymaster`. The URL is its."""

    service = "redis-sentinel"
    port_count = 3

    def url(self, place: Place) -> str:
        return f"redis+sentinel://127.0.0.1:{place.port}/mymaster/0"

    async def prepare(self, place: Place) -> None:
        sentinel, primary, _ = place.ports
        lines = [
            f"port {sentinel}",
            "bind 127.0.0.1",
            f"dir {place.subfolder('sentinel')}",
            f"sentinel monitor mymaster 127.0.0.1 {primary} 1",
            "sentinel down-after-milliseconds mymaster 1000",
            "sentinel failover-timeout mymaster 5000",
        ]
        place.write("sentinel.conf", "\n".join(lines) + "\n")

    def commands(self, place: Place) -> list[list[str]]:
        _, primary, replica = place.ports
        return [
            self.server(place, "primary", primary),
            self.server(place, "replica", replica, "--replicaof", f"127.0.0.1 {primary}"),
            [self.program("redis-server"), str(place.folder / "sentinel.conf"), "--sentinel"],
        ]

    async def answers(self, place: Place) -> bool:
        if not await all_of(*(pings(port) for port in place.ports)):
            return False
        if (place.folder / "arranged").exists():
            return True
        # Only once the sentinel has seen the replica can it fail over to it.
        known = await ask(place.port, b"SENTINEL replicas mymaster\r\n", 4096)
        linked = await ask(place.ports[2], b"INFO replication\r\n", 4096)
        return str(place.ports[2]).encode() in known and b"master_link_status:up" in linked

    async def arrange(self, place: Place) -> None:
        (place.folder / "arranged").touch()


async def pings(port: int) -> bool:
    """Whether a server answers; one that asks for a password does, one that still loads its data does not."""
    return (await ask(port, b"PING\r\n", 64)).startswith((b"+PONG", b"-NOAUTH"))


async def all_of(*questions: Awaitable[bool]) -> bool:
    """Whether all answers are yes."""
    return all(await asyncio.gather(*questions))


async def confirmed(port: int, command: str) -> None:
    """Sends a command that must be answered with OK."""
    answer = await ask(port, command.encode(), 256)
    if not answer.startswith(b"+OK"):
        raise RuntimeError(f"redis on port {port} answered {answer!r} to {command[:60]!r}")
