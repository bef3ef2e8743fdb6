"""What is known about the end of an engine: its exit status, and its last output."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

from ...files.logs import BEGINS
from ...files.regular import open_regular, read_regular
from ...protocol.messages import OUTPUT_LIMIT
from ...protocol.names import output_files

TAIL_LINES = 20  # number of lines of a log that are shown
TAIL_BYTES = 4096

_BEGINS = re.compile(BEGINS.format(r"\d+"))
_SIGNAL_CAUSES = {
    "SIGKILL": ", by hand, by the batch system, or by the kernel because memory ran out",
    "SIGSEGV": ", a segmentation fault: C code used memory that is not its own",
    "SIGABRT": ": C code gave up",
    "SIGBUS": ": C code used memory that is not there; is /dev/shm full?",
}


def describe(directory: Path, engine: int, spawn: int | None = None) -> str:
    """Return how an engine ended, by the note of its rank wrapper; empty while there is no note.

    With `spawn`, a note on an engine of another spawn does not count: rank wrappers may write late.
    """
    try:
        code, noted_spawn = map(int, read_regular(_note(directory, engine)).split())
    except (OSError, ValueError):
        return ""
    if spawn not in (None, noted_spawn):
        return ""
    if code <= 128:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"it exited with code {code}"
    return f"it was ended by {name}{_SIGNAL_CAUSES.get(name, '')}"


def remove_note(directory: Path, engine: int) -> None:
    """Remove the note on an engine, before another engine takes its place."""
    _note(directory, engine).unlink(missing_ok=True)


def _note(directory: Path, engine: int) -> Path:
    return directory / f"rank-{engine + 1}.exit"


def take_output(directory: Path, engine: int, reported: tuple[int, int]) -> tuple[str, str]:
    """Return what the last task of a dead engine printed, and remove the files.

    Parameters
    ----------
    directory : Path
        The directory of the logs.
    engine : int
        The engine.
    reported : (int, int)
        The bytes of each file that belong to earlier tasks.
    """
    texts = []
    for path, start in zip(output_files(directory, engine), reported, strict=True):
        text = ""
        with contextlib.suppress(OSError):  # there was no file, or this host does not see it
            with open_regular(path) as file:
                file.seek(start)
                text = file.read(OUTPUT_LIMIT).decode(errors="replace")
            path.unlink()  # the engine may have removed the file
        texts.append(text)
    stdout, stderr = texts
    return stdout, stderr


def log_tail(path: Path, lines: int = TAIL_LINES, printed: str = "") -> str:
    """Return the end of a log and of the output, under a title; empty if there is neither.

    What earlier processes of the same engine have written is left out.
    """
    try:
        with open_regular(path) as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            tail = log.read().decode(errors="replace").splitlines()
    except OSError:
        tail = []
    own = next((k for k, line in enumerate(reversed(tail)) if _BEGINS.fullmatch(line)), len(tail))
    tail = tail[len(tail) - own :][-lines:]
    tail += printed[-TAIL_BYTES:].splitlines()[-lines:]
    source = f"{path}, and of what it printed" if printed else path
    return "\n".join([f"The end of {source}:", *tail]) if tail else ""
