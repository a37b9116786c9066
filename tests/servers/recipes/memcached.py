"""memcached."""

from __future__ import annotations

from tests.servers.place import Place, find_program
from tests.servers.recipes.base import Recipe, ask


class Memcached(Recipe):
    """A server with 64 MB."""

    service = "memcached"
    package = "memcached"
    accounts = ("memcache", "memcached")

    def programs(self) -> dict[str, str | None]:
        return {"memcached": find_program(["memcached"])}

    def url(self, place: Place) -> str:
        return f"memcached://127.0.0.1:{place.port}"

    def commands(self, place: Place) -> list[list[str]]:
        address = ["-l", "127.0.0.1", "-p", str(place.port), "-U", "0"]
        return [[self.program("memcached"), *address, "-m", "64", *place.arguments]]

    async def answers(self, place: Place) -> bool:
        return (await ask(place.port, b"version\r\n", 64)).startswith(b"VERSION")
