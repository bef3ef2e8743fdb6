"""The fork server: a forked engine is the process that MPI has started for it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from waiting import until

from mpidirect.job import fork_client, fork_server
from mpidirect.job.process_identity import birth
from mpidirect.job.variables import FORK_SERVER, WRAPPER_PID

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere engines are not forked")

ANCHOR = """
    import os, sys
    from pathlib import Path
    from mpidirect.job import fork_server
    if fork_server.start(sys.argv[1], Path(sys.argv[2])):
        exec(os.environ["CODE"])
        os._exit(0)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def anchor(tmp_path):
    """Return a process with a fork server, and the name of its cluster."""
    cluster = secrets.token_hex(4)
    command = [sys.executable, "-c", textwrap.dedent(ANCHOR), cluster, str(tmp_path / "job.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process, cluster
        process.kill()


def client(cluster, code="", prefix=(), **options):
    """Start the process that MPI would start for an engine; the engine executes `code`."""
    arguments = ["-S", fork_client.__file__, fork_server.server_name(cluster), "-c", "print('not forked')"]
    environment = {**os.environ, "CODE": code, **options.pop("environment", {})}
    command = [*prefix, sys.executable, "-X", "utf8", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


def outcome(process):
    """Return the output and the exit code of a process."""
    output, _ = process.communicate(timeout=60)
    return output.strip(), process.returncode


def test_an_engine_has_the_environment_the_directory_and_the_descriptors_of_its_client(anchor, tmp_path):
    _, cluster = anchor
    inside, outside = os.pipe()
    code = (
        f"print(os.environ['TOLD'], os.getcwd()); sys.stdout.flush(); os.write({outside}, b'x'); os._exit(7)"
    )
    process = client(
        cluster, code, environment={"TOLD": "yes=no"}, cwd=str(tmp_path.parent), pass_fds=[outside]
    )
    os.close(outside)
    assert outcome(process) == (f"yes=no {tmp_path.parent}", 7)
    assert os.read(inside, 10) == b"x"
    assert os.read(inside, 10) == b""  # the server has kept no copy
    os.close(inside)


def test_an_engine_knows_its_wrapper(anchor):
    _, cluster = anchor
    code = (
        "from mpidirect.job.parent import Parent; p = Parent(); print(p.wrapped, p.command()[-1], p.gone())"
    )
    script = f'{WRAPPER_PID}=$$; export {WRAPPER_PID}; "$@"; exit $?'
    process = client(cluster, code, prefix=("sh", "-c", script, "sh"))
    assert outcome(process) == ("True print('not forked') False", 0)


def test_a_death_by_a_signal_is_reported(anchor):
    _, cluster = anchor
    assert outcome(client(cluster, "os.kill(os.getpid(), 9)")) == ("", 128 + signal.SIGKILL)


def test_a_signal_that_the_engine_survives_does_not_end_the_client(anchor):
    """A scheduler warns all processes of a job by a SIGTERM."""
    _, cluster = anchor
    code = "import signal; signal.signal(15, lambda *_: os._exit(9)); print('up', flush=True); signal.pause()"
    process = client(cluster, code, start_new_session=True)
    assert process.stdout.readline() == "up\n"
    until(lambda: signal.SIGTERM in ignored(process.pid))
    process.terminate()  # only the client
    assert birth(process.pid)
    process.kill()
    process.communicate()


def ignored(pid):
    """Return the signals that a process ignores."""
    mask = int(re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_an_engine_ends_with_its_client_and_the_server_with_the_anchor(anchor):
    process, cluster = anchor
    engine = client(cluster, "import signal; print(os.getpid(), os.getppid(), flush=True); signal.pause()")
    forked, server = map(int, engine.stdout.readline().split())
    process.stdin.close()
    process.wait()
    assert birth(server)  # the server still has an engine
    engine.kill()
    engine.wait()
    engine.stdout.close()
    until(lambda: birth(forked) is None and birth(server) is None)


@pytest.mark.parametrize("namespace", ["--net", "--ipc"])
def test_the_process_of_another_namespace_becomes_the_engine_itself(anchor, namespace):
    _, cluster = anchor
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, namespace, "true"], capture_output=True).returncode:
        pytest.skip("no namespace can be made here")
    assert outcome(client(cluster, prefix=(unshare, namespace))) == ("not forked", 0)


def test_without_a_server_the_process_becomes_the_engine_itself(tmp_path, monkeypatch):
    assert outcome(client("none")) == ("not forked", 0)
    monkeypatch.setenv(FORK_SERVER, "0")
    assert not fork_server.start("none", tmp_path / "job.log")
    assert outcome(client("none")) == ("not forked", 0)
