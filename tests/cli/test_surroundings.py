"""The command line in unusual surroundings: ports, paths, terminals, disks."""

import fcntl
import os
import re
import signal
import socket
import subprocess

import pytest
from schedulers.login import COMMAND, run
from waiting import LIMIT, until

from mpidirect.files.profiles import Profile

pytestmark = pytest.mark.usefixtures("login_node")
either_mpi = pytest.mark.openmpi_only  # tests that do not depend on the MPI run with one of them


# Why a start fails


@pytest.mark.mpich_proof
def test_the_controller_s_own_reason_comes_first():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("start", "-n", "2", "--port", port)
    first = r"Error: The job of profile 'default' (ended before its engines answered|can't go on): "
    assert re.match(
        rf"{first}no port of {port} is free on 127.0.0.1: choose others with --port\n", done.stderr
    )
    assert "MPI_ABORT" not in done.stderr and "Traceback" not in done.stderr
    assert "Its logs are in" in done.stderr
    nowhere = run("start", "-n", "1", "--ip", "ib9").stderr
    assert re.match(rf"{first}can't listen on 'ib9': .* choose one with --interface", nowhere)


@pytest.mark.mpich_proof
def test_a_temporary_directory_with_a_name_too_long_for_sockets(login_node):
    far = login_node / ("x" * 100)
    far.mkdir()
    assert run("start", "-n", "1", TMPDIR=str(far)).returncode == 0
    assert run("status", TMPDIR=str(far)).returncode == 0
    assert run("stop", TMPDIR=str(far)).returncode == 0
    assert Profile().record() is None and list(far.iterdir()) == []


FULL = """
mount -t tmpfs -o size=64k,mode=700 none home
dd if=/dev/zero of=home/fill bs=1k 2> /dev/null; truncate -s -8k home/fill
exec "$@"
"""


@either_mpi
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own takes root")
def test_a_full_disk(login_node):
    """The job file and the record fit on the disk, the connection file and the logs do not."""
    (login_node / "home").mkdir(mode=0o700)
    words = ["unshare", "--mount", "sh", "-c", FULL, "sh", *COMMAND, "start", "-n", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert "nothing can be written there (No space left on device)" in done.stderr, done.stderr


# The environment


@either_mpi
def test_a_terminal_without_arrows():
    done = run("doctor", PYTHONIOENCODING="latin-1", MPIDIRECT_FOO="1")
    assert "      -> The variables are: MPIDIRECT_ACCOUNT" in done.stdout and "Traceback" not in done.stderr


@either_mpi
def test_a_start_says_that_it_waits_for_another_one():
    with (Profile().create().directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([*COMMAND, "start", "-n", "1"], stderr=subprocess.PIPE, text=True)
        assert "waiting for another start of profile 'default'" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
    assert process.returncode == 130 and Profile().record() is None


JOB = {"JOB_ID": "7", "SGE_ROOT": "/nowhere", "NSLOTS": "1"}  # Grid Engine's variables of a job of one slot


@either_mpi
def test_more_engines_than_the_allocation_has_tasks():
    done = run("start", "-n", "2", **JOB)
    assert done.returncode == 0 and "2 engines share the 1 task(s) of job 7" in done.stderr
    assert run("stop").returncode == 0


@either_mpi
def test_a_script_that_its_scheduler_ends_is_told_once(login_node):
    """A scheduler signals all processes of a job."""
    (login_node / "script.py").write_text(
        "import os, signal, time\n"
        "told = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: told.append(1))\n"
        "open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'ready')\n"
        "while not told:\n    time.sleep(0.01)\n"
        "time.sleep(1)\n"
        "print('told', len(told))\n"
    )
    command = [*COMMAND, "run", "-n", "1", "script.py"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **JOB})
    until((login_node / "ready").exists)
    for pid in (process.pid, int((login_node / "ready").read_text())):
        os.kill(pid, signal.SIGTERM)
    assert process.communicate(timeout=LIMIT)[0] == "told 1\n"


STARTS = ('start -n 1 --ip "*"', "start -n 1 --ip d0")
USED = """
from mpidirect import Client
from mpidirect.files.profiles import find_connection_file
from mpidirect.files import connection_file

info = connection_file.read(find_connection_file())
for address in info.addresses[1:]:
    info.addresses = [address]
    with Client(info) as rc:
        print(address.rpartition(":")[0], rc[:].apply_sync(lambda: rank))
"""


@either_mpi
@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own takes root")
def test_a_network_without_ipv4():
    link = "ip link set lo up; ip link add d0 type bridge; ip link set d0 up"
    link = f"{link}; ip addr add fd00::5/64 dev d0 nodad"
    python, start = COMMAND[0], " ".join(COMMAND)
    use = " && ".join(f"{start} {words} && {python} -c '{USED}'; {start} stop" for words in STARTS)
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{link}; {use}"], capture_output=True, text=True, timeout=LIMIT
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("tcp:")]
    assert found == ["tcp://[fd00::5] [0]", "tcp://127.0.0.1 [0]", "tcp://[fd00::5] [0]"], done.stderr
