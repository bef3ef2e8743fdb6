"""``mpidirect status`` and ``mpidirect list``."""

from __future__ import annotations

import getpass
import json
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..errors import MPIDirectError
from ..files import logs
from ..files.profiles import Profile, profile_names, recorded_names
from . import NOTHING_RUNS
from .parameters import profile_option
from .remote import RemoteCommand

if TYPE_CHECKING:
    from ..files.connection_file import ConnectionInfo

_LOOPBACK = ("tcp://127.", "tcp://[::1]")
_HEADS = (
    *("PROFILE", "STATE", "ENGINES", "LAUNCHER", "JOB", "HOST", "STARTED"),
    *("IDLE", "LEFT", "RESUMES", "MPI"),
)
_ANSWER_TIMEOUT = 2.0  # seconds that a controller, or a command of the scheduler, has to answer


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect status
  mpidirect status --profile mpi --json

Exit codes: 0 if all shown clusters run, 1 if one does not, 3 if there is no cluster to show.""",
)
@profile_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def status_command(profile: str, as_json: bool) -> None:
    """Show the clusters that run, with their controllers' answers.

    Without --profile it shows the clusters of all profiles.
    """
    clusters = [Cluster.from_profile(name) for name in ([profile] if profile else recorded_names())]
    rows = [_status(cluster) for cluster in clusters]
    found = [row for row in rows if row["state"] != ClusterState.STOPPED]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        _table(
            _HEADS,
            (
                (
                    row["profile"],
                    row["state"],
                    f"{'?' if row['ready'] is None else row['ready']}/{row['engines']}",
                    row["launcher"],
                    row["job"],
                    row["controller_host"] or row["host"],
                    _ago(row["started"]),
                    "" if row["idle"] is None else _span(row["idle"]),
                    "" if row["left"] is None else _span(row["left"]),
                    row["resumes"],
                    row["mpi"],
                )
                for row in found
            ),
        )
        for row in found:
            if row["reason"]:
                click.echo(f"{row['profile']}: {row['reason']}")
            if row["fault_tolerance"]:
                click.echo(f"{row['profile']}: {row['fault_tolerance']}")
            if row["world"]:
                click.echo(f"{row['profile']}: {row['world']}")
            for sentence in row["debuggers"]:
                click.echo(f"{row['profile']}: {sentence}")
            if row["tunnel"]:
                click.echo(f"{row['profile']}: from outside:  {row['tunnel']}")
    else:
        for row in rows:
            click.echo(f"The cluster of profile {row['profile']!r} has ended: {row['reason']}.", err=True)
        click.echo("No cluster runs. Start one:  mpidirect start -n 4", err=True)
    if not found:
        sys.exit(NOTHING_RUNS)
    sys.exit(any(row["state"] != ClusterState.RUNNING for row in found))


@click.command(cls=RemoteCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def list_command(as_json: bool) -> None:
    """List the profiles and their clusters.

    Asks no controller, so it is quicker than 'status' and shows less.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted({*profile_names(), *recorded_names()}):
        here = Profile(name)
        record = here.record()
        if record is None and here.of_run:
            continue  # only the logs of a failed run remain
        state = ClusterState.STOPPED
        if record:
            state = Cluster.from_profile(name).limit_commands(_ANSWER_TIMEOUT).state
        rows.append(
            {
                "profile": name,
                "state": str(state),
                "engines": record.engines if record else None,
                "cluster": record.cluster if record else None,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _table(
            ("PROFILE", "STATE", "ENGINES", "CLUSTER"),
            ((row["profile"], row["state"], row["engines"] or "", row["cluster"] or "") for row in rows),
        )
    else:
        click.echo("There is no profile yet. Make one:  mpidirect profile create", err=True)


def _status(cluster: Cluster) -> dict[str, Any]:
    record = cluster.profile.record()
    assert record is not None  # `from_profile` has found the record
    ready, engines, info, facts, unanswered = None, record.engines, None, dict[str, Any](), ""
    if cluster.connection_file.exists():  # the controller knows most, and answers at once
        try:
            ready, engines, info, facts = _ask(cluster)
        except MPIDirectError as e:
            unanswered = f"the controller does not answer: {e}"
    if info:
        cluster.limit_commands(_ANSWER_TIMEOUT)
    state, reason = cluster.look()
    if info and state in (ClusterState.UNKNOWN, ClusterState.PENDING, ClusterState.STARTING):
        state = ClusterState.RUNNING
    elif state is ClusterState.RUNNING and unanswered:
        state, reason = ClusterState.UNKNOWN, unanswered
    job = cluster.job if cluster.scheduled else None
    if state is ClusterState.DEAD:
        name = cluster.profile.name
        if job is not None:
            reason = f"job {cluster.job_id}: {reason}\n\n{logs.failure_report(cluster.log_directory, 5)}\n"
        reason += f"\nWhy:  mpidirect logs --profile {name}    Clean up:  mpidirect stop --profile {name}"
    return {
        "profile": cluster.profile.name,
        "cluster": record.cluster,
        "state": str(state),
        "reason": reason,
        "engines": engines,
        "ready": ready,
        "launcher": record.launcher,
        "host": record.host,
        "started": record.started,
        "mpi": info.mpi if info else "",
        "fault_tolerance": facts.get("fault_tolerance", {}).get("text", ""),
        "world": facts.get("world", ""),
        "debuggers": facts.get("debuggers", []),
        "job": cluster.job_id if job else "",
        "nodes": job.hosts if job else "",
        "left": cluster.left(facts.get("time_left")),
        "resumes": cluster.resumes,
        "idle": facts.get("idle"),
        "controller_host": info.host if info else "",
        "tunnel": _tunnel(info) if info and job else "",
        "connection_file": str(cluster.connection_file),
        "log_directory": str(cluster.log_directory),
        "handle": record.handle,
    }


def _tunnel(info: ConnectionInfo) -> str:
    """Return the command that forwards the controller's port to a host that can't reach it."""
    address = next((a for a in info.addresses if a.startswith("tcp://") and not a.startswith(_LOOPBACK)), "")
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    here = f"{getpass.getuser()}@{socket.gethostname()}"
    return f"ssh -N -L {port}:{host}:{port} {here}" if address else ""


def _ask(cluster: Cluster) -> tuple[int, int, ConnectionInfo, dict[str, Any]]:
    """Ask the controller: ready engines, all engines, its connection file, the client's facts."""
    from ..client import Client
    from ..files import connection_file

    client = Client(str(cluster.connection_file), timeout=_ANSWER_TIMEOUT)
    try:
        return len(client.ids), client.size, connection_file.read(cluster.connection_file), client.facts
    finally:
        client.close()


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print aligned columns, without empty columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    shown = [i for i in range(len(heads)) if any(row[i] for row in cells)]
    widths = {i: max(len(heads[i]), *(len(row[i]) for row in cells)) for i in shown}
    click.secho("  ".join(heads[i].ljust(widths[i]) for i in shown).rstrip(), bold=True)
    for row in cells:
        click.echo("  ".join(row[i].ljust(widths[i]) for i in shown).rstrip())


def _ago(moment: float) -> str:
    return f"{_span(time.time() - moment)} ago"


def _span(seconds: float) -> str:
    passed = max(0, int(seconds))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if passed >= unit:
            return f"{passed // unit} {name}"
    return f"{passed} s"
