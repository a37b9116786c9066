"""A process that fires: every ``count``-th event of every session, in a random order, each again until it was confirmed.

Started as ``python -m tests.faults.firing INDEX COUNT SESSIONS``. What was confirmed is noted, so a process that takes the place
of a killed one goes on where that was. Then it stays, runs works and sweeps, until the run is over.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import triggers
from tests.faults import application
from triggers.errors import StorageError

if "FAULTS_CELERY" in os.environ:
    from tests.faults import celery_application  # noqa: F401 - the runner publishes through the current application


def main(index: int, count: int, sessions: int) -> None:
    """Fires what is left of this process's share."""
    done = _confirmed(application.FOLDER / f"confirmed-{index}.log")
    mine = [
        (f"s{session}", trigger, f"{session}-{number}")
        for session in range(sessions)
        for number, trigger in enumerate(application.EVENTS)
        if (session + number) % count == index
    ]
    random.Random(index).shuffle(mine)
    mine.sort(key=lambda event: int(event[0][1:]) // 20)
    for uid, trigger, event in mine:
        if event not in done:
            _fire(uid, trigger, event)
            application.note(f"confirmed-{index}.log", event)
    application.note("finished.log", index)
    while not (application.FOLDER / "over").exists():
        time.sleep(0.1)
    triggers.join_all(20)


def _fire(uid: str, trigger: str, event: str) -> None:
    while True:
        try:
            manager = triggers.get_manager(uid)
            manager.update_configuration(application.TASKS)
            manager.fire(trigger, {"event": event}, event_id=event)
        except StorageError as error:
            application.note("errors.log", type(error).__name__)
            time.sleep(0.1)
        else:
            return


def _confirmed(path: Path) -> set[str]:
    return set(path.read_text().split()) if path.exists() else set()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
