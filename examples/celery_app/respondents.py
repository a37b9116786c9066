"""The people: what they send, and that they send it again until somebody has taken it."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PAGES = ("page1", "page2", "page3", "page4")
PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """A page or a comment. Its id makes a second click harmless."""

    respondent: str
    page: str
    kwargs: dict[str, Any]
    id: str


def make_answers(number: int, chance: random.Random) -> list[Answer]:
    """All that is sent, in random order; every tenth answer is sent twice."""
    answers: list[Answer] = []
    for respondent in (f"respondent-{at:03}" for at in range(number)):
        answers += [Answer(respondent, page, {"points": chance.randint(0, 9)}, page) for page in PAGES]
        comments = [f"comment{at}" for at in range(chance.choice((0, 0, 1, 2)))]
        answers += [Answer(respondent, "comment", {"text": comment}, comment) for comment in comments]
    answers += chance.sample(answers, len(answers) // 10)
    chance.shuffle(answers)
    return answers


class Web:
    """The web process, as a browser sees it.

    Args:
        port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def answer(self, answer: Answer) -> None:
        """Sends an answer, again and again until it is taken."""
        body = json.dumps({"page": answer.page, "kwargs": answer.kwargs, "id": answer.id})
        self._ask("POST", f"/answers/{answer.respondent}", body)

    def state(self, respondent: str) -> dict[str, Any]:
        """How far a respondent is."""
        return self._ask("GET", f"/respondents/{respondent}")

    def _ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                text = reply.read()
                if reply.status == http.HTTPStatus.OK:
                    found: dict[str, Any] = json.loads(text)
                    return found
                problem = f"{reply.status} {text[:2000].decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
            finally:
                connection.close()
            if time.monotonic() > end:
                raise SystemExit(f"{method} {path} got no good reply: {problem}")
            time.sleep(0.2)


def send_all(web: Web, answers: list[Answer], at_once: int, progress: Callable[[int], None]) -> None:
    """Sends all answers, several at the same time; tells how many have been taken."""
    waiting = list(enumerate(answers, 1))
    lock = threading.Lock()
    errors: list[BaseException] = []

    def send() -> None:
        try:
            while not errors:
                with lock:
                    if not waiting:
                        return
                    number, answer = waiting.pop(0)
                web.answer(answer)
                progress(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
