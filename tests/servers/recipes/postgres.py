"""PostgreSQL, whose programs lie in a folder of their version that is not on PATH, and which refuses to run as root."""

from __future__ import annotations

import glob
import struct
import subprocess

from tests.servers.place import Place, find_program
from tests.servers.recipes.base import Recipe, ask

USER = "postgres"


class Postgres(Recipe):
    """A cluster that trusts everyone on the loopback.

    A killed server loses nothing: the machine's memory outlives it.
    """

    service = "postgres"
    package = "postgresql"
    accounts = ("postgres",)

    def programs(self) -> dict[str, str | None]:
        folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]), reverse=True)
        if config := find_program(["pg_config"]):
            answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
            folders.append(answer.stdout.strip())
        return {name: find_program([name], folders) for name in ("initdb", "postgres")}

    def url(self, place: Place) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{place.port}/postgres"

    async def prepare(self, place: Place) -> None:
        data = place.subfolder("data")
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        await self.run(place, self.program("initdb"), "--pgdata", str(data), *options)

    def commands(self, place: Place) -> list[list[str]]:
        settings = {
            "port": place.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "fsync": "off",
            "timezone": "UTC",
            "autovacuum_naptime": "10min",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [[self.program("postgres"), "-D", str(place.folder / "data"), *options, *place.arguments]]

    async def answers(self, place: Place) -> bool:
        body = struct.pack("!I", 196608) + f"user\0{USER}\0database\0postgres\0\0".encode()
        answer = await ask(place.port, struct.pack("!I", len(body) + 4) + body, 1)
        return answer == b"R"  # authentication is over; E would be "still starting up"
