"""The command line itself: its options, and all commands by their names. Backends are imported when they are used."""

from __future__ import annotations

from pathlib import Path

import click

from triggers_cli import checking, completing, designing, firing, graphing, looking, mending, serving, settings_file
from triggers_cli.added import commands_of_plugins

_WITHOUT_SETTINGS = frozenset({"completion", "init", "schema"})
_ASKS_FOR_HELP = "triggers_cli.help"


class Commands(click.Group):
    """All commands: ours, and those of plugins, which are loaded when a name is unknown or all names are wanted."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, ours before a plugin's."""
        return super().get_command(ctx, cmd_name) or self._added().get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names in order."""
        return sorted({*super().list_commands(ctx), *self._added()})

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; names the nearest one where there is none."""
        import difflib

        ctx.meta[_ASKS_FOR_HELP] = not {"-h", "--help"}.isdisjoint(args[1:])
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"Did you mean {near[0]!r}?" if near else "'triggers --help' lists them."
            raise click.UsageError(f"There is no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def _added(self) -> dict[str, click.Command]:
        return commands_of_plugins(taken=self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--settings", "file", type=click.Path(path_type=Path), help="A settings file; triggers.toml by default.")
@click.option("--storage", help="The key of the storage, stronger than settings and environment.")
@click.option("--url", help="The URL of the storage.")
@click.version_option(package_name="triggers-cli", prog_name="triggers")
@click.pass_context
def command_line(ctx: click.Context, file: Path | None, storage: str | None, url: str | None) -> None:
    """Look into sessions, fire, replay, configure, and run workers.

    Settings come from triggers.toml, the environment (TRIGGERS_STORAGE, TRIGGERS_SQL_URL, ...) and options, the later
    the stronger. Commands that change something ask first, unless --yes is given. --json prints one JSON document.

    \b
    Examples:
      triggers init
      triggers doctor
      triggers explain applicant:42
      triggers fire applicant:42 module1Received --kwargs '{"document": 17}' --yes
      triggers replay applicant:42 t_score#0

    \b
    Exit codes:
      0    done
      1    refused or failed: the message says why
      2    wrong use of the command line
      3    the storage does not answer
      130  interrupted, or answered with no
    """  # noqa: D301 - click wants the backspace itself
    if ctx.invoked_subcommand not in _WITHOUT_SETTINGS and not ctx.meta.get(_ASKS_FOR_HELP):
        settings_file.use(file, storage, url)


def with_examples(command: click.Command) -> click.Command:
    r"""Lets the paragraphs of a help text that begin with ``\b`` keep their lines, also where the docstring is raw."""
    if command.help:
        command.help = command.help.replace("\\b\n", "\b\n")
    for inner in getattr(command, "commands", {}).values():
        with_examples(inner)
    return command


for _module in (checking, completing, designing, firing, graphing, looking, mending, serving):
    for _command in vars(_module).values():
        if isinstance(_command, click.Command):
            command_line.add_command(with_examples(_command))
