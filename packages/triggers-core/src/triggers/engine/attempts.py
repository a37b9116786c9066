"""What a worker tells of an attempt: it starts, it is alive, and how it ended.

A report carries the attempt and the claim under which it was started, so an attempt that was superseded, or one of a session
that was deleted and made again under the same name, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from triggers.config import Configuration, RetryPolicy
from triggers.engine.closing import closed_error
from triggers.engine.commands import LARGE, Command
from triggers.engine.decision import Replayed, Skipped
from triggers.engine.fire import fire, fire_want
from triggers.engine.session import Session, instance_want
from triggers.engine.transitions import illegal
from triggers.engine.view import HEAD_WANT
from triggers.errors import StaleAttempt, UnknownInstance
from triggers.instance import Status
from triggers.names import split_instance_name
from triggers.records import Head, Instance, live
from triggers.store import Want

R = TypeVar("R")


class Logged(NamedTuple):
    """The highest level that a work logged through its context, and what was logged there."""

    level: int = 0
    context: dict[str, Any] = {}


NOT_LOGGED = Logged()


class Started(NamedTuple):
    """Whether an attempt may run: the instance if so, else why not."""

    instance: Instance | None
    refusal: str
    manager: str = "default"


class Start(Command[Started]):
    """Claims an attempt (R24): of all deliveries one starts the work.

    Args:
        name: the instance.
        attempt: the attempt that was delivered.
        claim: a token of this very claim, so that it can be repeated when its answer got lost.
    """

    __slots__ = ("attempt", "claim", "name")

    joins = True
    repeatable = True

    def __init__(self, name: str, attempt: int, claim: str) -> None:
        self.name = name
        self.attempt = attempt
        self.claim = claim

    def want(self, config: Configuration) -> Want:
        """The instance."""
        return HEAD_WANT | _live_want(self.name)

    def absent(self, uid: str) -> Started:
        """The session was deleted: there is nothing to do."""
        return Started(None, "its session was deleted")

    def closed(self, uid: str, head: Head) -> Started:
        """Nothing starts in a closed session."""
        return Started(None, f"its session is closed: {head.closed}")

    def apply(self, session: Session) -> Started:
        """Claims the attempt if it is scheduled, current, and its time has come."""
        instance = _live_instance(session, self.name)
        manager = session.head.manager if session.head else "default"
        if instance is None:
            return Started(None, "it is resolved or unknown")
        if instance.attempt != self.attempt:
            return Started(None, f"attempt {instance.attempt} is the current one")
        if instance.status is Status.RUNNING and instance.claim == self.claim:
            return Started(instance, "", manager)
        if instance.status is not Status.SCHEDULED:
            return Started(None, f"it is {instance.status}")
        if instance.not_before is not None and instance.not_before > session.now:
            return Started(None, f"it is not to start before {instance.not_before:%H:%M:%S}")
        lease = session.now + timedelta(seconds=session.terms.lease)
        deadline = session.now + timedelta(seconds=instance.timeout) if instance.timeout else None
        running = replace(instance, status=Status.RUNNING, claim=self.claim, started=session.now, lease=lease, deadline=deadline)
        session.place(instance, running, wake_up_of(running))
        return Started(running, "", manager)


class Renew(Command[tuple[str, ...]]):
    """Renews the leases of running attempts of one process; returns the names of those that it has lost.

    Args:
        attempts: ``(instance, attempt, claim)`` of each.
    """

    __slots__ = ("attempts",)

    report = True
    repeatable = True

    def __init__(self, attempts: Sequence[tuple[str, int, str]]) -> None:
        self.attempts = attempts

    def want(self, config: Configuration) -> Want:
        """The instances."""
        want = HEAD_WANT
        for name, _, _ in self.attempts:
            want = want | _live_want(name)
        return want

    def absent(self, uid: str) -> tuple[str, ...]:
        """The session was deleted: all are lost."""
        return tuple(name for name, _, _ in self.attempts)

    def closed(self, uid: str, head: Head) -> tuple[str, ...]:
        """The session was cancelled or moved: all are lost."""
        return self.absent(uid)

    def apply(self, session: Session) -> tuple[str, ...]:
        """Moves each lease, all in one commit."""
        lost = []
        lease = session.now + timedelta(seconds=session.terms.lease)
        for name, attempt, claim in self.attempts:
            instance = _live_instance(session, name)
            if instance is None or not _is_current(instance, attempt, claim):
                lost.append(name)
            else:
                renewed = replace(instance, lease=lease)
                session.place(instance, renewed, wake_up_of(renewed))
        return tuple(lost)


class Report(Command[Instance]):
    """The base of the reports that end an attempt; returns the instance as it is then.

    Args:
        name: the instance.
        attempt: the attempt that ended; ``None`` for the current one (an operator's report).
        claim: the claim under which it was started; ``None`` likewise.
        logged: what the work logged.
        metadata: more metadata for the instance.
    """

    __slots__ = ("attempt", "claim", "logged", "metadata", "name")

    report = True
    ends_in: frozenset[Status] = frozenset()
    repeatable = True

    def __init__(
        self,
        name: str,
        attempt: int | None = None,
        claim: str | None = None,
        logged: Logged = NOT_LOGGED,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.attempt = attempt
        self.claim = claim
        self.logged = logged
        self.metadata = metadata or {}

    def want(self, config: Configuration) -> Want:
        """The instance, wherever it lies, and the counts of its task."""
        task, number = split_instance_name(self.name)
        return HEAD_WANT | instance_want(task, str(number))

    def absent(self, uid: str) -> Instance:
        """The session was deleted: nobody waits for the report."""
        raise StaleAttempt(f"{self.name}: session {uid!r} was deleted, so the report of its attempt is refused")

    def closed(self, uid: str, head: Head) -> Instance:
        """The session was cancelled or moved: the report counts no more."""
        raise StaleAttempt(f"{self.name}: {closed_error(uid, head.closed, head.closed_because)}; the report is refused")

    def apply(self, session: Session) -> Instance:
        """Ends the attempt, or recognises that this very report was stored before."""
        instance = self._find(session)
        if self.claim is not None and self._was_stored(instance):
            return instance
        if self.attempt is not None and not _is_current(instance, self.attempt, self.claim):
            raise StaleAttempt(
                f"{self.name}: attempt {self.attempt} was superseded (it is {instance.status}, attempt {instance.attempt}); "
                "its report is refused"
            )
        if instance.status is not Status.RUNNING:
            target = min(self.ends_in)
            raise illegal(self.name, instance.status, f"become {target}", (Status.RUNNING,))
        logged = self.logged
        known = replace(
            instance,
            log_level=max(instance.log_level, logged.level),
            log_context=logged.context if logged.level > instance.log_level else instance.log_context,
            metadata={**instance.metadata, **self.metadata} if self.metadata else instance.metadata,
            lease=None,
            deadline=None,
            claim=instance.claim if self.claim is not None else "",
        )
        self.end(session, instance, known)
        return session.find(self.name)

    def end(self, session: Session, before: Instance, after: Instance) -> None:
        """Ends the attempt of ``before``; ``after`` has what every report leaves behind."""
        raise NotImplementedError

    def _find(self, session: Session) -> Instance:
        try:
            return session.find(self.name)
        except UnknownInstance:
            if self.attempt is None:
                raise
            raise StaleAttempt(
                f"{self.name}: session {session.uid!r} was made anew and has no such instance; the report is refused"
            ) from None

    def _was_stored(self, instance: Instance) -> bool:
        return instance.status in self.ends_in and instance.attempt == self.attempt and instance.claim == self.claim


class Finish(Report):
    """The work is done: stores the result and fires the task's name with it, in one step (R16)."""

    __slots__ = ("result",)

    ends_in = frozenset({Status.FINISHED})

    def __init__(self, name: str, result: msgspec.Raw, *arguments: Any, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        self.result = result

    @property
    def joins(self) -> bool:
        """Unless it brings much."""
        return len(self.result) <= LARGE and not self.metadata

    def want(self, config: Configuration) -> Want:
        """The instance, and what the cascade reads."""
        return super().want(config) | fire_want(config, split_instance_name(self.name)[0])

    def end(self, session: Session, before: Instance, after: Instance) -> None:
        """Finishes and cascades."""
        finished = replace(after, status=Status.FINISHED, resolved=session.now, result=self.result)
        session.place(before, finished)
        fire(session, before.task, self.result, f"the cascade of {self.name}", self.name)


class SkipSelf(Report):
    """The work skips itself (R21), with a cascade if it says so."""

    __slots__ = ("cascade", "result")

    ends_in = frozenset({Status.SKIPPED})

    def __init__(self, name: str, result: msgspec.Raw, cascade: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        self.result = result
        self.cascade = cascade

    def end(self, session: Session, before: Instance, after: Instance) -> None:
        """Skips, and cascades."""
        skip(session, before, after, self.result, self.cascade)


class Failure(NamedTuple):
    """Why a work failed: what its metadata keep (R18), and the names of the exception's types, for retry policies."""

    exception: dict[str, Any]
    types: tuple[str, ...] = ()


class Fail(Report):
    """The work failed; a retry policy of its task may replay it in the same step."""

    __slots__ = ("failure",)

    ends_in = frozenset({Status.FAILED, Status.REPLAYED})

    def __init__(self, name: str, failure: Failure, *arguments: Any, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        self.failure = failure

    def end(self, session: Session, before: Instance, after: Instance) -> None:
        """Fails, and retries where the configuration says so."""
        fail(session, before, after, self.failure)


class Retry(Report):
    """The work asks to be tried again (R21): running → failed → replayed, and a new instance, in one step.

    Args:
        name: the instance.
        max_retries: how many retries without a hand the task allows; ``None`` for no limit.
        failure: what it fails with when there were that many.
        kwargs: the replacement of the fired kwargs, ``None`` to keep them.
        cooldown: seconds to wait.
    """

    __slots__ = ("cooldown", "failure", "kwargs", "max_retries")

    ends_in = frozenset({Status.FAILED, Status.REPLAYED})

    def __init__(
        self,
        name: str,
        max_retries: int | None,
        failure: Failure,
        kwargs: dict[str, msgspec.Raw] | None,
        cooldown: float,
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(name, *arguments, **options)
        self.max_retries = max_retries
        self.failure = failure
        self.kwargs = kwargs
        self.cooldown = cooldown

    def end(self, session: Session, before: Instance, after: Instance) -> None:
        """Fails, and replays itself unless it did so too often."""
        if self.max_retries is not None and before.retries >= self.max_retries:
            metadata = {**after.metadata, "exception": self.failure.exception}
            session.place(before, replace(after, status=Status.FAILED, metadata=metadata))
            return
        failed = replace(after, status=Status.FAILED)
        session.place(before, failed)
        replay(session, failed, self.kwargs, self.cooldown, by_hand=False)


def fail(session: Session, before: Instance, after: Instance, failure: Failure) -> None:
    """Makes an instance failed, and replays it if its retry policy covers the failure."""
    failed = replace(after, status=Status.FAILED, metadata={**after.metadata, "exception": failure.exception})
    session.place(before, failed)
    policy = failed.retry
    if policy is not None and failed.retries < policy.times and session.has_room and _covers(policy, failure.types):
        replay(session, failed, None, retry_delay(policy, failed.retries, session.terms.jitter), by_hand=False)


def retry_delay(policy: RetryPolicy, retries: int, jitter: float) -> float:
    """Seconds until the next retry: exponential, limited, and between half and all of it where jitter is on."""
    longest = policy.max if policy.max is not None else _LONGEST_DELAY
    delay = policy.delay
    for _ in range(retries):
        delay *= policy.factor
        if delay >= longest:
            break
    delay = min(delay, longest)
    return delay * (0.5 + jitter / 2) if policy.jitter else delay


_LONGEST_DELAY = 10 * 366 * 86_400.0


def replay(session: Session, failed: Instance, kwargs: dict[str, msgspec.Raw] | None, delay: float, *, by_hand: bool) -> Instance:
    """Replaces a failed instance by a new one of the same task (R20); returns the new one."""
    session.place(failed, replace(failed, status=Status.REPLAYED, resolved=session.now))
    new = session.new_instance(
        failed.task,
        f"a replay of {failed.name}",
        status=Status.SCHEDULED,
        kwargs=failed.kwargs if kwargs is None else kwargs,
        causes=failed.causes if kwargs is None else {},
        parent=failed.number,
        depth=failed.depth + 1,
        retries=0 if by_hand else failed.retries + 1,
    )
    session.schedule(None, new, session.now + timedelta(seconds=delay) if delay > 0 else None, keep_kwargs=True)
    session.notices.append(Replayed(failed.name, new.name))
    return new


def skip(session: Session, before: Instance, after: Instance, result: msgspec.Raw, cascade: bool) -> None:
    """Skips an instance; with ``cascade`` fires its task's name with the result in the same step (R19)."""
    session.place(before, replace(after, status=Status.SKIPPED, resolved=session.now, result=result))
    session.notices.append(Skipped(before.name, cascade))
    if cascade:
        fire(session, before.task, result, f"the cascade of {before.name}", before.name)


def wake_up_of(running: Instance) -> datetime | None:
    """When a running instance next needs attention: its lease or its timeout, whichever is first."""
    times = [at for at in (running.lease, running.deadline) if at is not None]
    return min(times) if times else None


def _covers(policy: RetryPolicy, types: tuple[str, ...]) -> bool:
    return not policy.on or any(name in policy.on for name in types)


def _is_current(instance: Instance, attempt: int, claim: str | None) -> bool:
    same_claim = claim is None or instance.claim == claim
    return instance.status is Status.RUNNING and instance.attempt == attempt and same_claim


def _live_want(name: str) -> Want:
    task, number = split_instance_name(name)
    return Want(frozenset({(f"live/{task}", str(number)), ("count", task)}))


def _live_instance(session: Session, name: str) -> Instance | None:
    task, number = split_instance_name(name)
    found = session.view.get(live(task), str(number))
    if found is not None:
        session.places[name] = f"live/{task}"
    return found
