"""Jobs of a real Slurm that wait, that never start, and that do not end as their owner wanted."""

import shutil
import signal
import subprocess
import sys
import time

import pexpect
import pytest
from schedulers.login import COMMAND, command, run
from schedulers.slurm import SLURM, gone
from waiting import LIMIT, until

from mpidirect import Client, Cluster, errors
from mpidirect.cluster.state import ClusterState
from mpidirect.files.profiles import Profile
from mpidirect.launchers.base import JobState
from mpidirect.launchers.slurm import SlurmLauncher

pytestmark = [pytest.mark.slurm, pytest.mark.openmpi_only]  # nothing here depends on the MPI


# Waiting


def test_a_job_that_waits_says_why_and_is_cancelled(slurm):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    until(lambda: slurm.ask("squeue", "-h", "-j", blocker, "-o", "%T") == "RUNNING")
    started = run("start", "-n", "2", "--launcher", "slurm", "--no-wait")
    assert started.returncode == 0 and started.stdout.strip().isdigit()
    cluster = Cluster.from_profile()
    assert cluster.job_id == started.stdout.strip()
    until(lambda: "no free nodes" in cluster.look()[1] or "come first" in cluster.look()[1])
    until(lambda: ", expected to start at 2" in cluster.look()[1])  # when the other job must end
    assert cluster.state is ClusterState.PENDING
    status = run("status")
    assert status.returncode == 1 and " pending " in status.stdout and "expected to start" in status.stdout
    with pytest.raises(errors.ClusterNotFound, match=rf"job {cluster.job_id} is pending: .*\n.*direct wait"):
        Client()
    assert f"job {cluster.job_id} is pending" in run("logs").stderr
    hasty = run("wait", "--timeout", "0.5s")
    assert hasty.returncode == 1 and "did not start within 0.5 s" in hasty.stderr
    with pytest.raises(errors.TimeoutError, match="--queue-timeout"):
        Cluster(2, profile="hasty", launcher="slurm", queue_timeout=1).start().wait()
    Cluster.from_profile("hasty").stop()
    assert run("stop").returncode == 0
    assert slurm.ask("squeue", "-h", "-o", "%A") == blocker
    started = run("start", "-n", "1", "--launcher", "slurm", "--no-wait")
    slurm.ask("scancel", blocker)
    waited = run("wait")
    assert waited.returncode == 0 and waited.stdout.startswith("1 engine ready.  Connect: "), waited.stderr
    assert run("stop").returncode == 0 and run("wait").returncode == 3


