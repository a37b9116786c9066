"""Runs the code of the manual: the blocks of a page in order, in one namespace and an empty folder of their own."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

from triggers import settings
from triggers.process import get_process
from triggers.storages.base import forget_shared_stores
from triggers.tasks import registered


def _begin(namespace: dict[str, Any]) -> None:
    namespace["_folder"] = Path.cwd()
    namespace["_known"] = set(registered.names())
    logging.getLogger("triggers").setLevel(logging.CRITICAL)
    os.chdir(tempfile.mkdtemp(prefix="manual-"))
    settings.reset()
    forget_shared_stores()


def _end(namespace: dict[str, Any]) -> None:
    process = get_process()
    for runner in process.runners.opened():
        runner.join_all(30)
    for name in set(registered.names()) - namespace["_known"]:
        registered.remove(name)
    settings.reset()
    forget_shared_stores()
    logging.getLogger("triggers").setLevel(logging.NOTSET)
    os.chdir(namespace["_folder"])


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    excludes=["writing-a-backend.md"],  # tests/third_party follows it in environments of its own
    setup=_begin,
    teardown=_end,
).pytest()
