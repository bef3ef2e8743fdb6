"""Clients that reach a cluster only through another host: by the real ssh and sshd."""

import json
import shutil
import sys

import pytest
from schedulers import ssh
from schedulers.login import run

from mpidirect import Client, Cluster, errors
from mpidirect.client.connection.tunnel import Tunnel
from mpidirect.files import connection_file

pytestmark = [pytest.mark.slurm, pytest.mark.openmpi_only]  # nothing here depends on the MPI

SIZES = "[2, 2]"

# On a laptop that has no files of the cluster.
TUNNELLED = """
import getpass, signal, time, warnings
import psutil
from mpidirect import Client

warnings.simplefilter("ignore")  # that the connection is down
with Client(sshserver=f"{getpass.getuser()}@login", timeout=60) as rc:  # the cluster still starts
    def size():
        return rc[:].apply_async(lambda: comm.size).get(timeout=30)
    [ssh] = [p for p in psutil.Process().children() if p.name() == "ssh"]
    print(size(), rc._session.connection._dialer.candidates()[0].rpartition(":")[0], flush=True)
    ssh.send_signal(signal.SIGINT)  # a Ctrl-C is sent to all that was started at the prompt
    time.sleep(0.3)
    print(ssh.is_running() and size())
    long = rc[:].apply_async(lambda: (time.sleep(1), comm.size)[1])
    ssh.kill()
    print(long.get(timeout=30), size())
print([p.name() for p in psutil.Process().children()])
"""
BY_HAND = """
import shlex, socket, subprocess, sys, time
from mpidirect import Client

line, file = sys.argv[1:]
ssh = subprocess.Popen(shlex.split(line), stdin=subprocess.DEVNULL)
port = int(line.partition("-L ")[2].partition(":")[0])
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.05)
with Client(file) as rc:
    print(rc[:].apply_sync(lambda: comm.size))
ssh.terminate()
ssh.wait()
"""


def on_a_laptop(program, *arguments):
    """Return the output of a program in a network without any other host."""
    done = ssh.on_a_laptop(sys.executable, "-c", program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_client_reaches_the_cluster_through_the_login_node(hosts, login_node, monkeypatch):
    ssh.install(login_node, there=login_node / "home")
    cluster = Cluster(2, launcher="slurm").start()
    with monkeypatch.context() as laptop:
        laptop.setenv("MPIDIRECT_DIR", str(login_node / "laptop"))
        first, after_ctrl_c, after_death, left = on_a_laptop(TUNNELLED)
        assert first == f"{SIZES} tcp://127.0.0.1"
        assert after_ctrl_c == SIZES and after_death == f"{SIZES} {SIZES}" and left == "[]"
    [row] = json.loads(run("status", "--json").stdout)
    info = connection_file.read(cluster.connection_file)
    copied = shutil.copy(cluster.connection_file, login_node / "copied.json")
    with monkeypatch.context() as laptop:
        laptop.setenv("MPIDIRECT_DIR", str(login_node / "laptop"))
        assert on_a_laptop(BY_HAND, row["tunnel"], str(copied)) == [SIZES]
    with pytest.raises(errors.ConnectionFailed, match=r"ssh to nowhere opened no tunnel: .*refused"):
        Tunnel("nowhere", info)
    cluster.stop()
    with pytest.raises(errors.ClusterNotFound, match="cluster of profile 'default' on login does not run"):
        Client(sshserver="login")
    with pytest.raises(errors.ClusterNotFound, match=r"'other' on login .*\n.*direct status .*--ssh login$"):
        Client(sshserver="login", profile="other")
    with pytest.raises(errors.ConnectionFailed, match=r"ssh nowhere failed: .*refused"):
        Client(sshserver="nowhere")
