"""The command line where the surroundings are not as they should be: ports, paths, terminals, disks."""

import socket

import pytest
from schedulers.login import run

from mpidirect.profiles import Profile

pytestmark = [pytest.mark.openmpi_only, pytest.mark.usefixtures("login_node")]


# Why a start fails


def test_the_controller_s_own_reason_comes_first():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("start", "-n", "2", "--port", port)
    first = "Error: The job of profile 'default' ended before its engines answered: "
    assert done.stderr.startswith(
        f"{first}no port of {port} is free on 127.0.0.1: choose others with --port\n"
    )
    assert (
        "MPI_ABORT" not in done.stderr and "Traceback" not in done.stderr and "Its logs are in" in done.stderr
    )
    nowhere = run("start", "-n", "1", "--ip", "ib9").stderr
    assert nowhere.startswith(f"{first}can't listen on 'ib9': ") and "choose one with --interface" in nowhere


def test_a_temporary_directory_with_a_name_too_long_for_sockets(login_node):
    far = login_node / ("x" * 100)
    far.mkdir()
    assert run("start", "-n", "1", TMPDIR=str(far)).returncode == 0
    assert run("status", TMPDIR=str(far)).returncode == 0
    assert run("stop", TMPDIR=str(far)).returncode == 0
    assert Profile().record() is None and list(far.iterdir()) == []
