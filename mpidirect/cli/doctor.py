"""``mpidirect doctor``."""

from __future__ import annotations

import json
import sys

import click

from ..cluster.doctor import examine
from ..cluster.findings import Finding, Verdict
from .parameters import profile_option
from .remote import RemoteCommand

_COLOURS = {Verdict.GOOD: "green", Verdict.DOUBT: "yellow", Verdict.BAD: "red"}


@click.command(
    cls=RemoteCommand, epilog="Exit codes: 0 if clusters can work here, 1 if something prevents them."
)
@profile_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def doctor_command(profile: str, as_json: bool) -> None:
    """Check what clusters need on this host, with remedies.

    Checks the MPI that mpi4py loads and its mpiexec, threads, fault tolerance, encryption, the network, files
    and permissions. Takes a few seconds, as it starts two ranks.
    """
    findings = []
    for finding in examine(profile):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    sys.exit(any(finding.verdict is Verdict.BAD for finding in findings))


def _show(finding: Finding) -> None:
    click.secho(f"{finding.verdict.value:<4}", fg=_COLOURS[finding.verdict], bold=True, nl=False)
    click.echo(f"  {finding.subject}: {_indented(finding.found)}")
    if finding.remedy:
        click.echo(f"      → {_indented(finding.remedy)}")


def _indented(text: str) -> str:
    return text.replace("\n", "\n        ")
