"""The directives for Slurm, and the parsing of its output."""

import time

import pytest
from schedulers.login import command
from schedulers.slurm import SLURM

from mpidirect import Cluster, errors
from mpidirect.cluster.state import ClusterState
from mpidirect.files.profiles import ClusterRecord, Profile
from mpidirect.launchers import launcher_class, scheduled_jobs
from mpidirect.launchers.base import JobState
from mpidirect.launchers.slurm import parse_job
from mpidirect.launchers.walltime import current_job_end, job_end

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_settings_without_a_task_for_an_engine_raise(login_node):
    with pytest.raises(errors.ConfigError, match="don't fit"):
        Cluster(5, **SLURM).job_script()
    with pytest.raises(errors.ConfigError, match="How many engines"):
        Cluster(launcher="slurm").job_script()
    with pytest.raises(errors.ConfigError, match="--launcher slurm"):
        Cluster(2, nodes=1).job_script()


def test_a_node_for_the_controller_is_added():
    script = Cluster(3, controller="node", **SLURM).job_script()
    assert "#SBATCH --nodes=3\n#SBATCH --ntasks-per-node=2\n" in script and " -n 4 " in script
    assert "--hostfile " in script.splitlines()[-1]
    script = Cluster(3, controller="node", **SLURM, mpiexec="srun --mpi=pmi2").job_script()
    assert "srun --distribution=arbitrary --mpi=pmi2 -n 4" in script and "export SLURM_HOSTFILE=/" in script
    with pytest.raises(errors.ConfigError, match="say how many"):
        Cluster(3, controller="node", launcher="slurm").job_script()
    with pytest.raises(errors.ConfigError, match="does not know how to tell"):
        Cluster(3, controller="node", **SLURM, mpiexec="true").job_script()
    with pytest.raises(errors.ConfigError, match="Grid Engine can't be asked for a node"):
        Cluster(3, controller="node", launcher="sge").job_script()


# The script


def test_the_script_contains_all_settings(login_node):
    settings = {
        "cpus_per_task": 3,
        "mem": "2G",
        "gpus": 1,
        "walltime": "90m",
        "partition": "short",
        "account": "physics",
        "qos": "high",
        "constraint": "fast",
        "job_name": "mine",
        "prologue": ["module load openmpi", "conda activate work"],
        "directives": ["--exclusive"],
        "without": ["--no-requeue"],
        "mpiexec": "srun --mpi=pmi2",
        "python": "/opt/its/python",
    }
    script = Cluster(**SLURM, **settings).job_script()
    directives = """
        --nodes=2 --ntasks-per-node=2 --cpus-per-task=3 --mem=2G --gpus-per-node=1 --time=1:30:00
        --partition=short --account=physics --qos=high --constraint=fast --job-name=mine --exclusive
    """
    for line in directives.split():
        assert f"#SBATCH {line}\n" in script
    assert 'export OMP_NUM_THREADS="${OMP_NUM_THREADS-3}"' in script
    assert "--no-requeue" not in script
    assert "module load openmpi\nconda activate work\n" in script
    assert "#   sbatch --parsable /" in script
    assert "srun --overcommit --mpi=pmi2 -n 5 /opt/its/python -m mpidirect.job" in script
    assert not (login_node / "home").exists()


@pytest.mark.parametrize(
    ("launcher", "line"), [("slurm", "--gpus-per-task=2"), ("pbs", ":ngpus=6"), ("sge", "-l gpu=2")]
)
def test_gpus_of_each_engine(login_node, launcher, line):
    script = Cluster(3, launcher=launcher, gpus_per_task=2).job_script()
    assert f"{line}\n" in script and "OMP_NUM_THREADS" not in script
    with pytest.raises(errors.ConfigError, match="--gpus-per-task"):
        Cluster(3, launcher=launcher, gpus_per_task=2, gpus=2).job_script()
    with pytest.raises(errors.ConfigError, match="--gpus-per-task"):
        Cluster(3, launcher="sge", gpus_per_task=2, cpus_per_task=2).job_script()


def test_a_template_is_filled(login_node):
    template = login_node / "template"
    template.write_text(
        "#!/bin/sh\n{directives}\necho ${HOME} {unknown} {engines}\n{environment}\n{command} --x\n"
    )
    script = Cluster(2, launcher="slurm", template=str(template)).job_script()
    assert "#SBATCH --ntasks=2\n" in script and "echo ${HOME} {unknown} 2\n" in script
    assert script.endswith(".json --x\n")
    template.write_text("nothing")
    with pytest.raises(errors.ConfigError, match="nothing would start the ranks"):
        Cluster(2, launcher="slurm", template=str(template)).job_script()


# The id in the output of a submission

ANSWERS = [
    ("slurm", "126\n", "126"),
    ("slurm", "126;bigcluster\n", "126"),
    ("slurm", "Welcome to BigCluster. 3 nodes are down.\n\n126\nHave fun!\n", "126"),
    ("slurm", "Submitted batch job 126\n", "126"),
    ("slurm", "Submitted batch job 126 on cluster big\n", "126"),
    ("slurm", "Welcome to BigCluster.\n", ""),
    ("slurm", "125\n126\n", ""),
    ("pbs", "Project physics is charged.\n126.pbs1\n", "126.pbs1"),
    ("pbs", "126[].pbs1.site.org\n", "126[].pbs1.site.org"),
    ("pbs", "126\n", "126"),
    ("pbs", "Good morning\n", ""),
    ("sge", "warning: no limit is said\n126\n", "126"),
    ("sge", "126.1-10:1\n", "126"),
    ("sge", 'Your job 126 ("mpidirect") has been submitted\n', "126"),
    ("sge", "Good morning\n", ""),
]


