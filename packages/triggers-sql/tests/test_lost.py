"""Connections that break at every request: what the store says is true, and nothing is stored twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import make_url

from sql_stores import OpenStore
from tests.servers.client import Server
from tests.servers.proxy import FaultProxy
from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_sql import SqlStore

FAULTS: dict[str, Callable[[FaultProxy, int], object]] = {
    "the answer is lost": lambda proxy, nth: proxy.drop_reply(nth),
    "the request is lost": lambda proxy, nth: proxy.reset_before(nth),
    "the connection goes with the request": lambda proxy, nth: proxy.reset_after(nth),
    "the answer is cut": lambda proxy, nth: proxy.cut_reply(3, nth),
    "the request arrives late": lambda proxy, nth: proxy.late(1.0, nth),
    "the request arrives twice": lambda proxy, nth: proxy.repeat(nth),
}
REQUESTS = {"postgres": 1, "mysql": 4}  # of one commit


class Line:
    """A store that reaches its server through a proxy, and one that reaches it directly."""

    def __init__(self, url: str, proxy: FaultProxy, open_store: OpenStore, **options: object) -> None:
        self.service = "postgres" if url.startswith("postgres") else "mysql"
        self.proxy = proxy
        self.direct: SqlStore = open_store(url)
        self.direct.setup()
        through = make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        self.store: SqlStore = open_store(through, **options)
        self.store.load("warm", EVERYTHING)

    def stored(self, uid: str = "s") -> str:
        return self.direct.load(uid, EVERYTHING).version


@pytest.fixture
def line(
    server_url: str,
    server: Callable[[str], Server],
    fault_proxy: Callable[[Server], FaultProxy],
    open_store: OpenStore,
) -> Line:
    """A store behind a proxy, connected and warm."""
    service = "postgres" if server_url.startswith("postgres") else "mysql"
    return Line(server_url, fault_proxy(server(service)), open_store)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_commit_tells_the_truth_whatever_is_lost(fault: str, nth: int, line: Line) -> None:
    """With each fault at each request: what returned is stored, once, and what is unavailable is not and never will be."""
    line.direct.commit("s", Change("v0", {("c", "n"): Record(b"0")}), ABSENT, Want())
    FAULTS[fault](line.proxy, nth)
    change = Change("v1", {("c", "n"): Record(b"1", 5), ("c", "new"): Record(b"[]")}, labels=frozenset({"l"}))
    try:
        line.store.commit("s", change, "v0", Want())
        allowed = {"v1"}
    except OutcomeUnknown:
        allowed = {"v0", "v1"}
    except StorageUnavailable:
        allowed = {"v0"}
    line.proxy.deliver_late()
    time.sleep(0.05)
    whole = {"v0": {"n": Record(b"0")}, "v1": {"n": Record(b"1", 5), "new": Record(b"[]")}}
    found = line.direct.load("s", EVERYTHING)
    assert found.version in allowed
    assert found.records == {"c": whole[found.version]}
    line.proxy.heal()
    try:
        line.store.commit("s", Change("v2", {}), found.version, Want())
    except Conflict:
        # A request whose connection went with it may be served at any later time.
        assert (fault, found.version) == ("the connection goes with the request", "v0")
        assert "v1" in allowed
        found = line.direct.load("s", EVERYTHING)
        assert (found.version, found.records) == ("v1", {"c": whole["v1"]})
        line.store.commit("s", Change("v2", {}), "v1", Want())
    assert line.stored() == "v2"


@pytest.mark.parametrize("expected", ["v0", ABSENT])
def test_a_lost_answer_to_the_commit_itself_is_unknown(expected: str, line: Line) -> None:
    """The request that makes a change durable was served and its answer lost: ``OutcomeUnknown``, and it is stored."""
    if expected != ABSENT:
        line.direct.commit("s", Change("v0", {}), ABSENT, Want())
    fired = line.proxy.drop_reply(REQUESTS[line.service])
    with pytest.raises(OutcomeUnknown, match=r"the answer to a commit of session 's' did not arrive"):
        line.store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), expected, Want())
    assert fired.is_set()
    assert line.stored() == "v1"


def test_a_commit_that_never_arrived_is_unknown_too(line: Line) -> None:
    """The request that makes a change durable was lost on its way: the store cannot know, and says so; nothing is stored."""
    line.proxy.reset_before(REQUESTS[line.service])
    with pytest.raises(OutcomeUnknown):
        line.store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), ABSENT, Want())
    time.sleep(0.05)
    assert line.stored() == ABSENT


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_what_is_lost_before_the_commit_is_done_again(
    nth: int, mysql_url: str, server: Callable[[str], Server], fault_proxy: Callable[[Server], FaultProxy], open_store: OpenStore
) -> None:
    """An answer lost before COMMIT was sent is no error: the server undoes the transaction, and a new connection repeats it."""
    line = Line(mysql_url, fault_proxy(server("mysql")), open_store)
    line.direct.commit("s", Change("v0", {}), ABSENT, Want())
    fired = line.proxy.drop_reply(nth)
    line.store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), "v0", Want())
    assert fired.is_set()
    assert line.stored() == "v1"


@pytest.mark.parametrize("fault", ["the answer is lost", "the request is lost", "the answer is cut"])
def test_a_read_is_done_again(fault: str, line: Line) -> None:
    """A load, a page of wake-ups and one of sessions that lose their connection are read once more, and are right."""
    line.direct.commit("s", Change("v1", {("c", "k"): Record(b"1", 5)}), ABSENT, Want())
    for read, expected in (
        (lambda: line.store.load("s", EVERYTHING).version, "v1"),
        (lambda: [entry.uid for entry in line.store.due(5, None, 9).entries], ["s"]),
        (lambda: line.store.scan(None, None, 9).uids, ["s"]),
    ):
        FAULTS[fault](line.proxy, 1)
        assert read() == expected


def test_a_delete_tells_the_truth(line: Line) -> None:
    """A deletion whose COMMIT has no answer is ``OutcomeUnknown``, and repeating it is harmless."""
    line.direct.commit("s", Change("v1", {("c", "k"): Record(b"1")}), ABSENT, Want())
    line.proxy.drop_reply(5)  # BEGIN, three deletions, COMMIT
    with pytest.raises(OutcomeUnknown):
        line.store.delete("s")
    assert line.stored() == ABSENT
    assert line.store.delete("s") is False


def test_a_server_that_is_away_is_unavailable(line: Line) -> None:
    """While no connection can be made, everything is ``StorageUnavailable``; when the server is back, everything works."""
    line.proxy.refuse()
    for use in (
        lambda: line.store.load("s", EVERYTHING),
        lambda: line.store.delete("s"),
        lambda: line.store.scan(None, None, 1),
        lambda: line.store.commit("s", Change("v1", {}), ABSENT, Want()),
    ):
        with pytest.raises(StorageUnavailable, match=r"cannot connect to .*127\.0\.0\.1"):
            use()
    line.proxy.heal()
    line.store.commit("s", Change("v1", {}), ABSENT, Want())
    assert line.store.load("s", EVERYTHING).version == "v1"


def test_a_server_that_says_nothing_is_given_up(
    server_url: str, server: Callable[[str], Server], fault_proxy: Callable[[Server], FaultProxy], open_store: OpenStore
) -> None:
    """An answer that never comes ends after ``timeout``: a read as unavailable, a commit as unknown; the pool recovers."""
    service = "postgres" if server_url.startswith("postgres") else "mysql"
    line = Line(server_url, fault_proxy(server(service)), open_store, timeout=2.0)
    start = time.monotonic()
    line.proxy.swallow_reply()
    with pytest.raises(StorageUnavailable, match=r"the server did not answer in time"):
        line.store.load("s", EVERYTHING)
    line.store.load("s", EVERYTHING)
    line.proxy.swallow_reply(REQUESTS[service])
    with pytest.raises(OutcomeUnknown):
        line.store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), ABSENT, Want())
    assert line.store.load("s", EVERYTHING).version == "v1"
    assert 4 < time.monotonic() - start < 25


def test_connections_that_were_cut_while_idle_cost_nothing(line: Line) -> None:
    """After all idle connections were reset, the next commit and the next load go through without an error."""
    for number in range(3):
        line.proxy.cut()
        line.store.commit(f"s{number}", Change("v1", {}), ABSENT, Want())
        line.proxy.cut()
        assert line.store.load(f"s{number}", EVERYTHING).version == "v1"
