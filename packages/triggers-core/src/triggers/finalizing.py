"""The manager whose sessions fire ``sessionFinalized`` when every task is resolved (R29)."""

from triggers.manager import TriggerManager


class FinalizingTriggerManager(TriggerManager):
    """Fires ``sessionFinalized`` exactly once, in the same commit as the change that resolved the last task."""

    key = "finalizing"
    finalizes = True
