"""What a server refuses, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis

from tests.servers.client import OwnServer, Server
from tests.servers.plugin import Space
from triggers.errors import OutcomeUnknown, SessionTooLarge, StorageError, StorageUnavailable, UnreadableRecord
from triggers.store import ABSENT, EVERYTHING, NOTHING, Change, Record, Want
from triggers_redis import RedisStore
from triggers_redis.session import MAX_VALUE_BYTES

ONE = Change("1", {("c", "k"): Record(b"1", 5)}, labels=frozenset({"l"}))
MakeStore = Callable[..., RedisStore]
ALLOWED = (
    "+eval +evalsha +get +set +hmget +hset +hdel +hgetall +hlen +hexists +exists +unlink +pexpireat +persist "
    "+zadd +zrem +zrange +zrank +zscore +zcount +zlexcount +zrangebylex +zrangebyscore +time +ping +select "
    "+info +config|get"
)
"""The commands that the manual names."""


@pytest.fixture
def guarded(own_server: Callable[..., OwnServer]) -> Iterator[tuple[OwnServer, Any]]:
    """A private server, and its administrator."""
    server = own_server("redis")
    with redis.Redis.from_url(server.url) as admin:
        yield server, admin


def refused(act: Callable[[], object], error: type[StorageError] = StorageError) -> str:
    """The message of a refusal that is of exactly this kind."""
    with pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    return str(caught.value)


def test_out_of_memory_stores_nothing(guarded: tuple[OwnServer, Any], make_store: MakeStore) -> None:
    """A full server refuses commits of every kind with one clear error and stores nothing; reads and deletions go on."""
    server, admin = guarded
    store = make_store(url=server.url)
    store.commit("s", ONE, ABSENT, Want())
    store.commit("gone", ONE, ABSENT, Want())
    before = store.load("s", EVERYTHING)
    keys = sorted(admin.keys())
    admin.config_set("maxmemory", 1)
    for uid, change, expected in (
        ("new", ONE, ABSENT),
        ("s", Change("2", {("c", "k"): Record(b"2"), ("c", "k2"): Record(b"2", 7)}), "1"),
        ("s", Change("2", {}, frozenset({("c", "k")})), "1"),
        ("s", Change("2", {}, labels=frozenset(), expire_in=1), "1"),
    ):
        said = refused(partial(store.commit, uid, change, expected, Want()))
        assert "is out of memory (maxmemory) and stored nothing" in said
    assert store.load("s", EVERYTHING) == before
    assert sorted(admin.keys()) == keys
    assert sorted(entry.uid for entry in store.due(5, None, 9).entries) == ["gone", "s"]
    assert store.delete("gone") is True
    admin.config_set("maxmemory", 0)
    store.commit("s", Change("2", {}), "1", Want())


def test_a_replica_takes_no_commit(guarded: tuple[OwnServer, Any], make_store: MakeStore) -> None:
    """A read-only replica is reported as such, it is certain that nothing was stored, and a warning says so beforehand.

    The connection is not used again: the name of the host may lead to the new primary by now.
    """
    server, admin = guarded
    store = make_store(url=f"{server.url}?client_name=app", retries=0)
    store.commit("s", ONE, ABSENT, Want())
    admin.replicaof("127.0.0.1", str(server.port))  # of nobody that answers as a primary
    said = refused(lambda: store.commit("s", Change("2", {}), "1", Want()), StorageUnavailable)
    assert "read only replica" in said
    assert all(entry["name"] != "app" for entry in admin.client_list())
    assert any("is a replica" in text for text in store.warnings())
    admin.replicaof("NO", "ONE")
    store.commit("s", Change("2", {}), "1", Want())


def test_a_wrong_password_is_said_and_not_shown(guarded: tuple[OwnServer, Any], make_store: MakeStore) -> None:
    """A wrong password, and none, are refused at once with what to check; neither password appears."""
    server, admin = guarded
    admin.config_set("requirepass", "open sesame")
    for userinfo in (":hush@", "someone:hush@", ""):
        store = make_store(url=f"redis://{userinfo}127.0.0.1:{server.port}/0")
        said = refused(partial(store.load, "s", Want()), StorageUnavailable)
        assert "check the user and the password in the url" in said
        assert "hush" not in said
    store = make_store(url=f"redis://:open%20sesame@127.0.0.1:{server.port}/0")
    assert store.load("s", Want()) == NOTHING


def test_a_password_that_changes_is_said(guarded: tuple[OwnServer, Any], make_store: MakeStore) -> None:
    """When the server drops a user, the next commit says so, and that nothing was stored."""
    server, admin = guarded
    admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all")
    store = make_store(url=f"redis://app:pw@127.0.0.1:{server.port}/0")
    store.commit("s", ONE, ABSENT, Want())
    admin.execute_command("ACL", "DELUSER", "app")
    while any(entry["user"] != "default" for entry in admin.client_list()):
        time.sleep(0.01)
    said = refused(lambda: store.commit("s", Change("2", {}), "1", Want()), StorageUnavailable)
    assert "check the user and the password" in said


def test_a_database_that_is_not_there(make_store: MakeStore, redis_space: Space) -> None:
    """A database number that the server does not have is reported with the server's words."""
    store = make_store(url=redis_space.url.rpartition("/")[0] + "/99999", retries=0)
    assert "DB index is out of range" in refused(lambda: store.load("s", Want()), StorageUnavailable)


