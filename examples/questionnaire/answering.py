"""The people: which answers there are, and the process that sends a share of them."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from notebook import Notebook
from survey import FOLDER, PAGES

import triggers


@dataclass(frozen=True)
class Answer:
    """One thing that a respondent sends: a page or a comment. The event id makes a second click harmless."""

    session: str
    trigger: str
    kwargs: dict[str, Any]
    event_id: str


def make_answers(sessions: list[str], chance: random.Random) -> list[Answer]:
    """All that is sent, in random order: pages, some comments; every tenth respondent forgets a page."""
    answers: list[Answer] = []
    for session in sessions:
        forgotten = chance.choice(PAGES[1:]) if chance.random() < 0.1 else None
        answers += [Answer(session, page, {"points": chance.randint(0, 9)}, page) for page in PAGES if page != forgotten]
        comments = [f"comment{number + 1}" for number in range(chance.choice((0, 0, 1, 2)))]
        answers += [Answer(session, "comment", {"text": comment}, comment) for comment in comments]
    chance.shuffle(answers)
    return answers


def deal(answers: list[Answer], processes: int, chance: random.Random) -> list[list[Answer]]:
    """A share for each process; every twentieth answer is sent twice, as a rule by two processes."""
    shares: list[list[Answer]] = [[] for _ in range(processes)]
    for number, answer in enumerate(answers):
        shares[number % processes].append(answer)
        if chance.random() < 0.05:
            chance.choice(shares).append(answer)
    return shares


def send(share: list[Answer], settings: dict[str, Any], folder: str, number: int, pause: float, stop: Event) -> None:
    """Runs in a process of its own: sends a share of the answers, and does the work that they start until it is stopped.

    Args:
        share: what to send, in this order.
        settings: the settings of Triggers.
        folder: where to write down what was sent.
        number: which process this is.
        pause: seconds between two answers, on the average.
        stop: is set when everything is done, or when nobody wants to go on.
    """
    os.environ[FOLDER] = folder
    triggers.configure(**settings)
    notebook = Notebook(Path(folder))
    chance = random.Random(number)
    for answer in share:
        if stop.is_set():
            break
        time.sleep(chance.uniform(0, 2 * pause))
        triggers.get_manager(answer.session).fire(answer.trigger, answer.kwargs, event_id=answer.event_id)
        notebook.write(
            "answer", process=number, session=answer.session, trigger=answer.trigger, event=answer.event_id, **answer.kwargs
        )
    notebook.write("done", process=number)
    stop.wait()
    triggers.join_all(timeout=10)
