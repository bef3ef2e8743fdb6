"""Files that other users may have written are not used, and processes of others are not ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from mpidirect import Client, Cluster
from mpidirect.cli import cli
from mpidirect.cluster.state import ClusterState
from mpidirect.errors import ConfigError, ConnectionFailed, Untrusted
from mpidirect.files.job_file import JobSpec
from mpidirect.files.job_file import read as read_job
from mpidirect.files.job_file import write as write_job
from mpidirect.files.private_directories import private_directory, socket_directory, successor
from mpidirect.files.profiles import ClusterRecord, Profile, home_path
from mpidirect.job import processes

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Return the path of the trace of a command in the settings of a profile."""
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    monkeypatch.delenv("MPIDIRECT_PROFILE", raising=False)
    trace = tmp_path / "trace"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\necho was here >> {trace}\n")
    evil.chmod(0o755)
    here = Profile().create()
    here.config_file.write_text(
        f'launcher = "command"\npoll = "{evil}"\ncancel = "{evil}"\nmpiexec = "{evil}"\n'
    )
    here.remember(
        ClusterRecord(cluster="x", launcher="command", engines=1, host="h", started=0.0, handle={"id": "1"})
    )
    return trace


def widen(path):
    path.chmod(path.stat().st_mode | 0o022)


def give_away(path):
    os.chown(path, NOBODY, NOBODY)


def widen_all(path):
    """Let others write to a file, and reach it."""
    home_path().chmod(0o755)
    path.parent.chmod(0o755)
    widen(path)


DANGERS = {
    "the directory is wide": lambda: widen(home_path()),
    "the profile is wide": lambda: (home_path().chmod(0o755), widen(Profile().directory)),
    "the settings are wide": lambda: widen_all(Profile().config_file),
    "the directory is another's": lambda: give_away(home_path()),
    "the profile is another's": lambda: give_away(Profile().directory),
    "the settings are another's": lambda: give_away(Profile().config_file),
}
EACH = [
    pytest.param(made, id=what, marks=as_root if "another" in what else ()) for what, made in DANGERS.items()
]
COMMANDS = ["script", "status", "list", "stop", "clean", "profile show", "start", "run x.py"]


@pytest.mark.parametrize("made", EACH)
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_ignore_settings_that_others_can_write(trap, made, command):
    made()
    done = CliRunner().invoke(cli, command.split())
    assert not trap.exists()
    assert done.exit_code == 2
    assert "Nothing in it was used" in done.output
    assert "chmod" in done.output or "belongs to user nobody" in done.output


@pytest.mark.parametrize("made", EACH)
def test_programs_ignore_settings_that_others_can_write(trap, made):
    made()
    for attempt in (lambda: Cluster(n=1).job_script(), lambda: Cluster(n=1).start(), Cluster.from_profile):
        with pytest.raises(Untrusted, match="Nothing in it was used"):
            attempt()
    assert not trap.exists()


@pytest.mark.parametrize("made", EACH[:2])
def test_clients_ignore_settings_that_others_can_write(trap, made):
    made()
    with pytest.raises(Untrusted):
        Client()


@pytest.mark.parametrize(
    "made", [widen_all, pytest.param(give_away, marks=as_root)], ids=["wide", "another's"]
)
def test_records_and_job_files_that_others_can_write_are_refused(trap, made):
    here = Profile()
    here.config_file.unlink()
    job = here.job_file("x")
    write_job(JobSpec(cluster="x", engines=1, profile="", connection_file="", log_directory=""), job)
    assert here.record() and read_job(job)
    made(here.record_file)
    made(job)
    for attempt in (here.record, lambda: read_job(job), Client, Cluster.from_profile):
        with pytest.raises(Untrusted):
            attempt()


@pytest.mark.parametrize("command", ["script", "start", "run x.py", "status", "list", "stop", "clean"])
def test_a_pipe_in_place_of_a_file_blocks_no_command(trap, command):
    here = Profile()
    file = here.record_file if command in ("status", "list", "stop", "clean") else here.config_file
    file.unlink()
    os.mkfifo(file, 0o600)
    done = CliRunner().invoke(cli, command.split())
    assert f"{file} can't be read" in done.output and "no regular file" in done.output
    assert not trap.exists()


def test_a_pipe_in_place_of_a_job_or_connection_file_blocks_nobody(trap):
    here = Profile()
    here.config_file.unlink()
    for file in (here.job_file("x"), here.connection_file("x")):
        os.mkfifo(file, 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        read_job(here.job_file("x"))
    with pytest.raises(ConnectionFailed, match="no regular file"):
        Client(here.connection_file("x"))


def test_doctor_tells_it_and_runs_nothing_of_it(trap, monkeypatch):
    monkeypatch.setattr("mpidirect.cluster.doctor.check_mpi", lambda *command: iter(()))  # takes seconds
    widen(home_path())
    done = CliRunner().invoke(cli, ["doctor"])
    assert not trap.exists()
    assert done.exit_code == 1
    assert "can be changed by other users" in done.output and "chmod 700" in done.output
    assert "Please report" not in done.output


def test_a_private_parent_protects_writable_files(trap):
    """As with a umask of 002: the directory of profiles keeps others out."""
    widen(Profile().directory)
    widen(Profile().config_file)
    assert Cluster().settings["launcher"] == "command"


@as_root
def test_a_link_of_another_user_is_not_followed(trap, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(home_path())
    monkeypatch.setenv("MPIDIRECT_DIR", str(link))
    assert Profile().record()
    os.lchown(link, NOBODY, NOBODY)
    with pytest.raises(Untrusted, match="belongs to user nobody"):
        Profile()


def test_a_site_file_that_everybody_can_change_is_not_used(trap, tmp_path, monkeypatch):
    site = tmp_path / "site.toml"
    monkeypatch.setenv("MPIDIRECT_SITE_CONFIG", str(site))
    site.write_text("n = 3\n")
    assert Cluster().settings["n"] == 3
    site.chmod(0o666)
    with pytest.raises(Untrusted, match="chmod o-w"):
        Cluster().settings


@pytest.mark.parametrize("mark", ["", "another cluster"])
def test_processes_outside_the_cluster_are_not_ended(trap, mark):
    """The record is wrong, or older than the process that now has the number."""
    here = Profile()
    here.config_file.unlink()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, env={**os.environ, "MPIDIRECT_CLUSTER": mark}) as stranger:
        try:
            handle = {"pid": stranger.pid, "born": processes.birth(stranger.pid)}
            here.remember(
                ClusterRecord(
                    cluster="x",
                    launcher="mpiexec",
                    engines=1,
                    host=os.uname().nodename,
                    started=time.time(),
                    handle=handle,
                )
            )
            assert Cluster.from_profile().state is ClusterState.STOPPED
            assert CliRunner().invoke(cli, ["stop"]).exit_code == 0
            assert stranger.poll() is None
            assert here.record() is None
        finally:
            stranger.kill()


@as_root
def test_another_user_can_not_announce_a_successor(tmp_path, monkeypatch):
    """Possible when the directory of the cluster's sockets has been removed."""
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    directory = private_directory(socket_directory(f"trust{os.getpid()}"))
    try:
        (directory / "successor").touch()
        assert successor(f"trust{os.getpid()}") == 0
        give_away(directory)
        assert successor(f"trust{os.getpid()}") is None
    finally:
        (directory / "successor").unlink()
        directory.rmdir()
