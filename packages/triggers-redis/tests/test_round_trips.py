"""What operations cost: counted on the wire and by the server, in sessions of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import redis

from tests.servers.client import OwnServer
from tests.servers.plugin import Space
from tests.servers.proxy import FaultProxy
from triggers.errors import Conflict
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_redis import RedisStore

HEAD = ("session", "head")
WANT = Want(frozenset({HEAD, ("trigger", "page3")}), frozenset({"live/t_a", "queued/t_a"}))
FIRE = {HEAD: Record(b'{"fires":2}'), ("trigger", "page3"): Record(b"{}"), ("live/t_a", "0"): Record(b"{}", 5)}
OTHERS = 3_000


def fill(store: RedisStore, uid: str, others: int) -> None:
    """A session with a head, and as many finished instances and other tasks as asked."""
    put = {HEAD: Record(b'{"fires":1}'), ("live/t_a", "0"): Record(b'{"status":"running"}', 1_000)}
    for number in range(others):
        put["done/t_a", str(number)] = Record(b'{"status":"finished"}')
        put[f"live/t_{number}", "0"] = Record(b"{}", 2_000_000_000_000_000 + number)
    store.commit(uid, Change("1", put), ABSENT, Want())


def cost(proxy: FaultProxy, act: Callable[[], object]) -> tuple[int, int, int]:
    """Requests, bytes sent and bytes received."""
    proxy.gap = 0.2  # a pipeline is written in pieces
    proxy.reset_counts()
    act()
    return proxy.requests, proxy.bytes_sent, proxy.bytes_received


def test_a_load_is_one_round_trip_of_the_same_bytes(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A load takes one round trip, and as many bytes with 6 000 other records as with none."""
    fill(proxied, "fresh", 0)
    fill(proxied, "large", OTHERS)
    proxied.load("fresh", WANT)
    fresh = cost(proxy, lambda: proxied.load("fresh", WANT))
    assert fresh[0] == 1
    assert cost(proxy, lambda: proxied.load("large", WANT)) == fresh


