"""What all tests of the repository share."""

from __future__ import annotations

pytest_plugins = ["tests.servers.plugin"]