def test_the_commands_in_the_manual_are_enough(guarded: tuple[OwnServer, Any], make_store: MakeStore) -> None:
    """A user with the commands that the manual lists, and the prefix as its only keys, can do everything."""
    server, admin = guarded
    admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~triggers:*", *ALLOWED.split())
    store = make_store(url=f"redis://app:pw@127.0.0.1:{server.port}/1")
    store.setup()
    assert store.warnings() == []
    store.commit("s", ONE._replace(expire_in=100), ABSENT, Want())
    store.commit("s", Change("2", {("c", "k"): Record(b"2")}, frozenset({("c", "x")}), frozenset()), "1", Want())
    assert store.load("s", EVERYTHING).records == {"c": {"k": Record(b"2")}}
    assert store.load("s", Want(collections=frozenset({"none"}))).records == {}
    page = store.due(10, '["5", 3, "1:s1:ck"]', 10)
    assert page.entries == []
    assert store.scan(None, None, 10).uids == ["s"]
    assert store.delete("s") is True
    assert admin.execute_command("ACL", "LOG") == []


@pytest.mark.parametrize("missing", ["zadd", "unlink", "pexpireat", "hgetall"])
def test_a_missing_permission_is_found_before_anything_is_stored(
    guarded: tuple[OwnServer, Any], make_store: MakeStore, missing: str
) -> None:
    """A user who lacks a command is refused at the first use, by name, and not in the middle of a commit."""
    server, admin = guarded
    admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~triggers:*", *ALLOWED.split(), f"-{missing}")
    store = make_store(url=f"redis://app:pw@127.0.0.1:{server.port}/0")
    said = refused(lambda: store.commit("s", ONE, ABSENT, Want()))
    assert f"no permissions to run the command {missing}" in said
    assert admin.keys() == []


def test_the_number_of_shards_is_fixed(make_store: MakeStore, redis_space: Space) -> None:
    """A store with another number of shards would find nothing: it is refused, with the number that holds."""
    make_store(url=redis_space.url, prefix=redis_space.prefix, shards=8).commit("s", ONE, ABSENT, Want())
    other = make_store(url=redis_space.url, prefix=redis_space.prefix, shards=16)
    for act in (other.setup, lambda: other.load("s", Want()), lambda: other.commit("t", ONE, ABSENT, Want())):
        assert "spread over 8 shards, the setting says 16; set shards=8" in refused(act)
    again = make_store(url=redis_space.url, prefix=redis_space.prefix, shards=8)
    assert again.load("s", Want()).version == "1"


def test_a_layout_of_the_future_is_refused(make_store: MakeStore, redis_space: Space, client: redis.Redis) -> None:
    """A prefix whose layout has another format number is left alone."""
    client.set(f"{redis_space.prefix}layout", "2:64")
    store = make_store(url=redis_space.url, prefix=redis_space.prefix)
    assert "which this version does not know; upgrade triggers-redis" in refused(store.setup)


def test_a_session_of_the_future_is_refused(store: RedisStore, redis_space: Space, client: redis.Redis) -> None:
    """A session in an unknown format is neither read, changed nor deleted."""
    store.commit("s", ONE, ABSENT, Want())
    (key,) = client.keys(f"{redis_space.prefix}*session:s")
    client.hset(key, "format", "2")
    for act in (
        lambda: store.load("s", Want()),
        lambda: store.commit("s", Change("2", {}), "1", Want()),
        lambda: store.delete("s"),
    ):
        assert "kept in format '2', this version reads 1; upgrade triggers-redis" in refused(act, UnreadableRecord)
    assert client.hget(key, "version") == b"1"


