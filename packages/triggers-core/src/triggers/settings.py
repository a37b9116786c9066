"""The settings: which backends, how to reach them, and the times and limits of the runs.

What is stronger wins: ``configure(...)``, then the environment (``TRIGGERS_LEASE=30``), then a settings file or a plugin such as
Django's settings, then the defaults.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from triggers.config import MAX_SECONDS
from triggers.errors import SettingsError, TriggersError
from triggers.forking import renew_after_fork
from triggers.names import one_slip, shorten, suggestion

_SOURCES_GROUP = "triggers.settings"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, checked. Times are in seconds, sizes in bytes. Printing it hides passwords."""

    storage: str = "sql"
    """The key of the storage that ``get_manager`` uses."""
    storages: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Options by storage key; ``{"archive": {"backend": "sql", "url": …}}`` gives one backend a second key."""
    manager: str = "default"
    runner: str = "threading"
    runners: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    """Modules to import, in which tasks are registered."""
    allow_import_paths: bool = False
    """Whether a ``run`` that no task is registered under may be imported as ``package.module.function``."""
    finalize: bool = False
    """Whether every manager fires ``sessionFinalized``, not only ``finalizing``."""
    lease: float = 60.0
    """How long a running attempt is trusted without a heartbeat."""
    redeliver_after: float = 60.0
    """When a scheduled instance that nobody started is delivered again; the interval doubles each time."""
    sweep_interval: float = 10.0
    """The pause between two sweeps; 0 switches the sweep beside the runner off."""
    max_attempts: int = 10
    """How many attempts of an instance are started at most before it fails with ``WorkerLost``."""
    unserved_after: float = 86_400.0
    """When a scheduled instance fails for which no process had a runner or a body."""
    max_instances: int = 100_000
    """How many instances a session may have (R33)."""
    max_value_bytes: int = 4 * 1024 * 1024
    """How large the kwargs of one fire, one result or one metadata may be as JSON."""
    event_ttl: float = 0.0
    """How long event ids are remembered; 0: as long as the session."""
    expire_finished: float = 0.0
    """How long a store that can expire sessions by itself keeps one in which every task is resolved; 0: for ever."""
    history: int = 100
    """How many commits a session's history keeps; 0 keeps none."""
    keep_finalized: float = 0.0
    """How long a finalized session is kept before the sweep deletes it; 0: for ever."""
    keep_idle: float = 0.0
    """How long a session that nothing happens to is kept before the sweep deletes it; 0: for ever."""
    delete_unresolved: bool = False
    """Whether ``keep_idle`` also deletes sessions with unresolved work."""
    threads: int = 8
    """The size of the threading runner's pool."""
    shutdown_timeout: float = 30.0
    """How long the end of the process waits for running work."""
    conflict_timeout: float = 30.0
    """How long an operation tries again while others change the same session."""
    remembered_sessions: int = 1000
    """How many sessions a process remembers the last view of, to decide without loading; 0 switches it off."""

    def options_of(self, key: str) -> Mapping[str, Any]:
        """The options of the storage with this key."""
        return self.storages.get(key, {})

    def __repr__(self) -> str:
        """All settings that differ from the defaults, without passwords."""
        changed = {
            field.name: redact(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(_DEFAULTS, field.name)
        }
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
_TYPES = get_type_hints(Settings)
_DEFAULTS = Settings()
_POSITIVE = (
    "lease",
    "redeliver_after",
    "max_attempts",
    "max_instances",
    "max_value_bytes",
    "threads",
    "conflict_timeout",
)

_lock = threading.RLock()
renew_after_fork(globals(), "_lock", threading.RLock)
_configured: Mapping[str, Any] = {}
_base: Mapping[str, Any] = {}
_current: Settings | None = None
_listeners: list[Callable[[], None]] = []


def configure(**settings: Any) -> Settings:
    """Sets settings of this process; those not named keep the value that they have.

    Raises:
        SettingsError: a setting is unknown or has a wrong value; then none was changed.
    """
    global _configured
    with _lock:
        merged = {**_configured, **settings}
        _resolve(merged)
        _configured = merged
        _changed()
        return get_settings()


def use_base(settings: Mapping[str, Any]) -> Settings:
    """Sets the settings of a file, which the environment and ``configure`` override. Replaces an earlier base."""
    global _base
    with _lock:
        check(settings)
        _base = dict(settings)
        _changed()
        return get_settings()


def reset() -> None:
    """Forgets everything that was configured; the next use reads the environment anew."""
    global _configured, _base
    with _lock:
        _configured = _base = {}
        _changed()


def get_settings() -> Settings:
    """The settings in force."""
    found = _current
    if found is not None:
        return found
    with _lock:
        return _resolve(_configured, keep=True)


def on_change(listener: Callable[[], None]) -> None:
    """Calls the listener whenever the settings may have changed."""
    _listeners.append(listener)


def _changed() -> None:
    global _current
    _current = None
    for listener in _listeners:
        # Settings that cannot be read are told to whoever uses them next, not to whoever forgets the old ones.
        with contextlib.suppress(SettingsError):
            listener()


def _resolve(configured: Mapping[str, Any], *, keep: bool = False) -> Settings:
    global _current
    values: dict[str, Any] = {}
    for source in (_from_plugins(), _base, from_environment(os.environ), configured):
        checked = check(source)
        for nested in ("storages", "runners"):
            if nested in checked:
                old = values.get(nested, {})
                checked[nested] = {**old, **{key: {**old.get(key, {}), **new} for key, new in checked[nested].items()}}
        values.update(checked)
    settings = Settings(**values)
    if keep:
        _current = settings
    return settings


def _from_plugins() -> dict[str, Any]:
    import importlib.metadata

    merged: dict[str, Any] = {}
    for entry_point in importlib.metadata.entry_points(group=_SOURCES_GROUP):
        try:
            found = entry_point.load()()
        except ImportError as error:
            # Going on without it would mean another storage, and nobody would see why.
            raise SettingsError(
                f"the source of settings {entry_point.name!r} ({entry_point.value}) cannot be imported: {error}; "
                "install what it needs, or remove its distribution"
            ) from error
        except TriggersError:
            raise
        except Exception as error:
            raise SettingsError(
                f"the source of settings {entry_point.name!r} ({entry_point.value}) failed: {type(error).__name__}: {error}"
            ) from error
        merged.update(found or {})
    return merged


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Reads ``TRIGGERS_LEASE``, ``TRIGGERS_TASKS=a.tasks,b.tasks``, ``TRIGGERS_REDIS_URL`` and the like.

    Raises:
        SettingsError: a variable has a value that cannot be read, or is one slip away from a known one.
    """
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("TRIGGERS_") or variable.startswith("TRIGGERS_TEST_"):
            continue
        name = variable.removeprefix("TRIGGERS_").lower()
        if name in _FIELDS and name not in ("storages", "runners"):
            found[name] = _from_text(name, text, variable)
        elif name.endswith("_url") and len(name) > len("_url"):
            found.setdefault("storages", {})[name.removesuffix("_url")] = {"url": text}
        elif "_" in name and one_slip(name.rpartition("_")[2], "url"):
            raise SettingsError(f"unknown environment variable {variable}, did you mean {variable.rpartition('_')[0]}_URL?")
        else:
            meant = suggestion(name, _FIELDS)
            if meant:
                raise SettingsError(f"unknown environment variable {variable}, did you mean TRIGGERS_{meant.upper()}?")
    return found


def _from_text(name: str, text: str, variable: str) -> Any:
    kind = _TYPES[name]
    try:
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.strip().lower()]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        raise SettingsError(f"{variable}={text!r} is no {kind.__name__}") from None
    if name == "tasks":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def check(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Checks settings by name, type and range, and returns them as ``Settings`` takes them.

    Raises:
        SettingsError: the first that is wrong, with a suggestion where the name is misspelt.
    """
    if not isinstance(settings, Mapping):
        raise SettingsError(f"settings are an object, got {shorten(settings)}")
    return {_known(name): _checked(name, value) for name, value in settings.items()}


def _known(name: str) -> str:
    if name in _FIELDS:
        return name
    meant = suggestion(str(name), _FIELDS)
    hint = f", did you mean {meant!r}?" if meant else f"; known are {', '.join(_FIELDS)}"
    raise SettingsError(f"unknown setting {shorten(name)}{hint}")


def _checked(name: str, value: Any) -> Any:
    kind = _TYPES[name]
    if name == "tasks":
        return _module_names(value)
    if name in ("storages", "runners"):
        if not isinstance(value, Mapping) or not all(
            isinstance(key, str) and isinstance(options, Mapping) for key, options in value.items()
        ):
            raise SettingsError(f"setting {name!r} is an object of objects, {{key: {{option: value}}}}, got {redact(value)!r}")
        return {key: dict(options) for key, options in value.items()}
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise SettingsError(f"setting {name!r} must be of type {kind.__name__}, got {shorten(value)}")
    if kind in (int, float) and not (value > 0 or (value == 0 and name not in _POSITIVE)):
        raise SettingsError(f"setting {name!r} must be {'more than 0' if name in _POSITIVE else '0 or more'}, got {value}")
    if kind is float and value > MAX_SECONDS:
        raise SettingsError(f"setting {name!r} must be at most {MAX_SECONDS:.0f} seconds (ten years), got {value}")
    return value


def _module_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(module, str) for module in value):
        raise SettingsError(f"setting 'tasks' is a list of module names, got {shorten(value)}")
    return tuple(value)


