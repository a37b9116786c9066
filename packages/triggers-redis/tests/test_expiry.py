"""Sessions that the server forgets by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from tests.servers.plugin import Space
from triggers.store import ABSENT, EVERYTHING, NOTHING, Change, Record, Want
from triggers_redis import RedisStore

RECORDS = {("c", "k"): Record(b"1", 5), ("live/t", "0"): Record(b"2", 6)}
LABELS = frozenset({"l", "m"})


def left(client: redis.Redis, space: Space) -> list[str]:
    """The keys that are there, without the prefix and the note of the layout."""
    names = (bytes(name).decode().removeprefix(space.prefix) for name in client.keys(f"{space.prefix}*"))  # type: ignore[arg-type]
    return sorted(name for name in names if name != "layout")


def wait_for_expiry(store: RedisStore, uid: str) -> None:
    """Until the session is gone by itself: one that was told to expire within seconds."""
    end = time.monotonic() + 10
    while True:
        asked_late = time.monotonic() > end
        if store.load(uid, Want()) == NOTHING:
            return
        assert not asked_late
        time.sleep(0.02)


def test_a_session_expires_when_it_was_told_to(store: RedisStore) -> None:
    """A session with ``expire_in`` is whole until then and gone afterwards, and from all listings."""
    started = time.monotonic()
    store.commit("s", Change("1", RECORDS, labels=LABELS, expire_in=6), ABSENT, Want())
    stored = time.monotonic()
    assert store.load("s", EVERYTHING).version == "1"
    assert store.scan("l", None, 9).uids == ["s"]
    assert len(store.due(10, None, 9).entries) == 2
    asked = time.monotonic()
    while store.load("s", Want()) != NOTHING:
        assert asked - stored < 6.5
        time.sleep(0.02)
        asked = time.monotonic()
    assert time.monotonic() - started > 5.9
    assert store.scan(None, None, 9) == ([], None)
    assert store.scan("l", None, 9) == ([], None)
    assert store.due(10, None, 9) == ([], None)


def test_each_commit_starts_the_time_anew(store: RedisStore, client: redis.Redis) -> None:
    """``expire_in`` counts from the last commit, and a commit without it lets the session live for ever."""
    name = store._layout.session("s").hash_key
    store.commit("s", Change("1", RECORDS, expire_in=50), ABSENT, Want())
    assert 40 < client.ttl(name) <= 50
    store.commit("s", Change("2", {}, expire_in=5_000), "1", Want())
    assert 4_000 < client.ttl(name) <= 5_000
    store.commit("s", Change("3", {}), "2", Want())
    assert client.ttl(name) == -1
    assert client.hgetall(name).keys() == {b"version", b"format", b"1:ck", b"6:live/t0"}
    store.commit("s", Change("4", {}, expire_in=60), "3", Want())
    assert 50 < client.ttl(name) <= 60


def test_a_listing_clears_what_an_expired_session_left(store: RedisStore, redis_space: Space, client: redis.Redis) -> None:
    """After one listing of wake-ups no key and no entry of an expired session is left."""
    store.commit("s", Change("1", RECORDS, labels=LABELS, expire_in=1), ABSENT, Want())
    store.commit("bare", Change("1", {}, expire_in=1), ABSENT, Want())
    wait_for_expiry(store, "s")
    wait_for_expiry(store, "bare")
    assert left(client, redis_space) != []
    store.due(0, None, 1)
    assert left(client, redis_space) == []


def test_a_scan_clears_it_too(store: RedisStore, redis_space: Space, client: redis.Redis) -> None:
    """A listing of the sessions leaves nothing of an expired one either."""
    store.commit("s", Change("1", RECORDS, labels=LABELS, expire_in=1), ABSENT, Want())
    wait_for_expiry(store, "s")
    assert store.scan(None, None, 100).uids == []
    assert left(client, redis_space) == []


def test_a_session_made_anew_has_nothing_of_the_expired_one(store: RedisStore) -> None:
    """A session of the same name starts empty: no label, no wake-up, no expiry of the former one."""
    store.commit("s", Change("1", RECORDS, labels=LABELS, expire_in=1), ABSENT, Want())
    wait_for_expiry(store, "s")
    store.commit("s", Change("2", {("d", "k"): Record(b"3")}), ABSENT, Want())
    assert store.load("s", EVERYTHING) == ("2", {"d": {"k": Record(b"3")}}, True)
    assert store.load("s", Want(collections=frozenset({"c"}))) == ("2", {}, False)
    assert store.due(10, None, 9) == ([], None)
    assert store.scan("l", None, 9) == ([], None)
    time.sleep(1.1)
    assert store.scan(None, None, 9).uids == ["s"]


def test_sessions_that_live_are_listed_beside_expired_ones(store: RedisStore) -> None:
    """Pages leave out expired sessions only; none that lives is lost or comes twice, whatever the page's size."""
    for number in range(40):
        expire_in = 1 if number % 2 else 1_000 if number % 4 else None
        change = Change("1", {("c", "k"): Record(b"1", 100 + number)}, labels=LABELS, expire_in=expire_in)
        store.commit(f"s{number:02}", change, ABSENT, Want())
    for number in range(1, 40, 2):
        wait_for_expiry(store, f"s{number:02}")
    living = [f"s{number:02}" for number in range(0, 40, 2)]
    found, cursor = [], None
    while True:
        page = store.due(1_000, cursor, 3)
        found += [entry.uid for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == living
    for label in (None, "l"):
        uids, cursor = [], None
        while True:
            listed = store.scan(label, cursor, 3)
            uids += listed.uids
            cursor = listed.cursor
            if cursor is None:
                break
        assert sorted(uids) == living


def test_more_expired_sessions_than_one_listing_clears(
    make_store: Callable[..., RedisStore], redis_space: Space, client: redis.Redis
) -> None:
    """Hundreds of expired sessions in one shard never appear, and a few listings clear them all away."""
    store = make_store(url=redis_space.url, prefix=redis_space.prefix, shards=1)
    for number in range(250):
        store.commit(f"s{number}", Change("1", {("c", "k"): Record(b"1", 5)}, expire_in=1), ABSENT, Want())
    store.commit("stays", Change("1", {("c", "k"): Record(b"1", 9)}), ABSENT, Want())
    wait_for_expiry(store, "s249")
    for _ in range(4):
        found, cursor = [], None
        while True:
            page = store.due(10, cursor, 60)
            found += [entry.uid for entry in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == ["stays"]
    assert left(client, redis_space) == ["{0}:due", "{0}:index:stays", "{0}:session:stays", "{0}:sessions"]


def test_a_deletion_leaves_nothing(store: RedisStore, redis_space: Space, client: redis.Redis) -> None:
    """Deletion removes every key and entry, of sessions with and without an expiry."""
    for uid, expire_in in (("a", None), ("b", 100)):
        store.commit(uid, Change("1", RECORDS, labels=LABELS, expire_in=expire_in), ABSENT, Want())
    for uid in ("a", "b"):
        assert store.delete(uid) is True
    assert left(client, redis_space) == []
