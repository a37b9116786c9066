"""R30 across two different stores: exactly once, with a crash after every commit."""

from __future__ import annotations

import itertools
import uuid

import pytest

import triggers
from tests.sessions.conftest import Dies, Places
from triggers import TriggerManager
from triggers.errors import StorageUnavailable
from triggers.process import get_process
from triggers.relations import forward


def heard(father: TriggerManager) -> list[str]:
    """What the parent heard, in order, as often as it did."""
    return [entry.subject for entry in father.history() if entry.kind == "fired"]


def test_r30_a_crash_after_each_commit(places: Places) -> None:
    """Join, fires and deliveries that break off anywhere are repeated, and each fire arrives once and in order."""
    for commit in itertools.count(1):
        name = uuid.uuid4().hex
        father = triggers.get_manager(f"father:{name}", storage="right")
        child = triggers.get_manager(f"child:{name}", storage="left")
        child.fire("born")
        fired = 0
        with places.dying(commit) as counted:
            try:
                child.join(father.uid, alias="c", storage="right")
                for number in range(3):
                    fired = number
                    child.fire("x", {"n": number}, event_id=f"x{number}")
            except Dies:
                pass
        ended = counted[0] < commit
        child.join(father.uid, alias="c", storage="right")
        for number in range(fired, 3):
            child.fire("x", {"n": number}, event_id=f"x{number}")
        triggers.sweep()
        forward(get_process(), child.storage)
        assert heard(father) == ["c.x"] * 3, commit
        assert father.storage.latest_kwargs["c.x"] == {"n": 2}
        assert father.children() == {"c": child.uid}
        if ended:
            assert commit == 3 + 3 * 3 + 1, "a join has three commits and a delivery three"
            return


def test_r30_a_parent_that_does_not_answer_hears_later(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    """The fire stands, a warning is logged, and the sweep delivers when the parent's storage is back."""
    name = uuid.uuid4().hex
    father = triggers.get_manager(f"father:{name}", storage="right")
    child = triggers.get_manager(f"child:{name}", storage="left")
    child.fire("born")
    child.join(father.uid, alias="c", storage="right")

    def down(*arguments: object) -> None:
        raise StorageUnavailable("down")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places.right, "load", down)
        patch.setattr(places.right, "commit", down)
        child.fire("x", {"n": 1})
    assert "will reach its parent later" in caplog.text
    triggers.sweep()
    assert heard(father) == ["c.x"]


def test_r27_a_parents_storage_that_is_away_is_tried_once_per_sweep(places: Places) -> None:
    """Each try may take a timeout, which would keep the sweep from what else is due in the children's storage."""
    name = uuid.uuid4().hex
    father = triggers.get_manager(f"father:{name}", storage="right")
    children = [triggers.get_manager(f"child{number}:{name}", storage="left") for number in range(3)]
    for number, child in enumerate(children):
        child.fire("born")
        child.join(father.uid, alias=f"c{number}", storage="right")
    tries: list[object] = []

    def down(*arguments: object) -> None:
        tries.append(arguments)
        raise StorageUnavailable("down")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places.right, "load", down)
        patch.setattr(places.right, "commit", down)
        for child in children:
            child.fire("x")
        tries.clear()
        triggers.sweep()
        assert len(tries) == 1
    triggers.sweep()
    assert sorted(heard(father)) == ["c0.x", "c1.x", "c2.x"]
