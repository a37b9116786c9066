"""Which Celery application is used."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import celery
import pytest
from celery import _state

from triggers.errors import SettingsError
from triggers_celery import install
from triggers_celery.application import find_application
from triggers_celery.bootstep import TriggersStep


@pytest.fixture(autouse=True)
def _no_current_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """No application is current, and the environment names none."""
    monkeypatch.setattr(_state._tls, "current_app", None, raising=False)
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.delenv("TRIGGERS_CELERY_APP", raising=False)
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)


@pytest.fixture
def module(app: celery.Celery) -> Iterator[str]:
    """A module with an application ``app`` and something else."""
    made = types.ModuleType("shop_queue")
    made.app, made.other = app, 7  # type: ignore[attr-defined]
    sys.modules["shop_queue"] = made
    yield "shop_queue"
    del sys.modules["shop_queue"]


def test_the_setting_comes_first(app: celery.Celery, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that the setting gives is used, whatever else there is."""
    monkeypatch.setenv("TRIGGERS_CELERY_APP", module)
    other = install(celery.Celery("other", set_as_current=False))
    assert find_application(other) is other


@pytest.mark.parametrize("name", ["shop_queue", "shop_queue:app", "shop_queue.app"])
def test_the_setting_may_name_it(app: celery.Celery, module: str, name: str) -> None:
    """An application can be named as after ``celery -A``."""
    assert find_application(name) is app


def test_the_environment_may_name_it(app: celery.Celery, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``TRIGGERS_CELERY_APP`` counts before what was installed."""
    install(celery.Celery("other", set_as_current=False))
    monkeypatch.setenv("TRIGGERS_CELERY_APP", "shop_queue:app")
    assert find_application() is app


def test_then_the_one_that_was_installed(app: celery.Celery) -> None:
    """What was installed last counts before Celery's current application."""
    celery.Celery("current")
    assert find_application(None) is not app
    install(app)
    assert find_application() is app


def test_then_the_current_one() -> None:
    """An application that the process uses otherwise is found."""
    current = celery.Celery("current")
    assert find_application() is current


def test_none_is_an_error() -> None:
    """Celery's own stand-in, which nobody configured, is not taken for an application."""
    with pytest.raises(SettingsError, match=r"no Celery application was found: import the module that makes it, or name it"):
        find_application()


@pytest.mark.parametrize(
    "name,message",
    [
        ("no_such_module:app", "'no_such_module:app' cannot be imported: ModuleNotFoundError"),
        ("shop_queue:application", "'shop_queue:application' cannot be imported: "),
        ("shop_queue:other", "'shop_queue:other' is no Celery application but 7"),
        ("", "is a Celery application or its name"),
        (7, "is a Celery application or its name"),
    ],
)
def test_a_wrong_name_is_an_error(module: str, name: object, message: str) -> None:
    """What cannot be found is refused with where it was named."""
    with pytest.raises(SettingsError) as refused:
        find_application(name)
    assert str(refused.value).startswith('setting runners={"celery": {"app": …}}')
    assert message in str(refused.value)


def test_installing_twice_is_installing_once(app: celery.Celery) -> None:
    """The step is there once, however often it is installed."""
    assert install(install(app)) is app
    assert [step for step in app.steps["worker"] if step is TriggersStep] == [TriggersStep]


def test_only_an_application_can_be_installed() -> None:
    """Anything else is refused."""
    with pytest.raises(SettingsError, match=r"install takes a Celery application, install\(app\); got 'shop'"):
        install("shop")
