"""Start, use and stop, several times in a row: nothing hangs or remains, however a cluster ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from waiting import until

from mpidirect import Client, Cluster
from mpidirect.files.private_directories import socket_directory
from mpidirect.files.profiles import Profile

pytestmark = pytest.mark.openmpi_only  # one MPI is enough, because the test takes long


def processes_of(cluster: str) -> list[psutil.Process]:
    """Return the processes with the id of a cluster in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MPIDIRECT_CLUSTER") == cluster:
                found.append(process)
        except psutil.Error:
            continue
    return found


def segments_of(maps: list[str]) -> set[Path]:
    """Return the shared memory segments of Open MPI in the memory maps of engines."""
    return {Path(name) for name in re.findall(r"/dev/shm/sm_segment\S+", "\n".join(maps))}


@pytest.mark.timeout(300)
def test_clusters_in_a_row(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    for round in range(2):
        cluster = Cluster(n=2)
        cluster.start()
        cluster.wait()
        id, file = cluster.cluster, Path(cluster.connection_file)
        assert processes_of(id) and file.exists() and socket_directory(id).exists()
        with Client() as rc:
            view = rc[:]
            view["x"] = round
            assert view.apply_sync(lambda: comm.allreduce(x)) == [2 * round] * 2  # noqa: F821
            segments = segments_of(view.pull("open('/proc/self/maps').read()", block=True))
        cluster.stop()
        assert processes_of(id) == []
        assert not file.exists() and not socket_directory(id).exists()
        assert not [segment for segment in segments if segment.exists()]
    left = {path.name for path in (tmp_path / "home" / "default").iterdir()} - {"logs", ".lock"}
    assert left == set()


SCRIPT = """
import os, sys
from mpidirect import Cluster

rc = Cluster(n=2).start().connect_client()
view = rc[:]
assert view.apply_sync(lambda: comm.allreduce(rank)) == [1, 1]
print(rc.facts["cluster"])
print(*view.pull("open('/proc/self/maps').read()"), flush=True)
"""
ENDINGS = {
    "itself": ("", {0}),
    "an exception": ("view['a']", {1}),
    "an exit in the middle of a call": ("view.execute('import time; time.sleep(60)'); sys.exit(3)", {3}),
    "an interrupt": (
        "import signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
        {-signal.SIGINT, 1},  # 1 if an extension module runs code at the exit
    ),
    "a kill": ("import signal; os.kill(os.getpid(), signal.SIGKILL)", {-signal.SIGKILL}),
}


def run(tail: str) -> tuple[str, int, set[Path]]:
    """Run a script that starts a cluster and ends with `tail`; return its id, exit code and segments."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + tail],
        capture_output=True,
        text=True,
        timeout=60,
        # A shell lets background jobs ignore SIGINT.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stdout, done.stderr
    id, maps = done.stdout.split("\n", 1)
    return id, done.returncode, segments_of([maps])


@pytest.mark.timeout(600)
def test_scripts_that_end_in_all_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    segments = set()
    for tail, codes in ENDINGS.values():
        id, ended, mapped = run(tail)
        segments |= mapped
        assert ended in codes
        if ended != -signal.SIGKILL:  # after a SIGKILL the next start cleans up
            assert processes_of(id) == [] and not socket_directory(id).exists(), tail
    until(lambda: not processes_of(id))  # no start follows the last script
    assert not socket_directory(id).exists()
    left = {path.name for path in (tmp_path / "home" / "default").iterdir()} - {"logs", ".lock"}
    assert left == set()
    assert not [segment for segment in segments if segment.exists()]


@pytest.mark.parametrize(
    "keep", ["Cluster(n=2, shutdown_atexit=False).start()", "Cluster(n=2).start().detach()"]
)
def test_a_cluster_may_live_on(tmp_path, monkeypatch, keep):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    subprocess.run(
        [sys.executable, "-c", f"from mpidirect import Cluster\n{keep}.wait()"], check=True, timeout=60
    )
    time.sleep(
        2.5
    )  # the controller notices the end of its parent in less; no event shows that nothing happens
    cluster = Cluster.from_profile()
    with cluster.connect_client() as rc:
        assert rc[:].apply_sync(abs, -1) == [1, 1]
    cluster.stop()


def test_a_forked_child_ends_without_its_parents_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    tail = """
if not os.fork():
    sys.exit()
os.wait()
assert view.apply_sync(abs, -1) == [1, 1]
"""
    assert run(tail)[1] == 0


def test_a_second_script_has_a_cluster_beside_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    with Cluster(n=1):
        second = "from mpidirect import Cluster\nwith Cluster(n=2) as rc: print(len(rc))"
        done = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, timeout=60)
        assert done.stdout == "2\n", done.stderr
        assert f"Process {os.getpid()} on " in done.stderr
    assert Profile().record() is None
