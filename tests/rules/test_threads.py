"""Random triggers from many threads and processes' worth of managers; at the end the invariants of the rules hold."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rules.scene import Scene
from triggers import records
from triggers.context import TaskContext
from triggers.store import EVERYTHING

THREADS = 6
FIRES = 40

TASKS: dict[str, Any] = {
    "join": {"after": ["a", "b", "c"], "run": "w"},
    "every": {"after": ["a"], "andEvery": "b", "run": "w"},
    "late": {"after": ["once"], "andEvery": "c", "run": "w"},
    "never": {"after": ["d"], "unless": ["a", "b"], "run": "w"},
    "next": {"after": ["join", "late"], "run": "w"},
    "audit": {"andEvery": "every", "run": "w"},
}


@pytest.fixture
def threaded(make_scene: Callable[..., Scene]) -> Iterator[Scene]:
    """A scene whose works run on threads."""
    scene = make_scene(runner="threading", runners={"threading": {"threads": 4}})
    yield scene
    scene.process.runners.get("threading").join_all(110)


def test_invariants_after_random_fires_from_threads(threaded: Scene) -> None:
    """R5, R6, R8, R10, R16, R24: counts of instances, runs and cascades are what the number of fires makes them."""
    ran: Counter[str] = Counter()
    lock = threading.Lock()

    def works(context: TaskContext) -> dict[str, Any]:
        with lock:
            ran[context.task_instance.name] += 1
        return {"of": context.task_instance.name}

    threaded.works("w", works)
    manager = threaded.configured(TASKS)
    processes = [threaded.process, threaded.another_process(), threaded.another_process()]
    fired: Counter[str] = Counter()
    errors: list[BaseException] = []

    def fires(seed: int) -> None:
        choose = random.Random(seed)
        own = threaded.manager(manager.uid, process=processes[seed % 3])
        try:
            for number in range(FIRES):
                trigger = choose.choice("abbccd")
                own.fire(trigger, {"by": seed, "n": number})
                with lock:
                    fired[trigger] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fires, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    manager.fire("once")
    for _ in range(3):
        for process in processes:
            assert process.runners.get("threading").join_all(110)
    storage = manager.storage
    found = {task: storage.instances_of_task(task) for task in TASKS}
    statuses = {task: Counter(str(one.status) for one in instances) for task, instances in found.items()}
    assert statuses.pop("never") in ({"abandoned": 1}, {"finished": 1})
    assert statuses == {
        "join": {"finished": 1},
        "every": {"finished": fired["b"]},
        "late": {"finished": fired["c"]},
        "next": {"finished": 1},
        "audit": {"finished": fired["b"]},
    }
    counted = {key: one.count for key, one in triggers_of(threaded, manager.uid).items()}
    assert {key: counted[key] for key in fired} == dict(fired)
    assert (counted["join"], counted["every"], counted["late"]) == (1, fired["b"], fired["c"])
    for task in ("every", "late", "audit"):
        each = {"every": "b", "late": "c", "audit": "every"}[task]
        kwargs = [tuple(sorted(one.kwargs[each].items())) for one in found[task]]
        assert len(set(kwargs)) == len(kwargs), "two instances have the kwargs of one fire"
    assert set(ran.values()) == {1}
    assert sum(ran.values()) == sum(one.resolved and str(one.status) == "finished" for one in storage)


def triggers_of(scene: Scene, uid: str) -> dict[str, records.Trigger]:
    """The stored triggers."""
    snapshot = scene.backend.store.load(uid, EVERYTHING)
    return {key: records.read(records.TRIGGERS, key, record.value) for key, record in snapshot.records["trigger"].items()}
