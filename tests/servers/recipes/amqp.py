"""RabbitMQ, with a name server (epmd) of its own, so that nothing of it is left behind."""

from __future__ import annotations

import glob

from tests.servers.place import Place, find_program
from tests.servers.recipes.base import Recipe, ask


class RabbitMq(Recipe):
    """A node without plugins: process 0 is its name server, process 1 the broker."""

    service = "amqp"
    package = "rabbitmq-server"
    accounts = ("rabbitmq",)
    port_count = 3
    patience = 90.0

    def programs(self) -> dict[str, str | None]:
        # The script on PATH changes to root's or its own account; the one below it just starts the broker.
        direct = ["/usr/lib/rabbitmq/bin", *glob.glob("/usr/lib/rabbitmq/lib/*/sbin"), "/usr/local/opt/rabbitmq/sbin"]
        return {"rabbitmq-server": find_program(["rabbitmq-server"], direct), "epmd": find_program(["epmd"])}

    def url(self, place: Place) -> str:
        return f"amqp://guest:guest@127.0.0.1:{place.port}//"

    def environment(self, place: Place) -> dict[str, str]:
        port, distribution, epmd = map(str, place.ports)
        return {
            "RABBITMQ_NODENAME": f"triggers{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": port,
            "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_MNESIA_BASE": str(place.subfolder("data")),
            "RABBITMQ_LOG_BASE": str(place.subfolder("logs")),
            "RABBITMQ_PID_FILE": str(place.folder / "data" / "pid"),
            "RABBITMQ_CONFIG_FILE": str(place.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(place.folder / "no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": epmd,
        }

    async def prepare(self, place: Place) -> None:
        # A test machine may be nearly full, and the broker would then take nothing without saying so.
        place.write("rabbitmq.conf", "disk_free_limit.absolute = 10MB\nlog.file.level = warning\n")
        place.write("plugins", "[].\n")

    def commands(self, place: Place) -> list[list[str]]:
        names = [self.program("epmd"), "-address", "127.0.0.1", "-port", str(place.ports[2])]
        return [names, [self.program("rabbitmq-server"), *place.arguments]]

    async def answers(self, place: Place) -> bool:
        return (await ask(place.port, b"AMQP\x00\x00\x09\x01", 1)) == b"\x01"
