"""Clusters in jobs of Grid Engine: fakes of its commands, with the output of the real ones, run real jobs."""

import json
import subprocess
import time

import pytest
from schedulers.faked import Scheduler
from schedulers.login import JOBSCRIPTS, SCRIPT, command, run
from waiting import LIMIT, until

from mpidirect import Client, Cluster, errors
from mpidirect.cluster.state import ClusterState
from mpidirect.files.profiles import Profile
from mpidirect.job import processes
from mpidirect.launchers import batch
from mpidirect.launchers.base import JobState
from mpidirect.launchers.sge import SGELauncher

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def sge(login_node, monkeypatch):
    """Fakes of Grid Engine's commands."""
    scheduler = Scheduler("sge", login_node).enter(monkeypatch)
    yield scheduler
    scheduler.end()


def test_start_use_and_stop(sge, login_node):
    started = run("start", "-n", "2", "--launcher", "sge", "--walltime", "10m")
    assert started.returncode == 0, started.stderr
    cluster = Cluster.from_profile()
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["state"], row["ready"], row["job"]) == ("running", 2, cluster.job_id)
    assert 500 < row["left"] <= 600
    with Client() as rc:
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [2, 2]  # noqa: F821
        assert 500 < rc.time_left <= 600
        real = (login_node / "bin" / "qstat").read_text()
        # another clock on the node
        command(login_node, "qstat", f"TZ=ABC+1 exec {real.partition('exec ')[2]}")
        assert 500 < rc.time_left <= 600
        [row] = json.loads(run("status", "--json").stdout)
        assert 500 < row["left"] <= 600
    stopped = run("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert sge.state(cluster.job_id) == "gone"
    assert Profile().record() is None and processes.members(cluster.cluster) == []


def test_jobs_that_do_not_start(sge, monkeypatch):
    refused = run("start", "-n", "2", "--launcher", "sge", "--set", "pe=nowhere")
    assert refused.returncode == 1 and '"nowhere" does not exist' in refused.stderr
    began = time.monotonic()
    held = run("start", "-n", "2", "--launcher", "sge", "--directive=-h", "--queue-timeout", "1s")
    assert held.returncode == 1 and "did not start within 1 s: it is held; it goes on after" in held.stderr
    assert "'qrls 0'" in held.stderr and sge.state("0") == "gone" and Profile().record() is None
    assert time.monotonic() - began < 20  # for a user without privileges, `qdel -f` would sleep
    monkeypatch.setenv("FAKE_SGE_FULL", "1")
    cluster = Cluster(2, launcher="sge").start()
    state, why = cluster.look()
    assert state is ClusterState.PENDING and "offers 0 slots" in why and "full; cannot" in why
    assert run("stop", "--timeout", "0").returncode == 0
    assert sge.state(cluster.job_id) == "gone"


def test_a_kill_is_a_plain_qdel(sge):
    cluster = Cluster(1, launcher="sge").start()
    until(lambda: sge.state(cluster.job_id) == "r")
    stopped = run("stop", "--timeout", "0")
    assert (stopped.returncode, stopped.stderr) == (0, "") and sge.state(cluster.job_id) == "gone"


def test_a_failed_cancel_is_reported_with_its_cause(sge, login_node, monkeypatch):
    monkeypatch.setenv("FAKE_SGE_FULL", "1")
    monkeypatch.setattr(batch, "_FORCED_END", 0.5)
    command(login_node, "qdel", "echo denied: the master sleeps >&2; exit 1")
    cluster = Cluster(1, launcher="sge", queue_timeout=0.5)
    with pytest.raises(errors.TimeoutError, match="offers 0 slots") as raised, cluster:
        pass
    assert "Besides: Job 0 was cancelled but has not ended: qdel 0 says: denied: the m" in str(raised.value)
    assert cluster.profile.record() is not None  # another stop is possible
    sge.__init__("sge", login_node)
    cluster.stop(0)


def test_a_job_that_dies_at_start_says_why(sge):
    done = run("start", "-n", "2", "--launcher", "sge", "--prologue", "echo no such module; exit 3")
    assert done.returncode == 1
    assert "exit code 3" in done.stderr and "no such module" in done.stderr


@pytest.mark.parametrize("word", ["walltime was over", "qdel"])
def test_the_end_of_the_job_reaches_a_waiting_client(sge, monkeypatch, word):
    """The accounting knows the end of a job after up to 15 seconds."""
    monkeypatch.setenv("FAKE_SGE_LAG", "60")
    cluster = Cluster(1, launcher="sge", walltime="10m").start().wait()
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        if word == "qdel":
            subprocess.run(["qdel", cluster.job_id], check=True, timeout=LIMIT, capture_output=True)
        else:
            sge.let_time_pass(cluster.job_id)
        with pytest.raises(errors.MPIDirectError, match=word):
            result.get(timeout=LIMIT)
    assert "does not know how yet" in Cluster.from_profile().look()[1]  # this object did not see the end
    monkeypatch.setenv("FAKE_SGE_LAG", "0")
    assert word in Cluster.from_profile().look()[1]
    cluster.stop()


def test_the_batch_script(sge, login_node):
    (login_node / "script.py").write_text(SCRIPT)
    job = sge.submit(JOBSCRIPTS / "sge-batch.sh")
    until(lambda: sge.state(job) == "gone")
    assert "ids [0, 1, 2, 3] [4, 4, 4, 4] []" in (login_node / f"mpidirect.o{job}").read_text()
    assert sge.job(job)["exit_status"] == 7


def test_the_cluster_script(sge):
    job = sge.submit(JOBSCRIPTS / "sge-cluster.sh")
    until(lambda: Profile("batch").exists() and Profile("batch").record())
    with Cluster.from_profile("batch").connect_client() as rc:
        assert len(rc) == 4 and 0 < rc.time_left <= 1800
    assert run("stop", "--profile", "batch").returncode == 0
    until(lambda: sge.state(job) == "gone")
    assert sge.job(job)["exit_status"] == 0


# Grid Engine's words

LISTED = """\
job-ID  prior   name       user   state submit/start at     queue                   slots ja-task-ID
---------------------------------------------------------------------------------------------------------
      7 0.55500 mpidirect  me           {}     01/01/2026 00:00:00 {} 4
"""


@pytest.mark.parametrize(
    ("state", "queue", "found", "hopeless", "words"),
    [
        ("qw", "", JobState.PENDING, False, "offers 2 slots"),
        ("hqw", "", JobState.PENDING, False, "after 'qrls 7'"),
        ("Eqw", "", JobState.PENDING, True, "qmod -cj 7"),
        ("r", "all.q@node1", JobState.RUNNING, False, ""),
        ("dr", "all.q@node1", JobState.RUNNING, False, "it ends"),
    ],
)
def test_the_output_of_qstat_is_parsed(login_node, state, queue, found, hopeless, words):
    (login_node / "listed").write_text(LISTED.format(state, queue))
    explained = 'scheduling info:            cannot run in PE "mpi" because it only offers 2 slots'
    command(login_node, "qstat", f"case $1 in -j) echo '{explained}';; *) cat {login_node}/listed;; esac")
    status = SGELauncher.of("7").state()
    assert (status.state, status.hopeless) == (found, hopeless) and words in status.reason
    assert status.hosts == ("node1" if queue else "")


SPREAD = """\
job-ID  prior   name       user         state submit/start at     queue                          master
-------------------------------------------------------------------------------------------------------
      7 0.50000 mpidirect  alice        r     11/27/2026 18:37:02 all.q@node1                    MASTER
                                                                  all.q@node1                    SLAVE
                                                                  all.q@node2                    SLAVE
      8 0.50000 mpidirect  alice        r     11/27/2026 18:37:02 all.q@node3                    MASTER
                                                                  all.q@node3                    SLAVE
"""


def test_the_hosts_that_grid_engine_gave_are_counted(login_node):
    (login_node / "listed").write_text(SPREAD)
    command(login_node, "qstat", f"cat {login_node}/listed")
    assert [SGELauncher.of(id).hosts_asked() for id in ("7", "8", "9")] == [2, 1, 0]


@pytest.mark.parametrize(
    ("kept", "failed", "words"),
    [
        ("failed       0\nexit_status  0", False, "by itself"),
        ("failed       0\nexit_status  3", True, "exit code 3"),
        ("failed       100 : assumedly after job\nexit_status  137\ndeleted_by   me", True, "deleted by me"),
        ("failed       26 : opening input/output file\nexit_status  0", True, "opening input/output file"),
        (
            "failed       37 : qmaster enforced h_rt, h_cpu, or h_vmem limit\nru_wallclock 5s\n"
            "exit_status  137                  (Killed)\ncategory     -l h_rt=5 -pe mpi 2",
            True,
            "walltime was over",
        ),
        (
            "failed       37 : qmaster enforced h_rt, h_cpu, or h_vmem limit\nru_wallclock 5s\n"
            "exit_status  137                  (Killed)\ncategory     -l h_rt=50,h_vmem=1M -pe mpi 2",
            True,
            "a limit on its time or memory",
        ),
        ("failed       0\nexit_status  137                  (Killed)", True, "deleted (qdel), or killed"),
    ],
)
def test_the_output_of_qacct_is_parsed(login_node, kept, failed, words):
    command(login_node, "qstat", "true")
    command(login_node, "qacct", f"printf '{kept}\n'")
    status = SGELauncher.of("7").state()
    assert status.state is JobState.ENDED and status.failed is failed and words in status.reason


def test_a_job_without_accounting(login_node):
    command(login_node, "qstat", "true")
    command(login_node, "qacct", "echo error: job id 7 not found >&2; exit 1")
    status = SGELauncher.of("7").state()
    assert status.state is JobState.ENDED and not status.settled and "does not know how yet" in status.reason


def test_the_directives_of_the_script(login_node):
    settings = {"walltime": "2h", "mem": "2G", "queue": "short", "pe": "orte", "cpus_per_task": 2}
    script = Cluster(4, launcher="sge", **settings).job_script()
    assert "#$ -pe orte 8\n#$ -l h_rt=2:00:00\n#$ -l h_vmem=2G\n#$ -q short\n" in script
    with pytest.raises(errors.ConfigError, match="leave out --nodes"):
        Cluster(4, launcher="sge", nodes=2).job_script()
