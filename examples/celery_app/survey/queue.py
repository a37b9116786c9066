"""The Celery application: all that a worker and the web process have in common."""

from __future__ import annotations

import os

from celery import Celery

import triggers
import triggers_celery

app = Celery("survey", broker=os.environ.get("SURVEY_BROKER", "redis://127.0.0.1:6379/0"))
app.conf.update(
    task_default_queue="survey",
    task_routes={"survey.letter": {"queue": "letters"}},
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
)

triggers.configure(
    storage="sql",
    storages={"sql": {"url": os.environ.get("SURVEY_SESSIONS", "sqlite:///survey.db")}},
    runner="celery",
    tasks=["survey.tasks"],
)
triggers_celery.install(app)
