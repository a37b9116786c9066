"""Storages: where sessions are kept. ``storage_backends.get("sql", uid)`` gives the handle of one session."""

from typing import Any

from triggers.registry import BackendRegistry
from triggers.storages.base import BaseTriggerStorage
from triggers.store import (
    ABSENT,
    EVERYTHING,
    NOTHING,
    Capability,
    Change,
    Due,
    DuePage,
    Record,
    ScanPage,
    Snapshot,
    Store,
    Want,
)

__all__ = [
    "ABSENT",
    "EVERYTHING",
    "NOTHING",
    "BaseTriggerStorage",
    "Capability",
    "Change",
    "Due",
    "DuePage",
    "Record",
    "ScanPage",
    "Snapshot",
    "StorageRegistry",
    "Store",
    "Want",
    "storage_backends",
]

STORE_API_VERSION = 1


class StorageRegistry(BackendRegistry[BaseTriggerStorage]):
    """The registry of storages; knows that settings may give a backend a second key (``{"archive": {"backend": "sql"}}``)."""

    def get(self, key: str, uid: str, **options: Any) -> BaseTriggerStorage:  # type: ignore[override]
        """The handle of one session: ``storage_backends.get("sql", uid)``. Makes no connection yet."""
        return self.backend_of(key)(uid, key=key, **options)

    def open_store(self, key: str) -> Store:
        """The store that this process shares for a key, connected as the settings say."""
        return self.backend_of(key).shared_store(key)

    def backend_of(self, key: str) -> type[BaseTriggerStorage]:
        """The class that serves a key of the settings.

        Raises:
            UnknownKey: no backend has it.
            PluginError: its plugin cannot be used.
        """
        return self.get_class(backend_key(key))

    def _unknown(self, key: Any) -> str:
        from triggers.settings import get_settings

        text = super()._unknown(key)
        options = get_settings().options_of(str(key))
        if not options or "backend" in options:
            return text
        return f"{text}. If it is one of those under a name of your own, its options must say which, as 'backend'"


def backend_key(key: Any) -> Any:
    """The registered key behind a key of the settings."""
    from triggers.settings import get_settings

    return str(get_settings().options_of(key).get("backend", key)) if isinstance(key, str) else key


storage_backends = StorageRegistry("triggers.storages", "storage", STORE_API_VERSION)
