"""Celery tasks of the same names."""

from __future__ import annotations

from typing import Any

import celery
import greenlet
import pytest

from triggers import TaskContext, get_manager, task
from triggers.errors import PluginError, SettingsError, TriggersError, UnknownTask
from triggers.process import get_process
from triggers.settings import configure
from triggers_celery import CeleryTriggerTask
from triggers_celery.termination import watch_for_termination
from triggers_celery.works import register_works, registered_work


def test_each_task_is_a_celery_task(app: celery.Celery) -> None:
    """Tasks of Triggers are registered under their names, keep no results, and twice is once."""

    @task("shop.pack")
    def pack(context: TaskContext) -> None:
        """Packs."""

    register_works(app)
    first = app.tasks["shop.pack"]
    register_works(app)
    assert app.tasks["shop.pack"] is first
    assert (first.name, first.ignore_result, first.__doc__) == ("shop.pack", True, "Packs.")


def test_a_class_says_how_celery_treats_it(app: celery.Celery) -> None:
    """Class attributes of a ``CeleryTriggerTask`` become those of the Celery task; the others are the application's."""
    app.conf.update(task_acks_late=True)

    class Render(CeleryTriggerTask):
        name = "shop.render"
        rate_limit = "10/m"
        soft_time_limit = 30

    work = registered_work(app, "shop.render")
    assert (work.rate_limit, work.soft_time_limit) == ("10/m", 30)
    assert (work.acks_late, work.time_limit) == (True, None)
    assert Render().request is None


def test_a_class_with_a_wrong_option_is_refused() -> None:
    """A wrong value in the class is an error where the class is written."""
    with pytest.raises(SettingsError, match=r"Wrong: option 'priority' of the runner 'celery' is a whole number"):

        class Wrong(CeleryTriggerTask):
            name = "shop.wrong"
            priority = -1


def test_annotations_of_the_application_apply(app: celery.Celery) -> None:
    """``task_annotations`` reach tasks that are plain functions."""
    app.conf.update(task_annotations={"shop.annotated": {"rate_limit": "5/s"}})

    @task("shop.annotated")
    def annotated(context: TaskContext) -> None: ...

    assert registered_work(app, "shop.annotated").rate_limit == "5/s"


def test_the_application_may_wrap_all_tasks() -> None:
    """What the application's own ``Task`` does around a call (a Flask context, say) is done around works too."""
    around: list[str] = []

    class Around(celery.Task):  # type: ignore[misc]
        abstract = True

        def __call__(self, *arguments: Any, **kwargs: Any) -> Any:
            around.append("before")
            return super().__call__(*arguments, **kwargs)

    app = celery.Celery("wrapped", set_as_current=False, task_cls=Around)
    app.conf.update(task_always_eager=True)
    configure(runners={"celery": {"app": app}})

    @task("shop.wrapped")
    def wrapped(context: TaskContext) -> None:
        around.append("body")

    manager = get_manager("wrapped")
    manager.update_configuration({"t": {"after": ["go"], "run": "shop.wrapped"}})
    manager.fire("go")
    assert around == ["before", "body"]


def test_a_greenlet_that_is_killed_fails_nothing(app: celery.Celery) -> None:
    """A revoked task of a gevent pool ends in the middle of its work: the attempt is lost, and not reported as failed (R25)."""
    app.conf.update(task_always_eager=True)
    configure(runners={"celery": {"app": app}})
    watch_for_termination()
    main = greenlet.getcurrent()

    @task("shop.revoked")
    def revoked(context: TaskContext) -> None:
        main.switch()

    manager = get_manager("revoked")
    manager.update_configuration({"t": {"after": ["go"], "run": "shop.revoked"}})
    firing = greenlet.greenlet(lambda: manager.fire("go"))
    firing.switch()
    assert str(manager.storage["t#0"].status) == "running"
    assert isinstance(firing.throw(greenlet.GreenletExit), greenlet.GreenletExit)
    assert firing.dead
    assert str(manager.storage["t#0"].status) == "running"
    assert not get_process().heartbeat.busy


def test_two_tasks_of_one_name_are_an_error(app: celery.Celery) -> None:
    """A Celery task of the application's own under the same name is not replaced."""

    @app.task(name="shop.twice")  # type: ignore[untyped-decorator]
    def own() -> None: ...

    @task("shop.twice")
    def twice(context: TaskContext) -> None: ...

    with pytest.raises(PluginError, match=r"has a task 'shop.twice' of its own .* give one of them another name"):
        register_works(app)


def test_an_unknown_task_is_an_error(app: celery.Celery) -> None:
    """Nothing is registered under a name that no task has."""
    with pytest.raises(UnknownTask, match=r"no task is registered as 'shop.unheard'"):
        registered_work(app, "shop.unheard")


def test_calling_it_by_hand_is_an_error(app: celery.Celery) -> None:
    """Who calls the Celery task as if it were one of his own is told to fire a trigger."""

    @task("shop.by_hand")
    def by_hand(context: TaskContext) -> None: ...

    work = registered_work(app, "shop.by_hand")
    for arguments, kwargs in (((1,), {}), ((), {"order": 5})):
        with pytest.raises(TriggersError, match=r"'shop.by_hand' runs work of Triggers .* fire a trigger instead of calling it"):
            work(*arguments, **kwargs)
