"""The Celery application, configured by Django's settings that begin with ``CELERY_``."""

from __future__ import annotations

import os

from celery import Celery

import triggers_celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "office.settings")

app = Celery("office")
app.config_from_object("django.conf:settings", namespace="CELERY")
triggers_celery.install(app)
