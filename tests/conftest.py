"""Fixtures for all tests: a cluster of four engines, clusters for one test, Slurm, an IPython prompt."""

from __future__ import annotations

import builtins
import faulthandler
import os
import sys
import types
from pathlib import Path

import pytest
from parallel import (  # noqa: F401  # hooks
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_xdist_make_scheduler,
)
from schedulers import login
from schedulers.slurm import Slurm
from waiting import until

from mpidirect import Client, Cluster
from mpidirect.job import processes

N = 4


def pytest_runtest_setup(item):
    """Leave the stacks of tests with a longer timeout to pytest-timeout.

    faulthandler reads frames without Python's lock: a test that computes for minutes can crash then.
    """
    marker = item.get_closest_marker("timeout")
    if marker and marker.args[0] > float(item.config.getini("timeout")):
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def login_node(tmp_path, monkeypatch):
    """Make a home directory with profiles, and a directory of commands on the path, with `mpidirect`."""
    return login.make_home(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def slurm_on_one_host(tmp_path_factory):
    """Run a real Slurm whose nodes share this host."""
    yield from _slurm(tmp_path_factory)


@pytest.fixture(scope="session")
def slurm_on_several_hosts(tmp_path_factory):
    """Run a real Slurm whose nodes have their own addresses and names."""
    yield from _slurm(tmp_path_factory, hosts=True)


@pytest.fixture
def slurm(slurm_on_one_host, login_node, monkeypatch):
    """Give a test a Slurm to submit to; cancel the jobs that the test leaves."""
    yield from _entered(slurm_on_one_host, monkeypatch)


@pytest.fixture
def hosts(slurm_on_several_hosts, login_node, monkeypatch):
    """Give a test a Slurm of several hosts; cancel the jobs that the test leaves."""
    yield from _entered(slurm_on_several_hosts, monkeypatch)


def _entered(slurm, monkeypatch):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm
    left = slurm.ask("squeue", "-h", "-o", "%A").split()
    if left:
        slurm.ask("scancel", *left)
    until(lambda: not slurm.ask("squeue", "-h", "-o", "%A"))


def _slurm(tmp_path_factory, **kinds):
    Slurm.require()
    slurm = Slurm(tmp_path_factory.mktemp("slurm"), **kinds)
    try:
        yield slurm.start()
    finally:
        slurm.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Start four engines for all tests of the session."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MPIDIRECT_")]:
            patch.delenv(name)
        patch.setenv("MPIDIRECT_DIR", str(tmp_path_factory.mktemp("cluster") / "home"))
        cluster = Cluster(n=N)
        cluster.start()
        try:
            yield cluster.wait()
        finally:
            cluster.stop()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that starts a cluster for this test alone; no process of the cluster may remain."""
    for name in [name for name in os.environ if name.startswith("MPIDIRECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    started = []

    def cluster(n: int, prepared: bool = True, **options) -> tuple[Cluster, Client]:
        new = Cluster(n=n, **options).start().wait()
        client = new.connect_client()
        if prepared:
            client[:].execute("import os, ctypes, time, numpy as np; same = comm", block=True)
        started.append((new, client))
        return new, client

    yield cluster
    for new, client in started:
        client.close()
        new.stop()
        assert not processes.members(new.cluster)


@pytest.fixture(scope="session")
def janitor(cluster):
    """Connect the client that clears the engines after each test."""
    with Client(str(cluster.connection_file)) as client:
        yield client


@pytest.fixture
def rc(cluster, janitor):
    """Connect a client for one test; clear the engines after the test."""
    client = Client(str(cluster.connection_file))
    yield client
    if client.outstanding:  # the test has failed before its end
        client.abort()
        client.interrupt()
    client.close()
    clear_engines(janitor)


def clear_engines(client: Client) -> None:
    """Interrupt the tasks of the engines, and clear their namespaces."""
    for _ in range(3):
        cleared = client[:].clear(block=False)
        if not cleared.wait(5):  # a task is still running
            client.interrupt()
        if cleared.wait(5) and cleared.successful():
            return
    pytest.exit("the engines do not end what the last test has started on them", 1)


@pytest.fixture
def dview(rc):
    """Return a view of all engines: ``rc[:]``."""
    return rc[:]


@pytest.fixture
def main(monkeypatch):
    """Replace ``__main__`` by a new module; a name defined there counts as typed at the prompt."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def occupied(tmp_path):
    """Return a function that keeps an engine busy until the file ``go on`` exists in `tmp_path`."""
    path = str(tmp_path / "go on")

    def wait_for_file():
        import time
        from pathlib import Path

        while not Path(path).exists():
            time.sleep(0.001)

    return wait_for_file


class Prompt:
    """IPython in this process: runs cells, returns their values, keeps their output."""

    def __init__(self, shell, capsys) -> None:
        self.shell = shell
        self.names = shell.user_ns
        self.shown = ""  # the output of the last cell, with its value
        self.printed = ""  # the same without reports on slow engines
        self._capsys = capsys

    def __call__(self, cell: str):
        """Run a cell that must succeed; return its value."""
        result = self._run(cell)
        assert result.error_before_exec is None and result.error_in_exec is None, self.shown
        return result.result

    def fails(self, cell: str) -> BaseException:
        """Run a cell that must fail; return the error."""
        result = self._run(cell)
        error = result.error_before_exec or result.error_in_exec
        assert error is not None, "the cell did not fail"
        return error

    def _run(self, cell: str):
        self._capsys.readouterr()
        result = self.shell.run_cell(cell, store_history=True)
        captured = self._capsys.readouterr()
        self.shown = captured.out + captured.err
        self.printed = captured.out
        return result


@pytest.fixture
def typed(monkeypatch):
    """Return a list of the user's input at prompts: texts, or exceptions; then Ctrl-D."""
    lines = []

    def read(prompt=""):
        print(prompt, end="")
        line = lines.pop(0) if lines else EOFError
        if line in (EOFError, KeyboardInterrupt):
            raise line
        print(line)
        return line

    monkeypatch.setattr(builtins, "input", read)
    return lines


@pytest.fixture
def prompt(main, capsys, tmp_path, monkeypatch):
    """Make an IPython prompt in this process."""
    interactiveshell = pytest.importorskip("IPython.core.interactiveshell")
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    quiet = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
    hooks = sys.excepthook, sys.displayhook
    kind = interactiveshell.InteractiveShell
    shell = kind.instance(user_module=main, config=quiet)
    shell.run_line_magic("colors", "nocolor" if sys.modules["IPython"].version_info[0] >= 9 else "NoColor")
    yield Prompt(shell, capsys)
    kind.clear_instance()
    sys.excepthook, sys.displayhook = hooks
    for name in ("ps1", "ps2", "ps3"):  # these names mark an interactive Python
        vars(sys).pop(name, None)


ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests" / "programs"
