"""MPI's ports: on one host, other hosts are refused, and other users of this host can't delay MPI."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import psutil
import pytest
from schedulers.slurm import SLURM
from waiting import until

from mpidirect import Cluster
from mpidirect.files import connection_file
from mpidirect.job import processes
from mpidirect.job.process_identity import belongs
from tests.strangers import IS_ROOT, NOBODY, connected, listening_ports
from tests.strangers import listening as reachable

HERE = {socket.AF_INET: "10.231.77.1", socket.AF_INET6: "fd57:77::1"}
THERE = {socket.AF_INET: "10.231.77.2", socket.AF_INET6: "fd57:77::2"}
LENGTH = {socket.AF_INET: 30, socket.AF_INET6: 64}
# unique, because other test runs on this host may have links, too
LINKS = f"mdp{os.getpid()}a", f"mdp{os.getpid()}b"
KNOCK = """
import socket, sys
for port in map(int, sys.argv[2:]):
    try:
        socket.create_connection((sys.argv[1], port), 0.5).close()
        print(port)
    except OSError:
        pass
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def other_host():
    """Return the name of a network namespace that reaches this host through a network of its own."""
    name = f"mdports{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("link", "add", LINKS[0], "type", "veth", "peer", "name", LINKS[1], "netns", name)
        ip("link", "set", LINKS[0], "up")
        ip("-n", name, "link", "set", LINKS[1], "up")
        for family, length in LENGTH.items():
            nodad = ["nodad"] if family == socket.AF_INET6 else []
            ip("addr", "add", f"{HERE[family]}/{length}", "dev", LINKS[0], *nodad)
            ip("-n", name, "addr", "add", f"{THERE[family]}/{length}", "dev", LINKS[1], *nodad)
        yield name
    finally:
        ip("netns", "del", name)


def reached_from(other_host, address, ports):
    """Return those ports of an address at which the other host gets a connection."""
    knock = ["ip", "netns", "exec", other_host, sys.executable, "-c", KNOCK, address, *map(str, ports)]
    done = subprocess.run(knock, check=True, capture_output=True, text=True, timeout=60)
    return [int(port) for port in done.stdout.split()]


def ranks(cluster):
    """Return the processes of a cluster's ranks."""
    found = processes.members(cluster.cluster)
    return [process for process in found if "mpidirect.job" in process.cmdline()[1:3]]


def listening(cluster, family):
    """Return the TCP ports at which the ranks accept connections to an address of this host's network."""
    connections = [c for process in ranks(cluster) for c in process.net_connections("inet")]
    there = [c for c in connections if c.status == psutil.CONN_LISTEN and c.family == family]
    return [c.laddr.port for c in there if not c.laddr.ip.startswith("127.")]


@pytest.mark.parametrize(
    "family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=pytest.mark.mpich_proof)]
)
def test_no_rank_accepts_a_connection_from_another_host(cluster, rc, other_host, family):
    # the two hosts can connect to each other
    with socket.create_server((HERE[family], 0), family=family) as control:
        until(lambda: reached_from(other_host, HERE[family], [control.getsockname()[1]]))
    for restarts in (0, 1):
        if restarts:
            rc.restart()
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [4] * 4  # noqa: F821
        assert len(ranks(cluster)) > 4
        assert reached_from(other_host, HERE[family], listening(cluster, family)) == []


def ports_of_mpi(cluster):
    """Return the addresses of a cluster's processes and its launcher, without the clients' port."""
    clients = connection_file.read(cluster.connection_file).addresses
    ours = {urlsplit(address).port for address in clients if address.startswith("tcp://")}
    found = set().union(*(reachable(process.pid) for process in processes.members(cluster.cluster)))
    return {(host, port) for host, port in found if port not in ours}


GREETINGS = b"", b"OPAL-TCP", bytes(200)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_another_user_of_this_host_does_not_delay_mpi(cluster, rc):
    ports = ports_of_mpi(cluster)
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(connected(ports, greeting, NOBODY)) for greeting in GREETINGS]
        barriers = rc[:].apply(lambda: [comm.Barrier() for _ in range(100)])  # noqa: F821
        assert barriers.get(60) == [[None] * 100] * 4
        assert rc.restart() == [0, 1, 2, 3]
        assert rc[:].apply(lambda: comm.allreduce(1)).get(60) == [4] * 4  # noqa: F821
        for stranger in strangers:
            assert len(stranger.reached) > 4
            assert all(stranger.stdout.readline().startswith("ended") for _ in stranger.reached)


@pytest.mark.slurm
@pytest.mark.openmpi_only  # for other MPIs see docs/security.md
@pytest.mark.timeout(300)
def test_strangers_do_not_delay_a_job_on_several_hosts(hosts):
    """Another user of the second host, and a host outside of the job, connect to all ports there."""
    with Cluster(**SLURM) as rc:
        engine = next(info["pid"] for info in rc.engines_info.values() if info["host"] == "n2")
        there = [
            p
            for p in (psutil.Process(engine), *psutil.Process(engine).parents())
            if belongs(p.pid, rc.facts["cluster"])
        ]
        of_launcher = {
            port for process in there if process.name() == "prted" for port in listening_ports(process.pid)
        }
        of_rank = set(listening_ports(engine)) - of_launcher  # a rank may inherit sockets of its launcher
        assert of_launcher and of_rank
        address = f"{hosts.network}.12"
        with (
            connected(
                [(address, port) for port in of_rank | of_launcher], b"OPAL-TCP", NOBODY, hosts.spaces[1]
            ) as near,
            connected([(address, port) for port in of_rank], b"OPAL-TCP", NOBODY, hosts.spaces[2]) as far,
        ):
            barriers = rc[:].apply(lambda: [comm.Barrier() for _ in range(100)])  # noqa: F821
            assert barriers.get(60) == [[None] * 100] * 4
            for stranger in (near, far):
                assert stranger.reached
                assert all(stranger.stdout.readline().startswith("ended") for _ in stranger.reached)
