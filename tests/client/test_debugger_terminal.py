"""The debugger of an engine in a real terminal, with IPython's prompt."""

from __future__ import annotations

import os
import sys

import pexpect
import pytest

pytest.importorskip("IPython")
pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

LIMIT = 60


@pytest.fixture
def terminal(cluster, tmp_path):
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb"}
    command = ["-m", "IPython", "--simple-prompt", "--no-confirm-exit", "--colors=nocolor"]
    terminal = pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=LIMIT)
    terminal.expect_exact("In [1]: ")
    terminal.sendline(
        f"from mpidirect import Client; rc = Client({str(cluster.connection_file)!r}); e = rc[1]"
    )
    terminal.expect_exact("In [2]: ")
    yield terminal
    terminal.close(force=True)


def test_the_debugger_of_ipython_after_px_names_that_of_the_engines(terminal):
    terminal.sendline("%px 1 / 0")
    terminal.expect("ZeroDivisionError: division by zero")
    terminal.sendline("%debug")
    terminal.expect_exact("DirectView.debug() goes to the line of the error")
    terminal.expect_exact("ipdb> ")
    assert "parallel_magics" not in terminal.before
    terminal.sendline("q")


def test_commands_and_ctrl_c(terminal):
    terminal.sendline("e.apply_sync(lambda: (breakpoint(), rank)[1])")
    terminal.expect_exact("(Pdb 1) ")
    assert "engine 1 stopped in breakpoint() at Cell In[2], line 1" in terminal.before
    terminal.sendline("p rank + 100")
    terminal.expect(r"101\r\n\(Pdb 1\) ")
    terminal.sendline("c")
    terminal.expect(r"Out\[2\]: 1\r\n")
    terminal.sendline("%pxconfig --targets 1 --block")
    terminal.sendline("%px breakpoint(); k = 1")
    terminal.expect_exact("(Pdb 1) ")
    terminal.sendintr()
    terminal.expect_exact("Interrupting engine 1")
    terminal.expect("KeyboardInterrupt")
    terminal.sendline("e.apply_sync(abs, -7)")
    terminal.expect(r"Out\[\d+\]: 7\r\n")
