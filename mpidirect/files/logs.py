"""The logs of a cluster: ``job.log`` (the launcher's), ``controller.log``, ``engine-0.log``, …"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

FAILS = "this rank fails: "  # begins what a rank logs that can't go on
TAIL = 64 * 1024  # bytes that are looked at for the last lines


def files(directory: Path) -> list[Path]:
    """The logs in a cluster's log directory: the job's, the controller's, the engines' in order."""
    return sorted(directory.glob("*.log"), key=_order)


def _order(path: Path) -> tuple[int, int]:
    engine = re.fullmatch(r"engine-(\d+)", path.stem)
    if engine:
        return 2, int(engine[1])
    return ["job", "controller"].index(path.stem) if path.stem in ("job", "controller") else 3, 0


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.rstrip().splitlines()[-lines:] if lines > 0 else []


def reason(directory: Path) -> str:
    """Why a job could not go on, as the first rank that says it does; empty if none does."""
    for path in files(directory):
        found = re.search(rf" ERROR \S+ {FAILS}((?:.+\n?)+)", "\n".join(tail(path, 1000)))
        if found:
            text = re.split(r"\n(?:Traceback|[\d-]+ [\d:,]+ [A-Z]+ |-{9}|Abort\()", found[1])[0].strip()
            if text.startswith("MPI_ERR_"):  # what became of another rank, not why
                continue
            return text if path.stem == "controller" else f"{path.stem.replace('-', ' ')} failed: {text}"
    return ""


def report(directory: Path, lines: int = 15, most: int = 3) -> str:
    """The tails of a cluster's logs, those that are alike only once: what an error shows."""
    parts: list[str] = []
    seen: set[str] = set()
    for path in files(directory):
        ending = tail(path, lines)
        likeness = re.sub(r"\d+", "#", "\n".join(ending))  # ranks, process ids and times differ
        if not ending or likeness in seen:
            continue
        seen.add(likeness)
        if len(parts) < most:
            parts.append("\n".join([f"==> {path} <==", *ending]))
    return "\n\n".join(parts) or f"Its logs in {directory} are empty."


def failure_report(directory: Path, lines: int = 15) -> str:
    """The reason of a job's end, if a rank tells it, and where its logs are; else the tails of those."""
    if told := reason(directory):  # MPI's many words about it tell nothing more
        return f"{told}\nIts logs are in {directory}"
    return report(directory, lines)


def follow(
    paths: Sequence[Path], lines: int, going_on: Callable[[], bool] | None
) -> Iterator[tuple[Path, str]]:
    """Yield the last lines of some logs, then what is added to them until `going_on` says no.

    Without `going_on` that is all.
    """
    positions = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    for path in paths:
        ending = tail(path, lines)
        if ending:
            yield path, "\n".join(ending) + "\n"
    while going_on is not None:
        if not going_on():
            going_on = None  # one more look after the end
        for path in paths:
            added = _read_from(path, positions[path])
            if added:
                positions[path] += len(added)
                yield path, added.decode(errors="replace")
        if going_on is not None:
            time.sleep(0.2)


def _read_from(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read()
    except OSError:
        return b""
