"""What a store says when the network fails in the middle of a commit, and what is stored then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from caching import projects
from test_contract import Proxies, alias, through
from tests.servers.client import OwnServer
from tests.servers.plugin import Space
from tests.servers.proxy import FaultProxy
from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers.store import ABSENT, EVERYTHING, Change, Record, Store, Want
from triggers.testing.conformance.space import OpenStore

REPEATING = "add on redis with a client that sends again"
KINDS = {
    "memcached": b"cas ",
    "redis": b"EVAL",
    "postgres": b"UPDATE",
    "add on memcached": b"add ",
    "add on redis": b"NX",
    REPEATING: b"NX",
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of cache."""
    return str(request.param)


@pytest.fixture
def proxy(request: pytest.FixtureRequest, kind: str, fault_proxy: Proxies) -> FaultProxy:
    """Between the store and its server."""
    if kind == "postgres":
        return fault_proxy(request.getfixturevalue("server")("postgres"))
    space: Space = request.getfixturevalue("redis_space" if "redis" in kind else "memcached_space")
    return fault_proxy(space.server)


@pytest.fixture
def store(request: pytest.FixtureRequest, kind: str, proxy: FaultProxy) -> Iterator[Store]:
    """A store behind the proxy that holds one session, with the number 1 under the version v1."""
    with contextlib.closing(opener(request, kind, proxy)()) as store:
        store.setup()
        store.delete("s")
        store.commit("s", number(1), ABSENT, Want())
        yield store


def opener(request: pytest.FixtureRequest, kind: str, proxy: FaultProxy) -> OpenStore:
    """How the store of this kind is opened."""
    name = alias()
    if kind == "postgres":
        database = projects.postgres_database(through(proxy, request.getfixturevalue("postgres_url")))
        return lambda: projects.open_django(name, projects.database_cache(name), database)
    space: Space = request.getfixturevalue("redis_space" if "redis" in kind else "memcached_space")
    if kind == "memcached":
        return lambda: projects.open_url(through(proxy, space.url), prefix=space.prefix)
    make = projects.redis_cache if "redis" in kind else projects.memcached_cache
    options = {"retry": Retry(ConstantBackoff(0.05), 3)} if kind == REPEATING else {}
    cache = make(through(proxy, space.url), space.prefix, **options)
    if kind.startswith("add"):
        return lambda: projects.open_django(name, projects.strange_cache(cache), atomic_add=True)
    return lambda: projects.open_django(name, cache)


def number(value: int) -> Change:
    """Sets the number; the version is named for it."""
    return Change(f"v{value}", {("c", "n"): Record(str(value).encode())})


def stored(store: Store) -> tuple[str, bytes]:
    """Version and number."""
    snapshot = store.load("s", EVERYTHING)
    return snapshot.version, snapshot.records["c"]["n"].value


def test_a_lost_reply_is_an_unknown_outcome(kind: str, store: Store, proxy: FaultProxy) -> None:
    """The server serves a commit and its answer is lost: ``OutcomeUnknown``, and the change is stored once.

    Where the client library itself sends again, the store recognises its own change and returns.
    """
    lost = proxy.drop_reply(containing=KINDS[kind])
    if kind == REPEATING:
        store.commit("s", number(2), "v1", Want())
    else:
        with pytest.raises(OutcomeUnknown):
            store.commit("s", number(2), "v1", Want())
    assert lost.is_set(), "the fault was never made"
    assert stored(store) == ("v2", b"2")
    store.commit("s", number(3), "v2", Want())
    assert stored(store) == ("v3", b"3")


def test_a_commit_that_never_arrived_is_told_as_unknown_or_unavailable(kind: str, store: Store, proxy: FaultProxy) -> None:
    """The connection dies before the server sees the commit: an error of ours, and the session is unchanged.

    Where the client library itself sends again, the commit succeeds.
    """
    lost = proxy.reset_before(containing=KINDS[kind])
    if kind == REPEATING:
        store.commit("s", number(2), "v1", Want())
        assert stored(store) == ("v2", b"2")
    else:
        with pytest.raises((OutcomeUnknown, StorageUnavailable)):
            store.commit("s", number(2), "v1", Want())
        assert stored(store) == ("v1", b"1")
    assert lost.is_set(), "the fault was never made"


