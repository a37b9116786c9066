"""The Celery application of the killed workers."""

from __future__ import annotations

import json
import os

import celery

import triggers_celery
from tests.faults import application

app = celery.Celery("faults", set_as_current=True)
app.conf.update(json.loads(os.environ["FAULTS_CELERY"]))
triggers_celery.install(app)

__all__ = ["app", "application"]
