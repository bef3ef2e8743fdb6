"""The stack of a process with the frames of C code, by py-spy or gdb."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .._tracebacks import IPYTHON
from .code_files import CALLER, PACKAGE

TIME_LIMIT = 20.0  # maximum seconds of the tool for one process
MAX_FRAMES = 100

_INSTALL = "install py-spy where the engines run (pip install 'mpidirect[debug]'), or gdb, to see C frames"
_FORBIDDEN = (
    "this host lets no process look into another one (ptrace): see kernel.yama.ptrace_scope; a container "
    "needs the capability SYS_PTRACE"
)
_DENIED = re.compile(r"permission denied|operation not permitted", re.IGNORECASE)
_GDB_FRAME = re.compile(r"#\d+\s+(?:0x[0-9a-f]+ in )?(.+)")
_ARGUMENTS = re.compile(r" \(.*\)(?= from | at |$)")
_PLACE = re.compile(r":\d+\)$")  # a file and a line, which frames of C code mostly lack
_INTERPRETER = ("_PyEval_EvalFrame", "PyEval_EvalCode")  # the frames in which Python code begins


class NoNativeStack(Exception):
    """There is no stack; the text says why."""


def native_stack(pid: int) -> str:
    """Return the frames of the main thread of a process of this host, the innermost last.

    With py-spy these are all frames, with gdb those of C code that Python code has called.

    Raises
    ------
    NoNativeStack
        When this host has no such tool, or does not permit it.
    """
    if py_spy := _tool("py-spy"):
        return _frames_of_py_spy(_run([py_spy, "dump", "--native", "--full-filenames", "--pid", str(pid)]))
    if gdb := _tool("gdb"):
        options = ["-nx", "-batch", "-ex", "set pagination off", "-ex", f"bt {MAX_FRAMES}"]
        return _frames_of_gdb(_run([gdb, *options, "-p", str(pid)]))
    raise NoNativeStack(_INSTALL)


def _tool(name: str) -> str:
    """Return the path of a command: beside this Python, or on the path; empty if there is none."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or ""


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoNativeStack(f"{Path(command[0]).name} takes more than {TIME_LIMIT:.0f} s") from None
    except OSError as e:
        raise NoNativeStack(f"{Path(command[0]).name} can't be run: {e}") from None
    if _DENIED.search(done.stderr):
        raise NoNativeStack(_FORBIDDEN)
    if done.returncode:
        raise NoNativeStack(f"{Path(command[0]).name} fails: {done.stderr.strip()[-500:]}")
    return done.stdout


def _frames_of_py_spy(text: str) -> str:
    r"""Return the frames of user code in the main thread.

    Examples
    --------
    >>> print(_frames_of_py_spy('Thread 7 (idle): "MainThread"\n    read (libc.so.6)\n    f (a.py:3)\n'))
      f (a.py:3)
      read (libc.so.6)
    """
    main = text.partition('"MainThread"\n')[2] or text.partition("\nThread ")[2].partition("\n")[2]
    lines = [line.strip() for line in main.partition("\n\n")[0].partition("\nThread ")[0].splitlines()]
    own = next((k for k, line in enumerate(lines) if CALLER in line), len(lines))
    kept = [line for line in lines[:own][:MAX_FRAMES] if not (line.startswith("0x") or PACKAGE in line)]
    kept.reverse()
    first = next((k for k, line in enumerate(kept) if _PLACE.search(line) and IPYTHON not in line), 0)
    if any(IPYTHON in line for line in kept[:first]):  # these frames run a cell
        del kept[:first]
    return "\n".join(f"  {line}" for line in kept)


def _frames_of_gdb(text: str) -> str:
    r"""Return the frames of C code that the innermost Python code has called, without addresses.

    Examples
    --------
    >>> print(_frames_of_gdb("#0  read () from libc.so.6\n#1  0x1 in call (f=2) at a.c:3\n"))
      call at a.c:3
      read from libc.so.6
    """
    frames = [found[1] for found in filter(None, map(_GDB_FRAME.match, text.splitlines()))]
    first = next((k for k, frame in enumerate(frames) if frame.startswith(_INTERPRETER)), len(frames))
    return "\n".join(f"  {_ARGUMENTS.sub('', frame)}" for frame in reversed(frames[:first]))
