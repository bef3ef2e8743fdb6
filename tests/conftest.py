"""A cluster of four engines for all tests, and a prompt to type into."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest
from schedulers import login
from schedulers.slurm import Slurm
from waiting import until

from mpidirect import Client, Cluster
from mpidirect.job import processes

N = 4


@pytest.fixture
def login_node(tmp_path, monkeypatch):
    """A directory of profiles, and one of commands on the path, `mpidirect` among them."""
    return login.make_home(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def slurm_on_one_host(tmp_path_factory):
    """A real Slurm whose nodes share this host."""
    yield from _slurm(tmp_path_factory)


@pytest.fixture(scope="session")
def slurm_on_several_hosts(tmp_path_factory):
    """A real Slurm whose nodes have addresses and names of their own."""
    yield from _slurm(tmp_path_factory, hosts=True)


@pytest.fixture
def slurm(slurm_on_one_host, login_node, monkeypatch):
    """A Slurm to submit to, which has no jobs afterwards."""
    yield from _entered(slurm_on_one_host, monkeypatch)


@pytest.fixture
def hosts(slurm_on_several_hosts, login_node, monkeypatch):
    """The same on several hosts."""
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
    """Four engines, started once."""
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
    """Starts clusters that nobody else uses; nothing of them may be left."""
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


@pytest.fixture
def rc(cluster):
    """A client of its own for each test; what the test leaves on the engines goes."""
    client = Client(str(cluster.connection_file))
    yield client
    if client.outstanding:  # the test failed half-way
        client.abort()
        client.interrupt()
    client.close()
    with Client(str(cluster.connection_file)) as sweeper:
        sweep(sweeper)


def sweep(client: Client) -> None:
    """Bring the engines back to where they began."""
    for _ in range(3):
        cleared = client[:].clear(block=False)
        if not cleared.wait(5):  # something runs still
            client.interrupt()
        if cleared.wait(5) and cleared.successful():
            return
    pytest.exit("the engines do not come back from what the last test has left on them", 1)


@pytest.fixture
def dview(rc):
    """A view of all engines, as ``rc[:]`` gives it."""
    return rc[:]


@pytest.fixture
def main(monkeypatch):
    """A fresh ``__main__``: what is defined in it is as if it had been typed at the prompt."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def occupied(tmp_path):
    """A function that keeps an engine busy until the file that it is given exists."""
    path = str(tmp_path / "go on")

    def wait_for_file():
        import time
        from pathlib import Path

        while not Path(path).exists():
            time.sleep(0.001)

    return wait_for_file


class Prompt:
    """IPython in this process: cells go in, values and what is shown come out."""

    def __init__(self, shell, capsys) -> None:
        self.shell = shell
        self.names = shell.user_ns
        self.shown = ""  # by the last cell, its value included
        self._capsys = capsys

    def __call__(self, cell: str):
        """Run a cell that must succeed; its value."""
        result = self._run(cell)
        assert result.error_before_exec is None and result.error_in_exec is None, self.shown
        return result.result

    def fails(self, cell: str) -> BaseException:
        """Run a cell that must fail; what it raises."""
        result = self._run(cell)
        error = result.error_before_exec or result.error_in_exec
        assert error is not None, "the cell did not fail"
        return error

    def _run(self, cell: str):
        self._capsys.readouterr()
        result = self.shell.run_cell(cell, store_history=True)
        captured = self._capsys.readouterr()
        self.shown = captured.out + captured.err
        return result


@pytest.fixture
def prompt(main, capsys, tmp_path, monkeypatch):
    """An IPython prompt."""
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
    for name in ("ps1", "ps2", "ps3"):  # what tells a prompt from a script
        vars(sys).pop(name, None)


ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests" / "programs"
