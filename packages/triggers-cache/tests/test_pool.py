"""The pool: no connection is used that an operation has left in the middle."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from triggers_cache import pool as pools
from triggers_cache.pool import Pool


@pytest.fixture
def closed() -> list[int]:
    """The numbers of the connections that were closed."""
    return []


@pytest.fixture
def pool(closed: list[int]) -> Pool[int]:
    """Connections are the numbers 1, 2, …"""
    return Pool(itertools.count(1).__next__, closed.append)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_connection_that_was_left_in_the_middle_is_closed(
    pool: Pool[int], closed: list[int], error: type[BaseException]
) -> None:
    """Whatever ends an operation, an interrupt too: its connection may hold half an answer, so nobody gets it again."""

    def use() -> None:
        with pool.take():
            raise error

    with pytest.raises(error):
        use()
    assert closed == [1]
    with pool.take() as connection:
        assert connection == 2
    with pool.take() as connection:
        assert connection == 2


def test_threads_at_the_same_time_have_different_connections(pool: Pool[int]) -> None:
    """A connection that is in use is not lent a second time."""
    meet = threading.Barrier(4, timeout=60)
    seen: list[int] = []

    def use() -> None:
        with pool.take() as connection:
            seen.append(connection)
            meet.wait()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [1, 2, 3, 4]


def test_a_question_is_asked_twice_at_most(pool: Pool[int], closed: list[int]) -> None:
    """A dead connection in the pool costs one more try on a new one, with all idle ones dropped; a second failure is told."""
    with pool.take(), pool.take():
        pass
    answers: list[int] = []

    def dead_until(number: int) -> Callable[[int], int]:
        def question(connection: int) -> int:
            answers.append(connection)
            if connection < number:
                raise ConnectionResetError
            return connection * 10

        return question

    assert pool.ask(dead_until(3), (ConnectionResetError,)) == 30
    assert len(answers) == 2
    assert sorted(closed) == [1, 2]
    with pytest.raises(ConnectionResetError):
        pool.ask(dead_until(100), (ConnectionResetError,))
    assert answers[2:] == [3, 4]


def test_a_connection_that_was_idle_for_long_is_not_used(
    pool: Pool[int], closed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute without use a connection is closed in place of being lent."""
    with pool.take():
        pass
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.0)
    with pool.take() as connection:
        assert connection == 2
    assert closed == [1]


def test_after_a_fork_the_parents_connections_are_neither_used_nor_closed(pool: Pool[int], closed: list[int]) -> None:
    """The child begins with an empty pool."""
    with pool.take():
        pass
    pool.after_fork()
    pool.clear()
    assert closed == []
    with pool.take() as connection:
        assert connection == 2