def test_a_late_commit_does_not_undo_a_newer_one(kind: str, store: Store, proxy: FaultProxy) -> None:
    """A commit that reaches the server only after another one has no effect; also where its client has sent it again."""
    lost = proxy.late(60, containing=KINDS[kind])
    if kind == REPEATING:
        store.commit("s", number(2), "v1", Want())
        store.commit("s", number(3), "v2", Want())
    else:
        with pytest.raises(OutcomeUnknown):
            store.commit("s", number(2), "v1", Want())
        store.commit("s", number(3), "v1", Want())
    assert lost.is_set(), "the fault was never made"
    proxy.deliver_late()
    assert stored(store) == ("v3", b"3")


def test_a_commit_that_arrives_twice_counts_once(kind: str, store: Store, proxy: FaultProxy) -> None:
    """The network repeats a commit: it is stored once and told as stored."""
    repeated = proxy.repeat(containing=KINDS[kind])
    store.commit("s", number(2), "v1", Want())
    assert repeated.wait(60), "the fault was never made"
    assert stored(store) == ("v2", b"2")
    store.commit("s", number(3), "v2", Want())
    assert stored(store) == ("v3", b"3")


def test_a_lost_reply_to_a_deletion(kind: str, store: Store, proxy: FaultProxy) -> None:
    """The answer to a deletion is lost: the session is gone, and ``delete`` said so or said that it does not know."""
    marks = {"memcached": b"cas ", "redis": b"EVAL", "postgres": b"DELETE"}
    store.commit("another", number(1), ABSENT, Want())
    store.delete("another")  # Redis knows the script from now on
    lost = proxy.drop_reply(containing=marks.get(kind, KINDS[kind]))
    if kind == REPEATING:
        assert store.delete("s", "v1") is True
    else:
        with pytest.raises(OutcomeUnknown):
            store.delete("s", "v1")
    assert lost.is_set(), "the fault was never made"
    assert store.load("s", EVERYTHING).version == ABSENT
    assert store.delete("s") is False


def test_a_server_that_refuses_connections_is_unavailable(store: Store, proxy: FaultProxy) -> None:
    """While nobody listens, reads and commits raise ``StorageUnavailable``; afterwards all is as it was."""
    proxy.refuse()
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            store.load("s", EVERYTHING)
        with pytest.raises(StorageUnavailable):
            store.commit("s", number(2), "v1", Want())
    proxy.heal()
    assert stored(store) == ("v1", b"1")
    store.commit("s", number(2), "v1", Want())
    assert stored(store) == ("v2", b"2")


def test_a_server_that_says_nothing_is_unavailable_within_the_timeout(memcached_space: Space, fault_proxy: Proxies) -> None:
    """A memcached that takes requests and never answers makes a load fail after the timeouts of the URL, not never."""
    proxy = fault_proxy(memcached_space.server)
    url = f"{through(proxy, memcached_space.url)}?timeout=2&connect_timeout=2"
    with contextlib.closing(projects.open_url(url, prefix=memcached_space.prefix)) as store:
        store.load("s", EVERYTHING)
        proxy.black_hole()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            store.load("s", EVERYTHING)


def test_a_key_stays_with_its_server_when_that_is_down(own_server: Callable[..., OwnServer]) -> None:
    """Of two memcached servers one is down: its sessions are unavailable, never "not there" and never made anew on the other."""
    servers = [own_server("memcached"), own_server("memcached")]
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    uids = [f"session {at}" for at in range(20)]
    with contextlib.closing(projects.open_url(f"memcached://{hosts}")) as store:
        for uid in uids:
            store.commit(uid, number(1), ABSENT, Want())
        servers[0].kill()
        unavailable = 0
        for uid in uids:
            for _ in range(4):
                try:
                    assert store.load(uid, EVERYTHING).version == "v1"
                except StorageUnavailable:
                    unavailable += 1
                    with pytest.raises(StorageUnavailable):
                        store.commit(uid, number(1), ABSENT, Want())
        assert 0 < unavailable < 80
        assert unavailable % 4 == 0
        backwards = ",".join(reversed(hosts.split(",")))
        with contextlib.closing(projects.open_url(f"memcached://{backwards}")) as other:
            assert sum(_there(other, uid) for uid in uids) == 20 - unavailable // 4


def _there(store: Store, uid: str) -> bool:
    try:
        return store.load(uid, EVERYTHING).version == "v1"
    except StorageUnavailable:
        return False
