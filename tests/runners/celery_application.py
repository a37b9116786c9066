"""The Celery application of the workers that tests start; everything comes from the environment, as JSON."""

from __future__ import annotations

import json
import os

import celery

import triggers
import triggers_celery

app = celery.Celery("trial", set_as_current=False)
app.conf.update(json.loads(os.environ["TRIAL_CELERY"]))
triggers.configure(**json.loads(os.environ["TRIAL_SETTINGS"]))
triggers_celery.install(app)
