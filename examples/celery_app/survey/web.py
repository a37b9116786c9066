"""The web process: takes answers, and tells how far a respondent is. ``python -m survey.web --port 8000``."""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import triggers
from survey import queue
from survey.workflow import WORKFLOW

OPEN = (triggers.Status.SCHEDULED, triggers.Status.RUNNING, triggers.Status.FAILED)


def answer(respondent: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Takes one answer; the same one a second time changes nothing."""
    manager = triggers.get_manager(respondent)
    manager.update_configuration(WORKFLOW)
    fired = manager.fire(sent["page"], sent["kwargs"], event_id=sent["id"])
    return {"scheduled": fired.scheduled}


def state(respondent: str) -> dict[str, Any]:
    """The statuses of all works of a respondent, and which of them are ready and not done."""
    instances = {instance.name: instance.status for instance in triggers.get_manager(respondent).storage}
    return {"instances": instances, "open": [name for name, status in instances.items() if status in OPEN]}


class Front(BaseHTTPRequestHandler):
    """``POST /answers/RESPONDENT`` and ``GET /respondents/RESPONDENT``."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Takes an answer."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(lambda: answer(self._respondent(), sent))

    def do_GET(self) -> None:
        """Tells the state."""
        self._reply(lambda: state(self._respondent()))

    def _respondent(self) -> str:
        return self.path.rpartition("/")[2]

    def _reply(self, result: Any) -> None:
        try:
            status, body = 200, result()
        except triggers.TriggersError as error:
            status, body = 503, {"error": str(error)}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Is silent."""


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description="The web process of the questionnaire.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    print(f"fires through {queue.app.main!r}, serves http://127.0.0.1:{port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Front).serve_forever()


if __name__ == "__main__":
    main()
