"""The settings of the command line: ``triggers.toml``, then the environment, then options, each stronger than the one before.

The folder of the settings file is where its modules of tasks are found; without one it is the working folder, as for
``python -m``.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from triggers import settings
from triggers.errors import SettingsError

DEFAULT = Path("triggers.toml")


def use(path: Path | None, storage: str | None, url: str | None) -> None:
    """Takes the settings of a file (``triggers.toml`` in the working folder, if there is one) and of the options.

    Raises:
        SettingsError: the file does not exist, is no TOML, or has a setting that is none.
    """
    settings.use_base(_read(path))
    chosen: dict[str, object] = {}
    if storage is not None:
        chosen["storage"] = storage
    if url is not None:
        chosen["storages"] = {storage or settings.get_settings().storage: {"url": url}}
    if chosen:
        settings.configure(**chosen)


def _read(path: Path | None) -> dict[str, object]:
    if path is None:
        if not DEFAULT.exists():
            sys.path.append(str(Path.cwd()))  # for modules of tasks that the environment names; behind all that is installed
            return {}
        path = DEFAULT
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is no TOML: {error}") from error
    try:
        settings.check(found)
    except SettingsError as error:
        raise SettingsError(f"the settings file {path}: {error}") from error
    _make_importable(path.resolve().parent)
    return found


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
