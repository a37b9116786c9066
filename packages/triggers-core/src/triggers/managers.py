"""The registry of managers. ``triggers.manager`` has the default one, and this registry under the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triggers.registry import BackendRegistry

if TYPE_CHECKING:
    from triggers.manager import TriggerManager

MANAGER_API_VERSION = 1


class ManagerRegistry(BackendRegistry["TriggerManager"]):
    """The classes of managers, by key."""

    def get(self, key: Any, *args: Any, **kwargs: Any) -> TriggerManager:
        """A manager of a session: ``trigger_managers.get("default", storage)``. The session remembers the key (R32)."""
        manager = super().get(key, *args, **kwargs)
        manager.key = key
        return manager


trigger_managers = ManagerRegistry("triggers.managers", "manager", MANAGER_API_VERSION)
