"""The kit on PostgreSQL and MariaDB."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.conformance.media import cutting, tables_of_the_future, through
from tests.servers import client, databases
from tests.servers.client import Server
from tests.servers.plugin import fresh_name
from tests.servers.proxy import FaultProxy
from triggers.store import Store
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore
from triggers_sql.store import SqlStore


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest) -> Server:
    """The server."""
    return client.shared(request.cls.kind)


@pytest.fixture(scope="class")
def url(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """The database that the tests share."""
    with request.cls.database(server.url, fresh_name()) as url:
        yield url


class OnServer(StoreConformance):
    """S1 to S34; one database for all tests, and a fresh one for those that set up."""

    __test__ = False
    kind: str
    database: Callable[[str, str], AbstractContextManager[str]]

    @pytest.fixture
    def proxy(self, request: pytest.FixtureRequest, server: Server) -> Iterator[FaultProxy | None]:
        """What stands between store and server, for those tests that need it."""
        yield from cutting(request, server)

    @pytest.fixture
    def open_store(self, url: str, proxy: FaultProxy | None) -> OpenStore:
        """Another handle on the shared database."""
        return functools.partial(SqlStore, url=through(proxy, url) if proxy else url, auto_setup=False)

    @pytest.fixture
    def open_fresh_store(self, server: Server) -> Iterator[OpenStore]:
        """A handle on a database without tables."""
        with type(self).database(server.url, fresh_name()) as url:
            yield functools.partial(SqlStore, url=url, auto_setup=False)

    @pytest.fixture
    def break_connections(self, proxy: FaultProxy) -> Callable[[], None]:
        """Resets all connections."""
        return proxy.cut

    @pytest.fixture
    def spoil_format(self, store: Store, url: str) -> Iterator[Callable[[str], None]]:
        """Has the tables say that a later version made them."""
        with tables_of_the_future(url) as spoil:
            yield spoil


class TestPostgres(OnServer):
    """On PostgreSQL."""

    __test__ = True
    kind = "postgres"
    database = staticmethod(databases.postgres)


class TestMariadb(OnServer):
    """On MariaDB."""

    __test__ = True
    kind = "mysql"
    database = staticmethod(databases.mysql)
