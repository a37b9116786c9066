"""The command line itself: its options, and all commands by their names. Backends are imported when they are used."""

from __future__ import annotations

from pathlib import Path

import click

from triggers_cli import checking, designing, firing, looking, mending, serving, settings_file


class Suggesting(click.Group):
    """A group that says which command somebody may have meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; names the nearest one where there is none."""
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from error
            raise


@click.group(cls=Suggesting, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--settings", "file", type=click.Path(path_type=Path), help="A settings file; triggers.toml by default.")
@click.option("--storage", help="The key of the storage, stronger than settings and environment.")
@click.option("--url", help="The URL of the storage.")
@click.version_option(package_name="triggers-cli", prog_name="triggers")
def command_line(file: Path | None, storage: str | None, url: str | None) -> None:
    r"""Look into sessions, fire, replay, configure, and run workers.

    Settings come from triggers.toml, the environment (TRIGGERS_STORAGE, TRIGGERS_SQL_URL, ...) and options, the later
    the stronger. Commands that change something ask first, unless --yes is given. --json prints one JSON document.

    \b
    Examples:
      triggers doctor
      triggers explain applicant:42
      triggers fire applicant:42 module1Received --kwargs '{"document": 17}' --yes
      triggers replay applicant:42 t_score#0
    """
    settings_file.use(file, storage, url)


for _module in (checking, looking, firing, mending, serving, designing):
    for _command in vars(_module).values():
        if isinstance(_command, click.Command):
            command_line.add_command(_command)
