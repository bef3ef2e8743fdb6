"""The texts of the view: the cells of an engine's row, and the line about all engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .samples import EngineSample

COLUMNS = ("engine", "host", "state", "task", "age", "in", "queue", "CPU", "memory", "GPU", "output")


def cells(sample: EngineSample) -> tuple[str, ...]:
    """Return the cells of an engine's row, in the order of `COLUMNS`."""
    if sample.state == "lost":
        return (str(sample.engine), "", "lost", sample.task, *[""] * (len(COLUMNS) - 4))
    gpu = f"{sample.device} {size(sample.gpu_memory) if sample.gpu_memory else ''}".strip()
    return (
        str(sample.engine),
        sample.host,
        sample.state,
        sample.task,
        duration(sample.age) if sample.task else "",
        sample.place,
        str(sample.queue or ""),
        "" if sample.cpu is None else f"{100 * sample.cpu:.0f} %",
        size(sample.memory) if sample.memory else "",
        gpu,
        sample.line,
    )


def summary(samples: Sequence[EngineSample]) -> str:
    """Return a line about all engines.

    Examples
    --------
    >>> summary([EngineSample(0, "a", "idle"), EngineSample(1, "a", "running", "apply", cpu=0.5)])
    '2 engines: 1 running, 1 idle | 0 tasks wait | CPU 50 % | memory 0.0 GB'
    """
    states = Counter(sample.state for sample in samples)
    waiting = sum(sample.queue for sample in samples)
    counts = [f"{states[s]} {s}" for s in ("running", "idle", "no answer", "lost") if states[s]]
    parts = [
        f"{len(samples)} engine{'s' * (len(samples) != 1)}: {', '.join(counts)}",
        f"{waiting} task{' waits' if waiting == 1 else 's wait'}",
        f"CPU {100 * sum(sample.cpu or 0.0 for sample in samples):.0f} %",
        f"memory {sum(sample.memory for sample in samples) / 1e9:.1f} GB",
    ]
    return " | ".join(parts)


def size(number: float) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Return a time as ``3.2 s``, ``4:05`` or ``2:04:05``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
