"""The logs of a cluster: ``job.log`` (the launcher's), ``controller.log``, ``engine-0.log`` and so on."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .regular import open_regular, read_regular

BEGINS = "-- process {} begins"  # separates a rank from its predecessor in a log
FAILS = "this rank fails: "  # the beginning of the last log message of a rank that can't continue
_END_NOTE = "end.txt"  # the file with the reason for which a controller stopped its cluster
_PROBE_TIMEOUT = 3.0  # seconds
# Prints why a file can't be written in a directory; 16 KiB, as a nearly full disk has room for a few bytes.
_PROBE = """\
import os, sys, tempfile
try:
    with tempfile.NamedTemporaryFile(dir=sys.argv[1], prefix=".probe-") as file:
        file.write(bytes(16384))
        file.flush()
        os.fsync(file.fileno())
except OSError as e:
    print(e.strerror)
"""
_TAIL_SIZE = 64 * 1024  # bytes that are read to find the last lines


def files(directory: Path) -> list[Path]:
    """Return the logs in a cluster's log directory: of the job, the controller, the engines in order."""
    return sorted(directory.glob("*.log"), key=_sort_key)


def _sort_key(path: Path) -> tuple[int, int]:
    """Return the position of a log among the logs of a cluster."""
    engine = re.fullmatch(r"engine-(\d+)", path.stem)
    if engine:
        return 2, int(engine[1])
    return ["job", "controller"].index(path.stem) if path.stem in ("job", "controller") else 3, 0


def note_end(directory: Path, text: str) -> None:
    """Note why the controller stopped the cluster by itself; an empty text removes an earlier note."""
    note = directory / _END_NOTE
    if text:
        note.write_text(text)
    else:
        note.unlink(missing_ok=True)


def end_note(directory: Path) -> str:
    """Return why the controller stopped the cluster by itself; empty if it did not, or if unknown."""
    try:
        return read_regular(directory / _END_NOTE)
    except OSError:
        return ""


def tail(path: Path, lines: int) -> list[str]:
    """Return the last `lines` lines of a log; none if the log can't be read."""
    try:
        with open_regular(path) as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_SIZE))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.rstrip().splitlines()[-lines:] if lines > 0 else []


def reason(directory: Path) -> str:
    """Return why a job could not continue, by the first rank that logs a reason; empty if none does."""
    for path in files(directory):
        found = re.search(rf" ERROR \S+ {FAILS}((?:.+\n?)+)", "\n".join(tail(path, 1000)))
        if found:
            text = re.split(r"\n(?:Traceback|[\d-]+ [\d:,]+ [A-Z]+ |-{9}|Abort\()", found[1])[0].strip()
            if text.startswith("MPI_ERR_"):  # the end of another rank, which is not the reason
                continue
            return text if path.stem == "controller" else f"{path.stem.replace('-', ' ')} failed: {text}"
    return ""


def report(directory: Path, lines: int = 15, most: int = 3) -> str:
    """Return the tails of a cluster's logs for an error; similar tails only once.

    Parameters
    ----------
    directory : Path
        The log directory of the cluster.
    lines : int
        The number of lines of each log.
    most : int
        The number of logs.
    """
    parts: list[str] = []
    seen: set[str] = set()
    for path in files(directory):
        ending = tail(path, lines)
        pattern = re.sub(r"\d+", "#", "\n".join(ending))  # ranks, process ids and times differ
        if not ending or pattern in seen:
            continue
        seen.add(pattern)
        if len(parts) < most:
            parts.append("\n".join([f"==> {path} <==", *ending]))
    return "\n\n".join(parts) or f"Its logs in {directory} are empty{_why_unwritable(directory)}."


def _why_unwritable(directory: Path) -> str:
    """Return why nothing can be written to a directory, as the end of a sentence; empty if writing works.

    Another process tries to write, because a write to a disk that does not answer can't be interrupted.
    """
    words = [sys.executable, "-I", "-S", "-c", _PROBE, str(directory)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        problem, _ = process.communicate(timeout=_PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()  # not waited for
        problem = "the disk does not answer"
    return f": nothing can be written there ({problem.strip()})" if problem else ""


def failure_report(directory: Path, lines: int = 15) -> str:
    """Return the reason of a job's failure and the directory of its logs; without a reason their tails."""
    if cause := reason(directory):  # the messages of MPI in the logs add nothing
        return f"{cause}\nIts logs are in {directory}"
    return report(directory, lines)


def follow(
    paths: Sequence[Path], lines: int, going_on: Callable[[], bool] | None
) -> Iterator[tuple[Path, str]]:
    """Yield the last lines of some logs, then the lines that are added while `going_on` is true.

    Without `going_on` yield only the last lines.
    """
    positions = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    for path in paths:
        ending = tail(path, lines)
        if ending:
            yield path, "\n".join(ending) + "\n"
    while going_on is not None:
        if not going_on():
            going_on = None  # read once more after the end
        for path in paths:
            added = _read_from(path, positions[path])
            if added:
                positions[path] += len(added)
                yield path, added.decode(errors="replace")
        if going_on is not None:
            time.sleep(0.2)


def _read_from(path: Path, position: int) -> bytes:
    try:
        with open_regular(path) as file:
            file.seek(position)
            return file.read()
    except OSError:
        return b""
