"""What the kit needs of servers: a proxy through which connections can be cut, and formats from the future."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, make_url, pool, text

from tests.servers.client import Server
from tests.servers.proxy import FaultProxy

FUTURE = "triggers_9999"


def through(proxy: FaultProxy, url: str) -> str:
    """The URL with the proxy in place of the server."""
    return make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


def cutting(request: pytest.FixtureRequest, server: Server) -> Iterator[FaultProxy | None]:
    """A proxy, for those tests that cut connections; others go straight to the server."""
    if "break_connections" not in request.fixturenames:
        yield None
        return
    with FaultProxy("127.0.0.1", server.port) as proxy:
        yield proxy


@contextlib.contextmanager
def tables_of_the_future(url: str) -> Iterator[Callable[[str], None]]:
    """Gives a callable that has the tables say that a later version made them; they are as they were afterwards."""
    engine = create_engine(url, poolclass=pool.NullPool)

    def spoil(_: str) -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE triggers_alembic_version SET version_num = :name"), {"name": FUTURE})

    with engine.connect() as connection:
        before = connection.execute(text("SELECT version_num FROM triggers_alembic_version")).scalar_one()
    try:
        yield spoil
    finally:
        with engine.begin() as connection:
            connection.execute(text("UPDATE triggers_alembic_version SET version_num = :name"), {"name": before})
