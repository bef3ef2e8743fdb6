"""Clusters that a real Grid Engine runs."""

import os
import re
import signal
import subprocess
import time

import pytest
from schedulers.gridengine import GridEngine
from schedulers.login import COMMAND, JOBSCRIPTS, SCRIPT, run
from waiting import LIMIT, until

from mpidirect import Client, Cluster, errors
from mpidirect.files.profiles import Profile
from mpidirect.job import processes

pytestmark = [pytest.mark.gridengine, pytest.mark.openmpi_only]  # nothing here depends on the MPI


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    """Run a real Grid Engine."""
    GridEngine.require()
    engine = GridEngine(tmp_path_factory.mktemp("gridengine"))
    try:
        yield engine.start()
    finally:
        engine.stop()


@pytest.fixture
def gridengine(daemons, login_node, monkeypatch):
    """Give a test a Grid Engine to submit to."""
    for name, value in daemons.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{daemons.directory}/bin{os.pathsep}{os.environ['PATH']}")
    return daemons


def test_start_use_and_stop(gridengine):
    started = run("start", "-n", "2", "--launcher", "sge", "--walltime", "10m")
    assert started.returncode == 0, started.stderr
    cluster = Cluster.from_profile()
    status = run("status")
    assert status.returncode == 0 and re.search(rf" running +2/2 +sge +{cluster.job_id} ", status.stdout)
    with Client() as rc:
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [2, 2]  # noqa: F821
        assert 500 < rc.time_left <= 600
    stopped = run("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert gridengine.ask("qstat") == "" and processes.members(cluster.cluster) == []


def warn_job_script(cluster):
    """Send a warning to the process group of the job's script, as at a soft limit (s_rt)."""
    supervisor = next(
        p for p in processes.members(cluster.cluster) if "mpidirect.job.supervisor" in p.cmdline()
    )
    os.killpg(os.getpgid(supervisor.pid), signal.SIGUSR1)


def test_a_warning_continues_the_cluster_and_qdel_does_not(gridengine, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECTIVES", "-notify")
    started = run("start", "-n", "2", "--launcher", "sge", "--walltime", "10m", "--resume", "--max-resumes=2")
    assert started.returncode == 0, started.stderr
    cluster = Cluster.from_profile()
    first = cluster.job_id
    with Client() as rc:
        process = rc.facts["pid"]
        rc[:].push({"n": 7}, block=True)
        warn_job_script(cluster)
        until(lambda: rc.ids and rc.facts["pid"] != process)
        assert rc[:].pull("n", block=True) == [7, 7] and cluster.job_id != first
        gridengine.ask("qdel", cluster.job_id)  # qdel also warns, and kills a minute later
        with pytest.raises(errors.MPIDirectError, match=r"its job was cancelled|qdel"):
            rc[:].apply_async(time.sleep, 60).get(LIMIT)
    assert run("stop").returncode == 0 and gridengine.ask("qstat") == ""
    assert processes.members(cluster.cluster) == []


def test_a_held_job_waits_and_is_killed_when_it_runs(gridengine):
    words = [*COMMAND, "start", "-n", "1", "--launcher", "sge", "--directive=-h"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: "it is held; it goes on after 'qrls" in process.stderr.readline())
    cluster = Cluster.from_profile()
    gridengine.ask("qrls", cluster.job_id)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        gridengine.ask("qdel", cluster.job_id)
        with pytest.raises(errors.MPIDirectError, match="qdel"):
            result.get(LIMIT)
    stopped = run("stop", "--timeout", "0")
    assert (stopped.returncode, stopped.stderr) == (0, "") and Profile().record() is None


def test_jobs_that_do_not_start(gridengine):
    refused = run("start", "-n", "2", "--launcher", "sge", "--set", "pe=nowhere")
    assert refused.returncode == 1 and '"nowhere" does not exist' in refused.stderr
    large = run("start", "-n", "17", "--launcher", "sge", "--queue-timeout", "3s")
    assert large.returncode == 1 and "only offers 16 slots" in large.stderr, large.stderr
    assert gridengine.ask("qstat") == "" and Profile().record() is None


def test_the_batch_script(gridengine, login_node):
    (login_node / "script.py").write_text(SCRIPT)
    job = gridengine.ask("qsub", "-terse", str(JOBSCRIPTS / "sge-batch.sh"))
    until(lambda: re.search(r"exit_status +7 ", gridengine.ask("qacct", "-j", job)))
    assert "ids [0, 1, 2, 3] [4, 4, 4, 4] []" in (login_node / f"mpidirect.o{job}").read_text()
