"""``mpidirect kernel``: Jupyter kernels whose cells run on all engines."""

from __future__ import annotations

import sys

import click

from ..errors import ConfigError
from ..files.profiles import Profile
from .parameters import profile_option


@click.group()
def kernel_command() -> None:
    """Jupyter kernels whose cells run on all engines."""


@kernel_command.command(
    epilog="""\b
Examples:
  mpidirect kernel install                      # for the default profile
  mpidirect kernel install --profile mpi -n 16
  jupyter lab                                   # choose "MPI engines (mpi)" """,
)
@profile_option
@click.option(
    "-n", "n", type=click.IntRange(1), metavar="N", help="Engines of a cluster that the kernel starts."
)
@click.option("--sys-prefix", is_flag=True, help="Install into this Python's environment, not for the user.")
def install(profile: str, n: int | None, sys_prefix: bool) -> None:
    """Add a kernel to Jupyter's menus: it starts a cluster of the profile, or uses the one that runs."""
    try:
        from ..kernel import install as kernels
    except ImportError as e:
        raise ConfigError(f"The kernel needs ipykernel: pip install 'mpidirect[kernel]' ({e})") from None
    profile = Profile(profile).name
    where = kernels.install(profile, n, sys.prefix if sys_prefix else None)
    click.echo(f"Installed {where}.  In Jupyter it is called 'MPI engines ({profile})'.")


@kernel_command.command()
@profile_option
def remove(profile: str) -> None:
    """Remove the kernel of a profile from Jupyter's menus."""
    from ..kernel import install as kernels

    profile = Profile(profile).name
    if not kernels.remove(profile):
        raise ConfigError(f"No kernel of profile {profile!r} is installed.")
    click.echo(f"Removed the kernel of profile {profile!r}.")
