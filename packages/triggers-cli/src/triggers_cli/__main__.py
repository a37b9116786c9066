"""The entry of ``triggers`` and ``python -m triggers_cli``: errors become one line and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong use of the command line, 3 the storage does not answer, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys

import click

from triggers.errors import StorageUnavailable, TriggersError
from triggers.settings import redact
from triggers_cli.frame import command_line
from triggers_cli.output import harmless

_NARROW = 52


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process."""
    _open_what_is_closed()
    logging.lastResort = _last_resort()
    sys.exit(run(arguments))


def _open_what_is_closed() -> None:
    """Streams that whoever calls has closed (``<&-``, ``>&-``) become empty ones, and no database gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the process ends


def run(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    output, errors = sys.stdout, sys.stderr
    try:
        code = command_line.main(arguments, prog_name="triggers", standalone_mode=False, terminal_width=_width())
        _flush()
    except click.Abort as error:
        during_a_question = error.__cause__ is None and isinstance(error.__context__, (KeyboardInterrupt, EOFError))
        _say("\ninterrupted" if during_a_question else "interrupted")
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StorageUnavailable as error:
        _say(f"error: the storage does not answer: {redact(str(error))}")
        return 3
    except TriggersError as error:
        _say(f"error: {redact(str(error))}")
        return 1
    except KeyboardInterrupt:
        _say("\ninterrupted")
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except OSError as error:  # the disk is full, a file vanished
        _say(f"error: {redact(str(error))}")
        _closed_pipe()
        return 1
    except SystemExit as end:
        if sys.stdout is not output:  # click met a closed pipe, and muffled the streams
            sys.stdout, sys.stderr = output, errors
            return _closed_pipe()
        return end.code if isinstance(end.code, int) else 1 if end.code else 0
    return code if isinstance(code, int) else 0


def _width() -> int | None:
    """The width of help in a narrow terminal; click by itself writes at least 50 columns."""
    columns = shutil.get_terminal_size().columns
    return max(columns - 2, 20) if columns < _NARROW else None


def _flush() -> None:
    if sys.stdout is not None:  # somebody closed it: `triggers sessions >&-`
        sys.stdout.flush()


def _closed_pipe() -> int:
    """Whoever read our output has read enough; what is still buffered must not complain at the end of the process."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
    return 0


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(harmless(text), err=True)


class _OneLine(logging.Formatter):
    """What is logged where nobody set up logging: the message and the error, without the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return str(redact(text))


def _last_resort() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    return handler


if __name__ == "__main__":
    main()
