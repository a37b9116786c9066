"""Running and tending a process: sweep once, wait for the work of this process."""

from __future__ import annotations

from triggers.process import get_process


def sweep() -> int:
    """Runs one sweep over the configured storage; returns how many wake-ups it handled."""
    process = get_process()
    handled = process.sweep()
    process.note_sweep()
    return handled


def join_all(timeout: float | None = None) -> bool:
    """Waits for all work that runs in this process, and its cascades; returns whether it has ended."""
    return all(runner.join_all(timeout) for runner in get_process().runners.opened())