def refused_option(maker: Callable[..., Any], options: Mapping[str, Any]) -> str | None:
    """What is wrong with the first option that a maker has no parameter for, or ``None`` if that is not the problem."""
    parameters = inspect.signature(maker).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    known = [
        parameter.name for parameter in parameters if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL)
    ]
    unknown = next((name for name in options if name not in known), None)
    if unknown is None:
        return None
    meant = suggestion(unknown, known)
    hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(known) or 'none'}"
    return f"there is no option {unknown!r}, {hint}"


_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):(\S*)@")
"""Up to the last ``@``: drivers also take passwords in which ``/`` and ``@`` are not escaped."""
_HIDDEN = "password|passwd|pwd|passphrase|secret|token|credential|api_?key|access_?key|private_?key|auth"
_PARAMETER = re.compile(rf"((?:^|[?&;\s])[\w.-]*(?:{_HIDDEN})[\w.-]*=)('[^']*'|[^&;\s]*)", re.IGNORECASE)
_SECRET_KEY = re.compile(_HIDDEN, re.IGNORECASE)


def redact(value: Any) -> Any:
    """The value without passwords: in URLs, and under keys that look like one."""
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "replace"))
    if isinstance(value, str):
        return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", value))
    if isinstance(value, Mapping):
        return {key: "***" if _SECRET_KEY.search(str(key)) else redact(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact(entry) for entry in value)
    return value
