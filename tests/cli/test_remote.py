"""Commands that ``--ssh`` runs on another host: by the real ssh and sshd, and a real Slurm."""

import doctest
import json
import os
import signal
import socket
import subprocess
import sys

import pexpect
import pytest
from conftest import ROOT
from schedulers import ssh
from schedulers.login import COMMAND, command, run
from waiting import LIMIT, until

from mpidirect import Client, Cluster, errors
from mpidirect.files import connection_file
from mpidirect.files.profiles import Profile

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

PAGE = ROOT / "docs" / "laptop.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# Runs the examples of the page $1 from its line $2 to its line $3.
EXAMPLES = """
import doctest, pathlib, sys
text = "\\n".join(pathlib.Path(sys.argv[1]).read_text().splitlines()[int(sys.argv[2]) : int(sys.argv[3])])
test = doctest.DocTestParser().get_doctest(text, {}, "page", None, 0)
sys.exit(doctest.DocTestRunner().run(test).failed or not test.examples)
"""


@pytest.fixture
def login(login_node, monkeypatch):
    """Give a test an ssh to the host ``login``; this process is on a laptop with its own profiles."""
    ssh.install(login_node, there=login_node / "home")
    monkeypatch.setenv("MPIDIRECT_DIR", str(login_node / "laptop"))
    monkeypatch.setenv("MPIDIRECT_SITE_CONFIG", str(login_node / "none"))
    return login_node


def blocks():
    """Yield the kind of each example of the page, its first line and the line after its last."""
    kind, first = "", 0
    for number, line in enumerate(PAGE.read_text().splitlines()):
        if line.startswith("```"):
            if kind:
                yield kind, first, number
            kind, first = (line[3:], number + 1) if not kind else ("", 0)


def run_console(lines):
    """Run the commands of an example, and compare their output."""
    for typed in "\n".join(lines).split("$ ")[1:]:
        line, _, expected = typed.partition("\n")
        done = ssh.on_a_laptop("bash", "-c", line)
        assert done.returncode == 0, (line, done.stderr)
        assert doctest.OutputChecker().check_output(expected, done.stdout, FLAGS), (line, done.stdout)


@pytest.mark.page
@pytest.mark.slurm
def test_the_page(hosts, login, monkeypatch):
    monkeypatch.setenv("HOME", str(login / "person"))
    monkeypatch.delenv("MPIDIRECT_DIR")
    lines = PAGE.read_text().splitlines()
    for kind, first, end in blocks():
        if kind == "console":
            run_console(lines[first:end])
        elif kind == "pycon":
            done = ssh.on_a_laptop(sys.executable, "-c", EXAMPLES, str(PAGE), str(first), str(end))
            assert done.returncode == 0, done.stdout + done.stderr
    assert hosts.ask("squeue", "-h", "-o", "%A") == ""


def test_output_and_exit_code_are_passed_through(login):
    assert run("status", "--ssh", "login").returncode == 3
    script = run(
        "script", "-n", "2", "--launcher", "slurm", "--job-name", 'it\'s "mine" $HOME', "--ssh", "login"
    )
    assert script.returncode == 0 and script.stderr == "Welcome to login\n"
    assert "job-name=\"it's" in script.stdout and "$HOME" in script.stdout
    wrong = run("start", "--nodes", "2", "--ssh=login")
    assert wrong.returncode == 2 and "--nodes asks a scheduler for something" in wrong.stderr
    assert json.loads(run("list", "--json", MPIDIRECT_SSH="login").stdout) == []
    assert not Profile().exists() or not Profile().record()


def test_the_host_can_be_a_setting_of_the_profile(login, monkeypatch):
    Profile("big").create().config_file.write_text(f"ssh = 'login'\nssh_python = '{sys.executable}'\n")
    created = run("profile", "create", "big", "-n", "2")
    assert created.returncode == 0 and str(login / "home" / "big") in created.stdout
    with pytest.raises(errors.ClusterNotFound, match="'big' on login does not run"):
        Client(profile="big")
    monkeypatch.setenv("MPIDIRECT_PROFILE", "big")
    assert "No cluster runs under profile 'big'" in run("wait").stderr
    assert "Welcome to login" not in run("wait", "--ssh", "").stderr
    with pytest.raises(errors.ConfigError, match="mpidirect start --ssh login"):
        Cluster(1, ssh="login").start()


def test_clusters_of_this_host_and_the_other_host_are_distinguished(login):
    keys = dict.fromkeys(("server_key", "client_key", "client_secret"), "")
    info = connection_file.ConnectionInfo(cluster="1", addresses=[], host=socket.gethostname(), **keys)
    connection_file.write(info, Profile().create().connection_file("1"))
    with pytest.raises(errors.ClusterNotFound, match="'default' on login does not run"):
        Client(sshserver="login")


def test_errors_say_what_to_do(login):
    unreachable = run("status", "--ssh", "nowhere")
    assert unreachable.returncode == 1 and "refused" in unreachable.stderr
    assert "Try:  ssh nowhere true" in unreachable.stderr
    bare = run("status", "--ssh", "login", "--ssh-python", "/usr/bin/false")
    assert bare.returncode == 2 and "/usr/bin/false on login has no mpidirect" in bare.stderr
    command(login, "mpidirect", '[ $1 = --version ] && echo mpidirect 0.0.1 || echo "$@"')
    other = run("status", "--json", "--ssh", "login")
    assert other.stdout == "status --json --ssh login\n" and "on login 0.0.1" in other.stderr
    (login / "bin" / "mpidirect").write_text("#!/bin/sh\nexit 127\n")
    missing = run("status", "--ssh", "login")
    assert missing.returncode == 2 and "A login on login finds no mpidirect" in missing.stderr
    assert "--ssh-python" in missing.stderr


@pytest.mark.slurm
def test_a_ctrl_c_reaches_the_command(slurm, login):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    until(lambda: slurm.ask("squeue", "-h", "-j", blocker, "-o", "%T") == "RUNNING")
    words = [*COMMAND, "start", "-n", "1", "--launcher", "slurm", "--ssh", "login"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: "is pending" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    until(lambda: slurm.ask("squeue", "-h", "-o", "%A") == blocker)
    prompt = pexpect.spawn(words[0], words[1:], timeout=LIMIT, encoding="utf-8", codec_errors="replace")
    prompt.expect("is pending")
    prompt.sendintr()
    prompt.expect(r"Cancel it\?")
    prompt.sendline("y")
    prompt.expect(pexpect.EOF)
    prompt.close()
    assert prompt.exitstatus == 130
    until(lambda: slurm.ask("squeue", "-h", "-o", "%A") == blocker)
    assert not os.path.exists(login / "home" / "default" / "cluster.json")  # noqa: PTH110
