"""A Django project with a questionnaire. Django loads the Celery application whenever it starts."""

from office.celery import app as celery_app

__all__ = ["celery_app"]
