"""What the commands print: tables and lines that fit the terminal for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from typing import Any, TextIO

import click
import msgspec

NARROW = 60
"""Below so many columns a table becomes a list: one row after the other, a name and a value in each line."""
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_documents: TextIO | None = None
_STYLES = {
    "failed": "bold red",
    "finished": "green",
    "running": "yellow",
    "scheduled": "yellow",
    "abandoned": "dim",
    "skipped": "dim",
    "replayed": "dim",
}


def say(text: str) -> None:
    """Lines for people."""
    click.echo(harmless(text))


def harmless(text: str) -> str:
    """The text with what would steer a terminal, or turn the order of its signs, written out: what works say is not ours."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say_wrapped(text: str) -> None:
    """Lines for people; in a terminal those that are too long are folded at words, and go on indented."""
    width = columns_of_terminal() if sys.stdout.isatty() else None
    for line in harmless(text).split("\n"):
        click.echo(line if width is None else fold(line, width))


def fold(line: str, width: int) -> str:
    """A line in pieces of at most this width, all but the first indented."""
    return textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False, break_long_words=True)


def as_json(value: Any) -> None:
    """One JSON document; times are RFC 3339."""
    for_programs(json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2))


def for_programs(text: str) -> None:
    """Text that a program reads, on standard output, whoever writes elsewhere meanwhile."""
    click.echo(text, file=_documents)


@contextmanager
def only_documents() -> Iterator[None]:
    """Until its end nothing but ``for_programs`` gets to standard output.

    What works and modules print, and what processes that they start write there, goes to standard error.
    """
    global _documents
    output = sys.stdout
    kept = _set_aside(output)
    _documents = output if kept is None else open(kept, "w", encoding=output.encoding, errors=output.errors)  # noqa: SIM115
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        documents, _documents = _documents, None
        if kept is not None:
            os.dup2(kept, 1)
            documents.close()


def _set_aside(output: TextIO) -> int | None:
    """Another number for standard output, the old one leads to standard error; ``None`` where it is no file of the system."""
    try:
        if output.fileno() != 1:
            return None
        output.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError, AttributeError):
        return None
    return kept


def columns_of_terminal() -> int:
    """How wide the terminal is."""
    return shutil.get_terminal_size().columns


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table that fits the terminal, a list where that is narrow; without colours where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich by itself ends the process with exit code 1

    console = Terminal()
    if console.width < NARROW and len(columns) > 2:
        _list(console.width, columns, rows)
        return
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=number == 0 and console.width >= 2 * NARROW)
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)


def pairs(values: Mapping[str, Any]) -> None:
    """Names and values, one line each, under each other where the terminal is wide enough; long values go on indented."""
    room = columns_of_terminal() if sys.stdout.isatty() else None
    width = 0 if room is not None and room < NARROW else max(map(len, values), default=0) + 1
    for name, value in values.items():
        line = f"{name:<{width}} {plain(value)}" if width else f"{name}: {plain(value)}"
        if room is not None and len(line) > room:
            line = textwrap.fill(line, room, subsequent_indent=" " * (width + 1 if width else 4), break_on_hyphens=False)
        say(line)


def plain(value: Any) -> str:
    """A value as text."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return str(value)


def counted(number: int, what: str) -> str:
    """``1 instance``, ``2 instances``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """The text in one line."""
    return " ".join(text.split())


def cut(text: str, length: int) -> str:
    """The text, or its beginning and a sign that there is more."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _list(width: int, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    for first, *others in rows:
        say(fold(plain(first), width))
        for name, value in zip(columns[1:], others, strict=True):
            if value not in (None, ""):
                say(textwrap.fill(f"{name}: {plain(value)}", width, initial_indent="  ", subsequent_indent="    "))


def _cell(value: Any) -> Any:
    from rich.text import Text

    text = harmless(plain(value))
    return Text(text, style=_STYLES.get(text, ""))
