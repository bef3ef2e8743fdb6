"""What can be found out about an engine's end: how it ended, and what was written last."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

from ...job.process_identity import belongs
from ...job.variables import CLUSTER
from ...protocol.messages import OUTPUT_LIMIT, EngineInfo
from ...protocol.names import output_files

TAIL = 20  # lines of a log that are shown
_BYTES = 4096


def verdict(directory: Path, engine: int) -> str:
    """How the engine ended, from the note of its guard; empty while there is none."""
    try:
        code = int(_note(directory, engine).read_text())
    except (OSError, ValueError):
        return ""
    if code <= 128:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"it exited with code {code}"
    return f"it was ended by {name}{_MEANINGS.get(name, '')}"


_MEANINGS = {
    "SIGKILL": ", by hand, by the batch system, or by the kernel because memory ran out",
    "SIGSEGV": ", a segmentation fault: C code used memory that is not its own",
    "SIGABRT": ": C code gave up",
    "SIGBUS": ": C code used memory that is not there; is /dev/shm full?",
}


def end(engine: EngineInfo) -> None:
    """Kill an engine on this host, whatever it does; elsewhere its own control thread must."""
    try:
        if engine.host == socket.gethostname() and belongs(engine.pid, os.environ.get(CLUSTER, "")):
            os.kill(engine.pid, signal.SIGKILL)
    except OSError:
        pass  # it is dead


def forget(directory: Path, engine: int) -> None:
    """Its place is taken by another: remove the note."""
    _note(directory, engine).unlink(missing_ok=True)


def _note(directory: Path, engine: int) -> Path:
    return directory / f"rank-{engine + 1}.exit"


def printed(directory: Path, engine: int, told: tuple[int, int]) -> tuple[str, str]:
    """What the task has printed in which the engine died; it is removed."""
    texts = []
    for path, start in zip(output_files(directory, engine), told, strict=True):
        text = ""
        with contextlib.suppress(OSError):  # it had none, or this host does not see it
            with path.open("rb") as file:
                file.seek(start)
                text = file.read(OUTPUT_LIMIT).decode(errors="replace")
            path.unlink()  # unless the engine, which leaves, has
        texts.append(text)
    out, err = texts
    return out, err


def last_words(path: Path, lines: int = TAIL, printed: str = "") -> str:
    """The end of a log, and of what was printed, with a line that says what it is; empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - _BYTES))
            said = log.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        said = []
    said += printed[-_BYTES:].splitlines()[-lines:]
    what = f"{path}, and of what it printed" if printed else path
    return "\n".join([f"The end of {what}:", *said]) if said else ""
