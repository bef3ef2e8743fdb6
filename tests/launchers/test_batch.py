"""Launchers for other schedulers: by commands, and from another package; and profiles for them."""

import sys

import pytest
from schedulers.login import command

from mpidirect import Cluster, errors
from mpidirect.cluster.state import ClusterState
from mpidirect.config import config
from mpidirect.files.profiles import Profile
from mpidirect.launchers import launcher_class, launcher_names
from mpidirect.launchers.base import JobState
from mpidirect.launchers.command import CommandLauncher

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


# Any scheduler, by its commands


def test_a_cluster_by_commands(login_node):
    """The scheduler is the shell: a job's id is its process group."""
    command(login_node, "launch", 'setsid sh "$1" > /dev/null 2>&1 & echo "Job <$!> is submitted"')
    command(login_node, "jobs", 'kill -0 "$1" 2> /dev/null && echo RUN || echo "job $1 not found"')
    command(login_node, "end", 'kill -- "-$1"')
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


def test_missing_or_unclear_commands_raise(login_node):
    with pytest.raises(errors.ConfigError, match=r"needs the setting 'poll'.*config\.toml"):
        Cluster(1, launcher="command", submit="echo 1").job_script()
    launcher = CommandLauncher.of("7")
    launcher.settings = {**launcher.settings, "poll": "echo who knows {id}"}
    status = launcher.state()
    assert status.state is JobState.UNKNOWN and "who knows 7" in status.reason


def test_a_launcher_of_another_package(login_node, monkeypatch):
    package = login_node / "other"
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


@pytest.mark.parametrize("launcher", ["pbs", "sge"])
def test_blanks_are_quoted_or_refused(login_node, monkeypatch, launcher):
    monkeypatch.setenv("MPIDIRECT_DIR", str(login_node / "a home"))
    script = Cluster(1, launcher=launcher).job_script()
    assert f' -o "{login_node}/a home/default/logs/' in script
    with pytest.raises(errors.ConfigError, match="takes a name without blanks"):
        Cluster(1, launcher=launcher, job_name="my job").job_script()


# Profiles


def test_a_profile_for_a_scheduler_explains_its_options(login_node):
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
