"""What the kits have in common: rules that cannot be replaced, and a way to say which ones are known to fail."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

import pytest

from triggers.testing.conformance.report import NOT_TESTED


def not_tested(reason: str) -> NoReturn:
    """Ends a test that there are no means to run; the report at the end names it."""
    pytest.skip(f"{NOT_TESTED} {reason}")


class Contract:
    """The base of the kits."""

    rule_prefix: ClassVar[str]
    """How the names of a kit's tests begin; the number of the rule follows."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Tests that are known to fail, ``{"test_s16_...": "why, and what a user has to expect"}``.

    Nothing else may override a test; a test that is listed here and passes is a failure.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _refuse_overrides(cls)
        for name, reason in cls.__dict__.get("expected_failures", {}).items():
            standard = getattr(cls, name, None)
            if not name.startswith(cls.rule_prefix) or not isinstance(standard, types.FunctionType):
                raise TypeError(f"{cls.__name__}.expected_failures names {name!r}, which is no test of the kit")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.expected_failures gives no reason for {name!r}")
            setattr(cls, name, pytest.mark.xfail(reason=reason, strict=True)(_copy(standard)))


def _refuse_overrides(cls: type) -> None:
    kits = [base for base in cls.__mro__[1:] if issubclass(base, Contract) and hasattr(base, "rule_prefix")]
    standard = {name for base in kits for name in vars(base) if name.startswith(base.rule_prefix)}
    overridden = sorted(name for name in vars(cls) if name in standard)
    if overridden:
        raise TypeError(
            f"{cls.__name__} overrides {', '.join(overridden)}: a test of the contract cannot be replaced; "
            "where one is known to fail, say so and why in `expected_failures`"
        )


def _copy(function: types.FunctionType) -> Callable[..., Any]:
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(copy, function)
    del copy.__wrapped__  # type: ignore[attr-defined]
    return copy
