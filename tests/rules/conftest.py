"""Each rule test runs on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.rules.backends import BACKENDS, Backend, opened
from tests.rules.scene import Scene, held_runner
from triggers.settings import reset


@pytest.fixture(scope="session")
def opened_backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Backend]]:
    """Opens each backend once in a run."""
    found: dict[str, Backend] = {}
    with ExitStack() as stack:

        def open_once(name: str) -> Backend:
            if name not in found:
                found[name] = stack.enter_context(opened(name, tmp_path_factory.mktemp(name)))
            return found[name]

        yield open_once


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, opened_backends: Callable[[str], Backend]) -> Backend:
    """A storage, one after the other; skips where its server is not there."""
    return opened_backends(request.param)


@pytest.fixture
def make_scene(backend: Backend) -> Iterator[Callable[..., Scene]]:
    """Makes scenes with settings."""
    made: list[Scene] = []
    with held_runner():

        def make(**settings: Any) -> Scene:
            made.append(Scene(backend, **settings))
            return made[-1]

        yield make
        for scene in made:
            scene.forget()
    reset()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """A scene with the usual settings and a runner that waits for a word."""
    return make_scene()
