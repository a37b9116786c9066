"""The options of ``using``."""

from __future__ import annotations

from typing import Any

import pytest

from triggers import get_manager
from triggers.errors import ConfigurationError, SettingsError
from triggers_celery import CeleryTaskRunner


def test_every_option_is_taken() -> None:
    """Each known option with a value of its kind is accepted."""
    CeleryTaskRunner.check_options(
        {
            "queue": "gpu",
            "exchange": "media",
            "routing_key": "media.video",
            "priority": 0,
            "time_limit": 60,
            "soft_time_limit": 0.5,
            "serializer": "json",
            "compression": "gzip",
        }
    )


@pytest.mark.parametrize(
    "options,message",
    [
        ({"quue": "gpu"}, "the runner 'celery' takes no option 'quue'; did you mean 'queue'?"),
        (
            {"colour": "red"},
            (
                "the runner 'celery' takes no option 'colour'; it takes queue, exchange, routing_key, priority, time_limit, "
                "soft_time_limit, serializer, compression"
            ),
        ),
        ({"queue": ""}, "option 'queue' of the runner 'celery' is the name of a queue; got ''"),
        ({"queue": None}, "option 'queue' of the runner 'celery' is the name of a queue; got None"),
        ({"priority": "3"}, "option 'priority' of the runner 'celery' is a whole number from 0 to 255; got '3'"),
        ({"priority": 256}, "option 'priority' of the runner 'celery' is a whole number from 0 to 255; got 256"),
        ({"priority": True}, "option 'priority' of the runner 'celery' is a whole number from 0 to 255; got True"),
        ({"time_limit": 0}, "option 'time_limit' of the runner 'celery' is seconds, more than 0; got 0"),
        ({"countdown": 5}, "the runner 'celery' takes no option 'countdown': a retry has a cooldown"),
        (
            {"expires": 5},
            (
                "the runner 'celery' takes no option 'expires': scheduled work does not expire: what a broker dropped, the "
                "sweep delivers again"
            ),
        ),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    """What is wrong is refused with its name, and with what is expected there."""
    with pytest.raises(SettingsError) as refused:
        CeleryTaskRunner.check_options(options)
    assert str(refused.value) == message


def test_r3_a_wrong_option_is_refused_with_its_place() -> None:
    """A session is not configured with an option that the runner does not take; no broker is asked, and nothing is stored."""
    manager = get_manager("applicant:42")
    with pytest.raises(ConfigurationError) as refused:
        manager.update_configuration(
            {"t_score": {"after": ["a"], "run": "survey.score", "using": {"runner": "celery", "prioriti": 1}}}
        )
    assert refused.value.place == "$.t_score.using"
    assert "did you mean 'priority'?" in str(refused.value)
    assert manager.storage.tasks == {}


@pytest.mark.parametrize(
    "option,value,expected",
    [
        ("timeout", 0, "seconds, more than 0"),
        ("timeout", "4", "seconds, more than 0"),
        ("longest_countdown", -1, "seconds, 0 or more"),
    ],
)
def test_a_wrong_setting_is_named(runner_of: Any, option: str, value: Any, expected: str) -> None:
    """A runner is not made with a setting that makes no sense."""
    with pytest.raises(SettingsError) as refused:
        runner_of(**{option: value})
    assert str(refused.value) == f'setting runners={{"celery": {{{option!r}: …}}}} is {expected}; got {value!r}'
