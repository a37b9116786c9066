"""What a process remembers of sessions: exact, bounded, and never more than was seen."""

from __future__ import annotations

import threading

from triggers.remembered import MAX_BYTES, MAX_RECORDS, RememberedViews
from triggers.store import NOTHING, Change, Record, Snapshot, Want


def change(version: str, **puts: bytes) -> Change:
    """A change that puts records into ``c``."""
    return Change(version, {("c", key): Record(value) for key, value in puts.items()})


def test_a_commit_is_applied_to_what_was_seen() -> None:
    """Puts, drops and the version; the snapshot that was given stays as it was."""
    views = RememberedViews(10)
    snapshot = Snapshot("v1", {"c": {"kept": Record(b"1"), "old": Record(b"2"), "gone": Record(b"3")}})
    want = Want(frozenset({("c", "absent")}), frozenset({"d"}))
    views.committed(
        "key",
        snapshot,
        want,
        Change("v2", {("c", "old"): Record(b"4"), ("e", "new"): Record(b"5")}, frozenset({("c", "gone"), ("x", "y")})),
    )
    found = views.get("key")
    assert found is not None
    assert found[0] == Snapshot("v2", {"c": {"kept": Record(b"1"), "old": Record(b"4")}, "e": {"new": Record(b"5")}})
    assert snapshot.records["c"] == {"kept": Record(b"1"), "old": Record(b"2"), "gone": Record(b"3")}
    covered = found[1]
    assert covered.covers("c", "absent")
    assert covered.covers("d", "anything")
    assert covered.covers("c", "gone")
    assert covered.covers("e", "new")
    assert not covered.covers("c", "kept"), "it was given beyond what was wanted, but others like it may be missing"
    assert not covered.everything


def test_a_session_that_was_not_there_is_known_whole() -> None:
    """After the commit that makes it, nothing else is in it."""
    views = RememberedViews(10)
    views.committed("key", NOTHING, Want(), change("v1", a=b"1"))
    found = views.get("key")
    assert found is not None
    assert found[1].everything


def test_the_least_recently_used_goes_first() -> None:
    """At most as many sessions as the limit says."""
    views = RememberedViews(2)
    for key in ("a", "b"):
        views.committed(key, NOTHING, Want(), change("v1", x=b"1"))
    assert views.get("a") is not None
    views.committed("c", NOTHING, Want(), change("v1", x=b"1"))
    assert [views.get(key) is not None for key in "abc"] == [True, False, True]
    views.forget("a")
    views.forget("never known")
    assert views.get("a") is None


def test_a_large_view_is_not_remembered() -> None:
    """Neither many records nor many bytes; and what was remembered before is forgotten with it."""
    views = RememberedViews(10)
    for large in ({str(n): b"1" for n in range(MAX_RECORDS + 1)}, {"x": b"1" * (MAX_BYTES + 1)}):
        views.committed("key", NOTHING, Want(), change("v1", a=b"1"))
        assert views.get("key") is not None
        views.committed("key", NOTHING, Want(), change("v2", **large))
        assert views.get("key") is None
    views.committed("key", NOTHING, Want(), change("v3", x=b"1" * MAX_BYTES))
    assert views.get("key") is not None


def test_a_limit_of_zero_remembers_nothing() -> None:
    """Nothing is kept, and nothing fails."""
    views = RememberedViews(0)
    views.committed("key", NOTHING, Want(), change("v1", a=b"1"))
    views.forget("key")
    assert views.get("key") is None


def test_threads() -> None:
    """Used by many threads at once, it stays within its limit."""
    views = RememberedViews(5)
    errors: list[Exception] = []

    def run(seed: int) -> None:
        try:
            for number in range(300):
                key = (seed * 7 + number) % 11
                views.committed(key, NOTHING, Want(), change("v", a=b"1"))
                views.get((number * 3) % 11)
                views.forget((number * 5) % 11)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(views._views) <= 5


def test_dropping_what_is_not_there_takes_nothing_away() -> None:
    """A record that was never there has no size."""
    views = RememberedViews(10)
    dropped = Change("v2", {}, frozenset({("c", "absent")}))
    views.committed("key", Snapshot("v1", {"c": {"a": Record(b"1")}}), Want(), dropped)
    found = views.get("key")
    assert found is not None
    assert found[0] == Snapshot("v2", {"c": {"a": Record(b"1")}})
