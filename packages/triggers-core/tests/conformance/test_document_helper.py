"""The helper for one-value media, beyond what the contract asks: what it says of documents that it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.folder import FolderStore
from triggers.errors import Conflict, SessionTooLarge, UnreadableRecord
from triggers.store import ABSENT, EVERYTHING, NOTHING, Change, Record, Snapshot, Want

CHANGE = Change("v1", {("c", "k"): Record(b'{"a": 1}', 7), ("d", "k"): Record(b"[]")}, labels=frozenset({"z", "a"}))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store with one session."""
    store = FolderStore(tmp_path)
    store.commit("it", CHANGE, ABSENT, Want())
    return store


def test_the_document_is_one_json_object(store: FolderStore) -> None:
    """What lies in the medium: format, version, labels in order, and each record with its time."""
    assert json.loads(store.path("it").read_bytes()) == {
        "format": 1,
        "version": "v1",
        "labels": ["a", "z"],
        "records": {"c": {"k": [{"a": 1}, 7]}, "d": {"k": [[], None]}},
    }


def test_a_load_gives_the_whole_session(store: FolderStore) -> None:
    """Whatever was wanted, all comes, and says so."""
    whole = Snapshot("v1", {"c": {"k": Record(b'{"a": 1}', 7)}, "d": {"k": Record(b"[]")}}, True)
    assert store.load("it", Want()) == store.load("it", EVERYTHING) == whole


@pytest.mark.parametrize(
    "raw, said",
    [
        (b"", "cannot be read"),
        (b"\x80\x04 pickled", "cannot be read"),
        (b'{"version": "v1"}', "cannot be read"),
        (b'{"format": 1, "version": 3, "labels": [], "records": {}}', "cannot be read"),
        (b'{"format": 1, "version": "v1", "labels": [], "records": {"c": {"k": [', "cannot be read"),
        (b'{"format": 2, "sessions": []}', "has format 2, this version reads 1; upgrade triggers-core"),
    ],
)
def test_other_documents_are_refused_and_can_be_deleted(store: FolderStore, raw: bytes, said: str) -> None:
    """Load, commit and conditional deletion name the session and what is wrong; a plain deletion removes it."""
    store.path("it").write_bytes(raw)
    for use in (
        lambda: store.load("it", Want()),
        lambda: store.commit("it", CHANGE, "v1", Want()),
        lambda: store.delete("it", "v1"),
    ):
        with pytest.raises(UnreadableRecord, match=f"session 'it': the stored document.*{said}"):
            use()
    assert store.path("it").read_bytes() == raw
    assert store.delete("it") is True
    assert store.load("it", Want()) == NOTHING


def test_a_session_over_the_limit_is_refused_with_its_size(store: FolderStore) -> None:
    """The error says how large the session would be and how large it may be; the session is as it was."""
    store.max_value_bytes = 200
    with pytest.raises(SessionTooLarge, match=r"session 'it' would take \d{3} bytes and FolderStore keeps at most 200"):
        store.commit("it", Change("v2", {("c", "k2"): Record(b'"%s"' % (b"x" * 150))}), "v1", Want())
    assert store.load("it", Want()).version == "v1"


class Reluctant(FolderStore):
    """Refuses so many swaps and removals for reasons of its own, as memcached may."""

    refusals = 0

    def swap(self, uid: str, old: bytes | None, new: bytes, change: Change) -> bool:
        return self._willing() and super().swap(uid, old, new, change)

    def remove(self, uid: str, old: bytes) -> bool:
        return self._willing() and super().remove(uid, old)

    def _willing(self) -> bool:
        self.refusals -= 1
        return self.refusals < 0


def test_a_swap_that_the_medium_refuses_is_tried_again(store: FolderStore, tmp_path: Path) -> None:
    """As long as the version is the expected one a commit tries three times; then it is a conflict without snapshot."""
    reluctant = Reluctant(tmp_path)
    reluctant.refusals = 2
    reluctant.commit("it", Change("v2", {}), "v1", Want())
    assert store.load("it", Want()).version == "v2"
    reluctant.refusals = 3
    with pytest.raises(Conflict) as caught:
        reluctant.commit("it", Change("v3", {}), "v2", Want())
    assert (caught.value.uid, caught.value.snapshot) == ("it", None)
    assert store.load("it", Want()).version == "v2"


def test_a_removal_that_the_medium_refuses_ends(store: FolderStore, tmp_path: Path) -> None:
    """A deletion tries a hundred times and no longer."""
    reluctant = Reluctant(tmp_path)
    reluctant.refusals = 99
    assert reluctant.delete("it") is True
    store.commit("it", CHANGE, ABSENT, Want())
    reluctant.refusals = 1_000_000
    with pytest.raises(Conflict):
        reluctant.delete("it")
    assert reluctant.refusals == 1_000_000 - 100
