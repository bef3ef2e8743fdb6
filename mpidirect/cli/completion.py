"""``mpidirect completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog="""\b
Put one of these lines into the file that your shell reads at its start:
  eval "$(mpidirect completion bash)"        # ~/.bashrc
  eval "$(mpidirect completion zsh)"         # ~/.zshrc
  mpidirect completion fish | source         # ~/.config/fish/config.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print a script that completes in your shell."""
    from . import cli

    completion = get_completion_class(shell)
    assert completion is not None  # click has checked the name
    click.echo(completion(cli, {}, "mpidirect", "_MPIDIRECT_COMPLETE").source())
