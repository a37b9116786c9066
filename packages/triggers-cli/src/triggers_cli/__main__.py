"""The entry of ``triggers`` and ``python -m triggers_cli``: errors become one line and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong use of the command line, 3 the storage does not answer, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import click

from triggers.errors import StorageUnavailable, TriggersError
from triggers.settings import redact
from triggers_cli.frame import command_line


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        code = command_line.main(arguments, prog_name="triggers", standalone_mode=False)
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StorageUnavailable as error:
        click.echo(f"error: the storage does not answer: {redact(str(error))}", err=True)
        return 3
    except TriggersError as error:
        click.echo(f"error: {redact(str(error))}", err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
