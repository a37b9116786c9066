"""How uids, collections, keys and labels of any kind become names in Redis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from triggers_redis import keys

names = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.text(
    alphabet="1:{}ab", min_size=1, max_size=8
)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_names_of_a_session_are_these() -> None:
    """The layout is fixed, since stored sessions have it: crc32 of the uid, modulo the shards."""
    session = keys.Layout("triggers:", 64).session("order:42")
    assert session.hash_key == b"triggers:{43}:session:order:42"
    assert session.index_key == b"triggers:{43}:index:order:42"
    assert session.shard == (
        b"triggers:{43}:due",
        b"triggers:{43}:sessions",
        b"triggers:{43}:labels",
        b"triggers:{43}:expiring",
    )
    assert keys.field("live/t_a", "3") == b"8:live/t_a3"
    assert keys.field("é", "é") == "2:éé".encode()


@unhurried
@given(names)
def test_all_keys_of_a_session_share_a_slot(uid: str) -> None:
    """Whatever braces the uid has, the cluster puts its two keys and its shard's sets into one slot."""
    session = keys.Layout("app:", 64).session(uid)
    slots = {key_slot(name) for name in (session.hash_key, session.index_key, *session.shard)}
    assert len(slots) == 1


@unhurried
@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_different_records_have_different_members(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """A member of the set of wake-ups names one uid, collection and key, and no two of them run together."""

    def member(uid: str, collection: str, key: str) -> bytes:
        return keys.mark(uid.encode()) + keys.field(collection, key)

    assert (member(*one) == member(*other)) == (one == other)


@unhurried
@given(names, names, names)
def test_a_member_is_taken_apart_again(uid: str, collection: str, key: str) -> None:
    """The parts of a member come back exactly."""
    first, rest = keys.split(keys.mark(uid.encode()) + keys.field(collection, key))
    second, third = keys.split(rest)
    assert (first.decode(), second.decode(), third.decode()) == (uid, collection, key)


@pytest.mark.parametrize(
    "value, wake_at, stored",
    [
        (b'{"a":1}', None, b':{"a":1}'),
        (b"{}", 1_700_000_000_000_001, b"1700000000000001:{}"),
        (b"", None, b":"),
        (b"", 0, b"0:"),
        (b'":5:"', 7, b'7:":5:"'),
    ],
)
def test_a_record_carries_its_wake_up(value: bytes, wake_at: int | None, stored: bytes) -> None:
    """A stored record is its wake-up, a colon, and its value, whatever colons that has."""
    assert keys.pack(value, wake_at) == stored
    assert keys.unpack(stored) == (value, wake_at)
