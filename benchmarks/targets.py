"""What the measured ratios should be."""

from __future__ import annotations

from typing import NamedTuple

AT_LEAST = "≥"
AT_MOST = "≤"


class Target(NamedTuple):
    """The target for each number of engines; the key 0 stands for all numbers.

    ``direct`` and ``broadcast``: the minimum factor of speed over ipyparallel's views; ``floor``: the maximum
    factor over the floor's time; ``most``: the maximum value itself.
    """

    direct: dict[int, float] = {}
    broadcast: dict[int, float] = {}
    floor: dict[int, float] = {}
    most: dict[int, float] = {}


TARGETS = {
    "start": Target(direct={0: 4}, floor={0: 1.5}),
    "all": Target(direct={4: 14, 16: 20}),
    "all-idle-1.5s": Target(direct={4: 6, 16: 9}),
    "one": Target(direct={0: 7}),
    "often-300": Target(direct={0: 12}),
    "push-50MB": Target(direct={4: 8, 16: 12}, broadcast={4: 3, 16: 4}, floor={0: 1.3}),
    "push-50MB-tcp": Target(floor={0: 1.2}),
    "scatter-50MB-tcp": Target(floor={0: 1.2}),
    "gather-50MB-tcp": Target(floor={0: 1.2}),
    "shared-50MB": Target(direct={4: 15, 16: 50}),
    "scatter-50MB": Target(direct={0: 4}, floor={0: 1.3}),
    "gather-50MB": Target(direct={0: 5}, floor={0: 1.3}),
    "map": Target(direct={4: 5, 16: 10}),
    "allreduce-8MB": Target(floor={0: 1.3}),
    "idle-cpu": Target(most={16: 2.0}),
    "all-idle-60s": Target(most={16: 0.005}),
}


def wanted(case: str, column: str, engines: int) -> float | None:
    """Return the target of a case in a column, or in ``most``; None if there is no target."""
    target: dict[int, float] = getattr(TARGETS.get(case, Target()), column, {})
    return target.get(engines, target.get(0))


def met(column: str, value: float, target: float) -> bool:
    """Return whether `value` meets the target."""
    return value >= target if column in ("direct", "broadcast") else value <= target


def sign(column: str) -> str:
    """Return the target as text."""
    return AT_LEAST if column in ("direct", "broadcast") else AT_MOST
