"""JSON to bytes and back: what may be stored (R12), and how.

msgspec writes sets, dates and NaN without a word as something that comes back different; so what users give is checked first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from triggers.errors import UnserializableKwargs
from triggers.names import shorten

MAX_DEPTH = 100
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

EMPTY = msgspec.Raw(b"{}")
"""Kwargs without any entry, encoded."""


def encode(value: Any) -> bytes:
    """Encodes a record of ours, or JSON that was checked before."""
    return _encode(value)


def decode(text: bytes | msgspec.Raw) -> Any:
    """Decodes any JSON."""
    return _decode(text)


def encode_object(value: Any, what: str, max_bytes: int | None = None) -> msgspec.Raw:
    """Checks and encodes an object that a user gave: kwargs, a result, metadata.

    Args:
        value: a dictionary or another mapping, or ``None`` for an empty one.
        what: what it is, for the message: ``"kwargs of trigger 'page3'"``.
        max_bytes: the most that the encoded text may have.

    Raises:
        UnserializableKwargs: it is no object, or holds what JSON and every store do not give back equal, or is too large.
    """
    if type(value) is not dict and isinstance(value, Mapping):
        value = dict(value)
    if not value and (value is None or type(value) is dict):
        return EMPTY
    if type(value) is not dict:
        raise UnserializableKwargs(f"{what} must be an object (a dict with string keys), got one {_type(value)}")
    check_json(value, what)
    text = _encode(value)
    if max_bytes is not None and len(text) > max_bytes:
        raise UnserializableKwargs(
            f"{what} have {len(text)} bytes as JSON, the limit is {max_bytes} (setting max_value_bytes); "
            "store large content elsewhere and pass a reference"
        )
    return msgspec.Raw(text)


def check_json(value: Any, what: str) -> None:
    """Accepts what comes back equal from every store (R12).

    Raises:
        UnserializableKwargs: naming the place and the type of the first value that does not.
    """
    problem = json_problem(value)
    if problem is not None:
        place, text = problem
        raise UnserializableKwargs(f"{what}: {place} {text}")


def json_problem(value: Any, place: str = "$") -> tuple[str, str] | None:
    """Where the first value is that does not come back equal from every store, and what is wrong with it, or ``None``."""
    try:
        _check(value, place, 1)
    except _Unfit as problem:
        return (place if problem.place is None else problem.place), problem.text
    return None


class _Unfit(Exception):
    def __init__(self, place: str | None, text: str) -> None:
        super().__init__(place, text)
        self.place = place
        self.text = text


def _check(value: Any, place: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value, place)
    elif kind is int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise _Unfit(place, f"is {shorten(value)}, integers must fit 64 bits; pass a string")
    elif kind is float:
        if not math.isfinite(value):
            raise _Unfit(place, f"is {value}, floats must be finite; pass null or a string")
    elif kind is dict:
        if depth > MAX_DEPTH:
            raise _Unfit(None, f"is nested more than {MAX_DEPTH} levels deep")
        for key, entry in value.items():
            if type(key) is not str:
                raise _Unfit(place, f"has the key {shorten(key)}, which is no string but {_type(key)}")
            _check_text(key, place, key=True)
            if entry is not None and type(entry) is not bool:
                _check(entry, f"{place}.{key}", depth + 1)
    elif kind is list:
        if depth > MAX_DEPTH:
            raise _Unfit(None, f"is nested more than {MAX_DEPTH} levels deep")
        for index, entry in enumerate(value):
            _check(entry, f"{place}[{index}]", depth + 1)
    elif value is not None and kind is not bool:
        raise _Unfit(
            place,
            f"is {_type(value)}; only JSON values come back unchanged from every storage "
            "(dict with string keys, list, str, int, float, bool, None)",
        )


def _check_text(text: str, place: str, *, key: bool = False) -> None:
    if "\0" in text:
        raise _Unfit(place, f"{_subject(text, key)}has a NUL character, which not every storage can keep")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Unfit(place, f"{_subject(text, key)}has a lone surrogate, which is no valid Unicode") from None


def _subject(text: str, key: bool) -> str:
    return f"has the key {shorten(text)}, which " if key else ""


def _type(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"of type {name}"


def merge(base: Any, over: Any) -> Any:
    """Merges two JSON values deeply: objects key by key, everything else is replaced by ``over`` (R11)."""
    if type(base) is dict and type(over) is dict:
        return base | {key: merge(base[key], value) if key in base else value for key, value in over.items()}
    return over