def test_a_commit_is_one_round_trip_of_the_same_bytes(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A commit takes one round trip, and as many bytes with 6 000 other records as with none."""
    fill(proxied, "fresh", 0)
    fill(proxied, "large", OTHERS)
    fresh = cost(proxy, lambda: proxied.commit("fresh", Change("2", FIRE), "1", WANT))
    assert fresh[0] == 1
    assert cost(proxy, lambda: proxied.commit("large", Change("2", FIRE), "1", WANT)) == fresh


def test_a_conflict_brings_its_snapshot_in_the_same_reply(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A refused commit is one round trip, and what was wanted comes with it."""
    fill(proxied, "s", 10)
    caught: list[Conflict] = []

    def act() -> None:
        with pytest.raises(Conflict) as error:
            proxied.commit("s", Change("3", FIRE), "another", WANT)
        caught.append(error.value)

    assert cost(proxy, act)[0] == 1
    assert caught[0].snapshot == ("1", proxied.load("s", WANT).records, False)
    assert caught[0].snapshot.records == {
        "session": {"head": Record(b'{"fires":1}')},
        "live/t_a": {"0": Record(b'{"status":"running"}', 1_000)},
    }


def test_everything_and_deletion_are_one_round_trip(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A load of everything and a deletion take one round trip each, with 6 000 records."""
    fill(proxied, "s", OTHERS)
    assert cost(proxy, lambda: proxied.load("s", EVERYTHING))[0] == 1
    assert cost(proxy, lambda: proxied.delete("s", "1"))[0] == 1


def test_scripts_are_sent_once(proxied: RedisStore, proxy: FaultProxy) -> None:
    """Once the server knows the scripts, a load and a commit send a few hundred bytes, not the scripts."""
    fill(proxied, "s", 0)
    proxied.load("s", WANT)
    assert cost(proxy, lambda: proxied.load("s", WANT))[1] < 300
    assert cost(proxy, lambda: proxied.commit("s", Change("2", FIRE), "1", WANT))[1] < 700


def test_forgotten_scripts_are_sent_again(own_server: Callable[..., OwnServer], make_store: Callable[..., RedisStore]) -> None:
    """After SCRIPT FLUSH each operation works as before, listings of many shards included, and stores once."""
    server = own_server("redis")
    store = make_store(url=server.url)
    with redis.Redis.from_url(server.url) as client:
        for number in range(3):
            client.script_flush()
            store.commit("s", Change(f"{number + 1}", FIRE), str(number or ABSENT), WANT)
            client.script_flush()
            assert store.load("s", Want()).version == f"{number + 1}"
            client.script_flush()
            assert [entry.uid for entry in store.due(10, None, 10).entries] == ["s"]
            client.script_flush()
            assert store.scan(None, None, 10).uids == ["s"]
        client.script_flush()
        assert store.delete("s") is True


def commands_of(client: redis.Redis, act: Callable[[], object]) -> dict[str, int]:
    """The commands that the server ran, also inside of scripts."""
    client.config_resetstat()
    act()
    counted = client.info("commandstats")
    ours = {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in counted.items()}
    return {name: calls for name, calls in ours.items() if name not in {"config|resetstat", "info"}}


def test_the_server_runs_the_same_commands(own_server: Callable[..., OwnServer], make_store: Callable[..., RedisStore]) -> None:
    """Inside of the scripts, too, a fire costs the same few commands in a session of any size; nothing is for expiry."""
    server = own_server("redis")
    store = make_store(url=server.url)
    fill(store, "fresh", 0)
    fill(store, "large", OTHERS)
    store.load("fresh", WANT)
    with redis.Redis.from_url(server.url) as client:
        for uid in ("fresh", "large"):
            assert commands_of(client, partial(store.load, uid, WANT)) == {
                "evalsha": 1,
                "hmget": 2,
                "zrangebylex": 2,
                "exists": 1,
            }
            assert commands_of(client, partial(store.commit, uid, Change("2", FIRE), "1", WANT)) == {
                "evalsha": 1,
                "hmget": 1,
                "hset": 2,
                "zadd": 2,
                "zrem": 1,
            }


@pytest.mark.parametrize("sessions", [0, 5, 400])
def test_a_page_of_wake_ups_is_two_round_trips_at_most(proxied: RedisStore, proxy: FaultProxy, sessions: int) -> None:
    """A page of wake-ups over 64 shards takes one or two round trips, not one per shard, and receives about a page."""
    for number in range(sessions):
        proxied.commit(f"s{number}", Change("1", {("live/t", "0"): Record(b"{}", 1_000 + number)}), ABSENT, Want())
    proxied.due(10_000, None, 1)
    requests, _, received = cost(proxy, lambda: proxied.due(10_000, None, 100))
    assert requests <= 2
    assert received < 64 * 20 + 5 * min(sessions, 100) * 60


def test_wake_ups_of_one_shard_cost_no_more(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A page that comes from a single session also takes two round trips, and is in order."""
    put = {("live/t", str(number)): Record(b"{}", 5_000 - number) for number in range(1_000)}
    proxied.commit("s", Change("1", put), ABSENT, Want())
    pages = []
    assert cost(proxy, lambda: pages.append(proxied.due(10_000, None, 200)))[0] == 2
    assert [entry.wake_at for entry in pages[0].entries] == list(range(4_001, 4_201))


@pytest.mark.parametrize("sessions", [0, 5, 400])
def test_a_page_of_sessions_is_two_round_trips_at_most(proxied: RedisStore, proxy: FaultProxy, sessions: int) -> None:
    """A page of uids takes one or two round trips and receives little more than the page."""
    for number in range(sessions):
        proxied.commit(f"s{number}", Change("1", {}, labels=frozenset({"l"})), ABSENT, Want())
    proxied.scan(None, None, 1)
    for label in (None, "l"):
        requests, _, received = cost(proxy, partial(proxied.scan, label, None, 100))
        assert requests <= 2
        assert len(proxied.scan(label, None, 100).uids) == min(sessions, 100)
        assert received < 64 * 30 + min(sessions, 100) * 30


def test_construction_does_not_connect(redis_space: Space, proxy: FaultProxy) -> None:
    """Making a store opens no connection."""
    proxy.reset_counts()
    store = RedisStore(url=f"redis://127.0.0.1:{proxy.port}/0", prefix=redis_space.prefix)
    store.close()
    assert proxy.requests == 0
