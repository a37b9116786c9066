"""How pages are put together from what the shards say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from triggers_redis.listing import _scanned

NONE: list[bytes] = []


@pytest.mark.parametrize(
    "batches, following, uids, cursor",
    [
        ([(0, ([b"a"], NONE, NONE))], None, ["a"], None),
        ([(0, ([b"a"], NONE, NONE))], 7, ["a"], [7, None]),
        ([(0, ([b"a", b"b", b"c"], [b"c"], NONE))], 7, ["a", "b", "c"], [0, "c"]),
        ([(0, ([b"a"], [b"x"], NONE))], None, ["a"], [0, "x"]),
        ([(0, ([b"x"], NONE, NONE)), (2, ([b"a", b"b"], [b"b"], NONE))], None, ["x", "a", "b"], [2, "b"]),
        ([(0, ([b"x"], NONE, NONE)), (2, ([b"a", b"b", b"c"], [b"c"], NONE))], 9, ["x", "a", "b"], [2, "b"]),
        ([(0, ([b"x", b"y", b"z"], NONE, NONE)), (2, ([b"a"], NONE, NONE))], None, ["x", "y", "z"], [2, None]),
        ([(0, ([b"x", b"y", b"z"], NONE, NONE)), (2, (NONE, NONE, NONE))], None, ["x", "y", "z"], None),
        ([(0, (NONE, [b"m"], [b"a"])), (2, ([b"b"], NONE, NONE))], None, [], [0, "m"]),
    ],
    ids=[
        "all",
        "a shard behind",
        "a full page",
        "a page with expired ones",
        "two shards",
        "a shard that grew meanwhile",
        "no room for a later shard",
        "a later shard that is empty by now",
        "only expired ones",
    ],
)
def test_a_page_ends_where_the_next_one_begins(
    batches: list[tuple[int, Any]], following: int | None, uids: list[str], cursor: list[object] | None
) -> None:
    """A page of three goes on exactly behind its last uid, whatever came or went between the two round trips."""
    found = _scanned(batches, 3, following)
    assert found.page.uids == uids
    assert (None if found.page.cursor is None else json.loads(found.page.cursor)) == cursor
