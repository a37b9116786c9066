"""The options of the store, checked when it is made, before any database is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triggers.errors import SettingsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_PASSWORD = re.compile(r"(://[^:/@]*:).*@")
_SECRET = re.compile(r"((?:password|passwd)=)[^&]*", re.IGNORECASE)
_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


@dataclass(frozen=True)
class Options:
    """What ``SqlStore`` was made with. Times are in seconds."""

    url: str = field(repr=False)
    schema: str | None
    table_prefix: str
    pool_size: int
    max_overflow: int
    pool_timeout: float
    pool_recycle: float
    timeout: float
    synchronous: str
    max_value_bytes: int
    auto_setup: bool | None
    connect_args: Mapping[str, Any] = field(repr=False)
    folder: str
    """The working folder when the store was made: a relative SQLite path stays where it was then."""

    @property
    def place(self) -> str:
        """The URL without its password, for messages."""
        return _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", str(self.url)))

    def __post_init__(self) -> None:
        """Raises ``SettingsError`` for the first option that cannot be used."""
        if type(self.url) is not str or not self.url:
            got = "an empty string" if self.url == "" else type(self.url).__name__
            raise SettingsError(f"option 'url' of the sql storage is a database URL, got {got}; {EXAMPLES}")
        _check_name("table_prefix", self.table_prefix, empty=True)
        if self.schema is not None:
            _check_name("schema", self.schema, empty=False)
        for name in ("pool_size", "max_value_bytes"):
            _check_number(name, getattr(self, name), int, at_least=1)
        _check_number("max_overflow", self.max_overflow, int, at_least=-1)
        _check_number("pool_timeout", self.pool_timeout, (int, float), at_least=0)
        _check_number("pool_recycle", self.pool_recycle, (int, float), at_least=-1)
        _check_number("timeout", self.timeout, (int, float), at_least=0.001)
        if self.synchronous not in _SYNCHRONOUS:
            raise SettingsError(
                f"option 'synchronous' of the sql storage is one of {', '.join(_SYNCHRONOUS)}, got {self.synchronous!r}"
            )
        if self.auto_setup not in (None, True, False):
            raise SettingsError(f"option 'auto_setup' of the sql storage is True, False or None, got {self.auto_setup!r}")
        if not isinstance(self.connect_args, Mapping):
            raise SettingsError("option 'connect_args' of the sql storage is an object of arguments for the driver's connect()")


EXAMPLES = "URLs look like sqlite:///triggers.db, postgresql://user:password@host/database or mysql://user:password@host/database"


def working_folder() -> str:
    """The folder that relative paths start from; empty if it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _check_name(option: str, value: object, *, empty: bool) -> None:
    if not isinstance(value, str) or not (_NAME.fullmatch(value) or (empty and value == "")):
        raise SettingsError(
            f"option {option!r} of the sql storage is up to 40 letters, digits and underscores, not a digit first, got {value!r}"
        )


def _check_number(option: str, value: object, kind: type | tuple[type, ...], *, at_least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or value < at_least:  # type: ignore[operator]
        raise SettingsError(f"option {option!r} of the sql storage is a number of at least {at_least}, got {value!r}")
