"""The Django application: a questionnaire."""
