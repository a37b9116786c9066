"""The table of effects."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]
    """Makes it."""

    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("key", models.CharField(max_length=500, primary_key=True, serialize=False)),
                ("respondent", models.CharField(max_length=100)),
                ("task", models.CharField(max_length=100)),
                ("value", models.CharField(max_length=200)),
                ("runs", models.IntegerField(default=1)),
            ],
        ),
    ]
