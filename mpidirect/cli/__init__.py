"""The command line: ``mpidirect``."""

from __future__ import annotations

import codecs
import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import click

from .._version import __version__
from ..errors import ClusterNotFound, ConfigError, MPIDirectError

# The module of each command; only the module of the command that runs is imported.
COMMANDS = {
    "start": "start",
    "wait": "wait",
    "stop": "stop",
    "restart": "restart",
    "resize": "restart",
    "run": "run",
    "status": "status",
    "list": "status",
    "top": "top",
    "script": "script",
    "logs": "logs",
    "clean": "clean",
    "profile": "profile",
    "kernel": "kernel",
    "doctor": "doctor",
    "completion": "completion",
}

FAILURE, USAGE, NOTHING_RUNS, INTERRUPTED = 1, 2, 3, 130  # exit codes


class Commands(click.Group):
    """The group of all commands: imports a command when it is used, and prints errors in one way."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name]}", __name__)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            close = _nearest(args[0])
            raise click.UsageError(
                f"{e.message} Did you mean '{close}'?" if close else e.message, ctx
            ) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MPIDirectError as e:
            _print_error(str(e))
            sys.exit(exit_code(e))
        except BrokenPipeError:  # a reader like head has ended: click handles that
            raise
        except OSError as e:  # for example a full disk, or a read-only home
            _print_error(f"{e.filename}: {e.strerror}" if e.filename else str(e))
            sys.exit(FAILURE)


def _print_error(text: str) -> None:
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(text, err=True)


def _nearest(typed: str) -> str:
    """Return the command that was probably meant; empty if none is similar."""
    import difflib

    longer = [name for name in COMMANDS if name.startswith(typed)]
    return next(iter(longer or difflib.get_close_matches(typed, COMMANDS, 1)), "")


def exit_code(error: MPIDirectError) -> int:
    """Return the exit code of an error."""
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, ClusterNotFound):
        return NOTHING_RUNS
    return FAILURE


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
  0    done
  1    it failed
  2    the command, or a setting, is wrong
  3    no cluster runs
  130  interrupted by Ctrl-C""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Hold n Python engines of one MPI job from your prompt.

    \b
    Start four engines, use them, stop them:
      mpidirect start -n 4
      python -c 'import mpidirect; print(mpidirect.Client()[:].apply_sync(lambda: "hello"))'
      mpidirect stop

    A profile keeps settings, logs and the one cluster that runs under it; it is 'default' unless --profile or
    MPIDIRECT_PROFILE names another. If something does not work, ask 'mpidirect doctor'.
    """


def _replace_unprintable(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of characters that the terminal's encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    replacements = {"→": "->", "…": "...", "’": "'"}
    text = error.object[error.start : error.end]
    return "".join(replacements.get(character, "?") for character in text), error.end


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    codecs.register_error("mpidirect", _replace_unprintable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mpidirect")
    cli.main(args, prog_name="mpidirect")
