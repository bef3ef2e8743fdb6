"""``mpidirect profile``: list, create, show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..config import config
from ..config.definitions import BATCH
from ..errors import ConfigError
from ..files.profiles import DEFAULT, Profile, profile_names
from ..launchers import jobs, launcher_class
from .parameters import complete_profile, setting_flags, with_assigned
from .remote import RemoteCommand

name_argument: Callable[..., Any] = click.argument(
    "name", default="", metavar="[NAME]", shell_complete=complete_profile
)


@click.group()
def profile_command() -> None:
    """Make profiles and look at them."""


@profile_command.command("list", cls=RemoteCommand)
def list_profiles() -> None:
    """List the profiles."""
    for name in profile_names():
        click.echo(name)


@profile_command.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect profile create
  mpidirect profile create mpi -n 64 --start-timeout 5m""",
)
@name_argument
@setting_flags
@click.option("--force", is_flag=True, help="Replace existing settings.")
def create(name: str, assignments: tuple[str, ...], force: bool, **options: Any) -> None:
    """Make a profile: a directory with a commented config.toml."""
    from ..files.connection_file import write_private

    here = Profile(name)
    if here.config_file.exists() and not force:
        raise ConfigError(f"{here.config_file} exists already. Edit it, or replace it with --force.")
    chosen = {key: value for key, value in with_assigned(options, assignments).items() if value is not None}
    known = jobs.options_for(here, chosen)
    chosen = {key: known.value(key, value) for key, value in chosen.items()}
    scheduled = launcher_class(config.launcher_name(here.config_file, chosen)).scheduled
    shown = [option for option in known.all.values() if scheduled or option not in BATCH]
    here.create()
    write_private(here.config_file, config.commented_defaults(shown, chosen).encode())
    argument = "" if here.name == DEFAULT else f" --profile {here.name}"
    click.echo(f"Wrote {here.config_file}\nStart its cluster:  mpidirect start{argument}")


@profile_command.command(cls=RemoteCommand)
@name_argument
def show(name: str) -> None:
    """Show each setting of a profile, and the source of its value."""
    here = Profile(name).must_exist()
    settings = jobs.resolve(here, {})
    width = max(map(len, settings))
    values = {key: "" if value is None else str(value) for key, value in settings.items()}
    column = max(map(len, values.values()))
    click.echo(f"Profile {here.name} in {here.directory}\n")
    for key, value in values.items():
        click.echo(f"{key.ljust(width)} = {value.ljust(column)}  # {settings.source(key)}")
