"""MariaDB or MySQL."""

from __future__ import annotations

from tests.servers.place import Place, find_program
from tests.servers.recipes.base import Recipe, ask

USER = "triggers"
INIT = f"CREATE USER IF NOT EXISTS '{USER}'@'%';\nGRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"


class MySql(Recipe):
    """A server with one almighty account without a password, on the loopback.

    A kill loses nothing that was committed.
    """

    service = "mysql"
    package = "mariadb-server"
    accounts = ("mysql",)

    def programs(self) -> dict[str, str | None]:
        return {"mariadbd": find_program(["mariadbd", "mysqld"])}

    def url(self, place: Place) -> str:
        return f"mysql+pymysql://{USER}@127.0.0.1:{place.port}/mysql?charset=utf8mb4"

    async def prepare(self, place: Place) -> None:
        data = place.subfolder("data")
        place.write("init.sql", INIT)
        if install := find_program(["mariadb-install-db", "mysql_install_db"]):
            options = [
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                f"--datadir={data}",
            ]
            await self.run(place, install, *options)
        else:
            await self.run(place, self.program("mariadbd"), "--no-defaults", "--initialize-insecure", f"--datadir={data}")

    def commands(self, place: Place) -> list[list[str]]:
        return [
            [
                self.program("mariadbd"),
                "--no-defaults",
                f"--datadir={place.folder / 'data'}",
                f"--port={place.port}",
                "--bind-address=127.0.0.1",
                f"--socket={place.folder / 's'}",
                f"--pid-file={place.folder / 'pid'}",
                f"--init-file={place.folder / 'init.sql'}",
                "--skip-name-resolve",
                "--max-connections=200",
                "--character-set-server=utf8mb4",
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=2",
                *place.arguments,
            ]
        ]

    async def answers(self, place: Place) -> bool:
        greeting = await ask(place.port, b"", 5)
        return len(greeting) == 5 and greeting[4] == 10  # the protocol's number
