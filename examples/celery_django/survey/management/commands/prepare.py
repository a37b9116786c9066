"""``python manage.py prepare``: makes the tables of Django and of Triggers."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from triggers.storages import storage_backends


class Command(BaseCommand):  # type: ignore[misc]
    """Makes all tables; once more changes nothing."""

    help = "Makes the tables of Django and of Triggers."

    def handle(self, *arguments: Any, **options: Any) -> None:
        """Makes them."""
        call_command("migrate", verbosity=options["verbosity"])
        storage_backends.open_store("sql").setup()
