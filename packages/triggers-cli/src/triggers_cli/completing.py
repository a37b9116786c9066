"""The command that teaches a shell to complete: completion."""

from __future__ import annotations

import click

from triggers_cli.output import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands and options.

    \b
    Examples:
      triggers completion bash >> ~/.bashrc
      triggers completion zsh >> ~/.zshrc
      triggers completion fish > ~/.config/fish/completions/triggers.fish
    """  # noqa: D301 - click wants the backspace itself
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    if completer is None:  # click was given another set of shells by a plugin
        raise click.BadParameter(f"this click cannot complete for {shell}", param_hint="SHELL")
    root = ctx.find_root()
    say(completer(root.command, {}, "triggers", "_TRIGGERS_COMPLETE").source())
