"""The process that fires a share of the rows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from typing import Any

from reading import Event
from records import FOLDER, Records

import triggers

_JOIN_EVERY = 200
"""After how many rows a process lets its own works catch up, so that a long log does not queue up in memory."""


@dataclass
class Share:
    """What one process fires.

    Args:
        number: which process it is.
        events: the rows, in this order.
        configurations: the tasks of each session.
        settings: the settings of Triggers.
        folder: where to write down what was fired.
        prefix: what the names of the sessions begin with.
        fired: rows that an earlier run has fired.
    """

    number: int
    events: Sequence[Event]
    configurations: Mapping[str, dict[str, Any]]
    settings: dict[str, Any]
    folder: Path
    prefix: str
    fired: frozenset[int] = field(default_factory=frozenset)


def fire_share(share: Share, stop: Flag) -> None:
    """Runs in a process of its own: fires the rows of a share, each under its number as event id.

    A row that was fired, but not written down because the process was killed in between, is fired again: the event id makes
    that change nothing.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ[FOLDER] = str(share.folder)
    triggers.configure(**share.settings)
    records = Records(share.folder)
    configured: set[str] = set()
    parent = multiprocessing.parent_process()
    for number, event in enumerate(share.events):
        if stop.is_set() or not (parent and parent.is_alive()):
            return
        if event.row in share.fired:
            continue
        manager = triggers.get_manager(share.prefix + event.session)
        if event.session not in configured:
            manager.update_configuration(share.configurations[event.session])
            configured.add(event.session)
        began = time.perf_counter()
        manager.fire(event.trigger, kwargs_of(event), event_id=f"row-{event.row}")
        took = time.perf_counter() - began
        records.write(
            "fired", process=share.number, session=event.session, row=event.row, trigger=event.trigger, ms=round(took * 1000, 3)
        )
        if number % _JOIN_EVERY == 0:
            triggers.join_all()
    triggers.join_all()


def kwargs_of(event: Event) -> dict[str, Any]:
    """What is fired with a row: its number, its time, and the columns that the configuration names."""
    time_of = {"time": event.time.isoformat()} if event.time else {}
    return {**event.kwargs, **time_of, "row": event.row}
