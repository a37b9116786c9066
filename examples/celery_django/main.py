"""Starts this project (a broker, Django's server, a Celery worker), has respondents use it, and checks what came of it.

The demo of the plain application, ``../celery_app``, does so; its options are the options of this one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

PROJECT = [
    *("--place", str(HERE)),
    *("--migrate", "manage.py prepare"),
    *("--web", "manage.py runserver --noreload {port}"),
    *("--worker", "-m celery -A office worker -c 2 -Q office,letters -l INFO"),
    *("--table", "survey_entry"),
]

if __name__ == "__main__":
    demo = HERE.parent / "celery_app" / "main.py"
    try:
        sys.exit(subprocess.call([sys.executable, str(demo), *PROJECT, *sys.argv[1:]]))  # noqa: S603
    except KeyboardInterrupt:
        sys.exit(130)