@pytest.mark.parametrize(("launcher", "printed", "id"), ANSWERS)
def test_the_job_id_is_found_in_the_output(launcher, printed, id):
    assert launcher_class(launcher).of("").read_id(printed) == id


@pytest.mark.parametrize(("launcher", "submits"), [("slurm", "sbatch"), ("pbs", "qsub"), ("sge", "qsub")])
def test_an_answer_without_an_id_is_quoted(login_node, launcher, submits):
    command(login_node, submits, "echo Welcome to BigCluster. 126")
    with pytest.raises(errors.LaunchError, match="may have been submitted") as raised:
        Cluster(2, launcher=launcher, job_name="mine").start()
    assert "    Welcome to BigCluster. 126\n" in str(raised.value) and "'mine'" in str(raised.value)
    assert Profile().record() is None


# Slurm's words


@pytest.mark.parametrize(
    ("text", "state", "hopeless", "words"),
    [
        ("JobState=PENDING Reason=Resources StartTime=Unknown", JobState.PENDING, False, "no free nodes"),
        ("JobId=7 JobState=PENDING Reason=JobHeldUser", JobState.PENDING, False, "'scontrol release 7'"),
        ("JobState=PENDING Reason=JobHeldAdmin", JobState.PENDING, False, "by an administrator"),
        ("JobState=PENDING Reason=None Restarts=0", JobState.PENDING, None, "it is new"),
        ("JobState=PENDING Reason=BeginTime Restarts=1", JobState.PENDING, False, "was requeued"),
        ("JobState=PENDING Reason=PartitionConfig", JobState.PENDING, True, "more than the partition"),
        (
            "JobState=PENDING Reason=Priority StartTime=2099-01-01T00:00:00",
            JobState.PENDING,
            False,
            "2099-01-01",
        ),
        ("JobState=PENDING Reason=QOSMaxWallDurationPerJobLimit", JobState.PENDING, True, "limit on one job"),
        ("JobState=PENDING Reason=QOSMaxJobsPerUserLimit", JobState.PENDING, False, "QOSMaxJobsPerUserLimit"),
        ("JobState=PENDING Reason=AssocMaxCpuPerJobLimit", JobState.PENDING, True, "limit on one job"),
        ("JobState=COMPLETING Reason=TimeLimit NodeList=n1", JobState.RUNNING, False, "walltime"),
        ("JobState=PREEMPTED Reason=None ExitCode=0:0", JobState.ENDED, False, "preempted"),
        (
            "JobState=PENDING Reason=Nodes_are_DOWN,_DRAINED",
            JobState.PENDING,
            False,
            "Nodes are DOWN, DRAINED",
        ),
        ("JobState=FAILED Reason=NonZeroExitCode ExitCode=0:9", JobState.ENDED, False, "signal 9"),
        (
            "JobState=FAILED Reason=RaisedSignal:53 ExitCode=0:53",
            JobState.ENDED,
            False,
            "can't write its output",
        ),
        ("JobState=COMPLETED Reason=None ExitCode=0:0", JobState.ENDED, False, "by itself"),
    ],
)
def test_the_output_of_scontrol_is_parsed(text, state, hopeless, words):
    status = parse_job(text)
    assert (status.state, status.hopeless) == (state, hopeless) and words in status.reason


def test_a_changed_walltime_is_queried(login_node, monkeypatch):
    """Slurm tells a job's processes the end of the job only once, in their environment."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1000")
    assert job_end() == 1000
    moved = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 600))
    began = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 60))
    command(
        login_node,
        "scontrol",
        f"echo JobId=7 JobState=RUNNING RunTime=00:01:00 StartTime={began} EndTime={moved}",
    )
    assert 590 < current_job_end(1000) - time.time() <= 600
    skewed = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) for moment in (0, 900))
    times = "StartTime={} EndTime={}".format(*skewed)  # by a clock that is years behind
    command(login_node, "scontrol", f"echo JobId=7 JobState=RUNNING RunTime=00:05:00 {times}")
    assert 590 < current_job_end(1000) - time.time() <= 600
    command(login_node, "scontrol", "echo Unable to contact slurm controller >&2; exit 1")
    assert current_job_end(1000) == 1000


def test_the_state_of_an_ending_job(login_node):
    command(login_node, "scontrol", "echo JobId=7 JobState=COMPLETING Reason=None NodeList=n1")
    record = ClusterRecord(
        cluster="one", launcher="slurm", engines=2, host="vm", started=time.time(), handle={"id": "7"}
    )
    Profile().create().remember(record)
    Profile().connection_file("one").touch(0o600)  # the controller was killed
    assert Cluster.from_profile().look() == (ClusterState.ENDING, "it ends")
    told = scheduled_jobs.failure_reason("", "one", 0.2)
    assert told.startswith("of its job 7: it ends; 'mpidirect status' will tell how it ended.")
