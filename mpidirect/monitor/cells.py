"""The texts of the live view: the cells of an engine's row, and the line about all engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..client.display.units import duration_in_words, size_in_words
from .samples import EngineSample

COLUMNS = ("engine", "host", "state", "task", "age", "in", "queue", "CPU", "memory", "GPU", "output")


def cells(sample: EngineSample) -> tuple[str, ...]:
    """Return the cells of an engine's row, in the order of `COLUMNS`."""
    if sample.state == "lost":
        return (str(sample.engine), "", "lost", sample.task, *[""] * (len(COLUMNS) - 4))
    gpu = f"{sample.device} {size_in_words(sample.gpu_memory) if sample.gpu_memory else ''}".strip()
    return (
        str(sample.engine),
        sample.host,
        sample.state,
        sample.task,
        duration_in_words(sample.age) if sample.task else "",
        sample.place,
        str(sample.queue or ""),
        "" if sample.cpu is None else f"{100 * sample.cpu:.0f} %",
        size_in_words(sample.memory) if sample.memory else "",
        gpu,
        sample.line,
    )


def summary(samples: Sequence[EngineSample]) -> str:
    """Return a line about all engines.

    Examples
    --------
    >>> summary([EngineSample(0, "a", "idle"), EngineSample(1, "a", "running", "apply", cpu=0.5)])
    '2 engines: 1 running, 1 idle | 0 tasks wait | CPU 50 % | memory 0 bytes'
    """
    states = Counter(sample.state for sample in samples)
    waiting = sum(sample.queue for sample in samples)
    counts = [f"{states[s]} {s}" for s in ("running", "idle", "no answer", "lost") if states[s]]
    parts = [
        f"{len(samples)} engine{'s' * (len(samples) != 1)}: {', '.join(counts)}",
        f"{waiting} task{' waits' if waiting == 1 else 's wait'}",
        f"CPU {100 * sum(sample.cpu or 0.0 for sample in samples):.0f} %",
        f"memory {size_in_words(sum(sample.memory for sample in samples))}",
    ]
    return " | ".join(parts)