def test_ctrl_c_in_the_queue_cancels_without_a_terminal(slurm):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    words = [*COMMAND, "start", "-n", "2", "--launcher", "slurm"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "is pending" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    until(lambda: slurm.ask("squeue", "-h", "-o", "%A") == blocker)
    slurm.ask("scancel", blocker)


def test_ctrl_c_in_the_queue_asks_at_a_terminal(slurm):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    words = [*COMMAND[1:], "start", "-n", "2", "--launcher", "slurm"]
    for answer, jobs in (("n", 2), ("y", 1)):
        # A terminal drops output that was not shown before a Ctrl-C, even half a character.
        prompt = pexpect.spawn(
            COMMAND[0],
            words,
            timeout=LIMIT,
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(30, 200),
        )
        prompt.expect("is pending: (no free nodes|others come first)")
        prompt.sendintr()
        prompt.expect(r"Cancel it\?")
        prompt.sendline(answer)
        prompt.expect(pexpect.EOF)
        prompt.close()
        assert prompt.exitstatus == (0 if answer == "n" else 130)
        until(lambda jobs=jobs: len(slurm.ask("squeue", "-h", "-o", "%A").split()) == jobs)
        if answer == "n":
            assert run("stop").returncode == 0
    slurm.ask("scancel", blocker)


def test_a_job_that_is_held_or_whose_limit_is_lowered_goes_on_waiting(slurm, login_node):
    """Conditions that were different at the submission may change back."""
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    words = [*COMMAND, "start", "-n", "1", "--launcher", "slurm", "--walltime", "10m"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = []

    def says(what):
        while not any(what in line for line in said):
            said.append(process.stderr.readline())
            assert said[-1], said

    says("is pending: ")
    job = Cluster.from_profile().job_id
    until(lambda: "it is new" not in Cluster.from_profile().look()[1])
    slurm.ask("scontrol", "uhold", job)
    says(f"it is held; it goes on after 'scontrol release {job}'")
    slurm.ask("scontrol", "release", job)
    slurm.ask("scontrol", "update", "partitionname=main", "maxtime=5")
    says("longer than the partition allows")
    slurm.ask("scontrol", "update", "partitionname=main", "maxtime=60")
    slurm.ask("scancel", blocker)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert run("stop").returncode == 0


def test_a_hopeless_job_raises_at_once(slurm):
    done = run("start", "-n", "2", "--launcher", "slurm", "--walltime", "2h")
    assert done.returncode == 1
    assert "will never start: its walltime is longer than the partition allows" in done.stderr
    assert slurm.ask("squeue", "-h", "-o", "%A") == ""
    assert run("start", "-n", "2", "--launcher", "slurm", "--walltime", "2h", "--no-wait").returncode == 0
    until(lambda: "will never start: its walltime is longer" in run("status").stdout)
    with pytest.raises(errors.ClusterNotFound, match=r"will never start: its walltime.*\n.*direct stop"):
        Client()
    waited = run("wait")
    assert waited.returncode == 1 and "will never start" in waited.stderr
    assert Cluster.from_profile().state is ClusterState.PENDING  # waiting does not remove the job
    assert run("stop").returncode == 0


def test_the_job_id_is_found_in_the_output_of_wrappers(slurm, login_node, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(login_node / "a home with blanks"))
    real = shutil.which("sbatch")
    command(login_node, "sbatch", f'echo Welcome to BigCluster. 17 nodes; {real} "$@"; echo Bye')
    with Cluster(1, launcher="slurm", job_name="my job") as rc:
        assert rc[:].apply_sync(lambda: size) == [1]  # noqa: F821
        assert f"{Cluster.from_profile().job_id} my job" == slurm.ask("squeue", "-h", "-o", "%A %j")


def test_a_ctrl_c_while_sbatch_does_not_answer(slurm, login_node):
    command(login_node, "sbatch", "sleep 1; touch asked; sleep 60")  # now the command waits for sbatch
    words = [*COMMAND, "start", "-n", "1", "--launcher", "slurm"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until((login_node / "asked").exists)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 1 and said.startswith("Error: sbatch was interrupted: a job may have been")


def test_a_refused_job_says_what_slurm_said(slurm):
    done = run("start", "-n", "2", "--launcher", "slurm", "--partition", "nowhere")
    assert done.returncode == 1 and "invalid partition" in done.stderr and "sbatch" in done.stderr
    assert Profile().record() is None


# Ends


def test_a_job_that_dies_at_start_says_why(slurm, login_node):
    done = run("start", "-n", "2", "--launcher", "slurm", "--prologue", "echo no such module; exit 3")
    assert done.returncode == 1
    assert "no such module" in done.stderr and "exit code 3" in done.stderr
    assert Profile().record() is None


def test_the_wrong_launcher_ends_with_the_remedy(slurm):
    """Each rank is alone in its world then, and MPI reports no error."""
    done = run("start", "-n", "2", "--launcher", "slurm", "--mpiexec", "srun --mpi=none")
    assert done.returncode == 1
    assert "should have 3 ranks" in done.stderr and "Remedy" in done.stderr


def test_a_walltime_ends_under_a_waiting_client(slurm):
    cluster = Cluster(**SLURM, walltime="1m", walltime_warning="55s").start().wait()
    code = "import mpidirect, time; rc = mpidirect.Client(); time.sleep(15)"
    warned = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        assert "the walltime ends cluster" in warned.stderr.readline()
        slurm.ask("scontrol", "update", f"jobid={cluster.job_id}", "EndTime=now")
        with pytest.raises(errors.MPIDirectError, match="walltime was over"):
            result.get(timeout=LIMIT)
    warned.kill()
    warned.communicate()
    status = run("status")
    assert status.returncode == 1 and "dead" in status.stdout and "walltime was over" in status.stdout
    assert "controller.log" in status.stdout
    assert "had ended already" in run("stop").stdout
    assert gone(slurm, cluster)


def test_a_failed_query_does_not_end_a_job_but_scancel_does(slurm, login_node):
    cluster = Cluster(2, launcher="slurm").start().wait()
    silent = command(login_node, "scontrol", "echo Unable to contact slurm controller >&2; exit 1")
    blind = Cluster.from_profile()
    assert blind.state is ClusterState.UNKNOWN and "does not answer" in blind.look()[1]
    status = run("status")
    assert status.returncode == 0 and " running  2/2 " in status.stdout
    assert "default: Slurm does not answer: Unable to contact slurm controller" in status.stdout
    command(login_node, "scontrol", "exec sleep 60")
    assert "default: scontrol did not answer within 2 s" in run("status").stdout
    with blind.connect_client() as rc:
        silent.unlink()
        result = rc[:].apply_async(time.sleep, 60)
        slurm.ask("scancel", cluster.job_id)
        with pytest.raises(errors.MPIDirectError, match="it was cancelled"):
            result.get(timeout=LIMIT)
    assert cluster.state is ClusterState.DEAD
    cluster.stop()
    assert gone(slurm, cluster)


def test_a_job_that_is_preempted(slurm):
    cluster = Cluster(2, launcher="slurm", nodes=3).start().wait()
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        slurm.ask("sbatch", "-p", "urgent", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
        with pytest.raises(errors.MPIDirectError, match="it was preempted: another job took its place"):
            result.get(timeout=LIMIT)
    assert cluster.state is ClusterState.DEAD and "PREEMPTED" in cluster.look()[1]
    assert "it was preempted" in run("status").stdout
    cluster.stop()


def test_a_job_that_is_requeued(slurm):
    cluster = Cluster(1, launcher="slurm", without=["--no-requeue"], directives=["--requeue"]).start().wait()
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        slurm.ask("scontrol", "requeue", cluster.job_id)
        with pytest.raises(errors.ControllerLost, match="it was requeued and will begin anew: its time"):
            result.get(timeout=LIMIT)
    with pytest.raises(errors.ClusterNotFound, match="it was requeued and will begin anew"):
        Client()
    slurm.ask("scontrol", "update", f"jobid={cluster.job_id}", "StartTime=now")
    assert run("wait").returncode == 0
    with Client() as rc:
        assert rc[:].apply_sync(lambda: size) == [1]  # noqa: F821
    cluster.stop()
    assert gone(slurm, cluster)


def test_a_job_unknown_to_slurm_has_ended(slurm):
    assert SlurmLauncher.of("99999").state().state is JobState.ENDED
