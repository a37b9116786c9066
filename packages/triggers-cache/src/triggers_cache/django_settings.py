"""``TRIGGERS = {...}`` in Django's settings, for all of the framework."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from triggers.errors import SettingsError


def in_project() -> bool:
    """Whether this process runs inside a Django project; does not import Django to find out."""
    conf = sys.modules.get("django.conf")
    return bool(conf is not None and conf.settings.configured) or bool(os.environ.get("DJANGO_SETTINGS_MODULE"))


def read() -> Mapping[str, Any] | None:
    """What Django's settings say under ``TRIGGERS``, or ``None`` outside of a Django project.

    Raises:
        SettingsError: it is no dictionary.
    """
    if not in_project():
        return None
    from django.conf import settings

    found = getattr(settings, "TRIGGERS", None)
    if found is not None and not isinstance(found, Mapping):
        raise SettingsError(f"TRIGGERS in Django's settings is a dictionary of settings, got {type(found).__name__}")
    return found