def test_an_evicted_index_is_noticed(store: RedisStore, redis_space: Space, client: redis.Redis) -> None:
    """Where the server removed a session's index, a load says so in place of finding nothing."""
    store.commit("s", ONE, ABSENT, Want())
    client.delete(*client.keys(f"{redis_space.prefix}*index:s"))
    said = refused(lambda: store.load("s", Want(collections=frozenset({"c"}))), UnreadableRecord)
    assert "has records but no index" in said
    assert "maxmemory-policy must be noeviction" in said


def test_a_record_that_something_else_removed_is_absent(store: RedisStore, client: redis.Redis) -> None:
    """A record that the index names and the hash lacks is left out, alone and with its collection."""
    store.commit("s", Change("1", {("c", "k"): Record(b"1"), ("c", "k2"): Record(b"2")}), ABSENT, Want())
    client.hdel(store._layout.session("s").hash_key, "1:ck")
    for want in (Want(collections=frozenset({"c"})), Want(frozenset({("c", "k"), ("c", "k2")}))):
        assert store.load("s", want) == ("1", {"c": {"k2": Record(b"2")}}, False)


def test_an_evicted_session_is_gone_whole(store: RedisStore, redis_space: Space, client: redis.Redis) -> None:
    """Where the server removed a session's hash, the session does not exist; made anew it has nothing of the old one."""
    store.commit("s", ONE, ABSENT, Want())
    client.delete(*client.keys(f"{redis_space.prefix}*session:s"))
    assert store.load("s", EVERYTHING) == NOTHING
    store.commit("s", Change("2", {("d", "k"): Record(b"2")}), ABSENT, Want())
    assert store.load("s", EVERYTHING) == ("2", {"d": {"k": Record(b"2")}}, True)
    assert store.due(10, None, 10).entries == []
    assert store.scan("l", None, 10).uids == []


def test_somebody_elses_key_is_reported(store: RedisStore, client: redis.Redis) -> None:
    """A key of another kind where a session should be is reported, and stays as it is."""
    name = store._layout.session("s").hash_key
    client.set(name, "mine")
    for act in (lambda: store.load("s", Want()), lambda: store.commit("s", ONE, ABSENT, Want())):
        assert "has a key of another kind under our prefix" in refused(act, UnreadableRecord)
    assert client.get(name) == b"mine"


def test_a_cluster_needs_its_url(make_store: MakeStore, redis_cluster_space: Space) -> None:
    """A plain URL that leads to a node of a cluster is answered with the URL to use."""
    store = make_store(url=redis_cluster_space.url, prefix=redis_cluster_space.prefix)
    for number in range(9):  # of the nodes, two are not this one
        try:
            store.load(f"s{number}", Want())
        except StorageError as error:
            assert "use a url that begins with redis+cluster://" in str(error)  # noqa: PT017 - some loads succeed
            return
    pytest.fail("nine sessions in a row lay on one node of three")


def test_a_single_server_is_no_cluster(make_store: MakeStore, redis_space: Space) -> None:
    """A cluster URL that leads to a single server is reported."""
    store = make_store(url=redis_space.url.replace("redis:", "redis+cluster:"), retries=0)
    assert "luster" in refused(lambda: store.load("s", Want()), StorageUnavailable)


def test_a_page_has_a_size(store: RedisStore) -> None:
    """A limit below one is the caller's mistake."""
    for act in (lambda: store.due(1, None, 0), lambda: store.scan(None, None, 0)):
        with pytest.raises(ValueError, match="at least one entry"):
            act()


def test_a_value_that_is_too_long_is_not_sent(store: RedisStore) -> None:
    """A value beyond what a string of Redis holds is refused with its place, before anything is sent."""

    class Long(bytes):
        def __len__(self) -> int:
            return MAX_VALUE_BYTES + 1

    with pytest.raises(SessionTooLarge, match="the record 'c' 'k' has 536870881 bytes, Redis takes at most 536870880"):
        store.commit("s", Change("1", {("c", "k"): Record(Long())}), ABSENT, Want())
    assert store.load("s", Want()) == NOTHING


def test_outcome_unknown_is_for_what_was_sent(server: Callable[[str], Server], make_store: MakeStore) -> None:
    """A host that cannot be found is no open outcome."""
    assert server("redis").port
    store = make_store(url="redis://127.0.0.1:1/0", retries=0)
    with pytest.raises(StorageUnavailable) as caught:
        store.commit("s", ONE, ABSENT, Want())
    assert not isinstance(caught.value, OutcomeUnknown)
