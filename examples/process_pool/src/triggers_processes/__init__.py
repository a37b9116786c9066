"""Runs Triggers tasks in a pool of processes: ``triggers.configure(runner="processes")``."""

from triggers_processes.runner import ProcessPoolTaskRunner

__all__ = ["ProcessPoolTaskRunner"]
