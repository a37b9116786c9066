"""A questionnaire whose answers come through the web and whose works run in Celery."""
