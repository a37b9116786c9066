"""The command reference of the manual is made from the commands themselves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click

from triggers_cli.frame import command_line

GENERATOR = Path(__file__).parents[3] / "docs" / "generate.py"


def test_the_reference_has_every_command_and_option() -> None:
    """With its usage and its examples, and without marks of the library."""
    specification = importlib.util.spec_from_file_location("generate", GENERATOR)
    assert specification is not None
    assert specification.loader is not None
    generate: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generate)
    text: str = generate.command_reference()
    parts = {part.partition("\n")[0]: part for part in text.split("### ")[1:]}
    assert list(parts) == sorted(command_line.commands)
    for name, command in command_line.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert max(parameter.opts, key=len) in parts[name], (name, parameter.opts)
    assert "triggers lint workflow.json more/*.yaml" in parts["lint"]
    assert "\b" not in text
    assert "\\b" not in text
