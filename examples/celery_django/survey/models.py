"""What the works enter."""

from __future__ import annotations

from django.db import models


class Entry(models.Model):  # type: ignore[misc]
    """An effect of a work, under its idempotency key, with the number of runs that tried to enter it."""

    key = models.CharField(max_length=500, primary_key=True)
    respondent = models.CharField(max_length=100)
    task = models.CharField(max_length=100)
    value = models.CharField(max_length=200)
    runs = models.IntegerField(default=1)
