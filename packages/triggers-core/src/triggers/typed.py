"""The kwargs of a trigger as a typed object: a msgspec Struct, a dataclass, a pydantic model, or any type that msgspec knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from triggers.errors import InvalidKwargs

T = TypeVar("T")


def as_type(trigger_kwargs: Mapping[str, Any], trigger: str, kind: type[T]) -> T:
    """Converts the kwargs of one trigger.

    Raises:
        InvalidKwargs: the trigger gave none, or they do not fit; names the trigger and the field.
    """
    if trigger not in trigger_kwargs:
        known = ", ".join(trigger_kwargs) or "none"
        raise InvalidKwargs(f"trigger {trigger!r} gave this work no kwargs; it has those of: {known}")
    kwargs = trigger_kwargs[trigger]
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        return cast("T", _with_pydantic(validate, kwargs, trigger))
    try:
        return msgspec.convert(kwargs, kind)
    except msgspec.ValidationError as error:
        raise InvalidKwargs(f"the kwargs of trigger {trigger!r} do not fit {_name(kind)}: {error}") from error


def _with_pydantic(validate: Any, kwargs: Any, trigger: str) -> Any:
    try:
        return validate(kwargs)
    except ValueError as error:
        details: list[dict[str, Any]] = getattr(error, "errors", list)()
        places = "; ".join(
            f"{detail.get('msg')} - at `$.{'.'.join(str(part) for part in detail.get('loc', ()))}`" for detail in details
        )
        raise InvalidKwargs(f"the kwargs of trigger {trigger!r} do not fit: {places or error}") from error


def _name(kind: Any) -> str:
    return getattr(kind, "__qualname__", repr(kind))


def filter_kwargs(trigger_kwargs: Mapping[str, Any], filters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Filters kwargs with phx-filters: ``{"page3": {"answer": f.Required | f.Unicode}}``; returns them cleaned, by trigger.

    Raises:
        ImportError: phx-filters is not installed.
        InvalidKwargs: something is invalid; names each trigger and field.
    """
    try:
        import filters as phx_filters
    except ImportError as error:
        raise ImportError(
            f"filter_kwargs needs phx-filters, 3.5 or later (which needs Python 3.12): pip install phx-filters ({error})"
        ) from error
    runner = phx_filters.FilterRunner(
        phx_filters.FilterMapper(
            {trigger: phx_filters.Required | phx_filters.FilterMapper(dict(fields)) for trigger, fields in filters.items()}
        ),
        {trigger: trigger_kwargs.get(trigger) for trigger in filters},
    )
    if not runner.is_valid():
        problems = "; ".join(
            f"{place}: {', '.join(error['message'] for error in errors)}" for place, errors in runner.get_errors().items()
        )
        raise InvalidKwargs(f"the kwargs do not pass the filters: {problems}")
    cleaned: dict[str, Any] = runner.cleaned_data
    return cleaned
