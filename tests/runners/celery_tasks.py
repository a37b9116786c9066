"""Class-based tasks for the workers that tests start."""

from __future__ import annotations

import time

from celery.exceptions import SoftTimeLimitExceeded

from triggers import TaskContext
from triggers.testing.conformance.works import note
from triggers_celery import CeleryTriggerTask


class Limited(CeleryTriggerTask):
    """Starts at most twice a second."""

    name = "trial.limited"
    rate_limit = "2/s"

    def _run(self, context: TaskContext) -> dict[str, str]:
        note(context, "ran")
        return {"task id": self.request.id}


class Patient(CeleryTriggerTask):
    """Is told after three seconds that it takes too long."""

    name = "trial.patient"
    soft_time_limit = 3

    def _run(self, context: TaskContext) -> dict[str, str]:
        note(context, "began")
        try:
            time.sleep(20)
        except SoftTimeLimitExceeded:
            note(context, "was told")
            raise
        return {}


class Killed(CeleryTriggerTask):
    """Is killed after four seconds, in its first attempt."""

    name = "trial.killed"
    time_limit = 4

    def _run(self, context: TaskContext) -> None:
        note(context, "began")
        if context.attempt == 1:
            time.sleep(20)
