"""The first commands of the pages on batch systems: with a real Slurm, and fakes of PBS and Grid Engine."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from schedulers.faked import Scheduler
from schedulers.login import command
from waiting import LIMIT

pytestmark = [pytest.mark.openmpi_only, pytest.mark.page]
LESS = {
    "--nodes 2 --ntasks-per-node 16": "--nodes 1 --ntasks-per-node 2",
    "-n 32": "-n 2",
    "--walltime 2h": "--walltime 5m",
}


def commands(page):
    """Return the commands of the first example of a page, for two engines, without the installation."""
    example = re.findall(r"^```console\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)[0]
    for much, less in LESS.items():
        example = example.replace(much, less)
    typed = [line.removeprefix("$ ") for line in example.splitlines()]
    assert typed[0].startswith("pip install")
    return typed[1:]


def check(page, home):
    """Run the commands of a page in a shell, as a user types them."""
    command(home, "python", f'exec {sys.executable} "$@"')
    shell = subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands(page))], capture_output=True, text=True, timeout=LIMIT
    )
    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert "2 engines ready" in shell.stdout and "[0, 1]" in shell.stdout


@pytest.mark.slurm
def test_slurm(slurm, login_node):
    check("slurm.md", login_node)


@pytest.mark.parametrize(("kind", "page"), [("pbs", "pbs.md"), ("sge", "sge.md")])
def test_faked(kind, page, login_node, monkeypatch):
    scheduler = Scheduler(kind, login_node).enter(monkeypatch)
    try:
        check(page, login_node)
    finally:
        scheduler.end()
