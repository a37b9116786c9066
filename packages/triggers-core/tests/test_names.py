"""Names, and what somebody may have meant by a misspelt word."""

from __future__ import annotations

import pytest

from triggers.errors import InvalidName
from triggers.names import check_name, name_problem, one_slip, shorten, split_instance_name, suggestion, task_name_problem


@pytest.mark.parametrize("name", ["a", " ", "a" * 255, "é" * 127, "a/b#c", "日本", "\u00a0"])
def test_r2_names(name: str) -> None:
    """Anything of 1 to 255 bytes without control characters is a name."""
    assert check_name("trigger", name) == name
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name, problem",
    [
        ("", "must not be empty"),
        ("a" * 256, "at most 255 bytes of UTF-8 (it has 256)"),
        ("é" * 128, "at most 255 bytes of UTF-8 (it has 256)"),
        ("a\tb", "must not have control characters"),
        ("a\x9f", "must not have control characters"),
        ("\ud800", "must not have lone surrogates"),
        (5, "must be a string"),
        (None, "must be a string"),
        ([], "must be a string"),
        ({"a": 1}, "must be a string"),
    ],
)
def test_r2_no_names(name: object, problem: str) -> None:
    """The message says what it names, and what is wrong."""
    with pytest.raises(InvalidName, match="the name of an event"):
        check_name("event", name)  # type: ignore[arg-type]
    with pytest.raises(InvalidName, match="the name of a trigger") as caught:
        check_name("trigger", name)  # type: ignore[arg-type]
    assert problem in str(caught.value)


def test_r2_names_of_tasks() -> None:
    """A task's name has no ``#`` and is not the session's own trigger."""
    assert task_name_problem("t") is None
    assert "'#'" in str(task_name_problem("t#0"))
    assert "sessionFinalized" in str(task_name_problem("sessionFinalized"))
    assert task_name_problem("") == "must not be empty"


@pytest.mark.parametrize("name, parts", [("t#0", ("t", 0)), ("a b#17", ("a b", 17))])
def test_names_of_instances(name: str, parts: tuple[str, int]) -> None:
    """``task#number``."""
    assert split_instance_name(name) == parts


@pytest.mark.parametrize(
    "name",
    ["t", "#0", "t#", "t#x", "t#01", "t#-1", "t#1.0", "t#²", "t#٣", "a#b#0", "", "t #1#", "t#0\n", f"t#{'9' * 5000}", 7, None],
)
def test_no_names_of_instances(name: object) -> None:
    """Whatever does not look like ``t_score#0`` is refused."""
    with pytest.raises(InvalidName, match="t_score#0"):
        split_instance_name(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "left, right, near",
    [
        ("after", "after", True),
        ("afer", "after", True),
        ("affter", "after", True),
        ("aftre", "after", True),
        ("aftar", "after", True),
        ("aftr", "after", True),
        ("fater", "after", True),
        ("before", "after", False),
        ("aft", "after", False),
        ("ab", "ba", True),
        ("abc", "cba", False),
        ("", "a", True),
        ("", "ab", False),
    ],
)
def test_one_slip(left: str, right: str, near: bool) -> None:
    """One letter more, less, other, or swapped with its neighbour; the order of the words does not matter."""
    assert one_slip(left, right) is near
    assert one_slip(right, left) is near


def test_suggestions_ignore_case_and_separators() -> None:
    """``and_every`` means ``andEvery``."""
    assert suggestion("and_every", ["after", "andEvery"]) == "andEvery"
    assert suggestion("AND-EVERY", ["after", "andEvery"]) == "andEvery"
    assert suggestion("nothing", ["after", "andEvery"]) is None


def test_shorten() -> None:
    """Long texts are cut in the middle; what has no text is said to have none."""
    assert shorten("short") == "'short'"
    assert len(shorten("x" * 1000)) <= 60
    assert shorten("x" * 1000).endswith("x'")
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "list" in shorten(deep)

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Odd" in shorten(Odd())
