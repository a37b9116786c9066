"""Compare-and-set from ``add``: what keeps it exact when writers die or sleep between two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches

from caching import projects
from test_contract import alias
from tests.servers.plugin import Space
from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers_cache import added
from triggers_cache.added import AddMedium


class Interrupted:
    """A cache between whose steps something happens."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cache, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.before.pop(name, lambda: None)()
            result = method(*arguments, **options)
            self.after.pop(name, lambda: None)()
            return result

        return call


class Died(BaseException):
    """The process ends here."""


def die() -> None:
    """Ends the writer."""
    raise Died


@pytest.fixture
def cache(redis_space: Space) -> Iterator[Any]:
    """Django's cache on Redis."""
    name = alias()
    projects.add_cache(name, projects.redis_cache(redis_space.url, redis_space.prefix))
    yield caches[name]
    caches[name]._cache.get_client(write=True).close()


@pytest.fixture
def interrupted(cache: Any) -> Interrupted:
    """The same cache, in which a test can make things happen."""
    return Interrupted(cache)


def medium(cache: Any) -> AddMedium:
    """A process's view of the cache."""
    return AddMedium(lambda: cache, "it", "it may")


def document(found: tuple[bytes, Any] | None) -> bytes | None:
    """What was read, without its mark."""
    return None if found is None else found[0]


def write(medium: AddMedium, value: bytes, seconds: int | None = None) -> bool:
    """Swaps on whatever is there."""
    found = medium.read("s")
    return medium.swap("s", None if found is None else found[1], value, seconds)


def test_a_writer_that_dies_before_it_moves_the_hint_has_committed(cache: Any, interrupted: Interrupted) -> None:
    """The revision of a writer that died right after its ``add`` is read by all, and others go on from it."""
    for value in (b"1", b"2"):
        assert write(medium(cache), value)
    for value in (b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11", b"12", b"13"):
        interrupted.before["set"] = die
        with pytest.raises(Died):
            write(medium(interrupted), value)
        assert document(medium(cache).read("s")) == value
    assert write(medium(cache), b"14")
    assert document(medium(cache).read("s")) == b"14"


def test_a_writer_that_dies_before_its_first_revision_leaves_no_session(cache: Any, interrupted: Interrupted) -> None:
    """A writer that died between the root and the first revision leaves nothing to read; the next one makes the session."""
    interrupted.after["add"] = die
    with pytest.raises(Died):
        write(medium(interrupted), b"1")
    assert medium(cache).read("s") is None
    assert write(medium(cache), b"2")
    assert document(medium(cache).read("s")) == b"2"


def test_a_hint_that_goes_back_is_harmless(cache: Any) -> None:
    """A slow writer that sets the hint back to a revision of long ago does not hide the later ones."""
    for number in range(30):
        assert write(medium(cache), str(number).encode())
    life, _, _ = cache.get("s").partition(" ")
    for hint in (1, 5, 29):
        cache.set("s", f"{life} {hint}", timeout=None)
        assert document(medium(cache).read("s")) == b"29"
    assert write(medium(cache), b"30")
    assert document(medium(cache).read("s")) == b"30"


def test_a_mark_of_a_former_revision_is_refused(cache: Any) -> None:
    """Of two writers that read the same revision the second is refused, also after deletion and making anew."""
    one = medium(cache)
    assert write(one, b"1")
    found = one.read("s")
    assert found is not None
    assert write(medium(cache), b"2")
    assert one.swap("s", found[1], b"3", None) is False
    later = one.read("s")
    assert later is not None
    assert medium(cache).remove("s", later[1])
    assert one.swap("s", later[1], b"4", None) is False
    assert one.remove("s", later[1]) is False
    assert medium(cache).read("s") is None
    assert write(medium(cache), b"5")
    assert one.swap("s", later[1], b"6", None) is False
    assert document(one.read("s")) == b"5"


def test_a_reader_between_two_revisions_sees_one_of_them(cache: Any, interrupted: Interrupted) -> None:
    """A commit that happens while a reader looks at the last revision does not make the session look deleted."""
    assert write(medium(cache), b"1")
    interrupted.after["get"] = lambda: write(medium(cache), b"2")
    assert document(medium(interrupted).read("s")) in (b"1", b"2")

    class FirstLaterKeys(Interrupted):
        def get_many(self, keys: list[str]) -> dict[str, str]:
            later = self._cache.get_many(keys[1:])
            self.before.pop("later", lambda: None)()
            return {**self._cache.get_many(keys[:1]), **later}

    turned = FirstLaterKeys(cache)
    turned.before["later"] = lambda: write(medium(cache), b"3")
    assert document(medium(turned).read("s")) in (b"2", b"3")


def test_a_writer_that_slept_too_long_does_not_write(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that is older than half of the time for which superseded revisions stay is not used any more."""
    one = medium(cache)
    assert write(one, b"1")
    found = one.read("s")
    assert found is not None
    late = added._now() + added.RETAIN_SECONDS / 2 + 1
    monkeypatch.setattr(added, "_now", lambda: late)
    assert one.swap("s", found[1], b"2", None) is False
    assert document(one.read("s")) == b"1"


def test_a_writer_that_sleeps_during_add_does_not_trust_its_success(
    cache: Any, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the ``add`` itself took that long, the outcome is unknown: its place may have been taken and expired before."""
    assert write(medium(cache), b"1")
    late = added._now() + added.RETAIN_SECONDS / 2 + 1
    interrupted.after["add"] = lambda: monkeypatch.setattr(added, "_now", lambda: late)
    with pytest.raises(OutcomeUnknown, match="took more than 1800 seconds"):
        write(medium(interrupted), b"2")


def test_a_short_timeout_makes_trust_short(cache: Any, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a timeout of a minute a writer that needs 31 seconds for a commit does not trust it."""
    assert write(medium(cache), b"1", seconds=60)
    late = added._now() + 31
    interrupted.after["add"] = lambda: monkeypatch.setattr(added, "_now", lambda: late)
    with pytest.raises(OutcomeUnknown, match=r"took more than 30 seconds"):
        write(medium(interrupted), b"2", seconds=60)


def test_a_cache_that_keeps_nothing_is_found_out(cache: Any) -> None:
    """A cache whose ``add`` answers yes and keeps nothing, or answers no and shows nothing, is an error of ours."""

    class Forgetful:
        def get(self, key: str) -> None:
            return None

        def get_many(self, keys: list[str]) -> dict[str, str]:
            return {}

        def add(self, *arguments: Any, **options: Any) -> bool:
            return True

        def close(self) -> None:
            pass

    with pytest.raises(StorageUnavailable, match="does not keep what it is given"):
        write(medium(Forgetful()), b"1")

    assert write(medium(cache), b"1")

    class Refusing(Interrupted):
        def add(self, *arguments: Any, **options: Any) -> bool:
            return False

    with pytest.raises(OutcomeUnknown, match="refused a change and shows none in its place"):
        write(medium(Refusing(cache)), b"2")


def test_superseded_revisions_shrink_and_expire(cache: Any) -> None:
    """What a hundred commits leave behind is small, and each of it expires, except the last revision and the root."""
    for number in range(100):
        assert write(medium(cache), b"x" * 10_000 + str(number).encode())
    client = cache._cache.get_client(write=True)
    keys = list(client.scan_iter(match=f"{cache.key_prefix}*"))
    kept = [key for key in keys if client.ttl(key) == -1]
    assert len(kept) == 2
    assert sum(client.strlen(key) for key in keys if key not in kept) < 100 * 60
    assert all(0 < client.ttl(key) <= 3600 for key in keys if key not in kept)
