"""``mpidirect logs``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..errors import ClusterNotFound
from ..files import logs
from ..files.profiles import Profile
from ..launchers.scheduled_jobs import missing_cluster_reason
from . import NOTHING_RUNS
from .parameters import profile_option
from .remote import RemoteCommand


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect logs                     # of the job and the controller
  mpidirect logs --engine 3 -f       # of engine 3, while it writes
  mpidirect logs --engine all -n 5""",
)
@profile_option
@click.option("--follow", "-f", is_flag=True, help="Show new lines until the cluster ends.")
@click.option(
    "--engine",
    "-e",
    "engines",
    multiple=True,
    metavar="K",
    help="Of engine K; 'all' for all engines.",
)
@click.option("--lines", "-n", default=50, show_default=True, help="The number of last lines.")
def logs_command(profile: str, follow: bool, engines: tuple[str, ...], lines: int) -> None:
    """Show the logs of the cluster, or of the last cluster if none runs."""
    here = Profile(profile).must_exist()
    record = here.record()
    directory = here.log_directory(record.cluster) if record else here.last_logs()
    if directory is None or not directory.is_dir():
        raise ClusterNotFound(f"Profile {here.name!r} has no logs: no cluster ran under it.")
    paths = _chosen(directory, engines)
    try:
        _show(paths, lines, _going_on(here.name) if follow and record else None)
    except KeyboardInterrupt:
        pass
    if not any(path.exists() for path in paths):
        click.echo(f"There is no such log in {directory}. {missing_cluster_reason(here)}".rstrip(), err=True)
        sys.exit(NOTHING_RUNS)


def _chosen(directory: Path, engines: tuple[str, ...]) -> list[Path]:
    """Return the logs of the chosen engines; of job and controller if none is chosen."""
    if "all" in engines:
        return [path for path in logs.files(directory) if path.stem.startswith("engine-")]
    for engine in engines:
        if not engine.isdecimal():
            raise click.BadParameter(f"--engine {engine}: this should be an engine's number, or 'all'.")
    return [directory / f"{name}.log" for name in ([f"engine-{k}" for k in engines] or ["job", "controller"])]


def _going_on(name: str) -> Callable[[], bool]:
    """Return a function that tells whether the cluster of a profile goes on."""
    cluster = Cluster.from_profile(name)
    return lambda: cluster.state not in (ClusterState.STOPPED, ClusterState.DEAD)


def _show(paths: list[Path], lines: int, going_on: Callable[[], bool] | None) -> None:
    """Print the logs, each with its name if there are several."""
    last = None
    for path, text in logs.follow(paths, lines, going_on):
        if path != last and len(paths) > 1:
            click.secho(f"{'' if last is None else chr(10)}==> {path} <==", bold=True)
        last = path
        click.echo(text, nl=False)
