"""Django's settings; ``TRIGGERS`` is all that Triggers needs."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(os.environ.get("SURVEY_FOLDER", Path(__file__).resolve().parents[1]))

SECRET_KEY = os.environ.get("SURVEY_SECRET_KEY", "only for this demo")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["survey"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "office.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "ledger.db",
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}

CELERY_BROKER_URL = os.environ.get("SURVEY_BROKER", "redis://127.0.0.1:6379/0")
CELERY_TASK_DEFAULT_QUEUE = "office"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

TRIGGERS = {
    "storage": "sql",
    "storages": {"sql": {"url": os.environ.get("SURVEY_SESSIONS", f"sqlite:///{BASE_DIR / 'sessions.db'}")}},
    "runner": "celery",
    "tasks": ["survey.works"],
}
