"""Other schedulers: by their commands, by another package, and how Grid Engine's answers are understood."""

import os
import sys

import pytest

from mpidirect import Cluster, config, errors
from mpidirect.cluster import ClusterState
from mpidirect.launchers import launcher_class, launcher_names
from mpidirect.launchers.base import JobState
from mpidirect.launchers.command import CommandLauncher
from mpidirect.launchers.sge import SGELauncher
from mpidirect.profiles import Profile

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory of profiles, and one of commands on the path."""
    for name in [name for name in os.environ if name.startswith("MPIDIRECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def command(home, name, text):
    path = home / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# Any scheduler, by its commands


def test_a_cluster_by_commands(home):
    """The scheduler is the shell: a job's id is its process group."""
    command(home, "launch", 'setsid sh "$1" > /dev/null 2>&1 & echo "Job <$!> is submitted"')
    command(home, "jobs", 'kill -0 "$1" 2> /dev/null && echo RUN || echo "job $1 not found"')
    command(home, "end", 'kill -- "-$1"')
    Profile("shell").create().config_file.write_text(
        "launcher = 'command'\n"
        "submit = 'launch {script}'\npoll = 'jobs {id}'\ncancel = 'end {id}'\nid = '<(\\d+)>'\n"
    )
    cluster = Cluster(2, profile="shell")
    with cluster as rc:
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [2, 2]  # noqa: F821
        assert cluster.job_id.isdigit() and cluster.state is ClusterState.RUNNING
    assert cluster.state is ClusterState.STOPPED
    cluster.start().stop(0)
    assert cluster.profile.record() is None


def test_commands_that_are_missing_or_unclear_are_told(home):
    with pytest.raises(errors.ConfigError, match=r"needs the setting 'poll'.*config\.toml"):
        Cluster(1, launcher="command", submit="echo 1").job_script()
    launcher = CommandLauncher.of("7")
    launcher.settings = {**launcher.settings, "poll": "echo who knows {id}"}
    status = launcher.state()
    assert status.state is JobState.UNKNOWN and "who knows 7" in status.reason


def test_a_launcher_of_another_package(home, monkeypatch):
    package = home / "other"
    (package / "other-1.dist-info").mkdir(parents=True)
    (package / "other-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other\nVersion: 1\n"
    )
    (package / "other-1.dist-info" / "entry_points.txt").write_text(
        "[mpidirect.launchers]\ntheirs = other_launcher:Theirs\n"
    )
    (package / "other_launcher.py").write_text(
        "from mpidirect.launchers.slurm import SlurmLauncher as Slurm\n\n\n"
        "class Theirs(Slurm):\n    name = 'theirs'\n"
    )
    monkeypatch.setattr(sys, "path", [str(package), *sys.path])
    assert "theirs" in launcher_names() and launcher_class("theirs").name == "theirs"
    assert "#SBATCH --ntasks=3" in Cluster(3, launcher="theirs").job_script()


# Grid Engine

LISTED = """\
job-ID  prior   name       user   state submit/start at     queue                   slots ja-task-ID
---------------------------------------------------------------------------------------------------------
      7 0.55500 mpidirect  me           {}     01/01/2026 00:00:00 {} 4
"""


@pytest.mark.parametrize(
    "state, queue, found, hopeless, words",
    [
        ("qw", "", JobState.PENDING, False, "offers 2 slots"),
        ("hqw", "", JobState.PENDING, True, "offers 2 slots"),
        ("Eqw", "", JobState.PENDING, True, "can't start"),
        ("r", "all.q@node1", JobState.RUNNING, False, ""),
        ("dr", "all.q@node1", JobState.RUNNING, False, "it ends"),
    ],
)
def test_what_qstat_lists_is_understood(home, state, queue, found, hopeless, words):
    (home / "listed").write_text(LISTED.format(state, queue))
    explained = 'scheduling info:            cannot run in PE "mpi" because it only offers 2 slots'
    command(home, "qstat", f"case $1 in -j) echo '{explained}';; *) cat {home}/listed;; esac")
    status = SGELauncher.of("7").state()
    assert (status.state, status.hopeless) == (found, hopeless) and words in status.reason
    assert status.hosts == ("node1" if queue else "")


@pytest.mark.parametrize(
    "kept, failed, words",
    [
        ("failed       0\nexit_status  0", False, "by itself"),
        ("failed       0\nexit_status  3", True, "exit code 3"),
        ("failed       100 : assumedly after job\nexit_status  137\ndeleted_by   me", True, "deleted by me"),
        ("failed       26 : opening input/output file\nexit_status  0", True, "opening input/output file"),
    ],
)
def test_what_qacct_keeps_is_understood(home, kept, failed, words):
    command(home, "qstat", "true")
    command(home, "qacct", f"printf '{kept}\n'")
    status = SGELauncher.of("7").state()
    assert status.state is JobState.ENDED and status.failed is failed and words in status.reason


def test_a_job_that_no_accounting_knows_yet(home):
    command(home, "qstat", "true")
    command(home, "qacct", "echo error: job id 7 not found >&2; exit 1")
    assert SGELauncher.of("7").state().state is JobState.ENDED


def test_what_grid_engine_is_asked_for(home):
    settings = {"walltime": "2h", "mem": "2G", "queue": "short", "pe": "orte", "cpus_per_task": 2}
    script = Cluster(4, launcher="sge", **settings).job_script()
    assert "#$ -pe orte 8\n#$ -l h_rt=2:00:00\n#$ -l h_vmem=2G\n#$ -q short\n" in script
    with pytest.raises(errors.ConfigError, match="leave out --nodes"):
        Cluster(4, launcher="sge", nodes=2).job_script()


# Profiles


def test_a_profile_for_a_scheduler_explains_its_options(home):
    from click.testing import CliRunner

    from mpidirect.cli import cli

    words = "profile create mpi --launcher slurm --nodes 2 --walltime 2h --prologue x --prologue y"
    made = CliRunner().invoke(cli, words.split(), prog_name="mpidirect")
    assert made.exit_code == 0, made.output
    text = Profile("mpi").config_file.read_text()
    assert 'walltime = "2:00:00"' in text and 'prologue = ["x", "y"]' in text and "# account = " in text
    assert config.resolve(Profile("mpi").config_file)["walltime"] == "2:00:00"
    plain = CliRunner().invoke(cli, ["profile", "create"], prog_name="mpidirect")
    assert plain.exit_code == 0 and "account" not in Profile().config_file.read_text()
