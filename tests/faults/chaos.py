"""The one who kills: keeps processes running, ends them at random, disturbs servers, and at last compares what happened.

The comparison is made outside of the framework: what the bodies and the firing processes wrote to files against what had
to happen.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.client import ROOT

EVENTS_PER_SESSION = 5
INSTANCES = ("t_each#0", "t_each#1", "t_join#0", "t_next#0")
COUNTS = {"a": 1, "b": 1, "c": 1, "p": 2, "t_join": 1, "t_each": 2, "t_next": 1}


@dataclass
class Member:
    """A process that is started again whenever it ends."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: int = 0

    def keep_running(self) -> None:
        """Starts it if it does not run."""
        if self.process is None or self.process.poll() is not None:
            with self.log.open("ab") as output:
                self.process = subprocess.Popen(
                    self.command, cwd=ROOT, env=dict(self.environment), stdin=subprocess.DEVNULL,
                    stdout=output, stderr=output, start_new_session=True,
                )  # fmt: skip
            self.started += 1

    def signal(self, how: signal.Signals) -> None:
        """Sends a signal to it and its children."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)

    def end(self) -> None:
        """Kills it for good."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(30)


@dataclass
class Chaos:
    """One run.

    Args:
        folder: where everything is written.
        settings: the settings of the application.
        sessions: how many sessions; five events are fired in each.
        kills: how many kills there must have been.
    """

    folder: Path
    settings: Mapping[str, Any]
    sessions: int
    kills: int
    chance: float = 0.004
    seconds: float = 900.0
    """When a run is given up; longer runs get more."""
    celery: Mapping[str, Any] | None = None
    disturbances: Sequence[tuple[str, Callable[[], None]]] = ()
    """What is done to servers, each once, spread over the run."""
    members: list[Member] = field(default_factory=list)
    outside: Counter[str] = field(default_factory=Counter)
    random: random.Random = field(default_factory=lambda: random.Random(7))

    def add_firing(self, count: int, shifts: Mapping[int, float] | None = None) -> None:
        """Adds processes that fire; ``shifts`` moves the clocks of some, by seconds."""
        for index in range(count):
            command = [sys.executable, "-m", "tests.faults.firing", str(index), str(count), str(self.sessions)]
            shift = str((shifts or {}).get(index, 0.0))
            self._add(f"firing-{index}", command, {"FAULTS_SHIFT": shift})

    def add_celery_workers(self, count: int) -> None:
        """Adds Celery workers with two processes each."""
        for index in range(count):
            command = [
                sys.executable, "-m", "celery", "-A", "tests.faults.celery_application", "worker", "--loglevel", "WARNING",
                "--without-gossip", "--without-mingle", "--without-heartbeat", "-c", "2", "-n", f"faults-{index}@trial",
            ]  # fmt: skip
            self._add(f"worker-{index}", command, {})

    def run(self, at_rest: Callable[[int], bool]) -> dict[str, Any]:
        """Runs until everything has come to rest; returns what was counted.

        Args:
            at_rest: whether a session, by its number, has no work left that somebody would still do.

        Raises:
            AssertionError: something was lost or doubled, or did not come to rest in time.
        """
        began = time.monotonic()
        (self.folder / "dangerous").touch()
        disturbances = list(self.disturbances)
        try:
            while not self._enough(disturbances) or not self._all_fired():
                assert time.monotonic() - began < self._patience, self._state("the run takes too long")
                for member in self.members:
                    member.keep_running()
                time.sleep(0.15)
                self._disturb(disturbances)
            (self.folder / "dangerous").unlink()
            self._come_to_rest(began, at_rest)
        finally:
            (self.folder / "over").touch()
            for member in self.members:
                member.end()
        return self._compare(time.monotonic() - began)

    def _add(self, name: str, command: Sequence[str], more: Mapping[str, str]) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TRIGGERS_")}
        environment |= {
            "FAULTS_FOLDER": str(self.folder),
            "FAULTS_SETTINGS": json.dumps(self.settings),
            "FAULTS_CHANCE": str(self.chance),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "C_FORCE_ROOT": "1",
            **more,
        }
        if self.celery is not None:
            environment["FAULTS_CELERY"] = json.dumps(self.celery)
        self.members.append(Member(name, command, environment, self.folder / f"{name}.out"))

    def _disturb(self, disturbances: list[tuple[str, Callable[[], None]]]) -> None:
        if disturbances and self._progress() > (len(self.disturbances) - len(disturbances) + 1) / (len(self.disturbances) + 1):
            name, act = disturbances.pop(0)
            self.outside[name] += 1
            act()
        choice = self.random.random()
        member = self.random.choice(self.members)
        if choice < self._pace():
            self.outside["killed from outside"] += 1
            member.signal(signal.SIGKILL)
        elif choice < self._pace() + 0.01:
            self.outside["stopped past its lease"] += 1
            member.signal(signal.SIGSTOP)
            time.sleep(self.settings["lease"] * 1.3)
            member.signal(signal.SIGCONT)

    @property
    def _patience(self) -> float:
        return self.seconds * max(1.0, self.sessions / 250)

    def _pace(self) -> float:
        """More kills while there are too few for how far the run is."""
        return 0.5 if self._kills() < self.kills * self._progress() else 0.06

    def _progress(self) -> float:
        return min(1.0, self._confirmed() / (self.sessions * EVENTS_PER_SESSION) + 0.05)

    def _confirmed(self) -> int:
        return sum(len(path.read_bytes().splitlines()) for path in self.folder.glob("confirmed-*.log"))

    def _kills(self) -> int:
        return len(self._lines("kills.log")) + self.outside["killed from outside"]

    def _enough(self, disturbances: Sequence[object]) -> bool:
        return self._kills() >= self.kills and not disturbances

    def _all_fired(self) -> bool:
        return len({*self._lines("finished.log")}) == sum(member.name.startswith("firing") for member in self.members)

    def _come_to_rest(self, began: float, at_rest: Callable[[int], bool]) -> None:
        """Waits for all bodies, and then for the reports: one that was lost with its process is another attempt's by then."""
        open_sessions = set(range(self.sessions))
        while open_sessions:
            assert time.monotonic() - began < self._patience, self._state(f"{len(open_sessions)} sessions do not come to rest")
            for member in self.members:
                member.keep_running()
            ended = self._ended()
            open_sessions = {n for n in open_sessions if not (all((f"s{n}", name) in ended for name in INSTANCES) and at_rest(n))}
            time.sleep(0.3)
        time.sleep(self.settings["lease"] * 2)

    def _ended(self) -> set[tuple[str, str]]:
        return {(words[1], words[2]) for words in map(str.split, self._lines("bodies.log")) if words[0] == "end"}

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def _state(self, what: str) -> str:
        logs = "\n".join(f"--- {member.name}\n{member.log.read_text(errors='replace')[-1500:]}" for member in self.members)
        return f"{what}: {self._confirmed()} confirmed, {self._kills()} kills\n{logs}"

    def _compare(self, seconds: float) -> dict[str, Any]:
        runs = Counter(
            (words[1], words[2], words[3]) for words in map(str.split, self._lines("bodies.log")) if words[0] == "begin"
        )
        twice = {key: times for key, times in runs.items() if times > 1}
        assert not twice, f"attempts whose body ran more than once: {twice}"
        expected = {(f"s{number}", name) for number in range(self.sessions) for name in INSTANCES}
        assert {(uid, name) for uid, name, _ in runs} == expected
        points = Counter(self._lines("kills.log"))
        return {
            "fires": self.sessions * EVENTS_PER_SESSION,
            "kills": self._kills(),
            "points": dict(points),
            "outside": dict(self.outside),
            "bodies": sum(runs.values()),
            "attempts beyond the first": sum(runs.values()) - len(expected),
            "seconds": round(seconds),
        }
