"""What programs on an engine find: names that say where they are, the environment, their GPU."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol import messages

if TYPE_CHECKING:
    from mpi4py import MPI

# Slurm's, which are those of a daemon of MPI's where that has started the engines; only set where they are.
_SLURM = {
    "SLURM_PROCID": "RANK",
    "SLURM_LOCALID": "LOCAL_RANK",
    "SLURM_NTASKS": "WORLD_SIZE",
    "SLURM_NPROCS": "WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS": "WORLD_SIZE",
}
Environment = MutableMapping[str, str]


class EnginePlace(NamedTuple):
    """Where an engine is.

    Attributes
    ----------
    host : str
        The name of its host.
    port : int
        One that was free there.
    """

    host: str
    port: int


def gather(comm: MPI.Intracomm) -> list[EnginePlace]:
    """Where the engines of `comm` are, by rank; they all call it together."""
    with socket.socket() as free:
        free.bind(("", 0))
        place = EnginePlace(socket.gethostname(), free.getsockname()[1])
    return comm.allgather(place)


_master: dict[str, str] = {}  # what was said of the first engine, where the user has said nothing


def enter(places: Sequence[EnginePlace], rank: int, environment: Environment = os.environ) -> dict[str, Any]:
    """Set the environment of an engine that has this rank now.

    Returns
    -------
    The names that tell the same in the namespace.
    """
    host = places[rank].host
    near = [k for k, place in enumerate(places) if place.host == host]
    names = {
        "rank": rank,
        "size": len(places),
        "local_rank": near.index(rank),
        "local_size": len(near),
        "node": host,
    }
    said = {
        "RANK": str(rank),
        "WORLD_SIZE": str(len(places)),
        "LOCAL_RANK": str(names["local_rank"]),
        "LOCAL_WORLD_SIZE": str(len(near)),
    }
    environment.update(said)
    environment.update({name: said[same] for name, same in _SLURM.items() if name in environment})
    first = places[0]
    master = {
        "MASTER_ADDR": "127.0.0.1" if len(near) == len(places) else first.host,
        "MASTER_PORT": str(first.port),
    }
    for name, value in master.items():
        if environment.get(name) in (None, _master.get(name)):
            environment[name] = _master[name] = value
    return names


# -- GPUs -----------------------------------------------------------------------------------------------


class _Maker(NamedTuple):
    """Who made devices: their name, the variable that chooses some, others that do, the maker's PCI id."""

    name: str
    variable: str
    others: tuple[str, ...]
    vendor: str


_MAKERS = (
    _Maker("CUDA", "CUDA_VISIBLE_DEVICES", (), ""),
    _Maker("ROCm", "ROCR_VISIBLE_DEVICES", ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"), "0x1002"),
    _Maker("Level Zero", "ZE_AFFINITY_MASK", ("ONEAPI_DEVICE_SELECTOR",), "0x8086"),
)


def bind(
    local_rank: int, local_size: int, environment: Environment = os.environ, root: Path = Path("/")
) -> None:
    """Let this engine see its share of the host's devices, and no others, where nobody has chosen some.

    No library is loaded for that: those that are loaded later look into the environment.
    """
    for maker in _MAKERS:
        count = _count(maker, root)
        if count and not _chosen(maker, environment):
            environment[maker.variable] = ",".join(map(str, share(count, local_rank, local_size)))


def share(count: int, local_rank: int, local_size: int) -> range:
    """Which of so many devices are for this engine: some each, or one, in turn.

    Examples
    --------
    >>> [list(share(4, k, 2)) for k in range(2)]
    [[0, 1], [2, 3]]
    >>> [list(share(2, k, 3)) for k in range(3)]
    [[0], [1], [0]]
    """
    if local_size >= count:
        device = local_rank % count
        return range(device, device + 1)
    return range(local_rank * count // local_size, (local_rank + 1) * count // local_size)


def device(environment: Environment = os.environ, root: Path = Path("/")) -> str:
    """The devices that programs see here: ``CUDA 1``; empty where there are none."""
    seen = []
    for maker in _MAKERS:
        count = _count(maker, root)
        chosen = _chosen(maker, environment)
        if chosen or count:
            seen.append(f"{maker.name} {environment[chosen] if chosen else ','.join(map(str, range(count)))}")
    return "; ".join(seen)


def _chosen(maker: _Maker, environment: Environment) -> str:
    """The variable by which devices were chosen; empty if none was."""
    return next((name for name in (maker.variable, *maker.others) if name in environment), "")


def _count(maker: _Maker, root: Path) -> int:
    """How many devices of a maker this process can open, as their drivers number them."""
    if not maker.vendor:
        return len(list((root / "dev").glob("nvidia[0-9]*")))
    found = 0
    for node in (root / "dev/dri").glob("renderD*"):
        try:
            vendor = (root / "sys/class/drm" / node.name / "device/vendor").read_text().strip()
        except OSError:
            continue
        found += vendor == maker.vendor
    return found


def placed(names: dict[str, Any]) -> messages.EnginePlaced:
    """What the controller is told of this."""
    return messages.EnginePlaced(names["local_rank"], device())
