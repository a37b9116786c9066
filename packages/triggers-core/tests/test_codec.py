"""JSON to bytes and back (R11, R12)."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triggers.codec import EMPTY, check_json, decode, encode, encode_object, merge
from triggers.errors import UnserializableKwargs

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_r12_what_is_accepted_comes_back_equal(value: dict[str, Any]) -> None:
    """With the same types, and as JSON that others read the same."""
    raw = bytes(encode_object(value, "x"))
    assert repr(decode(raw)) == repr(value)
    assert json.loads(raw) == value


@pytest.mark.parametrize("value", [None, {}])
def test_nothing_is_an_empty_object(value: Any) -> None:
    """``None`` and ``{}`` are the same."""
    assert encode_object(value, "x") is EMPTY


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "value, message",
    [
        ({"a": {1, 2}}, "kwargs: $.a is of type set"),
        ({"a": [0, b"x"]}, "kwargs: $.a[1] is of type bytes"),
        ({"a": math.nan}, "kwargs: $.a is nan, floats must be finite"),
        ({"a": 2**63}, "integers must fit 64 bits"),
        ({"a": -(2**63) - 1}, "integers must fit 64 bits"),
        ({"a": (1,)}, "$.a is of type tuple"),
        ({"a": Colour.RED}, f"$.a is of type {__name__}.Colour"),
        ({"a": Number.ONE}, f"$.a is of type {__name__}.Number"),
        ({"a": OrderedDict(b=1)}, "$.a is of type collections.OrderedDict"),
        ({"a": {2: 1}}, "$.a has the key 2, which is no string but of type int"),
        ({Colour.RED: 1}, "which is no string"),
        ({"a": {"b\0": 1}}, "$.a has the key 'b\\x00', which has a NUL"),
        ({"\udfff": 1}, "has a lone surrogate"),
        ({"a": "\ud83d"}, "$.a has a lone surrogate"),
        ([1], "kwargs must be an object (a dict with string keys), got one of type list"),
        ("text", "must be an object"),
        (5, "must be an object"),
        ([], "must be an object"),
    ],
)
def test_r12_what_is_refused(value: Any, message: str) -> None:
    """The message names the place and the type."""
    with pytest.raises(UnserializableKwargs) as caught:
        encode_object(value, "kwargs")
    assert message in str(caught.value)


def test_r12_depth() -> None:
    """100 levels of lists and objects; 101 and circles are refused without a deep stack."""
    deep: Any = 1
    for level in range(100):
        deep = {"d": deep} if level % 2 else [deep]
    check_json(deep, "x")
    with pytest.raises(UnserializableKwargs, match="100 levels"):
        check_json([deep], "x")
    with pytest.raises(UnserializableKwargs, match="100 levels"):
        check_json({"d": deep}, "x")
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(UnserializableKwargs, match="100 levels"):
        check_json(circle, "x")


def test_r12_size() -> None:
    """The limit is on the encoded bytes, and is told with its setting."""
    assert bytes(encode_object({"a": "é"}, "x", 10)) == '{"a":"é"}'.encode()
    with pytest.raises(UnserializableKwargs, match=r"x have 10 bytes as JSON, the limit is 9 .setting max_value_bytes"):
        encode_object({"a": "é"}, "x", 9)


def test_r11_merge() -> None:
    """Objects merge deeply, everything else is replaced, also by null."""
    base = {"o": {"a": 1, "b": {"c": 1}}, "l": [1], "n": 1, "s": 1, "only": 1}
    over = {"o": {"b": {"d": 2}}, "l": [2], "n": None, "s": {"x": 1}, "new": 1}
    assert merge(base, over) == {
        "o": {"a": 1, "b": {"c": 1, "d": 2}},
        "l": [2],
        "n": None,
        "s": {"x": 1},
        "only": 1,
        "new": 1,
    }
    assert base["o"] == {"a": 1, "b": {"c": 1}}, "the base was changed"


def test_encode_is_json() -> None:
    """Records are plain JSON."""
    assert json.loads(encode({"a": [1, None]})) == {"a": [1, None]}
