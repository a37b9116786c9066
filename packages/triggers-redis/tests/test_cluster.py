"""A cluster: slots that move, nodes that die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.servers.client import OwnServer
from tests.servers.plugin import Space
from triggers.errors import OutcomeUnknown, StorageError, StorageUnavailable
from triggers.store import ABSENT, EVERYTHING, Change, Due, Record, Want
from triggers_redis import RedisStore

ONE = Change("1", {("c", "k"): Record(b"1", 5)}, labels=frozenset({"l"}))
MakeStore = Callable[..., RedisStore]


def url_of(space_url: str) -> str:
    return space_url.replace("redis://", "redis+cluster://")


@pytest.fixture
def nodes(own_server: Callable[..., OwnServer]) -> Iterator[tuple[OwnServer, list[Any]]]:
    """A private cluster, and a client of each node."""
    server = own_server("redis-cluster")
    clients = [redis.Redis(port=port) for port in server.ports]
    yield server, clients
    for client in clients:
        client.close()


def test_sessions_spread_over_the_nodes(make_store: MakeStore, redis_cluster_space: Space) -> None:
    """Sixty sessions lie on all three nodes, each whole on one, and are listed together in order of time."""
    store = make_store(url=url_of(redis_cluster_space.url), prefix=redis_cluster_space.prefix)
    for number in range(60):
        change = Change("1", {("c", "k"): Record(b"1", 1_000 - number)}, labels=frozenset({"l"}))
        store.commit(f"s{number:02}", change, ABSENT, Want())
    for port in redis_cluster_space.server.ports:
        with redis.Redis(port=port) as node:
            assert len(node.keys(f"{redis_cluster_space.prefix}*:session:*")) > 5
            assert len(node.keys(f"{redis_cluster_space.prefix}*:index:*")) > 5
    assert [entry.uid for entry in store.due(2_000, None, 60).entries] == [f"s{number:02}" for number in range(59, -1, -1)]
    for label in (None, "l"):
        assert sorted(store.scan(label, None, 100).uids) == [f"s{number:02}" for number in range(60)]


def test_any_node_of_the_url_will_do(make_store: MakeStore, redis_cluster_space: Space) -> None:
    """Several nodes can be named, and the store starts from one that answers."""
    good = redis_cluster_space.server.ports[2]
    store = make_store(url=f"redis+cluster://127.0.0.1:1,127.0.0.1:{good}", prefix=redis_cluster_space.prefix)
    store.commit("s", ONE, ABSENT, Want())
    assert store.load("s", EVERYTHING).records == {"c": {"k": Record(b"1", 5)}}


def slot_of(store: RedisStore, uid: str) -> int:
    from redis.crc import key_slot

    return key_slot(store._layout.session(uid).hash_key)


def owner_of(clients: list[Any], slot: int) -> int:
    """The index of the node that serves a slot."""
    for at, client in enumerate(clients):
        reply = client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot)
        if reply:
            return at
    raise AssertionError(f"nobody has keys in slot {slot}")


def test_a_session_follows_its_slot(nodes: tuple[OwnServer, list[Any]], make_store: MakeStore) -> None:
    """While its slot is moved to another node, and afterwards, a session is loaded and changed; nothing is lost or doubled.

    Between its keys' moves a cluster answers TRYAGAIN; that is an error which says that nothing was stored.
    """
    server, clients = nodes
    store = make_store(url=url_of(server.url), timeout=5.0)
    store.commit("s", ONE, ABSENT, Want())
    slot = slot_of(store, "s")
    source = owner_of(clients, slot)
    target = (source + 1) % 3
    identity = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", identity[source])
    clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", identity[target])
    names = clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
    clients[source].execute_command("MIGRATE", "127.0.0.1", server.ports[target], names[0], 0, 5_000)
    for act in (lambda: store.commit("s", Change("2", {}), "1", Want()), lambda: store.delete("s")):
        with pytest.raises(StorageUnavailable) as caught:
            act()
        assert type(caught.value) is StorageUnavailable
    for name in names[1:]:
        clients[source].execute_command("MIGRATE", "127.0.0.1", server.ports[target], name, 0, 5_000)
    assert store.load("s", EVERYTHING) == ("1", {"c": {"k": Record(b"1", 5)}}, True)  # by ASK
    for client in clients:
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", identity[target])
    store.commit("s", Change("2", {("c", "k2"): Record(b"2")}), "1", Want())  # by MOVED
    assert store.load("s", EVERYTHING) == ("2", {"c": {"k": Record(b"1", 5), "k2": Record(b"2")}}, True)
    assert [entry.uid for entry in store.due(10, None, 9).entries] == ["s"]


def test_a_dead_node_is_reported_and_comes_back(nodes: tuple[OwnServer, list[Any]], make_store: MakeStore) -> None:
    """Without one of its nodes a cluster serves nobody; once the node is back, everything is there."""
    server, _ = nodes
    store = make_store(url=url_of(server.url), timeout=5.0, connect_timeout=2.0)
    for number in range(12):
        store.commit(f"s{number}", ONE, ABSENT, Want())
    server.kill(1)
    failed = 0
    for number in range(12):
        try:
            store.load(f"s{number}", Want())
        except StorageUnavailable:
            failed += 1
    assert failed > 0
    with pytest.raises(StorageUnavailable):
        store.due(10, None, 20)
    server.start()
    end = time.monotonic() + 60
    entries: list[Due] = []
    while not entries and time.monotonic() < end:
        try:
            entries = store.due(10, None, 20).entries
        except StorageUnavailable:
            time.sleep(0.1)
    assert sorted(entry.uid for entry in entries) == sorted(f"s{number}" for number in range(12))
    for number in range(12):
        store.commit(f"s{number}", Change("2", {}), "1", Want())


def test_commits_to_a_node_that_dies_are_open_or_refused(nodes: tuple[OwnServer, list[Any]], make_store: MakeStore) -> None:
    """A commit to a node that has stopped in its tracks raises OutcomeUnknown; the session is as before or after it."""
    server, clients = nodes
    store = make_store(url=url_of(server.url), timeout=3.0, connect_timeout=3.0)
    store.commit("s", ONE, ABSENT, Want())
    at = owner_of(clients, slot_of(store, "s"))
    server.pause(at)
    with pytest.raises(OutcomeUnknown):
        store.commit("s", Change("2", {}), "1", Want())
    server.resume(at)
    assert store.load("s", Want()).version in {"1", "2"}


def test_the_commands_in_the_manual_are_enough(nodes: tuple[OwnServer, list[Any]], make_store: MakeStore) -> None:
    """On a cluster a user needs ``command`` and ``cluster slots`` besides; without them the store is unavailable."""
    server, clients = nodes
    allowed = (
        "+eval +evalsha +get +set +hmget +hset +hdel +hgetall +hlen +hexists +exists +unlink +pexpireat +persist "
        "+zadd +zrem +zrange +zrank +zscore +zcount +zlexcount +zrangebylex +zrangebyscore +time +ping +select "
        "+info +config|get"
    )
    for client in clients:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~triggers:*", *allowed.split())
    store = make_store(url=f"redis+cluster://app:pw@127.0.0.1:{server.port}")
    with pytest.raises(StorageError):
        store.setup()
    for client in clients:
        client.execute_command("ACL", "SETUSER", "app", "+command", "+cluster|slots")
    for number in range(10):
        store.commit(f"s{number}", ONE, ABSENT, Want())
    assert len(store.due(10, None, 20).entries) == 10
    assert len(store.scan("l", None, 20).uids) == 10
    assert store.warnings() == []


def test_a_replica_that_took_over_is_found(nodes: tuple[OwnServer, list[Any]], make_store: MakeStore) -> None:
    """When a node has died and another serves its slots, the next load and commit go there without an error."""
    server, clients = nodes

    def shares(client: Any) -> tuple[int, ...]:
        """How many slots each of the three has, as one of them sees it."""
        ranges = [[part.split(b"-") for part in line_of(name, client).split()[8:]] for name in (first, second, third)]
        return tuple(sum(int(ends[-1]) - int(ends[0]) + 1 for ends in held) for held in ranges)

    first, second, third = (client.execute_command("CLUSTER", "MYID").decode() for client in clients)
    # The third node gives its slots to the first, and becomes the replica of the second.
    for client in reversed(clients):
        pipeline = client.pipeline(transaction=False)
        for slot in range(2 * (16384 // 3 + 1), 16384):
            pipeline.execute_command("CLUSTER", "SETSLOT", slot, "NODE", first)
        pipeline.execute()
    clients[0].execute_command("CLUSTER", "BUMPEPOCH")  # so that what the third said before counts no longer
    wait_until(lambda: {shares(client) for client in clients} == {(5462 + 5460, 5462, 0)})
    clients[2].execute_command("CLUSTER", "REPLICATE", second)
    wait_until(lambda: clients[2].info("replication").get("master_link_status") == "up")
    store = make_store(url=url_of(server.url), connect_timeout=2.0)
    for number in range(12):
        store.commit(f"s{number}", ONE, ABSENT, Want())
    assert {owner_of(clients[:2], slot_of(store, f"s{number}")) for number in range(12)} == {0, 1}
    clients[2].execute_command("CLUSTER", "FAILOVER")
    wait_until(lambda: clients[1].info("replication")["role"] == "slave")
    wait_until(lambda: b" master " in line_of(third, clients[0]))
    server.kill(1)
    for number in range(12):
        assert store.load(f"s{number}", Want()).version == "1"
        store.commit(f"s{number}", Change("2", {}), "1", Want())


def line_of(identity: str, client: Any) -> bytes:
    """What CLUSTER NODES says of one node."""
    nodes: bytes = client.execute_command("CLUSTER", "NODES")
    (found,) = (line for line in nodes.splitlines() if line.startswith(identity.encode()))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
