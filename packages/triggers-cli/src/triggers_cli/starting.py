"""The files that ``triggers init`` writes: settings, a module of tasks, and a first workflow that runs."""

from __future__ import annotations

from pathlib import Path

SETTINGS = """\
# Settings of Triggers, read by the command `triggers` in this folder. Environment variables
# (TRIGGERS_LEASE=30) and options are stronger. An application passes the same to
# triggers.configure(). The page "Settings" of the manual has all of them.

# Where sessions are kept: the key of a storage ("sql", "redis", "cache").
storage = "sql"

# Modules with tasks; they are searched for beside this file first.
tasks = ["workflow_tasks"]

# What runs the work: "threading" in this process, "celery" in the workers of a Celery application.
# runner = "threading"

# How long, in seconds, a running work is trusted without a sign of life.
# lease = 60

[storages.sql]
# url = "postgresql+psycopg://me:secret@localhost/app"
url = "sqlite:///workflow.db"
"""

TASKS = '''\
"""The work that workflow.json starts."""

from triggers import TaskContext, task


@task("welcome.greet")
def greet(context: TaskContext) -> dict:
    """Runs once both nameReceived and addressReceived have fired, in whatever order."""
    received = context.trigger_kwargs
    return {"greeting": f"Hello {received['nameReceived'].get('name', 'you')}!"}


@task("welcome.send")
def send(context: TaskContext) -> None:
    """Runs after greet: a task that finishes fires its own name, with its result as the kwargs."""
    print(context.trigger_kwargs["t_greet"]["greeting"])
'''

WORKFLOW = """\
{
  "t_greet": {
    "after": ["nameReceived", "addressReceived"],
    "run": "welcome.greet"
  },
  "t_send": {
    "after": ["t_greet"],
    "run": "welcome.send"
  }
}
"""

FILES = {"triggers.toml": SETTINGS, "workflow_tasks.py": TASKS, "workflow.json": WORKFLOW}

NEXT = (
    "triggers lint workflow.json",
    "triggers configure welcome:1 workflow.json --yes",
    "triggers fire welcome:1 addressReceived --yes",
    "triggers explain welcome:1",
    'triggers fire welcome:1 nameReceived --kwargs \'{"name": "Ada"}\' --yes',
    "triggers show welcome:1",
)
"""What to type next, in the folder of the files."""


def in_the_way(folder: Path) -> list[Path]:
    """The files that are there already."""
    return [folder / name for name in FILES if (folder / name).exists() or (folder / name).is_symlink()]


def write(folder: Path) -> list[Path]:
    """Writes all files, and overwrites none.

    Raises:
        OSError: one cannot be written, or appeared meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in FILES.items():
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(content)
        written.append(folder / name)
    return written
