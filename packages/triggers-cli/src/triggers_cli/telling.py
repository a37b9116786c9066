"""What a worker says that it does: a line for each thing."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

from triggers.hooks import hookimpl
from triggers.instance import Status, TaskInstance
from triggers.storages.base import BaseTriggerStorage
from triggers_cli.looking import error_of
from triggers_cli.output import for_programs, one_line, say

_TOLD = frozenset({"running", "finished", "failed", "skipped", "replayed"})


class Teller:
    """A plugin that writes a line for each thing that this process does.

    Args:
        json_: whether as JSON objects.
    """

    def __init__(self, json_: bool) -> None:
        self._json = json_
        self._turn = threading.Lock()

    @hookimpl
    def triggers_instance_status_changed(self, storage: BaseTriggerStorage, instance: TaskInstance, after: Status) -> None:
        """Writes what became of an instance."""
        if after in _TOLD:
            self.tell(
                str(after),
                error_of(instance),
                uid=storage.uid,
                instance=instance.name,
                attempt=instance.attempt,
                run=instance.run,
            )

    @hookimpl
    def triggers_instance_recovered(self, storage: BaseTriggerStorage, name: str, attempt: int, reason: str) -> None:
        """Writes what the sweep has found."""
        self.tell("recovered", reason, uid=storage.uid, instance=name, attempt=attempt)

    def tell(self, event: str, text: str, **what: Any) -> None:
        """Writes one line."""
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self._json:
            key = "error" if event == "failed" else "text"
            document = {"at": at, "event": event, **what, **({key: text} if text else {})}
            write, line = for_programs, json.dumps(document, ensure_ascii=False)
        else:
            session = f" of session {what['uid']}" if what else ""
            subject = f" {what['instance']}{session}" if what else ""
            attempt = f" (attempt {what['attempt']})" if what.get("attempt", 1) > 1 else ""
            write, line = say, f"{at} {event}{subject}{attempt}{f': {one_line(text)}' if text else ''}"
        with self._turn:
            write(line)
