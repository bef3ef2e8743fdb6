"""Pictures of terminals: a session in IPython, errors, the roll call, and the live view."""

from __future__ import annotations

import re
import sys

from mpidirect import Cluster

from .studio import Studio
from .terminal import Terminal

SHELL = r"^\$$"  # a shell's prompt, without a command


class Prompt:
    """IPython in a terminal.

    Parameters
    ----------
    terminal : Terminal
        The terminal; IPython starts in it, or has been started.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._number = 1
        self._wait()

    def type(self, *lines: str) -> None:
        """Type a cell, and wait until it has ended."""
        self._number += 1
        for line in lines:
            self._terminal.press(f"{line}\r")
            if len(lines) > 1:  # a cell magic ends with two empty lines
                self._terminal.wait_for(rf"{re.escape(line)}\n +\.\.\.:$")
        if len(lines) > 1:
            self._terminal.press("\r\r")
        self._wait()

    def _wait(self) -> None:
        self._terminal.wait_for(rf"^In \[{self._number}\]:$")


def session(studio: Studio) -> None:
    """A cluster, IPython, code on all engines, an error, and the engines after the error."""
    with studio.terminal("bash", "--norc", "--noprofile", columns=96) as terminal:
        terminal.wait_for(SHELL)
        terminal.type("mpidirect start -n 4", rf"Client\(\)\n{SHELL}")
        terminal.type("ipython", r"^In \[1\]:$")
        prompt = Prompt(terminal)
        prompt.type("import mpidirect, numpy as np; rc = mpidirect.Client(); dv = rc[:]")
        prompt.type('dv.scatter("x", np.linspace(0, 1, 1_000_000), block=True);')
        prompt.type('%px print(f"{x.size:,} numbers, mean {x.mean():.3f}")')
        prompt.type('%px total = comm.allreduce(x.sum()); print(f"the sum of all ranks: {total:,.0f}")')
        prompt.type("%px y = 1 / (rank - 3)")
        prompt.type("dv.apply_sync(lambda: round(float(x.max()), 2))")
        studio.draw_screen("session", terminal)


def errors(studio: Studio) -> None:
    """An error of many engines."""
    with Cluster(n=8), studio.terminal("ipython", columns=96) as terminal:
        prompt = Prompt(terminal)
        prompt.type("import mpidirect; rc = mpidirect.Client()")
        prompt.type('rc[0]["scale"] = 0')
        prompt.type("%px 1 / scale")
        studio.draw_screen("errors", terminal)


def roll_call(studio: Studio) -> None:
    """A call in which one engine does not do what the others wait for."""
    solve = studio.home / "solve.py"
    solve.write_text(SOLVE)
    with Cluster(n=8), studio.terminal("ipython", columns=96) as terminal:
        prompt = Prompt(terminal)
        prompt.type("import mpidirect; rc = mpidirect.Client()")
        prompt.type("%px import solve")
        prompt.type("%%px --timeout 4", "solve.step(comm)")
        studio.draw_screen("roll_call", terminal)


SOLVE = """\
import time


def load(path):
    while True:
        time.sleep(1)  # a file system that does not answer


def step(comm):
    if comm.rank == 7:
        load("/scratch/mesh.h5")
    return comm.allreduce(1)
"""

BUSY = """\
import time


def relax(sweeps):
    for sweep in range(sweeps):
        print(f"sweep {sweep}: residual {0.9 ** sweep:.1e}")
        end = time.perf_counter() + 0.2
        while time.perf_counter() < end and rank % 2:
            pass
        time.sleep(0.3)


if rank != 5:
    relax(1000)
"""


def top(studio: Studio) -> None:
    """The live view of busy engines."""
    with Cluster(n=8) as rc:
        running = rc[:].execute(BUSY)
        rc[2].apply_async(abs, 1)
        command = (sys.executable, "-m", "mpidirect", "top", "--interval", "0.5")
        with studio.terminal(*command, columns=120, lines=14) as terminal:
            terminal.wait_for(r"7 running, 1 idle")
            terminal.wait_for(r"sweep [4-9]")
            studio.draw_screen("top", terminal)
        running.interrupt()
