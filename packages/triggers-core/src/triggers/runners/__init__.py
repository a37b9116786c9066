"""Runners: how a ready instance is executed. ``task_runners`` has their classes by key."""

from triggers.registry import BackendRegistry
from triggers.runners.base import BaseTaskRunner, Delivery, RunnerCapability

__all__ = ["RUNNER_API_VERSION", "BaseTaskRunner", "Delivery", "RunnerCapability", "task_runners"]

RUNNER_API_VERSION = 1

task_runners: BackendRegistry[BaseTaskRunner] = BackendRegistry("triggers.runners", "runner", RUNNER_API_VERSION)
